//! Processes of the program, and a reader of streams.

use std::path::Path;
use std::process::{Output, Stdio};

use reqwest::{Client, Response};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tavern_testkit::SseStream;
use tempfile::TempDir;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

pub(crate) use tavern_testkit::wait::{PATIENCE, eventually, within};

/// The program, in `dir`, without what the environment of the tests says.
pub(crate) fn tavern(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tavern"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TAVERN_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir).kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) async fn run(dir: &Path, args: &[&str]) -> Output {
    within("the end of the program", tavern(dir).args(args).output()).await.unwrap()
}

/// Runs the program, which is to end with `code` and to say `words`.
pub(crate) async fn refused(dir: &Path, args: &[&str], code: i32, words: &str) {
    let output = run(dir, args).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(words), "{args:?} should say {words:?}: {said}");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
}

/// An empty directory.
pub(crate) fn empty() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A running `tavern serve`; dropping it kills the process.
pub(crate) struct Node {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) client: Client,
}

impl Node {
    /// Starts it in `dir` on a free port, with further arguments.
    pub(crate) async fn start(dir: &Path, args: &[&str]) -> Self {
        let mut command = tavern(dir);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(args);
        Self::of(command).await
    }

    /// Starts it where it was before.
    pub(crate) async fn again(&self, dir: &Path) -> Self {
        let mut command = tavern(dir);
        command.args(["serve", "--listen", self.address()]);
        Self::of(command).await
    }

    pub(crate) async fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = lines(&mut child);
        let line = next(&mut lines).await.expect("it ended without listening");
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        let client = Client::builder().no_proxy().timeout(3 * PATIENCE).build().unwrap();
        Self { child, url, client }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.child.id().unwrap()), signal).unwrap();
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        within("the end of a killed process", self.child.kill()).await.unwrap();
    }

    /// Its exit code, once it has ended.
    pub(crate) async fn code(&mut self) -> Option<i32> {
        within("the end of the process", self.child.wait()).await.unwrap().code()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        self.get(path).await.json().await.unwrap()
    }

    /// As `curl -d` does; the id it was stored under.
    pub(crate) async fn post(&self, topic: &str, data: &str) -> String {
        let request = self.client.post(format!("{}/topics/{topic}", self.url));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer: serde_json::Value =
            request.body(data.to_owned()).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "stored", "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// A stream, resumed behind `id` unless that is empty.
    pub(crate) async fn stream(&self, topics: &str, id: &str) -> SseStream {
        let mut request = self.client.get(format!("{}/events?topic={topics}", self.url));
        if !id.is_empty() {
            request = request.header("last-event-id", id);
        }
        SseStream::of(request.send().await.unwrap())
    }
}

/// Standard output by lines.
pub(crate) fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().unwrap()).lines()
}

pub(crate) async fn next<R: AsyncBufRead + Unpin>(lines: &mut Lines<R>) -> Option<String> {
    within("a line", lines.next_line()).await.unwrap()
}

/// Reads lines up to the first that holds `words`.
pub(crate) async fn until<R: AsyncBufRead + Unpin>(lines: &mut Lines<R>, words: &str) -> String {
    loop {
        let line = next(lines).await.unwrap_or_else(|| panic!("it ended without {words:?}"));
        if line.contains(words) {
            return line;
        }
    }
}

pub(crate) fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

pub(crate) fn runs(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}
