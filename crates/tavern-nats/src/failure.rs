//! The driver's and the server's errors, sorted by what the caller and the link can do about them.

use async_nats::client::{PublishErrorKind, RequestErrorKind, SubscribeError};
use tavern_backend::Error;

/// What a failed request means.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// For a person: what is wrong, and what to do.
    pub(crate) reason: String,
    /// The request may have been carried out.
    pub(crate) unknown: bool,
    /// The link is not worth keeping: it is cut, or leads to a server that does not answer.
    pub(crate) link: bool,
    /// Nothing that passes by itself.
    pub(crate) lasting: bool,
    /// What was asked for is not there, or nobody serves it now.
    pub(crate) absent: bool,
    /// The error code of JetStream, if it is its word; 0 if not.
    pub(crate) code: u32,
    /// The backend was closed by this process.
    closed: bool,
}

/// Codes of JetStream (`err_code`) that are not just passed on, and what to do about them.
const CODES: &[(u32, &str)] = &[
    (10008, "JetStream is not available now: has the cluster enough servers for a leader?"),
    (10023, "the server has no room left for JetStream (`max_file_store`, `max_memory_store`)"),
    (10028, "the account has no room left for JetStream on this tier"),
    (10039, "JetStream is not enabled for this account"),
    (10047, "the server has no room left for JetStream (`max_file_store`, `max_memory_store`)"),
    (10076, "JetStream is not enabled on the server: start it with `-js`"),
    (10074, "the server cannot keep several replicas: that needs a cluster"),
    (10005, "the cluster has not enough servers for the number of replicas"),
    (10002, "the account's limit of storage is reached (`max_file`, `max_mem`)"),
    (10052, "the stream is full and takes nothing new"),
    (10077, "the stream is full and takes nothing new"),
    (10054, "the message is larger than the stream takes (`max_msg_size`)"),
];

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            unknown: false,
            link: false,
            lasting: false,
            absent: false,
            code: 0,
            closed: false,
        }
    }

    /// The same, of the link.
    pub(crate) fn of_link(reason: impl Into<String>) -> Self {
        Self { link: true, ..Self::new(reason) }
    }

    /// The same, of something that does not pass by itself.
    pub(crate) fn lasting(reason: impl Into<String>) -> Self {
        Self { lasting: true, ..Self::new(reason) }
    }

    /// The same, in the middle of what may have been done.
    pub(crate) fn in_doubt(self) -> Self {
        Self { unknown: true, ..self }
    }

    /// An answer that JetStream never gives.
    pub(crate) fn strange(what: &str) -> Self {
        Self::new(format!("the server's answer to {what} cannot be read"))
    }

    /// The same, where nothing was begun.
    pub(crate) fn undone(self) -> Self {
        Self { unknown: false, ..self }
    }

    /// The same, where it says nothing of the link.
    pub(crate) fn of_this_call(self) -> Self {
        Self { link: false, ..self }
    }

    /// JetStream's word.
    pub(crate) fn of_server(status: u32, code: u32, description: &str) -> Self {
        let advice = CODES.iter().find(|(known, _)| *known == code);
        let reason = match advice {
            Some((_, advice)) => format!("{advice} ({description}, error {code})"),
            None => format!("the server refuses: {description} (error {code})"),
        };
        Self { code, absent: status == 404, ..Self::new(reason) }
    }

    /// Nobody answers on a subject.
    pub(crate) fn nobody() -> Self {
        Self {
            absent: true,
            ..Self::new(
                "JetStream does not answer: it is not enabled for this account, or the stream has \
                 no leader now",
            )
        }
    }

    /// For what only looks: nothing was changed.
    pub(crate) fn into_error(self) -> Error {
        match (self.closed, self.lasting) {
            (true, _) => Error::Closed,
            (false, true) => Error::incompatible(self.reason),
            (false, false) => Error::unavailable(self.reason),
        }
    }

    /// For what writes.
    pub(crate) fn to_write_error(&self) -> Error {
        match (self.closed, self.unknown, self.lasting) {
            (true, ..) => Error::Closed,
            (_, true, _) => Error::outcome_unknown(&self.reason),
            (_, false, true) => Error::incompatible(&self.reason),
            (_, false, false) => Error::unavailable(&self.reason),
        }
    }
}

impl From<Error> for Failure {
    /// Why there is no link.
    fn from(error: Error) -> Self {
        match error {
            Error::Closed => Self { closed: true, ..Self::new("the backend is closed") },
            Error::Unavailable { reason, .. } => Self::new(reason),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<async_nats::client::RequestError> for Failure {
    fn from(error: async_nats::client::RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::NoResponders => Self::nobody(),
            RequestErrorKind::TimedOut => {
                Self::of_link("the server does not answer in time").in_doubt()
            }
            RequestErrorKind::MaxPayloadExceeded => {
                Self::new("the request is larger than the server takes")
            }
            _ => Self::of_link("the connection to the server is lost").in_doubt(),
        }
    }
}

impl From<async_nats::PublishError> for Failure {
    fn from(error: async_nats::PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => {
                Self::new("the message is larger than the server takes (`max_payload`)")
            }
            _ => Self::of_link("the connection to the server is lost"),
        }
    }
}

impl From<SubscribeError> for Failure {
    fn from(_: SubscribeError) -> Self {
        Self::of_link("the connection to the server is lost")
    }
}
