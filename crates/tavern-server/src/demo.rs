//! `tavern demo`: two nodes as two processes on one file; one is killed; nothing is lost.

mod node;
mod reader;
mod story;

use std::path::Path;

use crate::cli::DemoArgs;
use crate::failure::Failure;
use crate::output;
use crate::signals::Signals;

/// Lines of a node's log that are shown when something went wrong.
const LOG_LINES: usize = 15;

pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let dir = tempfile::Builder::new()
        .prefix("tavern-demo-")
        .tempdir()
        .map_err(|error| Failure::failed(format_args!("no directory can be made: {error}")))?;
    // The nodes live in the story; wherever it ends, they end with it.
    let told = tokio::select! {
        told = story::tell(dir.path(), args.once) => told,
        // Asked to end: for the part that waits for that, a success.
        _ = signals.next() => {
            output::error("tavern: ended; the nodes are gone");
            return if args.once { Err(Failure::failed("")) } else { Ok(()) };
        }
    };
    if told.is_err() {
        for name in ["A", "B"] {
            show_log(dir.path(), name);
        }
    }
    told
}

fn show_log(dir: &Path, name: &str) {
    // Without a log there is nothing to add to the failure that is reported anyway.
    let Ok(log) = std::fs::read_to_string(node::log_path(dir, name)) else { return };
    output::error(format_args!("--- the end of node {name}'s log"));
    let lines: Vec<_> = log.lines().collect();
    for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
        output::error(line);
    }
}
