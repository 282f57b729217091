//! The log: lines on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::failure::Failure;

/// The driver of NATS calls it an error when a connection ends that is not to be made again by itself.
/// The backend says in its own words what becomes of a link, so this is for those who ask for it.
const DRIVER: &str = "async_nats";

/// Begins to log what `filter` lets through.
///
/// # Errors
///
/// If the filter is malformed.
pub(crate) fn start(filter: &str) -> Result<(), Failure> {
    let parsed = parse(filter)?;
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        // That nobody reads standard error any more can only be said there, which would be a panic.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .try_init()
        .map_err(|error| Failure::failed(format_args!("the log cannot start: {error}")))
}

fn parse(filter: &str) -> Result<EnvFilter, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        let hint = "write a level such as `info`, or directives such as `info,tavern_broker=debug`";
        Failure::usage(format_args!("the log filter `{filter}` is malformed: {error}; {hint}"))
    };
    let parsed = EnvFilter::builder().parse(filter).map_err(|error| wrong(&error))?;
    if filter.contains(DRIVER) {
        return Ok(parsed);
    }
    let silent = format!("{DRIVER}={}", LevelFilter::OFF).parse();
    Ok(parsed.add_directive(silent.map_err(|error| wrong(&error))?))
}

#[cfg(test)]
mod tests;
