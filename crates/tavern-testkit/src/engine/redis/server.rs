//! One server, and talking to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::config::{self, OURSELVES};
use super::conn::{RedisConn, Reply};
use super::life::{Until, is_taken, spawn};
use super::options::RedisOptions;
use crate::engine::certificate;
use crate::engine::daemon::Daemon;
use crate::engine::port::PortLease;

/// A Redis or Valkey on a loopback port and a directory of its own, which go with it.
#[derive(Debug)]
pub struct RedisServer {
    // First, so that it is dead before its directory goes.
    pub(super) daemon: Mutex<Arc<Daemon>>,
    pub(super) program: PathBuf,
    /// What it is started with at every start, besides the file.
    pub(super) arguments: &'static [&'static str],
    options: RedisOptions,
    port: PortLease,
    tls: Option<PortLease>,
    dir: TempDir,
}

impl RedisServer {
    /// Starts a server, empty, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If the program is not there (the error says what to install), or does not start: with its
    /// last words.
    pub async fn start(options: RedisOptions) -> io::Result<Self> {
        Self::start_with(options, &[]).await
    }

    pub(super) async fn start_with(
        options: RedisOptions,
        arguments: &'static [&'static str],
    ) -> io::Result<Self> {
        let mut tries = 0..5;
        loop {
            let server = Self::spawn(options.clone(), arguments)?;
            match server.is_up(Until::Loaded).await {
                // Somebody who asks for no lease was faster.
                Err(error) if is_taken(&error) && tries.next().is_some() => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
    }

    fn spawn(options: RedisOptions, arguments: &'static [&'static str]) -> io::Result<Self> {
        let program = options.flavor.program()?;
        let port = PortLease::take()?;
        let tls = if options.tls { Some(PortLease::take()?) } else { None };
        let dir = tempfile::tempdir()?;
        if tls.is_some() {
            certificate::write(dir.path())?;
        }
        let text = config::file(&options, dir.path(), port.get(), tls.as_ref().map(PortLease::get));
        fs::write(dir.path().join(config::NAME), text)?;
        let daemon = Mutex::new(Arc::new(spawn(&program, dir.path(), arguments)?));
        Ok(Self { daemon, program, arguments, options, port, tls, dir })
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

    /// `rediss://127.0.0.1:PORT`, the port being the one for TLS, as [`url`](Self::url).
    ///
    /// # Panics
    ///
    /// If it was started without TLS.
    #[must_use]
    pub fn tls_url(&self) -> String {
        let port = self.tls.as_ref().expect("started with TLS").get();
        format!("rediss://{}127.0.0.1:{port}", self.first_user())
    }

    /// The certificate of the authority that signed its own.
    ///
    /// # Errors
    ///
    /// If it was started without TLS.
    pub fn ca_pem(&self) -> io::Result<String> {
        fs::read_to_string(self.dir().join("ca.pem"))
    }

    fn first_user(&self) -> String {
        let user = self.options.users.first();
        user.map(|(name, password)| format!("{name}:{password}@")).unwrap_or_default()
    }

    /// Who the testkit itself is here.
    pub(super) fn user(&self) -> Option<(&'static str, &'static str)> {
        (!self.options.users.is_empty()).then_some(OURSELVES)
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
        RedisConn::connect(&self.addr(), self.user()).await
    }

    /// A field of `INFO`, empty if there is none of that name.
    ///
    /// # Errors
    ///
    /// As [`cli`](Self::cli).
    pub async fn info(&self, field: &str) -> io::Result<String> {
        self.connect().await?.field(field).await
    }

    /// What tells this run from the next.
    ///
    /// # Errors
    ///
    /// As [`cli`](Self::cli).
    pub async fn run_id(&self) -> io::Result<String> {
        self.info("run_id").await
    }
}
