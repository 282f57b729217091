//! The log: lines on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Begins to log what `filter` lets through.
///
/// # Errors
///
/// If the filter is malformed.
pub(crate) fn start(filter: &str) -> Result<(), Failure> {
    let parsed = EnvFilter::builder().parse(filter).map_err(|error| {
        let hint = "write a level such as `info`, or directives such as `info,tavern_broker=debug`";
        Failure::usage(format_args!("the log filter `{filter}` is malformed: {error}; {hint}"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init()
        .map_err(|error| Failure::failed(format_args!("the log cannot start: {error}")))
}
