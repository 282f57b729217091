//! `tavern demo`: two nodes as two processes on one file; one is killed; nothing is lost.

mod node;
mod reader;
mod story;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

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
            remove(dir).await;
            return if args.once { Err(Failure::failed("")) } else { Ok(()) };
        }
    };
    if told.is_err() {
        for name in ["A", "B"] {
            show_log(dir.path(), name);
        }
    }
    remove(dir).await;
    told
}

/// Removes the directory, in which a process that was just killed may have written a moment ago.
async fn remove(dir: TempDir) {
    let path = dir.keep();
    for _ in 0..100 {
        if std::fs::remove_dir_all(&path).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    output::error(format_args!("tavern: {} could not be removed", path.display()));
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
