//! Other processes: the test that spawns one is run again in it, and does the other half.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use tavern_backend::{Append, Backend, Keep, Origin, Publication, Published, Retention};
use tavern_sqlite::{SqliteBackend, SqliteConfig};

use crate::kit::{SOON, message, origin};

const DB: &str = "TAVERN_SQLITE_TEST_DB";
const WRITER: &str = "TAVERN_SQLITE_TEST_WRITER";
const COUNT: &str = "TAVERN_SQLITE_TEST_COUNT";
const GATE: &str = "TAVERN_SQLITE_TEST_GATE";

/// A process that publishes `<writer>-<counter>` under the keys (writer, counter), counted from 1,
/// and tells what was acknowledged.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) id: u64,
    child: Child,
    lines: Receiver<String>,
    /// The seqs of what was acknowledged, in the order of the counters.
    pub(crate) acked: Vec<u64>,
    /// The last counter of the batch that was published last.
    pub(crate) sent: usize,
}

impl Writer {
    /// Starts one that publishes `count` messages. `test` is the full name of the calling test,
    /// which begins with [`be_a_writer`].
    pub(crate) fn spawn(test: &str, db: &Path, id: u64, count: u64) -> Self {
        Self::spawn_behind(test, db, id, count, None)
    }

    /// Starts one that waits for the lock on the file `gate` before it opens the log.
    pub(crate) fn spawn_behind(
        test: &str,
        db: &Path,
        id: u64,
        count: u64,
        gate: Option<&Path>,
    ) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(DB, db)
            .env(WRITER, id.to_string())
            .env(COUNT, count.to_string())
            .envs(gate.map(|gate| (GATE, gate)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = read_lines(child.stderr.take().unwrap());
        Self { id, child, lines, acked: Vec::new(), sent: 0 }
    }

    /// Waits until it stands before the gate.
    pub(crate) fn wait_ready(&mut self) {
        while self.lines.recv_timeout(SOON).expect("the writer starts") != "waits" {}
    }

    /// Waits until so many messages are acknowledged.
    pub(crate) fn wait_acked(&mut self, count: usize) {
        while self.acked.len() < count {
            let line = self.lines.recv_timeout(SOON).expect("the writer goes on");
            self.note(&line);
        }
    }

    /// Takes in what was acknowledged until now.
    pub(crate) fn drain(&mut self) -> usize {
        while let Ok(line) = self.lines.try_recv() {
            self.note(&line);
        }
        self.acked.len()
    }

    fn note(&mut self, line: &str) {
        if let Some(last) = line.strip_prefix("sends ") {
            self.sent = last.parse().unwrap();
            return;
        }
        match line.strip_prefix("acked ").and_then(|rest| rest.split_once(' ')) {
            Some((counter, seq)) => {
                assert_eq!(counter.parse(), Ok(self.acked.len() + 1), "in order");
                self.acked.push(seq.parse().unwrap());
            }
            None => assert!(!line.contains("panicked"), "{line}"),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until a SIGSTOP has come through.
    pub(crate) fn wait_stopped(&self) {
        let stat = format!("/proc/{}/stat", self.child.id());
        let begun = tokio::time::Instant::now();
        // The state stands behind the name, which ends with the last bracket.
        while !std::fs::read_to_string(&stat).unwrap().rsplit_once(')').unwrap().1.starts_with(" T")
        {
            assert!(begun.elapsed() < SOON, "it stops");
            std::thread::yield_now();
        }
    }

    /// Ends it as kill -9 does, and takes in what it still said.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while let Ok(line) = self.lines.recv_timeout(SOON) {
            self.note(&line);
        }
    }

    /// Waits until it has published all and ended.
    pub(crate) fn finish(&mut self) {
        while let Ok(line) = self.lines.recv_timeout(SOON) {
            self.note(&line);
        }
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Most have ended before; nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines that were written to their end: a process that is killed may stop in the middle of one.
fn read_lines(stderr: ChildStderr) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stderr);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|size| size > 0) && line.ends_with('\n') {
            if sender.send(line.trim_end().to_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    lines
}

/// Keeps everything.
pub(crate) fn config(db: impl Into<PathBuf>) -> SqliteConfig {
    SqliteConfig::new(db).with_retention(
        Retention::default()
            .with_default(Keep::new(1_000_000, std::time::Duration::from_secs(3600))),
    )
}

pub(crate) fn publication(key: Origin) -> Publication {
    let data = format!("{}-{}", key.node.to_u64(), key.counter);
    let topic = format!("topic/{}", key.counter % 7);
    Publication { key, envelope: message(&topic, &data), accepted: tokio::time::Instant::now() }
}

/// In a process that was spawned for it: publishes and returns true. Else returns false.
pub(crate) async fn be_a_writer() -> bool {
    let Ok(db) = std::env::var(DB) else { return false };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (id, count) = (number(WRITER), number(COUNT));
    if let Ok(gate) = std::env::var(GATE) {
        std::io::stderr().write_all(b"waits\n").unwrap();
        std::fs::File::open(gate).unwrap().lock_shared().unwrap();
    }
    let backend = SqliteBackend::open(config(db)).await.unwrap();
    let mut next = 1;
    while next <= count {
        let batch = (next + fastrand::u64(1..8)).min(count + 1);
        let publications = (next..batch).map(|n| publication(origin(id, n))).collect();
        std::io::stderr().write_all(format!("sends {}\n", batch - 1).as_bytes()).unwrap();
        let answers = backend.publish(Append { known: None, publications }).await.unwrap();
        for (counter, answer) in (next..).zip(answers) {
            let Published::Stored(position) = answer else { panic!("{answer:?}") };
            let line = format!("acked {counter} {}\n", position.seq);
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
        next = batch;
    }
    backend.close().await.unwrap();
    true
}
