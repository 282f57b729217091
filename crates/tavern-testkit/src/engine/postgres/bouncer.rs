//! `PgBouncer`, in front of a server.

mod options;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use self::options::OURSELVES;
pub use self::options::PgBouncerOptions;
use super::life::{is_taken, stop};
use super::owner::Owner;
use super::programs::Programs;
use super::psql;
use super::server::PostgresServer;
use crate::engine::daemon::Daemon;
use crate::engine::deadline::Deadline;
use crate::engine::port::PortLease;
use crate::engine::{guarded, program};

const LOG: &str = "server.log";
const CONFIG: &str = "pgbouncer.ini";

/// A `PgBouncer` on a loopback port and a directory of its own, which go with it. Tests that run as
/// root run it as the user `postgres`.
#[derive(Debug)]
pub struct PgBouncer {
    // First, so that it is dead before its directory goes.
    daemon: Mutex<Arc<Daemon>>,
    program: PathBuf,
    programs: Programs,
    owner: Owner,
    port: PortLease,
    dir: TempDir,
}

impl PgBouncer {
    /// Starts one in front of `server`, and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// If the program is not there (the error says what to install), or it does not start: with its
    /// last words.
    pub async fn start(server: &PostgresServer, options: PgBouncerOptions) -> io::Result<Self> {
        Self::start_at(server.port(), options).await
    }

    /// As [`start`](Self::start), in front of whatever is at this port of this machine.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_at(server: u16, options: PgBouncerOptions) -> io::Result<Self> {
        let mut tries = 0..5;
        loop {
            let bouncer = Self::spawn(server, &options)?;
            match bouncer.is_up(0).await {
                // Somebody who asks for no lease was faster.
                Err(error) if is_taken(&error) && tries.next().is_some() => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(bouncer),
            }
        }
    }

    fn spawn(server: u16, options: &PgBouncerOptions) -> io::Result<Self> {
        let program = find()?;
        let (programs, owner, port) = (Programs::find()?, Owner::find()?, PortLease::take()?);
        let dir = tempfile::tempdir()?;
        let users = dir.path().join("users");
        fs::write(&users, options.users())?;
        fs::write(dir.path().join(CONFIG), options.file(port.get(), server, &users))?;
        for path in [dir.path(), &users, &dir.path().join(CONFIG)] {
            owner.give(path)?;
        }
        let daemon = Mutex::new(Arc::new(run(&program, dir.path(), owner)?));
        Ok(Self { daemon, program, programs, owner, port, dir })
    }

    /// Its port, the same after each start.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// A URL that leads through it; `user` may be `NAME:PASSWORD`.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port())
    }

    /// Its directory: its configuration, and what it said in `server.log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Gives its console a command, such as `SHOW POOLS` or `RECONNECT`. Returns the rows, one a
    /// line, with `|` between the columns.
    ///
    /// # Errors
    ///
    /// If it refuses, or does not answer in time.
    pub async fn console(&self, command: &str) -> io::Result<String> {
        let url = self.url(&format!("{}:{}", OURSELVES.0, OURSELVES.1), "pgbouncer");
        psql::run(&self.programs, self.owner, &url, command).await
    }

    /// Whether its process has not ended; one that is paused runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.daemon().ended().is_ok_and(|status| status.is_none())
    }

    /// kill -9, and waits until it is dead.
    ///
    /// # Errors
    ///
    /// If it does not die.
    pub async fn kill(&self) -> io::Result<()> {
        self.daemon().end(Signal::KILL).await
    }

    /// Asks it to end at once, and waits until it has.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn terminate(&self) -> io::Result<()> {
        self.daemon().end(Signal::TERM).await
    }

    /// Starts it where it was, and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// If it runs, or does not start.
    pub async fn start_again(&self) -> io::Result<()> {
        let mut deadline = Deadline::new("the start of an engine");
        loop {
            if self.is_running() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the engine is running"));
            }
            let said = fs::metadata(self.dir().join(LOG))?.len();
            let daemon = Arc::new(run(&self.program, self.dir(), self.owner)?);
            *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = daemon;
            match self.is_up(said).await {
                Err(error) if is_taken(&error) => deadline.saw(error),
                result => return result,
            }
            deadline.tick().await?;
        }
    }

    /// Lets it stand still: its connections stay open. When this returns it does stand still.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pause(&self) -> io::Result<()> {
        stop(&self.daemon())
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn resume(&self) -> io::Result<()> {
        self.daemon().signal(Signal::CONT)
    }

    fn daemon(&self) -> Arc<Daemon> {
        Arc::clone(&self.daemon.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until it is up. What it had said before it was started does not count.
    async fn is_up(&self, said: u64) -> io::Result<()> {
        let daemon = self.daemon();
        let mut deadline = Deadline::new("a new PgBouncer to accept connections");
        loop {
            let log = fs::read(self.dir().join(LOG))?;
            let news = usize::try_from(said).ok().and_then(|said| log.get(said..));
            let news = String::from_utf8_lossy(news.unwrap_or_default());
            if let Some(status) = daemon.ended()? {
                let taken = news.contains("Address already in use");
                let kind = if taken { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other };
                return Err(io::Error::new(
                    kind,
                    format!("pgbouncer ended with {status}:\n{news}"),
                ));
            }
            // It listens by then.
            if news.contains("process up") {
                return Ok(());
            }
            deadline.saw(news);
            deadline.tick().await?;
        }
    }
}

/// Debian has it where users do not look.
fn find() -> io::Result<PathBuf> {
    let debian = PathBuf::from("/usr/sbin/pgbouncer");
    program::find("pgbouncer", "the Debian package pgbouncer")
        .or_else(|error| if debian.is_file() { Ok(debian) } else { Err(error) })
}

fn run(program: &Path, dir: &Path, owner: Owner) -> io::Result<Daemon> {
    let mut command = guarded::command(program, "KILL")?;
    owner.dress(&mut command);
    command.arg(dir.join(CONFIG)).current_dir(dir);
    guarded::spawn(command, dir.join(LOG))
}
