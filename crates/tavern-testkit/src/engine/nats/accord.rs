//! What the servers of a cluster agree on.

use std::collections::HashMap;
use std::io;

use super::cluster::NatsCluster;
use super::server::NatsServer;
use super::view::Group;
use crate::engine::deadline::Deadline;
use crate::wait::{patience, with_patience};

/// An election begins up to nine seconds after the leader was heard last, which cannot be set, and
/// one that nobody won is held again; so what waits for one has more patience than others.
const MORE: u32 = 3;

/// What leaders say of their groups: who they are, and how far a stream goes.
type Leaders = HashMap<Option<String>, (String, u64)>;

impl NatsCluster {
    /// Which server leads this stream now.
    ///
    /// # Errors
    ///
    /// If none that runs says that it does, for longer than it takes to elect one.
    pub async fn stream_leader(&self, stream: &str) -> io::Result<usize> {
        self.leader_of(Some(stream), None).await
    }

    /// Which server leads them all, and decides about new streams, now.
    ///
    /// # Errors
    ///
    /// As [`stream_leader`](Self::stream_leader).
    pub async fn leader(&self) -> io::Result<usize> {
        self.leader_of(None, None).await
    }

    /// Waits until all servers that run agree on who leads them and each stream, and have what the
    /// leaders have now.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub async fn wait_ready(&self) -> io::Result<()> {
        with_patience(patience() * MORE, async {
            let mut deadline = Deadline::new("the servers of a cluster to be one");
            let mut leaders = None;
            loop {
                match self.is_ready(&mut leaders).await {
                    Ok(()) => return Ok(()),
                    Err(error) => deadline.saw(error),
                }
                deadline.tick().await?;
            }
        })
        .await
    }

    async fn is_ready(&self, first: &mut Option<Leaders>) -> io::Result<()> {
        let leaders = self.leaders().await?;
        let wanted = first.get_or_insert(leaders);
        for server in self.running() {
            for group in server.groups().await? {
                let Some((_, last)) = wanted.get(&group.stream) else { continue };
                // Who is current, in the leader's words, may not have been told to show the last.
                if group.last < *last {
                    return Err(io::Error::other(format!("{}: {group:?}", server.name)));
                }
            }
        }
        Ok(())
    }

    /// The leaders, on whom all agree, and who say that all others have what they have.
    async fn leaders(&self) -> io::Result<Leaders> {
        let names: Vec<&str> = self.running().map(|server| server.name.as_str()).collect();
        let mut leaders = Leaders::new();
        let mut known = HashMap::new();
        for server in self.running() {
            server.is_healthy().await?;
            if !server.options().jetstream {
                continue;
            }
            for group in server.groups().await? {
                let unready = || io::Error::other(format!("{}: {group:?}", server.name));
                let leader = group.leader.clone().ok_or_else(unready)?;
                let leads = leader == server.name;
                // One that is behind, or is not known yet.
                let behind = |name: &&str| match group.current(name) {
                    Some(current) => !current,
                    // A stream need not be everywhere.
                    None => group.stream.is_none() && **name != server.name,
                };
                if !names.contains(&&*leader)
                    || known.entry(group.stream.clone()).or_insert_with(|| leader.clone())
                        != &leader
                    || leads && names.iter().any(behind)
                {
                    return Err(unready());
                }
                if leads {
                    leaders.insert(group.stream, (leader, group.last));
                }
            }
        }
        Ok(leaders)
    }

    /// The server that leads this stream, or all, and is not `not`.
    pub(super) async fn leader_of(
        &self,
        stream: Option<&str>,
        not: Option<usize>,
    ) -> io::Result<usize> {
        let what = stream.map_or_else(|| "the cluster".to_owned(), |name| format!("stream {name}"));
        with_patience(patience() * MORE, async {
            let deadline = Deadline::new(format!("a server to lead {what}"));
            loop {
                for (n, server) in self.servers().iter().enumerate() {
                    if server.is_running() && Some(n) != not && server.leads(stream).await {
                        return Ok(n);
                    }
                }
                deadline.tick().await?;
            }
        })
        .await
    }

    fn running(&self) -> impl Iterator<Item = &NatsServer> {
        self.servers().iter().filter(|server| server.is_running())
    }
}

impl NatsServer {
    async fn leads(&self, stream: Option<&str>) -> bool {
        // One that does not answer leads nothing.
        let groups = self.groups().await.unwrap_or_default();
        groups.iter().any(|group| {
            group.stream.as_deref() == stream && group.leader.as_deref() == Some(&self.name)
        })
    }
}

impl Group {
    /// Whether the server of this name has what the leader has, if it is one of the others.
    fn current(&self, name: &str) -> Option<bool> {
        self.others.iter().find(|other| other.0 == name).map(|other| other.1)
    }
}
