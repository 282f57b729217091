//! The driver's errors, sorted by what the caller and the link can do about them.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use tavern_backend::Error;

/// What a failed command means.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For a person: what is wrong, and what to do.
    pub(crate) reason: String,
    /// The command reached the server and may have been carried out.
    pub(crate) unknown: bool,
    /// The connection is not worth keeping: it is cut, or leads to a server that does not write.
    pub(crate) link: bool,
    /// Nothing that passes by itself.
    pub(crate) lasting: bool,
    /// The backend was closed by this process.
    closed: bool,
    cause: Option<RedisError>,
}

/// What the server says, where it says it with a word of its own, and what to do about it. Redis 6
/// wraps the word of a command inside of a script in a sentence, so it is looked for everywhere.
const WORDS: &[(&str, &str)] = &[
    ("OOM", "the server's memory is full (`maxmemory`): give it more, or keep less"),
    ("MISCONF", "the server refuses writes because it cannot persist them: see its log"),
    (
        "NOREPLICAS",
        "the server refuses writes because it has too few replicas (`min-replicas-to-write`)",
    ),
    ("BUSY", "the server is busy with a long script"),
    ("LOADING", "the server is loading its data"),
    ("READONLY", "the server is a replica and does not write"),
    ("MASTERDOWN", "the server is a replica without its primary"),
    ("CLUSTERDOWN", "the cluster is down"),
    ("TRYAGAIN", "the cluster is moving the namespace's slot to another node"),
    ("MOVED", "the cluster has moved the namespace's slot to another node"),
    ("ASK", "the cluster is moving the namespace's slot to another node"),
    ("WRONGPASS", "the user name or the password is wrong"),
    ("NOAUTH", "the server asks for a password"),
    ("NOPERM", "the server's ACL does not let this user do it"),
    (
        "WRONGTYPE",
        "a key of the namespace holds something else, as if another program used its name: delete \
         it, or choose another namespace",
    ),
];

impl Failure {
    /// A failure without a driver's error behind it.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            unknown: false,
            link: false,
            lasting: false,
            closed: false,
            cause: None,
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

    /// Without saying whether anything was done.
    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        Self { unknown: true, ..Self::new(reason) }
    }

    /// The same, in the middle of what may have been done.
    pub(crate) fn in_doubt(self) -> Self {
        Self { unknown: true, ..self }
    }

    /// The same, after which the link is not what it should be.
    pub(crate) fn ends_link(self) -> Self {
        Self { link: true, ..self }
    }

    /// The same of an attempt to connect to a server: which one it is, and what is in the way.
    pub(crate) fn connecting_to(self, host: &str, port: u16) -> Self {
        match &self.cause {
            Some(cause) if self.unknown => {
                let reason = format!("{host}:{port} cannot be reached: {cause}");
                Self { reason, unknown: false, ..self }
            }
            _ => self,
        }
    }

    /// Whether the server has no memory left.
    pub(crate) fn is_full(&self) -> bool {
        self.cause.as_ref().and_then(RedisError::code) == Some("OOM")
    }

    /// Whether the server has read the request and did none of it.
    pub(crate) const fn is_refusal(&self) -> bool {
        self.cause.is_some() && !self.unknown && !self.link
    }

    /// For what only looks: nothing was changed.
    pub(crate) fn into_error(self) -> Error {
        if self.closed {
            return Error::Closed;
        }
        match (self.lasting, self.cause) {
            (true, _) => Error::incompatible(self.reason),
            (false, Some(cause)) => Error::unavailable_from(self.reason, cause),
            (false, None) => Error::unavailable(self.reason),
        }
    }

    /// For what writes.
    pub(crate) fn to_write_error(&self) -> Error {
        if self.closed {
            return Error::Closed;
        }
        let cause = self.cause.clone();
        match (self.unknown, self.lasting, cause) {
            (true, _, Some(cause)) => Error::outcome_unknown_from(&self.reason, cause),
            (true, _, None) => Error::outcome_unknown(&self.reason),
            (false, true, _) => Error::incompatible(&self.reason),
            (false, false, Some(cause)) => Error::unavailable_from(&self.reason, cause),
            (false, false, None) => Error::unavailable(&self.reason),
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

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let said = error.to_string();
        let code = error.code().unwrap_or_default();
        let word = WORDS.iter().find(|(word, _)| {
            code == *word || said.split(|c: char| !c.is_ascii_uppercase()).any(|part| part == *word)
        });
        let kind = error.kind();
        let server = matches!(kind, ErrorKind::Server(_) | ErrorKind::Extension);
        let (mut link, mut unknown, mut lasting) = (false, false, false);
        let reason = match (word, server) {
            (Some((word, reason)), true) => {
                link = matches!(
                    *word,
                    "READONLY"
                        | "MASTERDOWN"
                        | "MOVED"
                        | "ASK"
                        | "NOAUTH"
                        | "WRONGPASS"
                        | "LOADING"
                );
                lasting = *word == "WRONGTYPE";
                match *word {
                    // It says what it is that the user may not do.
                    "NOPERM" => format!("{reason} ({said})"),
                    _ => (*reason).to_owned(),
                }
            }
            // Without a word of its own, where it is a script that may not.
            (None, true) if said.contains("The user executing the script can't") => {
                format!("the server's ACL does not let this user do it ({said})")
            }
            (None, true) => {
                // An error of the script itself may come from behind its first write.
                unknown = kind == ErrorKind::Server(ServerErrorKind::ResponseError);
                format!("the server refuses: {said}")
            }
            (_, false) => match kind {
                ErrorKind::AuthenticationFailed => {
                    link = true;
                    "the server refuses the user name or the password".to_owned()
                }
                ErrorKind::RESP3NotSupported => {
                    lasting = true;
                    "the server is older than Redis 6.2".to_owned()
                }
                ErrorKind::InvalidClientConfig => {
                    lasting = true;
                    format!("the connection cannot be set up: {said}")
                }
                _ => {
                    (link, unknown) = (true, true);
                    if error.is_timeout() {
                        "the server does not answer in time".to_owned()
                    } else {
                        "the connection to the server is lost".to_owned()
                    }
                }
            },
        };
        Self { reason, unknown, link, lasting, closed: false, cause: Some(error) }
    }
}

#[cfg(test)]
mod tests;
