//! What a server says of itself.

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};

use crate::failure::Failure;

/// Facts of a server, as `INFO` gives them.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) major: u32,
    pub(crate) primary: bool,
    pub(crate) cluster: bool,
    /// The policy by which it evicts keys when its memory is full.
    pub(crate) eviction: String,
    pub(crate) loading: bool,
}

impl Server {
    pub(crate) async fn ask(conn: &mut MultiplexedConnection) -> Result<Self, Failure> {
        // Several sections in one call are for Redis 7 and newer.
        let answer = conn.send_packed_command(&cmd("INFO")).await?.extract_error()?;
        let text = match answer {
            Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Value::VerbatimString { text, .. } => text,
            _ => return Err(crate::reply::strange()),
        };
        Self::parse(&text)
    }

    fn parse(info: &str) -> Result<Self, Failure> {
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("")
        };
        let version = field("redis_version");
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if (major, minor) < (6, 2) {
            return Err(Failure::lasting(format!(
                "the server is Redis {version}; 6.2 or newer is needed"
            )));
        }
        Ok(Self {
            major,
            primary: field("role") == "master",
            cluster: field("cluster_enabled") == "1",
            eviction: field("maxmemory_policy").to_owned(),
            loading: field("loading") == "1",
        })
    }

    /// Whether it may take keys of the log away.
    pub(crate) fn evicts(&self) -> bool {
        // `volatile-…` takes keys with an expiry, and no key of a log has one.
        self.eviction.starts_with("allkeys")
    }
}

#[cfg(test)]
mod tests;
