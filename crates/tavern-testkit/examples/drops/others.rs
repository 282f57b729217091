//! The servers to compare with, started with what stands in `comparison`.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tavern_testkit::drops::{Drops, Outcome, Site, Tally};
use tavern_testkit::engine::{RedisOptions, RedisServer};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::order::{Of, Trial};

const PATIENCE: Duration = Duration::from_secs(60);
/// What some do after they have answered a new connection: join it to its topic.
const SETTLE: Duration = Duration::from_secs(1);

/// One server that is compared with.
struct Node {
    url: String,
    process: Child,
    /// Its configuration and its files.
    _dir: TempDir,
}

impl Node {
    async fn start(trial: Trial, comparison: &Path, redis: Option<&str>) -> Result<Self, Failure> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = tempfile::tempdir()?;
        // What this process leaves behind ends with it, nginx's workers too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        match trial.of {
            Of::Nchan => {
                let conf = comparison.join("nchan/nginx.conf");
                let conf = std::fs::read_to_string(conf)?;
                let upstream = redis.map_or_else(String::new, |url| {
                    format!("upstream shared {{ nchan_redis_server {url}; }}")
                });
                let pass = redis.map_or("", |_| "nchan_redis_pass shared;");
                let conf = conf
                    .replace("MODULES", "/usr/lib/nginx/modules")
                    .replace("DIRECTORY", &dir.path().display().to_string())
                    .replace("UPSTREAM", &upstream)
                    .replace("PASS", pass)
                    .replace("PORT", &port.to_string());
                let file = dir.path().join("nginx.conf");
                std::fs::write(&file, conf)?;
                command.args(["nginx", "-c"]).arg(file);
            }
            Of::SocketIo => {
                command.arg("node").arg(comparison.join("socket.io/server.mjs"));
                command.arg(port.to_string()).args(redis);
            }
            Of::Socketioxide | Of::Tavern => {
                let target = comparison.with_file_name("target/comparison/release");
                command.arg(target.join("drops-socketioxide")).arg(port.to_string()).args(redis);
            }
        }
        let mut process = command.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
        let url = format!("http://127.0.0.1:{port}");
        let http = reqwest::Client::new();
        let answers = async {
            while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                if let Some(status) = process.try_wait()? {
                    return Err(Failure::from(format!("it ended with {status}")));
                }
                sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        timeout(PATIENCE, answers).await.map_err(|_| "it never answered")??;
        Ok(Self { url, process, _dir: dir })
    }

    /// Ends it in order: a master that is killed leaves its workers.
    async fn end(mut self) -> Result<(), Failure> {
        if let Some(id) = self.process.id() {
            Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        }
        // Those that do not listen are killed when they are dropped.
        drop(timeout(Duration::from_secs(5), self.process.wait()).await);
        Ok(())
    }
}

/// Runs it over the servers of `trial`.
pub(crate) async fn run(
    trial: Trial,
    drops: &Drops,
    comparison: &Path,
) -> Result<Outcome, Failure> {
    let redis = match trial.store {
        "memory" => None,
        _ => Some(RedisServer::start(RedisOptions::default()).await?),
    };
    let url = redis.as_ref().map(|server| format!("redis://127.0.0.1:{}", server.port()));
    let mut nodes = Vec::new();
    for _ in 0..trial.nodes {
        nodes.push(Node::start(trial, comparison, url.as_deref()).await?);
    }
    let urls = nodes.iter().map(|node| node.url.clone()).collect();
    let outcome = if trial.of == Of::Nchan {
        let site = Site { nodes: urls, events: "/events/", opens_with_id: false };
        drops.run(&site).await.map_err(Failure::from)
    } else {
        talk(drops, urls, comparison).await
    };
    for node in nodes {
        node.end().await?;
    }
    outcome
}

/// The same with the clients of socket.io, a process of its own.
struct Crowd {
    _process: Child,
    tell: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Crowd {
    async fn hears(&mut self, patience: Duration) -> Result<String, Failure> {
        let line = timeout(patience, self.said.next_line()).await;
        let line = line.map_err(|_| "the clients of socket.io say nothing")??;
        line.ok_or_else(|| "the clients of socket.io ended".into())
    }

    async fn tell(&mut self, line: &str) -> Result<(), Failure> {
        Ok(self.tell.write_all(format!("{line}\n").as_bytes()).await?)
    }
}

async fn talk(drops: &Drops, urls: Vec<String>, comparison: &Path) -> Result<Outcome, Failure> {
    let of_client = |cuts: Vec<Duration>| cuts.iter().map(Duration::as_millis).collect::<Vec<_>>();
    let cuts = drops.cuts()?.into_iter().map(of_client).collect::<Vec<_>>();
    let cut = u64::try_from(drops.cut.as_millis())?;
    let orders = json!({
        "urls": urls, "clients": drops.clients, "topics": drops.topics, "cut": cut,
        "moves": drops.moves,
    });
    let file = tempfile::NamedTempFile::new()?;
    let cuts = serde_json::to_value(
        cuts.iter()
            .map(|of| of.iter().map(|at| u64::try_from(*at)).collect::<Result<Vec<_>, _>>())
            .collect::<Result<Vec<_>, _>>()?,
    )?;
    let mut orders = orders;
    orders["cuts"] = cuts;
    std::fs::write(file.path(), orders.to_string())?;
    let mut process = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "node"])
        .arg(comparison.join("socket.io/clients.mjs"))
        .arg(file.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (tell, said) = process.stdin.take().zip(process.stdout.take()).ok_or("no pipe")?;
    let said = BufReader::new(said).lines();
    let mut crowd = Crowd { _process: process, tell, said };

    crowd.hears(PATIENCE * 2).await?;
    sleep(SETTLE).await;
    crowd.tell("go").await?;
    let published = drops.publish(&urls).await?;
    crowd.tell(&format!("published {}", json!(published))).await?;
    // `complete`, if they ever are.
    let whole = crowd.hears(drops.patience).await.is_ok();
    sleep(SETTLE).await;
    crowd.tell("over").await?;
    let sum: Value = serde_json::from_str(&crowd.hears(PATIENCE).await?)?;
    let count = |name: &str| sum[name].as_u64().unwrap_or_default();
    let mut tally = Tally::default();
    (tally.delivered, tally.twice) = (count("delivered"), count("twice"));
    (tally.disordered, tally.told) = (count("disordered"), count("told"));
    let of = |client: usize| published[client % drops.topics];
    Ok(Outcome {
        published: published.iter().sum(),
        expected: (0..drops.clients).map(of).sum(),
        tally,
        cuts: count("cuts"),
        complete: usize::try_from(count("complete"))?,
        completed: whole.then(|| Duration::from_millis(count("completedMs"))),
    })
}
