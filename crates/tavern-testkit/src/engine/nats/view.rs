//! What a server's monitoring says about JetStream.

use std::io;
use std::time::Duration;

use serde_json::Value;

use super::server::NatsServer;

/// One that is paused has no say.
const LOOK: Duration = Duration::from_secs(1);

/// What one server says of a group of servers that agree by Raft.
#[derive(Debug)]
pub(super) struct Group {
    /// The stream, or nothing for the group that knows all streams.
    pub(super) stream: Option<String>,
    /// The name of its leader, if it knows one.
    pub(super) leader: Option<String>,
    /// The others and whether they have all that the leader has; only the leader knows that.
    pub(super) others: Vec<(String, bool)>,
    /// The number of the stream's last message here.
    pub(super) last: u64,
}

impl NatsServer {
    /// What its monitoring says at a path such as `/jsz?consumers=true`, `/varz` or `/connz`.
    ///
    /// # Errors
    ///
    /// If it does not answer within ten seconds, or with another status than 200.
    pub async fn http(&self, path: &str) -> io::Result<Value> {
        self.get(path, Duration::from_secs(10)).await
    }

    async fn get(&self, path: &str, patience: Duration) -> io::Result<Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.http_port());
        let client = reqwest::Client::builder().no_proxy().timeout(patience).build();
        let answer = client.map_err(io::Error::other)?.get(url).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer.map_err(io::Error::other)?.json().await.map_err(io::Error::other)
    }

    /// Whether it finds nothing wrong with itself: JetStream has all its streams, and in a cluster
    /// they are what they are elsewhere.
    pub(super) async fn is_healthy(&self) -> io::Result<()> {
        self.get("/healthz", LOOK).await.map(|_| ())
    }

    /// The groups that it is in: first the one that knows all streams.
    pub(super) async fn groups(&self) -> io::Result<Vec<Group>> {
        let jsz = self.get("/jsz?streams=true", LOOK).await?;
        let mut groups = vec![Group::parse(None, &jsz["meta_cluster"], 0)];
        for account in items(&jsz["account_details"]) {
            for stream in items(&account["stream_detail"]) {
                let name = stream["name"].as_str().map(str::to_owned);
                let last = stream["state"]["last_seq"].as_u64().unwrap_or_default();
                groups.push(Group::parse(name, &stream["cluster"], last));
            }
        }
        Ok(groups)
    }
}

impl Group {
    fn parse(stream: Option<String>, cluster: &Value, last: u64) -> Self {
        let others = items(&cluster["replicas"]).iter().filter_map(|other| {
            let current = other["current"] == true && other["offline"] != true;
            Some((other["name"].as_str()?.to_owned(), current))
        });
        let leader = cluster["leader"].as_str().filter(|name| !name.is_empty());
        Self { stream, leader: leader.map(str::to_owned), others: others.collect(), last }
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
