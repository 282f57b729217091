//! Writing to standard output and error.

use std::fmt;
use std::io::{self, Write};

use crate::failure::Failure;

/// Writes a line to standard output at once.
///
/// # Errors
///
/// With exit code 1 if nobody reads it any more.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        // As `head` ends: nothing to complain about.
        io::ErrorKind::BrokenPipe => Failure::failed(""),
        _ => Failure::failed(format_args!("standard output cannot be written: {error}")),
    })
}

/// Writes a line to standard error.
pub(crate) fn error(text: impl fmt::Display) {
    // There is nowhere left to say that this failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
