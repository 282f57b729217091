//! An example as a process.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tavern_testkit::SseStream;
use tavern_testkit::wait::within;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// An example, ready to be started. Examples are built with the tests of their package.
pub(crate) fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let path: PathBuf = profile.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: `cargo build -p tavern-examples --examples` makes it",
        path.display()
    );
    let mut command = Command::new(path);
    command.kill_on_drop(true);
    command
}

/// An example that serves HTTP; dropping it kills the process.
pub(crate) struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts it in `dir`, on a free port, and waits until it listens.
    pub(crate) async fn start(name: &str, dir: &Path) -> Self {
        let mut child =
            example(name).arg("0").current_dir(dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("the example listens", lines.next_line()).await.unwrap();
        let line = line.expect("the example says where it listens");
        let url = line.strip_prefix("listening on ").expect("an address").to_owned();
        Self { child, url }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The body of a page, and its content type.
    pub(crate) async fn get(&self, path: &str) -> (String, String) {
        let response = within("an answer", reqwest::get(self.url(path))).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (within("a body", response.text()).await.unwrap(), content_type)
    }

    /// Opens `/events?` with this query, resuming behind `last` unless it is empty.
    pub(crate) async fn stream(&self, query: &str, last: &str) -> SseStream {
        let mut request = reqwest::Client::new().get(self.url(&format!("/events?{query}")));
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        SseStream::of(within("the stream opens", request.send()).await.unwrap())
    }

    /// What Ctrl-C does; it has to end by itself, in good order.
    pub(crate) async fn interrupt(mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.unwrap(), Signal::INT).unwrap();
        let status = within("the example ends", self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }
}
