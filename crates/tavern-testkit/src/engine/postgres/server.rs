//! One server.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use super::config;
use super::family;
use super::life::is_taken;
use super::options::PostgresOptions;
use super::owner::Owner;
use super::programs::Programs;
use super::replica;
use super::template;
use crate::engine::certificate;
use crate::engine::daemon::Daemon;
use crate::engine::guarded;
use crate::engine::port::PortLease;

/// In the server's directory: its data, and its socket.
pub(super) const DATA: &str = "data";
pub(super) const SOCKETS: &str = "run";

/// A Postgres on a loopback port and a directory of its own, which go with it. Tests that run as
/// root run it as the user `postgres`.
#[derive(Debug)]
pub struct PostgresServer {
    pub(super) daemon: Mutex<Arc<Daemon>>,
    pub(super) programs: Programs,
    pub(super) owner: Owner,
    options: PostgresOptions,
    port: PortLease,
    dir: TempDir,
}

impl PostgresServer {
    /// Starts a server, empty but for a database and a superuser `postgres`, and waits until it
    /// accepts connections.
    ///
    /// # Errors
    ///
    /// If the programs are not there (the error says what to install), or it does not start: with
    /// its last words.
    pub async fn start(options: PostgresOptions) -> io::Result<Self> {
        Self::start_from(options, None).await
    }

    /// Starts a server that replicates the one at `primary`, or one that is empty.
    pub(super) async fn start_from(
        options: PostgresOptions,
        primary: Option<String>,
    ) -> io::Result<Self> {
        let mut tries = 0..5;
        loop {
            let (options, primary) = (options.clone(), primary.clone());
            // Another test may be busy making the template.
            let spawn =
                tokio::task::spawn_blocking(move || Self::spawn(options, primary.as_deref()));
            let server = spawn.await.map_err(io::Error::other)??;
            match server.is_up().await {
                // Somebody who asks for no lease was faster.
                Err(error) if is_taken(&error) && tries.next().is_some() => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
    }

    fn spawn(options: PostgresOptions, primary: Option<&str>) -> io::Result<Self> {
        let programs = Programs::find()?;
        let owner = Owner::find()?;
        let port = PortLease::take()?;
        let dir = tempfile::tempdir()?;
        let path = dir.path();
        owner.give(path)?;
        fs::create_dir(path.join(SOCKETS))?;
        owner.give(&path.join(SOCKETS))?;
        if options.tls {
            certificate::write(path)?;
            owner.give(&path.join("server.key"))?;
        }
        match primary {
            None => template::copy(&programs, &path.join(DATA), owner)?,
            Some(primary) => replica::copy(&programs, primary, path, owner)?,
        }
        configure(&options, path, port.get(), primary)?;
        let daemon = Mutex::new(Arc::new(run(&programs, path, owner, &options)?));
        Ok(Self { daemon, programs, owner, options, port, dir })
    }

    pub(super) fn spawn_again(&self) -> io::Result<()> {
        if self.is_running() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the engine is running"));
        }
        let daemon = Arc::new(run(&self.programs, self.dir(), self.owner, &self.options)?);
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = daemon;
        Ok(())
    }

    /// What it was started with.
    #[must_use]
    pub fn options(&self) -> &PostgresOptions {
        &self.options
    }

    /// Its port, the same after each start.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// `postgres://USER@127.0.0.1:PORT/DATABASE`, without a password; `user` may be
    /// `NAME:PASSWORD`.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}/{database}", self.addr())
    }

    /// The certificate of the authority that signed its own.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir().join("ca.pem")
    }

    /// The directory of its socket.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.dir().join(SOCKETS)
    }

    /// Its directory: `data`, and what it said in `server.log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let daemon = self.daemon.get_mut().unwrap_or_else(PoisonError::into_inner);
        // What stands still does not obey. If the system does not say who that is, the first does.
        let children = family::descendants(daemon.id()).unwrap_or_default();
        family::signal(&children, Signal::CONT);
        let _ = daemon.signal(Signal::CONT);
        // It takes its processes and its shared memory with it, and writes no checkpoint.
        daemon.finish(Signal::QUIT);
        // One that was killed could not, which its file shows.
        let file = self.dir.path().join(DATA).join("postmaster.pid");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(id) = text.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            // Without the program a few bytes stay until the machine starts again.
            let _ = Command::new("ipcrm").args(["-m", id]).stderr(Stdio::null()).status();
        }
    }
}

/// Adds its configuration to a fresh data directory.
pub(super) fn configure(
    options: &PostgresOptions,
    dir: &Path,
    port: u16,
    primary: Option<&str>,
) -> io::Result<()> {
    let data = dir.join(DATA);
    let file = data.join("postgresql.conf");
    let mut file = fs::OpenOptions::new().append(true).open(file)?;
    file.write_all(config::settings(options, dir, port, primary).as_bytes())?;
    fs::write(data.join("pg_hba.conf"), config::hba(options))
}

fn run(
    programs: &Programs,
    dir: &Path,
    owner: Owner,
    options: &PostgresOptions,
) -> io::Result<Daemon> {
    let mut command = guarded::command(&programs.get("postgres")?, "QUIT")?;
    owner.dress(&mut command);
    command.envs(options.environment.iter().map(|(name, value)| (name, value)));
    command.arg("-D").arg(dir.join(DATA)).current_dir(dir);
    guarded::spawn(command, dir.join("server.log"))
}
