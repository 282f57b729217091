//! The settings of the two streams: as they are created, and what is wrong with those of others.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tavern_backend::{Keep, Retention};

use crate::config::{NatsConfig, Storage};
use crate::failure::Failure;
use crate::meta::Keeps;
use crate::names::Names;
use crate::number::nanos;

type Settings = Map<String, Value>;

/// Messages of a subject the log's stream keeps at least, so that a publication sent again is
/// recognised after the server has restarted.
const LEAST: u32 = 64;

/// What the rules ask of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Messages of a subject: one more than any rule keeps, which tells the floor.
    pub(crate) per_subject: i64,
    /// How long a message stays; `None` for ever.
    pub(crate) age: Option<Duration>,
}

impl Needs {
    pub(crate) fn new(retention: &Retention, config: &NatsConfig) -> Self {
        let keeps = || retention.rules.iter().map(|rule| rule.keep).chain([retention.default]);
        let retained = || keeps().filter(|keep: &Keep| !keep.is_live());
        let most = retained().map(|keep| keep.entries).max().unwrap_or(0);
        let endless = retained().any(|keep| keep.age.is_zero());
        let age = retained().map(|keep| keep.age).max().unwrap_or(Duration::ZERO);
        // The server refuses a window for duplicates that is longer than this.
        let age = age.max(config.dedup_window).saturating_add(config.lane_memory);
        Self {
            per_subject: i64::from(most.saturating_add(1).max(LEAST)),
            age: (!endless).then_some(age),
        }
    }
}

/// What matters of a stream that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Messages of a subject; `None` for any number.
    pub(crate) per_subject: Option<u64>,
    pub(crate) age: Option<Duration>,
    /// Entries go for no other reason than these two, so that nothing can be missing that the floors
    /// do not tell.
    pub(crate) closed: bool,
    pub(crate) replicas: u64,
    /// The largest message, with headers; `None` for the server's limit.
    pub(crate) largest: Option<usize>,
}

impl Limits {
    pub(crate) fn keeps(&self) -> Keeps {
        Keeps { per_subject: self.per_subject, age: self.age }
    }
}

fn settings(name: &str, subject: &str, feed: &str, config: &NatsConfig) -> Settings {
    let storage = match config.storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    };
    let settings = json!({
        "name": name,
        "subjects": [subject],
        "retention": "limits",
        "discard": "old",
        "storage": storage,
        "num_replicas": config.replicas,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msg_size": -1,
        // A single message, or a topic's, taken out would be missed by nobody who counts.
        "deny_delete": true,
        "deny_purge": true,
        "republish": { "src": subject, "dest": feed },
    });
    match settings {
        Value::Object(settings) => settings,
        _ => Settings::new(),
    }
}

/// The stream of the entries.
pub(crate) fn of_log(names: &Names, log: &str, needs: Needs, config: &NatsConfig) -> Settings {
    let (subject, feed) = (format!("{}>", names.log(log)), format!("{}>", names.feed_of_log(log)));
    let mut settings = settings(&names.log_stream(), &subject, &feed, config);
    settings.insert("max_msgs_per_subject".to_owned(), needs.per_subject.into());
    settings.insert("max_age".to_owned(), needs.age.map_or(0, nanos).into());
    settings.insert("duplicate_window".to_owned(), nanos(config.dedup_window).into());
    settings
}

/// The stream of what the log says of itself.
pub(crate) fn of_meta(names: &Names, config: &NatsConfig) -> Settings {
    let feed = names.feed_of_meta();
    let mut settings = settings(&names.meta_stream(), &names.meta(), &feed, config);
    settings.insert("max_msgs_per_subject".to_owned(), 1.into());
    settings
}

/// Looks at the settings of a log's stream. Nothing is changed; what differs is put into words.
pub(crate) fn check(
    actual: &Settings,
    names: &Names,
    needs: Needs,
    config: &NatsConfig,
) -> Result<(Limits, String, Vec<String>), Failure> {
    let name = names.log_stream();
    let text = |key: &str| actual.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| actual.get(key).and_then(Value::as_i64).unwrap_or_default();
    let flag = |key: &str| actual.get(key).and_then(Value::as_bool).unwrap_or_default();
    let wrong = |reason: String| {
        Err(Failure::lasting(format!(
            "the stream {name} cannot hold a log: {reason}. Change it, or delete it and let a node \
             create it"
        )))
    };
    let subjects = actual.get("subjects").and_then(Value::as_array);
    let [Value::String(subject)] = subjects.map_or(&[][..], Vec::as_slice) else {
        return wrong(format!("it must have one subject, `{}>`", names.log("ID")));
    };
    let Some(log) = names.log_of(subject) else {
        return wrong(format!("its subject is `{subject}`, not `{}>`", names.log("ID")));
    };
    let republish = actual.get("republish").and_then(Value::as_object);
    let part = |key: &str| republish.and_then(|r| r.get(key)).and_then(Value::as_str);
    let feed = format!("{}>", names.feed_of_log(log));
    let whole =
        !republish.and_then(|r| r.get("headers_only")).and_then(Value::as_bool).unwrap_or_default();
    if part("src") != Some(subject) || part("dest") != Some(feed.as_str()) || !whole {
        return wrong(format!("it must republish `{subject}` to `{feed}`, with bodies"));
    }
    if text("retention") != "limits" {
        return wrong("its retention must be `limits`".to_owned());
    }
    if text("discard") != "old" {
        return wrong("it must discard old messages, not new ones".to_owned());
    }
    if flag("sealed") {
        return wrong("it is sealed".to_owned());
    }
    if flag("no_ack") {
        return wrong("it must acknowledge (`no_ack` is set)".to_owned());
    }

    let mut differs = Vec::new();
    let positive = |key: &str| u64::try_from(number(key)).ok().filter(|n| *n > 0);
    let per_subject = positive("max_msgs_per_subject");
    if let Some(limit) = per_subject
        && limit < u64::try_from(needs.per_subject).unwrap_or(0)
    {
        differs.push(format!(
            "max_msgs_per_subject is {limit}, the rules ask for {}: lanes keep less than they should",
            needs.per_subject
        ));
    }
    let age = positive("max_age").map(Duration::from_nanos);
    if let Some(limit) = age
        && needs.age.is_none_or(|needed| limit < needed)
    {
        let needed = needs.age.map_or_else(|| "none".to_owned(), |age| format!("{age:?}"));
        differs.push(format!("max_age is {limit:?}, the rules ask for {needed}"));
    }
    let window = positive("duplicate_window").map_or(Duration::ZERO, Duration::from_nanos);
    if window < config.dedup_window {
        differs.push(format!(
            "duplicate_window is {window:?}, configured is {:?}: a message sent again later than \
             that is stored twice",
            config.dedup_window
        ));
    }
    let mut closed = true;
    for (limit, what) in [("max_msgs", "messages"), ("max_bytes", "bytes")] {
        if let Some(most) = positive(limit) {
            closed = false;
            differs.push(format!(
                "{limit} is {most}: beyond so many {what} the oldest go, whatever the rules say"
            ));
        }
    }
    if let Some(most) = positive("max_consumers") {
        differs.push(format!(
            "max_consumers is {most}: each read that is under way takes one, and fails without"
        ));
    }
    for deny in ["deny_delete", "deny_purge"] {
        if !flag(deny) {
            closed = false;
            differs.push(format!(
                "{deny} is not set: what is taken out of single topics by hand is missed by nobody"
            ));
        }
    }
    if flag("allow_rollup_hdrs") {
        closed = false;
        differs.push("allow_rollup_hdrs is set".to_owned());
    }
    let replicas = positive("num_replicas").unwrap_or(1);
    if replicas != u64::from(config.replicas) {
        differs.push(format!("num_replicas is {replicas}, configured is {}", config.replicas));
    }
    let storage = match config.storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    };
    if text("storage") != storage {
        differs.push(format!("storage is `{}`, configured is `{storage}`", text("storage")));
    }
    let largest = positive("max_msg_size").and_then(|size| usize::try_from(size).ok());
    let limits = Limits { per_subject, age, closed, replicas, largest };
    Ok((limits, log.to_owned(), differs))
}
