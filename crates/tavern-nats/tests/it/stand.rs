//! A server that a test hurts, and nodes on it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tavern_backend::{
    Append, Bus, Cursor, Keep, MessageEnvelope, Publication, Published, Result, Retention,
};
use tavern_nats::{NatsBackend, NatsConfig};
use tavern_testkit::engine::{NatsFlavor, NatsOptions, NatsServer};
use tavern_testkit::say::{filter, message};
use tavern_testkit::wait::{patience, with_patience, within};
use tavern_testkit::{Node, Replay, Rig, Stage};

use crate::kit::quick;

/// The stream of the entries.
pub(crate) const LOG: &str = "TAVERN_default";
/// The stream that says which log it is.
pub(crate) const META: &str = "TAVERN_default_META";

/// Makes a test of each function for each version of the server.
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod debian {
            use tavern_testkit::engine::NatsFlavor;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(NatsFlavor::Debian).await;
                }
            )*
        }
        mod current {
            use tavern_testkit::engine::NatsFlavor;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(NatsFlavor::Current).await;
                }
            )*
        }
    };
}
pub(crate) use on_both;

/// A server, and how nodes on it are set up.
#[derive(Clone)]
pub(crate) struct Stand {
    pub(crate) server: Arc<NatsServer>,
    change: Arc<dyn Fn(&mut NatsConfig) + Send + Sync>,
}

impl fmt::Debug for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stand").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Stand {
    pub(crate) async fn start(flavor: NatsFlavor) -> Self {
        Self::start_with(NatsOptions::new(flavor)).await
    }

    pub(crate) async fn start_with(options: NatsOptions) -> Self {
        let server = within("a server starts", NatsServer::start(options)).await.unwrap();
        Self { server: Arc::new(server), change: Arc::new(|_| {}) }
    }

    /// The same server, for nodes that are set up otherwise.
    pub(crate) fn with(&self, change: impl Fn(&mut NatsConfig) + Send + Sync + 'static) -> Self {
        let before = Arc::clone(&self.change);
        let change = move |config: &mut NatsConfig| {
            before(config);
            change(config);
        };
        Self { server: Arc::clone(&self.server), change: Arc::new(change) }
    }

    /// The same server, reached through another port.
    pub(crate) fn through(&self, port: u16) -> Self {
        self.with(move |config| config.servers[0].1 = port)
    }

    pub(crate) fn config(&self) -> NatsConfig {
        let mut config = quick(NatsConfig::new("127.0.0.1", self.server.port()));
        config.retention = Some(keeping(100_000));
        (self.change)(&mut config);
        config
    }

    pub(crate) async fn open(&self) -> Result<NatsBackend> {
        within("a node opens", NatsBackend::open(self.config())).await
    }

    pub(crate) async fn bus(&self) -> Bus {
        Bus::new(self.open().await.unwrap())
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::new(self.clone())
    }

    /// Asks JetStream.
    #[track_caller]
    pub(crate) fn js(&self, subject: &str, body: Value) -> impl Future<Output = Value> + use<> {
        let (server, subject) = (Arc::clone(&self.server), subject.to_owned());
        within("JetStream answers", async move {
            server.js(&subject, body).await.unwrap_or_else(|error| panic!("{subject}: {error}"))
        })
    }

    /// What the server says of a stream.
    #[track_caller]
    pub(crate) fn stream(&self, name: &str) -> impl Future<Output = Value> + use<> {
        self.js(&format!("STREAM.INFO.{name}"), Value::Null)
    }

    /// The settings of the log's stream.
    pub(crate) async fn settings(&self) -> Value {
        self.stream(LOG).await["config"].clone()
    }

    /// Changes settings of the log's stream, as an operator does.
    pub(crate) async fn set(&self, change: Value) {
        let mut settings = self.settings().await;
        for (key, value) in change.as_object().unwrap() {
            settings[key.as_str()] = value.clone();
        }
        self.js(&format!("STREAM.UPDATE.{LOG}"), settings).await;
    }

    /// The subject of a lane that has no scope.
    pub(crate) async fn subject(&self, topic: &str) -> String {
        let settings = self.settings().await;
        let subject = settings["subjects"][0].as_str().unwrap().to_owned();
        format!("{}_.{topic}", subject.strip_suffix('>').unwrap())
    }

    pub(crate) async fn delete(&self, stream: &str) {
        self.js(&format!("STREAM.DELETE.{stream}"), Value::Null).await;
    }

    /// kill -9 and a new start with another configuration file.
    pub(crate) async fn reconfigure(&self, change: impl FnOnce(String) -> String) {
        self.try_reconfigure(patience(), change).await.unwrap();
    }

    /// The same for a server that may not have what the testkit waits for: it runs all the same.
    pub(crate) async fn try_reconfigure(
        &self,
        patience: Duration,
        change: impl FnOnce(String) -> String,
    ) -> io::Result<()> {
        self.server.kill().await.unwrap();
        let file = self.server.dir().join("nats.conf");
        let text = std::fs::read_to_string(&file).unwrap();
        let changed = change(text.clone());
        assert_ne!(text, changed, "there is something to change");
        std::fs::write(&file, changed).unwrap();
        with_patience(patience, self.server.start_again()).await
    }

    /// kill -9 and a new start, with what is on the disk.
    pub(crate) async fn kill_and_start(&self) {
        self.server.kill().await.unwrap();
        self.server.start_again().await.unwrap();
    }
}

impl Rig for Stand {
    type Backend = NatsBackend;

    async fn open(&self, retention: Retention) -> Result<NatsBackend> {
        let mut config = self.config();
        config.retention = Some(retention);
        NatsBackend::open(config).await
    }

    async fn restart(&self) -> Result<()> {
        self.kill_and_start().await;
        Ok(())
    }

    async fn checkpoint(&self) -> Result<()> {
        self.server.save_snapshot().await.unwrap();
        Ok(())
    }

    async fn rewind(&self) -> Result<()> {
        self.server.rewind().await.unwrap();
        Ok(())
    }
}

/// So many entries of each lane for an hour, and none of topics that begin with `live`.
pub(crate) fn keeping(entries: u32) -> Retention {
    let hour = Duration::from_secs(3600);
    Retention::default()
        .with_default(Keep::new(entries, hour))
        .with_rule(filter("live/**"), Keep::live())
}

/// Publishes, and says where it was stored.
#[track_caller]
pub(crate) fn store(bus: &Bus, envelope: MessageEnvelope) -> impl Future<Output = u64> + use<> {
    let (at, bus) = (std::panic::Location::caller(), bus.clone());
    async move {
        match within("a publish", bus.publish(envelope)).await {
            Ok(Published::Stored(position)) => position.seq,
            other => panic!("{at}: stored, not {other:?}"),
        }
    }
}

/// Stores messages on the topic `t`; returns their cursors.
pub(crate) async fn store_all(node: &Node, numbers: impl IntoIterator<Item = u32>) -> Vec<Cursor> {
    let mut cursors = Vec::new();
    for n in numbers {
        cursors.push(Cursor(node.store(message("t", n.to_string())).await));
    }
    cursors
}

/// Appends, knowing nothing of what the log held; what fails for a while is tried again.
#[track_caller]
pub(crate) fn append(
    bus: &Bus,
    publications: Vec<Publication>,
) -> impl Future<Output = Vec<Published>> + use<> {
    let (at, bus) = (std::panic::Location::caller(), bus.clone());
    within("an append", async move {
        loop {
            let append = Append { known: None, publications: publications.clone() };
            match bus.append(append).await {
                Ok(published) => return published,
                Err(error) if error.is_transient() => {}
                Err(error) => panic!("{at}: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

/// The words for why there are gaps.
pub(crate) fn reasons(replay: &Replay) -> Vec<&'static str> {
    replay.reasons().iter().map(|reason| reason.as_str()).collect()
}

/// Numbers as they are published.
pub(crate) fn texts(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

/// Waits until the link is down, and says why it is.
#[track_caller]
pub(crate) fn down(bus: &Bus) -> impl Future<Output = String> + use<> {
    let mut health = bus.health();
    within("the link goes down", async move {
        loop {
            let now = health.get();
            if !now.up {
                return now.reason.unwrap().to_string();
            }
            assert!(health.changed().await.is_some(), "the node is gone");
        }
    })
}

#[track_caller]
pub(crate) fn up(bus: &Bus) -> impl Future<Output = bool> + use<> {
    let mut health = bus.health();
    within("the link comes back", async move { health.wait_up().await })
}

/// Waits until a question to the server or a backend is answered with yes.
#[track_caller]
pub(crate) fn until<F>(what: &str, mut ask: impl FnMut() -> F) -> impl Future<Output = ()>
where
    F: Future<Output = bool>,
{
    within(what, async move {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

/// The log's stream as an operator may have made it: what is given replaces what ours has.
pub(crate) fn settings_of_operator(change: &Value) -> Value {
    let mut settings = json!({
        "name": LOG,
        "subjects": ["tavern.default.log.theirs.>"],
        "retention": "limits",
        "discard": "old",
        "storage": "file",
        "num_replicas": 1,
        "max_msgs_per_subject": 100_001,
        "max_age": 0,
        "duplicate_window": 600_000_000_000_u64,
        "deny_delete": true,
        "deny_purge": true,
        "republish": {
            "src": "tavern.default.log.theirs.>",
            "dest": "tavern.default.feed.log.theirs.>",
        },
    });
    for (key, value) in change.as_object().unwrap() {
        settings[key.as_str()] = value.clone();
    }
    settings
}
