//! One server, and talking to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

use super::config::{self, OURSELVES};
use super::conn::{Login, NatsConn};
use super::life::is_taken;
use super::options::{NatsAuth, NatsOptions, NatsTls};
use super::tls;
use crate::engine::certificate;
use crate::engine::daemon::Daemon;
use crate::engine::guarded;
use crate::engine::port::PortLease;

/// How far above its port its monitoring is: there a lease keeps another port free.
const ABOVE: u16 = 10_000;

/// A NATS on a loopback port and a directory of its own, which go with it.
#[derive(Debug)]
pub struct NatsServer {
    // First, so that it is dead before its directory goes.
    pub(super) daemon: Mutex<Arc<Daemon>>,
    pub(super) program: PathBuf,
    pub(super) name: String,
    /// The name of the cluster that it is in.
    pub(super) cluster: Option<String>,
    options: NatsOptions,
    port: PortLease,
    dir: TempDir,
}

impl NatsServer {
    /// Starts a server, empty, and waits until it answers, JetStream included.
    ///
    /// # Errors
    ///
    /// If the program is not there (the error says what to install), or does not start: with its
    /// last words.
    pub async fn start(options: impl Into<NatsOptions>) -> io::Result<Self> {
        let options = options.into();
        let mut tries = 0..5;
        loop {
            // A name of its own tells it from another that took the port.
            let name = format!("tavern-{:016x}", fastrand::u64(..));
            let server = Self::spawn(options.clone(), name, None)?;
            match server.is_up().await {
                // Somebody who asks for no lease was faster.
                Err(error) if is_taken(&error) && tries.next().is_some() => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
    }

    pub(super) fn spawn(
        options: NatsOptions,
        name: String,
        cluster: Option<String>,
    ) -> io::Result<Self> {
        let program = options.flavor.program()?;
        let port = PortLease::take()?;
        let dir = tempfile::tempdir()?;
        if options.tls != NatsTls::No {
            certificate::write(dir.path())?;
        }
        if options.tls == NatsTls::Mutual {
            tls::write_client(dir.path())?;
        }
        let text = config::file(&options, dir.path(), &name, port.get(), port.get() + ABOVE);
        fs::write(dir.path().join(config::NAME), text)?;
        let daemon = Mutex::new(Arc::new(start(&program, dir.path())?));
        Ok(Self { daemon, program, name, cluster, options, port, dir })
    }

    pub(super) fn spawn_again(&self) -> io::Result<()> {
        if self.is_running() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the engine is running"));
        }
        let daemon = Arc::new(start(&self.program, self.dir())?);
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = daemon;
        Ok(())
    }

    /// What it was started with.
    #[must_use]
    pub fn options(&self) -> &NatsOptions {
        &self.options
    }

    /// Its port, the same after each start.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    pub(super) fn http_port(&self) -> u16 {
        self.port() + ABOVE
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// `nats://127.0.0.1:PORT`, or `tls://…`, with the token or with the name and password of the
    /// first user that has one, if they are asked for.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.options.tls == NatsTls::No { "nats" } else { "tls" };
        let user = match &self.options.auth {
            NatsAuth::Token(token) => format!("{token}@"),
            NatsAuth::Users(users) => {
                let user = users.iter().find_map(|user| user.password());
                user.map(|(name, word)| format!("{name}:{word}@")).unwrap_or_default()
            }
            NatsAuth::Raw(_, Some((name, word))) => format!("{name}:{word}@"),
            NatsAuth::None | NatsAuth::Raw(_, None) => String::new(),
        };
        format!("{scheme}://{user}{}", self.addr())
    }

    /// The certificate of the authority that signed its own.
    ///
    /// # Errors
    ///
    /// If it was started without TLS.
    pub fn ca_pem(&self) -> io::Result<String> {
        fs::read_to_string(self.dir().join("ca.pem"))
    }

    /// The files with the certificate and the key of a client that a server with
    /// [`NatsTls::Mutual`] lets in.
    #[must_use]
    pub fn client_files(&self) -> (PathBuf, PathBuf) {
        (self.dir().join("client.pem"), self.dir().join("client.key"))
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A connection for as long as the test likes, as a user who may do everything.
    ///
    /// # Errors
    ///
    /// If the server does not take it.
    pub async fn connect(&self) -> io::Result<NatsConn> {
        let login = match &self.options.auth {
            NatsAuth::None | NatsAuth::Raw(_, None) => Login::Nobody,
            NatsAuth::Token(token) => Login::Token(token),
            NatsAuth::Users(_) => Login::User(OURSELVES.0, OURSELVES.1),
            NatsAuth::Raw(_, Some((name, word))) => Login::User(name, word),
        };
        self.log_in(login).await
    }

    /// A connection as this user.
    ///
    /// # Errors
    ///
    /// If the server does not take it.
    pub async fn connect_as(&self, name: &str, password: &str) -> io::Result<NatsConn> {
        self.log_in(Login::User(name, password)).await
    }

    async fn log_in(&self, login: Login<'_>) -> io::Result<NatsConn> {
        let tls = match self.options.tls {
            NatsTls::No => None,
            NatsTls::Server | NatsTls::Mutual => Some(tls::connector(self.dir())?),
        };
        NatsConn::connect(&self.addr(), login, tls).await
    }

    /// Asks JetStream on a new connection: `subject` is what follows `$JS.API.`, such as
    /// `STREAM.INFO.orders`.
    ///
    /// # Errors
    ///
    /// An answer that is an error, as the server wrote it; no answer within ten seconds.
    pub async fn js(&self, subject: &str, body: Value) -> io::Result<Value> {
        self.connect().await?.js(subject, body).await
    }
}

fn start(program: &Path, dir: &Path) -> io::Result<Daemon> {
    let mut command = guarded::command(program, "KILL")?;
    command.arg("-c").arg(dir.join(config::NAME)).current_dir(dir);
    guarded::spawn(command, dir.join("server.log"))
}
