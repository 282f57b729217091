//! `tavern demo`.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::kit::{empty, eventually, lines, next, pid, runs, tavern, until, within};

/// The nodes' processes, as the demonstration names them.
fn nodes(told: &str) -> Vec<Pid> {
    let after_pid = |line: &str| line.split("pid ").nth(1)?.trim().parse().ok();
    told.lines().filter_map(after_pid).map(pid).collect()
}

#[tokio::test]
async fn once_it_shows_all_and_leaves_nothing_behind() {
    let dir = empty();
    let mut command = tavern(dir.path());
    let output = command.args(["demo", "--once"]).env("TMPDIR", dir.path()).output();
    let output = within("its end", output).await.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for words in [
        "order 5  arrives on B",
        r#"tavern-reconnected {"replayDelivered":5,"replayDropped":0,"complete":true}"#,
        "lost 0, twice 0, out of order 0, gaps 0",
        "All as it must be.",
    ] {
        assert!(told.contains(words), "no {words:?} in\n{told}");
    }
    let nodes = nodes(&told);
    assert_eq!(nodes.len(), 2, "{told}");
    assert!(!nodes.into_iter().any(runs), "a node is still there");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files are still there");
}

/// A demonstration that has come to the part that stays.
async fn staying(dir: &std::path::Path) -> (Child, Vec<Pid>) {
    let mut command = tavern(dir);
    command.arg("demo").env("TMPDIR", dir).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut printed = lines(&mut child);
    let mut told = String::new();
    loop {
        let line = next(&mut printed).await.unwrap();
        told += &line;
        told.push('\n');
        if line.contains("Both nodes go on") {
            break;
        }
    }
    until(&mut printed, "Ctrl-C").await;
    // The second node was killed and started again: its new process is not in the text.
    let first = nodes(&told)[0];
    assert!(runs(first));
    (child, vec![first])
}

#[tokio::test]
async fn ctrl_c_ends_it_and_its_nodes() {
    let dir = empty();
    let (mut child, nodes) = staying(dir.path()).await;
    kill_process(pid(child.id().unwrap()), Signal::INT).unwrap();
    assert!(within("its end", child.wait()).await.unwrap().success());
    for node in nodes {
        eventually("the end of its nodes", || !runs(node)).await;
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files are still there");
}

#[tokio::test]
async fn its_nodes_end_even_if_it_is_killed() {
    let dir = empty();
    let (mut child, nodes) = staying(dir.path()).await;
    within("its end", child.kill()).await.unwrap();
    for node in nodes {
        eventually("the end of its nodes", || !runs(node)).await;
    }
}
