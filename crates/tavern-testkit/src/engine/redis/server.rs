//! One server: its life and its deaths.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use super::config::{self, OURSELVES};
use super::conn::{RedisConn, Reply};
use super::options::RedisOptions;
use crate::engine::daemon::Daemon;
use crate::engine::deadline::Deadline;
use crate::engine::port::PortLease;

/// A Redis or Valkey on a loopback port and a directory of its own, which go with it.
#[derive(Debug)]
pub struct RedisServer {
    // First, so that it is dead before its directory goes.
    daemon: Mutex<Arc<Daemon>>,
    options: RedisOptions,
    program: PathBuf,
    port: PortLease,
    dir: TempDir,
}

/// When a start is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Answers,
    Loaded,
}

impl RedisServer {
    /// Starts a server, empty, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If the program is not there (the error says what to install), or does not start: with its
    /// last words.
    pub async fn start(options: RedisOptions) -> io::Result<Self> {
        let program = options.flavor.program()?;
        let mut tries = 0..5;
        loop {
            let (port, dir) = (PortLease::take()?, tempfile::tempdir()?);
            fs::write(dir.path().join(CONFIG), config::file(&options, dir.path(), port.get()))?;
            let daemon = Mutex::new(Arc::new(spawn(&program, dir.path(), &[])?));
            let server =
                Self { daemon, options: options.clone(), program: program.clone(), port, dir };
            match server.is_up(Until::Loaded).await {
                // Somebody who asks for no lease was faster.
                Err(error) if is_taken(&error) && tries.next().is_some() => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
    }

    /// What it was started with.
    #[must_use]
    pub fn options(&self) -> &RedisOptions {
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

    /// `redis://127.0.0.1:PORT`, with the name and password of the first user, if there are users.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}{}", self.first_user(), self.addr())
    }

    pub(super) fn first_user(&self) -> String {
        let user = self.options.users.first();
        user.map(|(name, password)| format!("{name}:{password}@")).unwrap_or_default()
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Says a command on a new connection and returns the answer.
    ///
    /// # Errors
    ///
    /// An answer that is an error, as the server wrote it; no answer within ten seconds.
    pub async fn cli(&self, command: &[&str]) -> io::Result<Reply> {
        self.connect().await?.call(command).await
    }

    /// A connection for as long as the test likes, as a user who may do everything.
    ///
    /// # Errors
    ///
    /// If the server does not take it.
    pub async fn connect(&self) -> io::Result<RedisConn> {
        let user = (!self.options.users.is_empty()).then_some(OURSELVES);
        RedisConn::connect(&self.addr(), user).await
    }

    /// A field of `INFO`, empty if there is none of that name.
    ///
    /// # Errors
    ///
    /// As [`cli`](Self::cli).
    pub async fn info(&self, field: &str) -> io::Result<String> {
        let info = self.cli(&["INFO"]).await?.text();
        let value =
            |line: &str| Some(line.split_once(':').filter(|pair| pair.0 == field)?.1.to_owned());
        Ok(info.lines().find_map(value).unwrap_or_default())
    }

    /// What tells this run from the next.
    ///
    /// # Errors
    ///
    /// As [`cli`](Self::cli).
    pub async fn run_id(&self) -> io::Result<String> {
        self.info("run_id").await
    }

    /// kill -9, and waits until it is dead.
    ///
    /// # Errors
    ///
    /// If it does not die.
    pub async fn kill(&self) -> io::Result<()> {
        self.daemon().end(Signal::KILL).await
    }

    /// Asks it to end, as at an ordinary shutdown, and waits until it has.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn terminate(&self) -> io::Result<()> {
        self.daemon().end(Signal::TERM).await
    }

    /// Starts it where it was, with what is on its disk, and waits until that is loaded.
    ///
    /// # Errors
    ///
    /// If it runs, or does not start.
    pub async fn start_again(&self) -> io::Result<()> {
        self.run(&[], Until::Loaded).await
    }

    /// Starts it where it was, and waits only until it answers, be it with `LOADING`.
    ///
    /// # Errors
    ///
    /// If it runs, or does not start.
    pub async fn start_loading(&self) -> io::Result<()> {
        self.run(&[], Until::Answers).await
    }

    /// Lets it stand still, as a machine does that swaps: its connections stay open.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pause(&self) -> io::Result<()> {
        self.daemon().signal(Signal::STOP)
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn resume(&self) -> io::Result<()> {
        self.daemon().signal(Signal::CONT)
    }

    /// Puts all data aside as they are now, for [`rewind`](Self::rewind).
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub async fn save_snapshot(&self) -> io::Result<()> {
        let mut deadline = Deadline::new("a snapshot");
        while let Err(error) = self.cli(&["SAVE"]).await {
            // A replica's sync saves in the background, and only one may at a time.
            deadline.saw(error);
            deadline.tick().await?;
        }
        // Moved, not copied: the next start must not load it.
        fs::rename(self.dir().join(DUMP), self.dir().join(SNAPSHOT))
    }

    /// kill -9, then starts it with the data of the last snapshot: what was written since is lost.
    ///
    /// # Errors
    ///
    /// If there is no snapshot, or the server does not start.
    pub async fn rewind(&self) -> io::Result<()> {
        self.kill().await?;
        for file in ["appendonlydir", "appendonly.aof"].map(|name| self.dir().join(name)) {
            if file.is_dir() { fs::remove_dir_all(file)? } else { remove(&file)? }
        }
        fs::copy(self.dir().join(SNAPSHOT), self.dir().join(DUMP))?;
        // A server that is told to append reads nothing else, so it is told later.
        self.run(&["--appendonly", "no"], Until::Loaded).await?;
        remove(&self.dir().join(DUMP))?;
        if self.options.appendonly {
            self.cli(&["CONFIG", "SET", "appendonly", "yes"]).await?;
            let mut deadline = Deadline::new("the server to append again");
            while !self.appends().await? {
                deadline.saw("it rewrites its log");
                deadline.tick().await?;
            }
        }
        Ok(())
    }

    async fn appends(&self) -> io::Result<bool> {
        let busy = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"];
        Ok(self.info("aof_enabled").await? == "1"
            && self.info(busy[0]).await? == "0"
            && self.info(busy[1]).await? == "0")
    }

    fn daemon(&self) -> Arc<Daemon> {
        Arc::clone(&self.daemon.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn run(&self, arguments: &[&str], until: Until) -> io::Result<()> {
        if self.daemon().ended()?.is_none() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the engine is running"));
        }
        let mut deadline = Deadline::new("the start of an engine");
        loop {
            let daemon = Arc::new(spawn(&self.program, self.dir(), arguments)?);
            *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = daemon;
            match self.is_up(until).await {
                Err(error) if is_taken(&error) => deadline.saw(error),
                result => return result,
            }
            deadline.tick().await?;
        }
    }

    async fn is_up(&self, until: Until) -> io::Result<()> {
        let daemon = self.daemon();
        let mut deadline = Deadline::new("an answer from a new engine");
        loop {
            if let Some(status) = daemon.ended()? {
                let words = daemon.last_words();
                let taken = words.contains("Failed listening") || words.contains("already in use");
                let kind = if taken { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other };
                let program = self.program.display();
                return Err(io::Error::new(
                    kind,
                    format!("{program} ended with {status}:\n{words}"),
                ));
            }
            match self.answers(daemon.id(), until).await {
                Ok(()) => return Ok(()),
                Err(error) => deadline.saw(error),
            }
            deadline.tick().await?;
        }
    }

    async fn answers(&self, id: u32, until: Until) -> io::Result<()> {
        // Somebody else's server may have taken the port, and would answer, too.
        if self.info("process_id").await? != id.to_string() {
            return Err(io::Error::other("another server answers"));
        }
        if until == Until::Loaded { self.cli(&["PING"]).await.map(|_| ()) } else { Ok(()) }
    }
}

const CONFIG: &str = "redis.conf";
const DUMP: &str = "dump.rdb";
const SNAPSHOT: &str = "snapshot.rdb";

fn spawn(program: &Path, dir: &Path, arguments: &[&str]) -> io::Result<Daemon> {
    let mut command = Command::new(program);
    command.arg(dir.join(CONFIG)).args(arguments).current_dir(dir);
    Daemon::spawn(&mut command, &dir.join("server.log"))
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
