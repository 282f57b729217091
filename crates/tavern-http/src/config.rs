//! Limits and times.

use std::time::Duration;

use crate::{AdmitRate, AllowedOrigin};

/// How an event stream is written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SseConfig {
    /// How long a client that was cut off waits before it comes back: the `retry:` that leaves with
    /// the headers. 1 s.
    pub retry: Duration,
    /// A random part of this is added to `retry` for each stream, so that the clients of a node
    /// that died do not come back all at once. 1 s.
    pub retry_spread: Duration,
    /// The longest silence: then leaves a comment, or the cursor if it moved. 15 s.
    pub heartbeat: Duration,
    /// What is queued for a connection leaves in writes of about this many bytes. 64 KiB.
    pub coalesce: usize,
}

impl Default for SseConfig {
    fn default() -> Self {
        Self {
            retry: Duration::from_secs(1),
            retry_spread: Duration::from_secs(1),
            heartbeat: Duration::from_secs(15),
            coalesce: 64 << 10,
        }
    }
}

impl SseConfig {
    /// Sets [`retry`](Self::retry) and [`retry_spread`](Self::retry_spread).
    #[must_use]
    pub const fn with_retry(mut self, retry: Duration, spread: Duration) -> Self {
        self.retry = retry;
        self.retry_spread = spread;
        self
    }

    /// Sets [`heartbeat`](Self::heartbeat).
    #[must_use]
    pub const fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }
}

/// What the [`Hub`](crate::Hub) accepts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpConfig {
    /// How streams are written.
    pub sse: SseConfig,
    /// Origins whose pages may read and publish from another site. None.
    pub allow_origins: Vec<AllowedOrigin>,
    /// The most streams open at once; further clients are told to come back. No limit.
    pub max_streams: Option<usize>,
    /// How many streams may begin in a second; further clients are told to come back, spread over
    /// the time it takes to let them in. No limit.
    pub admit: Option<AdmitRate>,
    /// The most `topic` parameters of one stream. 64.
    pub max_topics: usize,
    /// The most bytes in the body of `POST /publish`. 16 MiB.
    pub max_body: usize,
    /// The most messages in one `POST /publish`. 10,000.
    pub max_messages: usize,
    /// How long a request's body may take to arrive. 30 s.
    pub body_timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            sse: SseConfig::default(),
            allow_origins: Vec::new(),
            max_streams: None,
            admit: None,
            max_topics: 64,
            max_body: 16 << 20,
            max_messages: 10_000,
            body_timeout: Duration::from_secs(30),
        }
    }
}

impl HttpConfig {
    /// Sets [`sse`](Self::sse).
    #[must_use]
    pub const fn with_sse(mut self, sse: SseConfig) -> Self {
        self.sse = sse;
        self
    }

    /// Sets [`allow_origins`](Self::allow_origins).
    #[must_use]
    pub fn with_allow_origins(mut self, origins: Vec<AllowedOrigin>) -> Self {
        self.allow_origins = origins;
        self
    }

    /// Sets [`max_streams`](Self::max_streams).
    #[must_use]
    pub const fn with_max_streams(mut self, streams: Option<usize>) -> Self {
        self.max_streams = streams;
        self
    }

    /// Sets [`admit`](Self::admit).
    #[must_use]
    pub const fn with_admit(mut self, rate: Option<AdmitRate>) -> Self {
        self.admit = rate;
        self
    }

    /// Sets [`max_topics`](Self::max_topics).
    #[must_use]
    pub const fn with_max_topics(mut self, topics: usize) -> Self {
        self.max_topics = topics;
        self
    }

    /// Sets [`max_body`](Self::max_body).
    #[must_use]
    pub const fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets [`max_messages`](Self::max_messages).
    #[must_use]
    pub const fn with_max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages;
        self
    }

    /// Sets [`body_timeout`](Self::body_timeout).
    #[must_use]
    pub const fn with_body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }
}
