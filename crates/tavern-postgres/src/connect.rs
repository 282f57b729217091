//! Connections: made, driven, and noticed when they end.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::poll_fn;
use tavern_backend::Tasks;
use tokio::sync::Notify;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use crate::dsn::Dsn;
use crate::failure::Failure;
use crate::line::Line;

/// How long a connection that is not needed any more waits for its last answers.
const PARTING: Duration = Duration::from_millis(500);

/// The end of the connections that were made together.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Wakes who keeps the link.
    pub(crate) ended: Notify,
    /// Somebody waited in vain for an answer: is there still anybody?
    pub(crate) doubt: Notify,
    over: AtomicBool,
    /// Why. Guards the text only.
    reason: Mutex<Option<String>>,
}

impl Ending {
    pub(crate) fn end(&self, reason: &str) {
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| reason.to_owned());
        self.over.store(true, Ordering::Release);
        self.ended.notify_one();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(crate) fn reason(&self) -> String {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reason.unwrap_or_else(|| "the connection to the database is lost".to_owned())
    }
}

/// Ends the connections of a link when dropped.
#[derive(Debug)]
pub(crate) struct Wires {
    pub(crate) token: CancellationToken,
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

/// How connections are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) dsn: &'a Dsn,
    pub(crate) name: &'a str,
    pub(crate) timeout: Duration,
    pub(crate) tasks: &'a Tasks,
    pub(crate) wires: &'a Wires,
    pub(crate) ending: &'a Arc<Ending>,
}

impl Making<'_> {
    /// Connects. Whatever is notified rings the bell.
    pub(crate) async fn client(self, bell: Option<Arc<Notify>>) -> Result<Line, Failure> {
        let tls = self.dsn.tls().map_err(|error| Failure::lasting(error.to_string()))?;
        let ways = self.dsn.ways();
        let each = self.timeout / u32::try_from(ways.len()).unwrap_or(u32::MAX).max(1);
        let mut outcome = Err(Failure::lasting("the database's address has no host"));
        for (config, useless) in ways {
            outcome = self.one_of(config, useless, each, tls.clone()).await;
            if outcome.is_ok() {
                break;
            }
        }
        let (client, mut connection) = outcome
            .map_err(|failure| failure.while_at(&self.dsn.location()).undone().ends_link())?;
        // What is published may have any character, and has to be what a node can read.
        if let Some(encoding) = connection.parameter("server_encoding")
            && encoding != "UTF8"
        {
            return Err(Failure::lasting(format!(
                "{}: the database has the encoding {encoding}; use one with UTF8, as in CREATE \
                 DATABASE … ENCODING 'UTF8' TEMPLATE template0",
                self.dsn.location()
            )));
        }
        let (token, ending) = (self.wires.token.clone(), Arc::clone(self.ending));
        self.tasks.spawn(async move {
            let driving = async {
                loop {
                    match poll_fn(|cx| connection.poll_message(cx)).await {
                        Some(Ok(AsyncMessage::Notification(_))) => {
                            if let Some(bell) = &bell {
                                bell.notify_one();
                            }
                        }
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Failure::from(error).reason,
                        None => return "the connection to the database is lost".to_owned(),
                    }
                }
            };
            tokio::pin!(driving);
            tokio::select! {
                reason = &mut driving => ending.end(&reason),
                // What is under way is answered first: a pooler may hand on a connection whose
                // client has left, and with it an answer that somebody else would get.
                () = token.cancelled() => drop(tokio::time::timeout(PARTING, driving).await),
            }
        });
        Ok(Line::new(client, Arc::clone(self.ending)))
    }

    /// Connects to a host, or to one of several that are alike.
    async fn one_of(
        &self,
        mut config: Config,
        useless: Option<String>,
        limit: Duration,
        tls: MakeRustlsConnect,
    ) -> Result<(Client, Driver), Failure> {
        if config.get_application_name().is_none() {
            config.application_name(self.name);
        }
        if config.get_connect_timeout().is_none() {
            // One that does not answer leaves some to the others.
            let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX);
            config.connect_timeout(limit / hosts.max(1));
        }
        if self.dsn.config.get_hosts().len() > 1
            && config.get_target_session_attrs() == TargetSessionAttrs::Any
        {
            // The one that writes.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        timed(limit, config.connect(tls)).await.map_err(|failure| match useless {
            // Perhaps it is not asked for; then something else is wrong.
            Some(useless) => failure.and(&useless),
            None if failure.is_denied() => failure.and(&format!(
                "let its owner run: GRANT CONNECT ON DATABASE {} TO {};",
                quoted(config.get_dbname().or(config.get_user())),
                quoted(config.get_user())
            )),
            None => failure,
        })
    }
}

/// What drives a connection.
type Driver =
    Connection<Socket, <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream>;

/// A name as a statement has it.
fn quoted(name: Option<&str>) -> String {
    format!("\"{}\"", name.unwrap_or_default().replace('"', "\"\""))
}

/// Waits for the database, but not for ever.
pub(crate) async fn timed<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::silent()),
    }
}
