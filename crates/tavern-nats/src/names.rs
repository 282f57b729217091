//! Names of streams and subjects, and of lanes in them.

use std::fmt::Write as _;

use tavern_backend::{Lane, MessageId, Origin, Scope, Topic};

/// The names of a namespace.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The namespace as a token.
    token: String,
    /// `tavern.NAMESPACE.feed.`
    feed: String,
}

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        let mut token = String::new();
        escape(&mut token, namespace);
        let feed = format!("tavern.{token}.feed.");
        Self { token, feed }
    }

    /// The stream of the entries. A token has no `_`, so no two namespaces share a name.
    pub(crate) fn log_stream(&self) -> String {
        format!("TAVERN_{}", self.token)
    }

    /// The stream that says which log it is and how its epochs grew.
    pub(crate) fn meta_stream(&self) -> String {
        format!("TAVERN_{}_META", self.token)
    }

    /// The one subject of that.
    pub(crate) fn meta(&self) -> String {
        format!("tavern.{}.meta", self.token)
    }

    /// What the subjects of a log begin with. They carry the log's id, so that what was meant for
    /// one log never gets into its successor.
    pub(crate) fn log(&self, log: &str) -> String {
        format!("tavern.{}.log.{log}.", self.token)
    }

    /// A subject of the log that is no lane's.
    pub(crate) fn fence(&self, log: &str) -> String {
        format!("{}fence", self.log(log))
    }

    /// The id of the log whose stream takes this subject.
    pub(crate) fn log_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let rest = subject.strip_prefix("tavern.")?.strip_prefix(self.token.as_str())?;
        let log = rest.strip_prefix(".log.")?.strip_suffix(".>")?;
        (!log.is_empty() && !log.contains(['.', '*', '>'])).then_some(log)
    }

    /// What every node listens to, with everything below.
    pub(crate) fn feed(&self) -> &str {
        &self.feed
    }

    /// Where the server republishes a log.
    pub(crate) fn feed_of_log(&self, log: &str) -> String {
        format!("{}log.{log}.", self.feed)
    }

    /// Where it republishes what the log says of itself.
    pub(crate) fn feed_of_meta(&self) -> String {
        format!("{}meta", self.feed)
    }

    /// What the subjects of live messages begin with.
    pub(crate) fn live(&self) -> String {
        format!("{}live.", self.feed)
    }
}

/// What a lane is called at the end of a subject: its scope, `_` where there is none, then the
/// topic's segments, each a token.
pub(crate) fn lane_name(topic: &Topic, scope: Option<&Scope>) -> String {
    let mut name = String::with_capacity(topic.as_str().len() + 8);
    match scope {
        None => name.push('_'),
        Some(scope) => escape(&mut name, scope.as_str()),
    }
    for segment in topic.as_str().split('/') {
        name.push('.');
        escape(&mut name, segment);
    }
    name
}

/// The lane of a name.
pub(crate) fn parse_lane(name: &str) -> Option<Lane> {
    let (scope, topic) = name.split_once('.')?;
    let scope = match scope {
        "_" => None,
        scope => Some(Scope::new(unescape(scope)?).ok()?),
    };
    let mut text = String::with_capacity(topic.len());
    for (at, segment) in topic.split('.').enumerate() {
        if at > 0 {
            text.push('/');
        }
        text.push_str(&unescape(segment)?);
    }
    Some(Lane { topic: Topic::new(text).ok()?, scope })
}

/// The `Nats-Msg-Id` of a publication. An id that a publisher gave is unique in its lane, so the
/// lane is a part of it; without one it is the publication's key.
pub(crate) fn message_id(lane: &str, id: Option<&MessageId>, key: Origin) -> String {
    match id {
        None => format!("{}.{}", key.node, key.counter),
        Some(id) => {
            let mut name = String::with_capacity(lane.len() + id.as_str().len() + 3);
            name.push_str("i.");
            name.push_str(lane);
            name.push(':');
            escape(&mut name, id.as_str());
            name
        }
    }
}

/// Makes a token of a text: what is neither a letter of ASCII nor a digit nor `-` becomes `=` and
/// two digits of hex for each byte. (Not `%`: the server takes names of streams for patterns of
/// its own formatting, and consumers of such a stream answer nobody.)
fn escape(into: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            into.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(into, "={byte:02X}");
        }
    }
}

fn unescape(token: &str) -> Option<String> {
    if !token.contains('=') {
        return Some(token.to_owned());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let [high, low] = [rest.next()?, rest.next()?].map(|d| char::from(d).to_digit(16));
            bytes.push(u8::try_from(high? * 16 + low?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
