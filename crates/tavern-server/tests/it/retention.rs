//! The rules in the log, and those that a hub is configured with.

use std::fs::{self, File};
use std::path::Path;

use crate::kit::{Node, empty, tavern};

/// A hub that keeps `keep` messages, and what it logs until it listens.
async fn hub(dir: &Path, keep: u32, more: &str) -> (Node, String) {
    let file = format!("{more}\n[[retention]]\ntopics = \"short/**\"\nkeep = {keep}\nage = \"1h\"");
    fs::write(dir.join("tavern.toml"), file).unwrap();
    let mut command = tavern(dir);
    let log = dir.join("log");
    command.args(["serve", "--listen", "127.0.0.1:0"]).stderr(File::create(&log).unwrap());
    let node = Node::of(command).await;
    (node, fs::read_to_string(log).unwrap())
}

#[tokio::test]
async fn a_hub_that_follows_other_rules_than_its_own_says_so_at_the_start() {
    let dir = empty();
    let (first, log) = hub(dir.path(), 5, "").await;
    assert!(!log.contains("WARN"), "{log}");

    let (second, log) = hub(dir.path(), 2, "").await;
    let warning = log.lines().find(|line| line.contains("WARN")).unwrap_or_else(|| panic!("{log}"));
    for words in [
        "configured to keep 2 messages of at most 3600s of `short/**`",
        "the log keeps 5 messages of at most 3600s of `short/**`",
        "the log's rules are followed",
        "`apply_retention = true`",
    ] {
        assert!(warning.contains(words), "{words}: {warning}");
    }
    let one = second.post("short/a", "1").await;
    for data in ["2", "3", "4", "5", "6"] {
        second.post("short/a", data).await;
    }
    let mut stream = second.stream("short/a", &one).await;
    assert_eq!(stream.message().await.0, "2", "five are kept");

    let (third, log) = hub(dir.path(), 2, "apply_retention = true").await;
    assert!(!log.contains("WARN"), "{log}");
    assert!(log.contains("from now on it keeps 2 messages"), "{log}");
    // The others may still have in memory what the log no longer keeps.
    let mut stream = third.stream("short/a", &one).await;
    stream.event("tavern-replay-gap").await;
    assert_eq!(stream.message().await.0, "5", "two are kept");
    drop(first);
}
