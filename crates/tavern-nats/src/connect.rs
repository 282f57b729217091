//! Finds a server and connects to it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Auth, AuthError, Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use futures_util::future::join_all;
use nkeys::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tavern_backend::{Error, Result};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::{Credentials, NatsConfig, Tls, address};
use crate::failure::Failure;
use crate::outlet::COMPLAINTS;

/// The end of the connections that were made together.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Wakes who keeps the link.
    pub(crate) ended: Notify,
    /// Why. Guards the text only.
    reason: Mutex<Option<String>>,
}

impl Ending {
    pub(crate) fn end(&self, reason: &str) {
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| reason.to_owned());
        self.ended.notify_one();
    }

    pub(crate) fn reason(&self) -> String {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reason.unwrap_or_else(|| LOST.to_owned())
    }
}

pub(crate) const LOST: &str = "the connection to the server is lost";
const LAME: &str = "the server is going out of service (lame duck mode)";

/// Pushes that wait to be taken apart: far more than come while a task waits for its turn.
const PUSHES: usize = 8192;

/// A server, as it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) name: String,
    /// Another one at each start.
    pub(crate) id: String,
}

/// How to connect.
#[derive(Debug)]
pub(crate) struct Connector {
    options: Options,
    /// Addresses that are tried, the next one first.
    addresses: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Options {
    credentials: Credentials,
    tls: Option<Tls>,
    config: NatsConfig,
    name: String,
}

impl Connector {
    pub(crate) fn new(config: &NatsConfig, name: String) -> Result<Self> {
        let addresses =
            config.servers.iter().map(|(host, port)| address(host, *port)).collect::<Vec<_>>();
        for address in &addresses {
            parse(address).map_err(|_| {
                Error::config(format!("`{address}` is not the address of a server"))
            })?;
        }
        if let Credentials::NKey(seed) = &config.credentials {
            KeyPair::from_seed(seed)
                .map_err(|_| Error::config("the NKey is not a seed (`SU…`) of a user"))?;
        }
        let options = Options {
            credentials: config.credentials.clone(),
            tls: config.tls.clone(),
            config: config.clone(),
            name,
        };
        Ok(Self { options, addresses: Mutex::new(addresses) })
    }

    /// Looks at the files that connecting takes.
    pub(crate) async fn check(&self) -> Result<()> {
        self.options.build(Arc::default()).await.map(drop).map_err(Error::config)
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the servers a server knows of.
    pub(crate) fn learn(&self, client: &Client) {
        let known = client.server_info().connect_urls;
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        for url in known {
            if !url.contains('@') && !addresses.contains(&url) && parse(&url).is_ok() {
                addresses.push(url);
            }
        }
    }

    /// Tries this server last from now on.
    pub(crate) fn put_last(&self, address: &str) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = addresses.iter().position(|a| a == address) {
            let address = addresses.remove(at);
            addresses.push(address);
        }
    }

    /// Connects to a server. What ends the connection is told to `ending`, and it is never made
    /// again: what was queued for it might reach a server that lost a part of the log.
    pub(crate) async fn client(
        &self,
        address: &str,
        ending: &Arc<Ending>,
    ) -> std::result::Result<Client, Failure> {
        self.client_with(address, ending, |options| options).await
    }

    /// The same for pushes, of which few may wait: what finds no room is read.
    pub(crate) async fn feed(
        &self,
        address: &str,
        ending: &Arc<Ending>,
    ) -> std::result::Result<Client, Failure> {
        self.client_with(address, ending, |options| options.subscription_capacity(PUSHES)).await
    }

    async fn client_with(
        &self,
        address: &str,
        ending: &Arc<Ending>,
        change: impl FnOnce(ConnectOptions) -> ConnectOptions + Send,
    ) -> std::result::Result<Client, Failure> {
        let in_the_way = |reason: &str| Failure::of_link(format!("{address}: {reason}"));
        let server = parse(address).map_err(|_| in_the_way("it is no address"))?;
        let options = self
            .options
            .build(Arc::clone(ending))
            .await
            .map_err(|error| Failure::of_link(format!("cannot connect: {error}")))?;
        let connecting = change(options).connect(server);
        let limit = self.options.config.timeout;
        match tokio::time::timeout(limit, connecting).await {
            Err(_) => Err(in_the_way("it does not answer in time")),
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(in_the_way(&match error.kind() {
                ConnectErrorKind::AuthorizationViolation => "it refuses the credentials".to_owned(),
                ConnectErrorKind::Authentication => "the credentials cannot be used".to_owned(),
                kind if kind == ConnectErrorKind::Tls || is_tls(&error) => {
                    format!("TLS fails: {}", sources(&error))
                }
                ConnectErrorKind::Dns => "its name is not known".to_owned(),
                ConnectErrorKind::TimedOut => "it does not answer in time".to_owned(),
                _ => format!("it cannot be reached: {}", sources(&error)),
            })),
        }
    }

    /// Asks the servers of these names for their ids. Of one that cannot be asked nothing is known.
    pub(crate) async fn ids(
        &self,
        names: &[String],
        own: &Server,
    ) -> BTreeMap<String, Option<String>> {
        let mut ids = names.iter().map(|name| (name.clone(), None)).collect::<BTreeMap<_, _>>();
        if let Some(id) = ids.get_mut(&own.name) {
            *id = Some(own.id.clone());
        }
        if ids.values().all(Option::is_some) {
            return ids;
        }
        let others = self.addresses().into_iter().filter(|address| *address != own.address);
        let asked = others.map(|address| async move {
            let client = self.client(&address, &Arc::default()).await.ok()?;
            let info = client.server_info();
            Some((info.server_name, info.server_id))
        });
        for (name, id) in join_all(asked).await.into_iter().flatten() {
            if let Some(known) = ids.get_mut(&name) {
                *known = Some(id);
            }
        }
        ids
    }
}

fn parse(address: &str) -> io::Result<ServerAddr> {
    format!("nats://{address}").parse()
}

/// An error with what is behind it: the driver's own text says the kind only.
fn sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

/// Whether TLS has failed.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // What an I/O error holds is not its source.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || held.is_some_and(|held| held.is::<rustls::Error>()) {
            return true;
        }
        next = error.source();
    }
    false
}

impl Options {
    async fn build(&self, ending: Arc<Ending>) -> io::Result<ConnectOptions> {
        let auth = Arc::new(self.auth().await?);
        let (connected, complained) = (AtomicBool::new(false), Mutex::new(None::<Instant>));
        let challenged = move |nonce: Vec<u8>| {
            // The driver reconnects by itself and sends again what it had queued. It must not: the
            // second time it gets no further than this.
            let again = connected.swap(true, Ordering::AcqRel);
            let auth = Arc::clone(&auth);
            async move {
                if again { Err(AuthError::new("the link is over")) } else { auth.answer(&nonce) }
            }
        };
        let config = &self.config;
        let mut options = ConnectOptions::with_auth_callback(challenged)
            .name(&self.name)
            .max_reconnects(1)
            .reconnect_delay_callback(|_| std::time::Duration::ZERO)
            .ignore_discovered_servers()
            .connection_timeout(config.timeout)
            .request_timeout(Some(config.timeout))
            .ping_interval(config.ping_interval)
            .event_callback(move |event| {
                match event {
                    Event::Disconnected | Event::Closed => ending.end(LOST),
                    Event::LameDuckMode => ending.end(LAME),
                    Event::ServerError(error) => ending.end(&format!("the server says: {error}")),
                    Event::SlowConsumer(_) => {
                        // One comes with every push.
                        let mut last = complained.lock().unwrap_or_else(PoisonError::into_inner);
                        if last.is_none_or(|last| last.elapsed() >= COMPLAINTS) {
                            *last = Some(Instant::now());
                            tracing::warn!(
                                "this node is behind: pushes found no room, and are read instead"
                            );
                        }
                    }
                    _ => {}
                }
                std::future::ready(())
            });
        if let Some(prefix) = &config.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        if let Some(tls) = &self.tls {
            options = options.require_tls(true);
            if tls.first {
                options = options.tls_first();
            }
            options = match &tls.ca {
                Some(ca) => options.tls_client_config(trusting(ca, tls.client.as_ref())?),
                None => match &tls.client {
                    Some((cert, key)) => options.add_client_certificate(cert.clone(), key.clone()),
                    None => options,
                },
            };
        }
        Ok(options)
    }

    async fn auth(&self) -> io::Result<Secret> {
        Ok(match &self.credentials {
            Credentials::None => Secret::Plain(Box::default()),
            Credentials::User { username, password } => {
                let mut auth = Auth::new();
                auth.username = Some(username.clone());
                auth.password = Some(password.clone());
                Secret::Plain(Box::new(auth))
            }
            Credentials::Token(token) => {
                let mut auth = Auth::new();
                auth.token = Some(token.clone());
                Secret::Plain(Box::new(auth))
            }
            Credentials::NKey(seed) => Secret::Signed {
                jwt: None,
                pair: Box::new(KeyPair::from_seed(seed).map_err(unusable)?),
            },
            Credentials::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?;
                let part = |name| {
                    decorated(&text, name).ok_or_else(|| {
                        unusable(format!("{}: it has no part `{name}`", path.display()))
                    })
                };
                let (jwt, seed) = (part("NATS USER JWT")?, part("USER NKEY SEED")?);
                let pair = KeyPair::from_seed(seed).map_err(|_| {
                    unusable(format!("{}: the seed in it is none of a user", path.display()))
                })?;
                Secret::Signed { jwt: Some(jwt.to_owned()), pair: Box::new(pair) }
            }
        })
    }
}

fn unusable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The line between `BEGIN name` and `END name`, as a credentials file has it.
fn decorated<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    let begins = |line: &str| {
        line.starts_with("---") && line.trim_matches('-').trim() == format!("BEGIN {name}")
    };
    lines.by_ref().find(|line| begins(line))?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
}

enum Secret {
    Plain(Box<Auth>),
    Signed { jwt: Option<String>, pair: Box<KeyPair> },
}

impl Secret {
    fn answer(&self, nonce: &[u8]) -> std::result::Result<Auth, AuthError> {
        match self {
            Self::Plain(auth) => Ok((**auth).clone()),
            Self::Signed { jwt, pair } => {
                let mut auth = Auth::new();
                auth.signature = Some(pair.sign(nonce).map_err(AuthError::new)?);
                auth.jwt.clone_from(jwt);
                if jwt.is_none() {
                    auth.nkey = Some(pair.public_key());
                }
                Ok(auth)
            }
        }
    }
}

/// TLS that trusts the authorities of a file and no others.
fn trusting(
    ca: &std::path::Path,
    client: Option<&(std::path::PathBuf, std::path::PathBuf)>,
) -> io::Result<rustls::ClientConfig> {
    let bad = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |error: rustls::pki_types::pem::Error| unusable(format!("{path}: {error}"))
    };
    let mut roots = rustls::RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(ca).map_err(bad(ca))? {
        roots.add(cert.map_err(bad(ca))?).map_err(unusable)?;
    }
    if roots.is_empty() {
        return Err(unusable(format!("{}: there is no certificate in it", ca.display())));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    match client {
        None => Ok(config.with_no_client_auth()),
        Some((cert, key)) => {
            let chain = CertificateDer::pem_file_iter(cert)
                .map_err(bad(cert))?
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(bad(cert))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(bad(key))?;
            config.with_client_auth_cert(chain, key).map_err(unusable)
        }
    }
}

#[cfg(test)]
mod tests;
