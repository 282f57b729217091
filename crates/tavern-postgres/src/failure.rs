//! The driver's errors, sorted by what the caller and the link can do about them.

use std::sync::Arc;

use tavern_backend::Error;
use tokio_postgres::error::{Severity, SqlState};

/// What a failed statement means.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// For a person: what is wrong, and what to do.
    pub(crate) reason: String,
    /// It may have been carried out.
    pub(crate) unknown: bool,
    /// The connection is not worth keeping: it is cut, or leads to a server that does not write.
    pub(crate) link: bool,
    /// Nothing that passes by itself.
    pub(crate) lasting: bool,
    /// The schema is not there, or a part of it.
    pub(crate) absent: bool,
    /// Somebody else was in the way: worth trying again at once.
    pub(crate) again: bool,
    /// There is no room: nothing can be stored, but everything read.
    pub(crate) full: bool,
    /// It took too long, and less might not.
    pub(crate) late: bool,
    /// It is about what was sent: sent again it is refused again.
    pub(crate) refused: bool,
    /// The backend was closed by this process.
    closed: bool,
    cause: Option<Arc<tokio_postgres::Error>>,
}

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            unknown: false,
            link: false,
            lasting: false,
            absent: false,
            again: false,
            full: false,
            refused: false,
            late: false,
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

    /// The same, in the middle of what may have been done.
    pub(crate) fn in_doubt(self) -> Self {
        Self { unknown: true, ..self }
    }

    /// The same, where nothing was begun.
    pub(crate) fn undone(self) -> Self {
        Self { unknown: false, ..self }
    }

    /// The same, saying what it was in the middle of.
    pub(crate) fn while_at(self, what: &str) -> Self {
        Self { reason: format!("{what}: {}", self.reason), ..self }
    }

    /// The same, saying something else that may be why.
    pub(crate) fn and(self, what: &str) -> Self {
        Self { reason: format!("{}; {what}", self.reason), ..self }
    }

    /// The same, after which the link is not what it should be.
    pub(crate) fn ends_link(self) -> Self {
        Self { link: true, ..self }
    }

    /// The database did not answer in time.
    pub(crate) fn silent() -> Self {
        Self::slow().ends_link()
    }

    /// The same, where it may only be busy.
    pub(crate) fn slow() -> Self {
        Self { late: true, ..Self::new("the database does not answer in time").in_doubt() }
    }

    /// Whether a right is missing.
    pub(crate) fn is_denied(&self) -> bool {
        self.cause.as_ref().is_some_and(|e| e.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE))
    }

    /// For what only looks: nothing was changed.
    pub(crate) fn into_error(self) -> Error {
        match (self.closed, self.lasting, self.cause) {
            (true, ..) => Error::Closed,
            (_, true, _) => Error::incompatible(self.reason),
            (_, false, Some(cause)) => Error::unavailable_from(self.reason, cause),
            (_, false, None) => Error::unavailable(self.reason),
        }
    }

    /// For what writes.
    pub(crate) fn to_write_error(&self) -> Error {
        let cause = self.cause.clone();
        match (self.closed, self.unknown, self.lasting, cause) {
            (true, ..) => Error::Closed,
            (_, true, _, Some(cause)) => Error::outcome_unknown_from(&self.reason, cause),
            (_, true, _, None) => Error::outcome_unknown(&self.reason),
            (_, false, true, _) => Error::incompatible(&self.reason),
            (_, false, false, Some(cause)) => Error::unavailable_from(&self.reason, cause),
            (_, false, false, None) => Error::unavailable(&self.reason),
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

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let mut failure = match error.as_db_error() {
            None if error.is_closed() => {
                Self::of_link("the connection to the database is lost").in_doubt()
            }
            None => Self::of_link(format!(
                "the connection to the database is lost: {}",
                sources(&error)
            ))
            .in_doubt(),
            Some(said) => {
                let failure = of_server(said.code(), said.message());
                // It was in the middle of something, and took the connection with it.
                let ends = [Some(Severity::Fatal), Some(Severity::Panic)];
                let ends = ends.contains(&said.parsed_severity());
                if ends { failure.ends_link().in_doubt() } else { failure }
            }
        };
        failure.cause = Some(Arc::new(error));
        failure
    }
}

fn of_server(code: &SqlState, message: &str) -> Failure {
    let said = |what: &str| Failure::new(format!("{what} ({message})"));
    let ends = |what: &str| Failure { link: true, ..said(what) };
    let class = code.code().get(..2).unwrap_or_default();
    match class {
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            ends("the database is read-only, as if it were a replica")
        }
        _ if *code == SqlState::QUERY_CANCELED => Failure {
            late: true,
            ..said("the database has cancelled a statement: is `statement_timeout` too short?")
        },
        _ if *code == SqlState::DISK_FULL => Failure {
            full: true,
            ..said("the database's disk is full; make room, publishing then goes on by itself")
        },
        _ if *code == SqlState::OUT_OF_MEMORY => said("the database is out of memory"),
        _ if *code == SqlState::TOO_MANY_CONNECTIONS => {
            ends("the database takes no more connections (`max_connections`)")
        }
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            said("the role may not do it: see the least rights in the documentation")
        }
        _ if [
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::UNDEFINED_COLUMN,
        ]
        .contains(code)
            || *code == SqlState::INVALID_SCHEMA_NAME =>
        {
            Failure { absent: true, ..said("the schema `tavern` is not there, or not up to date") }
        }
        _ if *code == SqlState::INVALID_PASSWORD
            || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
        {
            ends("the database refuses the user or the password")
        }
        _ if *code == SqlState::INVALID_CATALOG_NAME => ends("there is no such database"),
        // As of functions that only who writes has.
        _ if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            ends("the database does not write, as if it were a replica")
        }
        _ if *code == SqlState::LOCK_NOT_AVAILABLE => {
            said("another transaction holds a lock that is needed: `pg_locks` shows which")
        }
        // Data, and what is too large or too complex.
        "22" | "54" => Failure { refused: true, lasting: true, ..said("the database refuses it") },
        // Deadlock, serialization.
        "40" => Failure { again: true, ..said("the transaction was in another one's way") },
        // Shutting down, starting up, crashed, terminated by an operator; connection exceptions. The
        // end may have come when the work was done.
        "57" | "08" => ends("the database has ended the connection").in_doubt(),
        "53" => said("the database has not enough of something"),
        _ => said("the database refuses"),
    }
}

/// An error with what is behind it.
pub(crate) fn sources(error: &(dyn std::error::Error + 'static)) -> String {
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

#[cfg(test)]
mod tests;
