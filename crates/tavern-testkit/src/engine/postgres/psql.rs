//! Talking to a server.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::owner::Owner;
use super::programs::Programs;
use super::server::PostgresServer;
use crate::wait::patience;

impl PostgresServer {
    /// Lets the superuser run these statements in the database `postgres`, each in a transaction of
    /// its own. Returns the rows, one a line, with `|` between the columns.
    ///
    /// # Errors
    ///
    /// The first statement that fails, in the server's words; no answer in time.
    pub async fn psql(&self, sql: &str) -> io::Result<String> {
        self.psql_in("postgres", sql).await
    }

    /// As [`psql`](Self::psql), in another database.
    ///
    /// # Errors
    ///
    /// As [`psql`](Self::psql).
    pub async fn psql_in(&self, database: &str, sql: &str) -> io::Result<String> {
        let database = database.replace('\\', "\\\\").replace('\'', "\\'");
        self.psql_at(&format!("{} dbname='{database}'", self.door()), sql).await
    }

    /// As [`psql`](Self::psql), through this URL, be it of a proxy.
    ///
    /// # Errors
    ///
    /// As [`psql`](Self::psql), and if it is not let in.
    pub async fn psql_at(&self, url: &str, sql: &str) -> io::Result<String> {
        run(&self.programs, self.owner, url, sql).await
    }

    /// What a client says to come in as the superuser through the socket.
    pub(super) fn door(&self) -> String {
        let (dir, port) = (self.socket_dir(), self.port());
        format!("host='{}' port={port} user=postgres", dir.display())
    }

    /// Makes a database, whose owner is the superuser.
    ///
    /// # Errors
    ///
    /// If there is one of this name.
    pub async fn create_database(&self, name: &str) -> io::Result<()> {
        self.psql(&format!("CREATE DATABASE {}", identifier(name))).await.map(|_| ())
    }

    /// Makes a role that may log in with this password, and do nothing else.
    ///
    /// # Errors
    ///
    /// If there is one of this name.
    pub async fn create_role(&self, name: &str, password: &str) -> io::Result<()> {
        let (name, password) = (identifier(name), password.replace('\'', "''"));
        self.psql(&format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'")).await.map(|_| ())
    }
}

/// Lets `psql` run these statements at this URL.
///
/// # Errors
///
/// The first statement that fails, in the server's words; no answer in time.
pub(super) async fn run(
    programs: &Programs,
    owner: Owner,
    url: &str,
    sql: &str,
) -> io::Result<String> {
    let mut command = owner.command(&programs.get("psql")?);
    command.args(["-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", "-d", url]);
    command.current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Command::from(command).kill_on_drop(true).spawn()?;
    let stdin = child.stdin.take();
    let talk = async {
        if let Some(mut stdin) = stdin {
            // One that has ended by now says why.
            let _ = stdin.write_all(sql.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = timeout(patience(), talk).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no answer in time: {sql}"))
    })??;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(text))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
