//! What a hub runs with: command line over environment over file over defaults.

use std::num::NonZeroU32;
use std::time::Duration;

use tavern::backend::Retention;
use tavern::http::{AdmitRate, AllowedOrigin, HttpConfig, SseConfig};

use crate::cli::{Durability, ServeArgs};
use crate::failure::Failure;
use crate::file::File;

/// What a hub runs with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) backend: String,
    pub(crate) namespace: Option<String>,
    pub(crate) anonymous: bool,
    pub(crate) durability: Option<Durability>,
    pub(crate) retention: Option<Retention>,
    pub(crate) apply_retention: bool,
    pub(crate) log: String,
    pub(crate) ring_bytes: Option<usize>,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) http: HttpConfig,
}

impl Settings {
    /// Puts the sources together; the environment is in `args` already, beneath the command line.
    pub(crate) fn new(args: ServeArgs, file: File) -> Result<Self, Failure> {
        let retention = file.retention();
        let mut http = HttpConfig::default();
        http.sse = sse(&args, &file);
        http.allow_origins = match args.allow_origins {
            Some(origins) => origins,
            None => origins(file.allow_origins.unwrap_or_default())?,
        };
        http.max_streams = args.max_streams.or(file.max_streams);
        http.admit =
            admit(args.admit_rate.or(file.admit_rate), args.admit_burst.or(file.admit_burst))?;
        http.max_topics = args.max_topics.or(file.max_topics).unwrap_or(http.max_topics);
        http.max_body = args.max_body.or(file.max_body).unwrap_or(http.max_body);
        http.max_messages = args.max_messages.or(file.max_messages).unwrap_or(http.max_messages);
        let shutdown = args.shutdown_timeout.or(file.shutdown_timeout);
        let apply_retention = file.apply_retention.unwrap_or(false);
        if apply_retention && retention.is_none() {
            return Err(Failure::usage(
                "`apply_retention` is set, but the file has no `[[retention]]` rules",
            ));
        }
        let or = |given: Option<String>, file: Option<String>, default: &str| {
            given.or(file).unwrap_or_else(|| default.to_owned())
        };
        Ok(Self {
            listen: or(args.listen, file.listen, "127.0.0.1:8080"),
            backend: or(args.backend, file.backend, "sqlite:tavern.db"),
            namespace: args.namespace.or(file.namespace),
            anonymous: args.anonymous.or(file.anonymous).unwrap_or(false),
            durability: args.durability.or(file.durability),
            retention,
            apply_retention,
            log: or(args.log, file.log, "info"),
            ring_bytes: args.ring_bytes.or(file.ring_bytes),
            shutdown_timeout: shutdown.map_or(Duration::from_secs(10), |span| span.0),
            http,
        })
    }
}

fn sse(args: &ServeArgs, file: &File) -> SseConfig {
    let mut sse = SseConfig::default();
    if let Some(heartbeat) = args.heartbeat.or(file.heartbeat) {
        sse = sse.with_heartbeat(heartbeat.0);
    }
    if let Some(retry) = args.retry.or(file.retry) {
        sse = sse.with_retry(retry.0, retry.0);
    }
    sse
}

/// How many streams may begin, if that is limited.
fn admit(
    rate: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
) -> Result<Option<AdmitRate>, Failure> {
    match (rate, burst) {
        (Some(rate), burst) => {
            let rate = AdmitRate::per_second(rate);
            Ok(Some(burst.map_or(rate, |burst| rate.with_burst(burst))))
        }
        (None, Some(_)) => Err(Failure::usage(
            "`admit_burst` is set without `admit_rate`, the streams that may begin in a second",
        )),
        (None, None) => Ok(None),
    }
}

fn origins(texts: Vec<String>) -> Result<Vec<AllowedOrigin>, Failure> {
    let parse = |text: String| text.parse().map_err(Failure::usage);
    texts.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests;
