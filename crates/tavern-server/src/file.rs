//! The configuration file.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::Path;

use serde::Deserialize;
use tavern::backend::{Keep, Retention, TopicFilter};

use crate::cli::Durability;
use crate::failure::Failure;
use crate::span::Span;

/// The file that is read if none is named.
const DEFAULT: &str = "tavern.toml";

/// What may stand in the file; anything else is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) listen: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) anonymous: Option<bool>,
    pub(crate) allow_origins: Option<Vec<String>>,
    pub(crate) durability: Option<Durability>,
    pub(crate) log: Option<String>,
    pub(crate) heartbeat: Option<Span>,
    pub(crate) retry: Option<Span>,
    pub(crate) max_streams: Option<usize>,
    pub(crate) admit_rate: Option<NonZeroU32>,
    pub(crate) admit_burst: Option<NonZeroU32>,
    pub(crate) max_topics: Option<usize>,
    pub(crate) max_body: Option<usize>,
    pub(crate) max_messages: Option<usize>,
    pub(crate) ring_bytes: Option<usize>,
    pub(crate) shutdown_timeout: Option<Span>,
    /// Write the rules below into a log that has others.
    pub(crate) apply_retention: Option<bool>,
    /// First match first.
    #[serde(default)]
    retention: Vec<Rule>,
}

/// How much is kept of the topics that a filter matches.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    topics: TopicFilter,
    /// Entries per topic and scope; 0 makes the topics live.
    keep: u32,
    /// `0s` is no limit.
    age: Option<Span>,
}

impl File {
    /// Reads the file that was named, which must exist, or else the default one, which need not.
    pub(crate) fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or(Path::new(DEFAULT));
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(Failure::usage(format_args!(
                    "the configuration file `{shown}` cannot be read: {error}"
                )));
            }
        };
        Self::parse(&text)
            .map_err(|error| Failure::usage(format_args!("in `{shown}`: {}", error.trim_end())))
    }

    /// Reads the file's text; the error says line and column.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The retention rules, if there are any.
    pub(crate) fn retention(&self) -> Option<Retention> {
        if self.retention.is_empty() {
            return None;
        }
        let rules = self.retention.iter().fold(Retention::default(), |retention, rule| {
            let age = rule.age.map_or(Keep::default().age, |age| age.0);
            retention.with_rule(rule.topics.clone(), Keep::new(rule.keep, age))
        });
        Some(rules)
    }
}
