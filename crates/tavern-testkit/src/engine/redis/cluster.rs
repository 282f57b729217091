//! A cluster: several masters that share the keys, and their replicas.

use std::io;

use futures_util::future::try_join_all;

use super::options::RedisOptions;
use super::server::RedisServer;
use crate::engine::deadline::Deadline;

const SLOTS: usize = 16_384;

/// A cluster of real servers. A node that does not answer counts as dead after a second.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

/// What a node says of itself in `CLUSTER NODES`.
#[derive(Debug)]
struct Claim {
    id: String,
    /// The id of its master, if it is a replica.
    master: Option<String>,
    epoch: u64,
    slots: Vec<(u16, u16)>,
}

impl RedisCluster {
    /// Starts `masters` with `replicas_each`, and waits until all of them say that the cluster is
    /// fine and each replica has what its master has.
    ///
    /// # Errors
    ///
    /// If one does not start, or they do not come together.
    pub async fn start(
        options: RedisOptions,
        masters: usize,
        replicas_each: usize,
    ) -> io::Result<Self> {
        let options = options
            .with_config("cluster-enabled yes")
            .with_config("cluster-config-file nodes.conf")
            .with_config("cluster-node-timeout 1000")
            // A replica may be promoted however long it has been cut off: that is what tests want.
            .with_config("cluster-replica-validity-factor 0");
        let count = masters * (1 + replicas_each);
        let starts = (0..count).map(|_| RedisServer::start(options.clone()));
        let cluster = Self { nodes: try_join_all(starts).await? };
        cluster.share_slots(masters).await?;
        cluster.meet().await?;
        for (n, replica) in cluster.nodes[masters..].iter().enumerate() {
            cluster.replicate(replica, &cluster.nodes[n % masters]).await?;
        }
        cluster.wait_ok().await?;
        for replica in &cluster.nodes[masters..] {
            replica.wait_synced().await?;
        }
        Ok(cluster)
    }

    async fn share_slots(&self, masters: usize) -> io::Result<()> {
        for (n, node) in self.nodes.iter().enumerate() {
            // Epochs of their own from the start: two with the same would have to settle it first.
            let epoch = (n + 1).to_string();
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?;
        }
        for (n, node) in self.nodes[..masters].iter().enumerate() {
            let slots = SLOTS * n / masters..SLOTS * (n + 1) / masters;
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            let words = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str));
            node.cli(&words.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    async fn meet(&self) -> io::Result<()> {
        let Some((first, rest)) = self.nodes.split_first() else { return Ok(()) };
        for node in rest {
            first.cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]).await?;
        }
        let mut deadline = Deadline::new("the nodes of a cluster to know each other");
        for node in &self.nodes {
            loop {
                let nodes = node.cli(&["CLUSTER", "NODES"]).await?.text();
                // One that was met and has not answered is listed, too.
                let known = nodes.lines().filter(|line| !line.contains("handshake")).count();
                if known == self.nodes.len() {
                    break;
                }
                deadline.saw(nodes);
                deadline.tick().await?;
            }
        }
        Ok(())
    }

    async fn replicate(&self, replica: &RedisServer, master: &RedisServer) -> io::Result<()> {
        let id = master.cli(&["CLUSTER", "MYID"]).await?.text();
        let mut deadline = Deadline::new("a node to become a replica");
        while let Err(error) = replica.cli(&["CLUSTER", "REPLICATE", &id]).await {
            // Until it has heard of the master's slots, it takes it for no master.
            deadline.saw(error);
            deadline.tick().await?;
        }
        Ok(())
    }

    /// Its nodes: those that began as masters first.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The slot of a key.
    ///
    /// # Errors
    ///
    /// If no node answers.
    pub async fn slot_of(&self, key: &str) -> io::Result<u16> {
        for node in &self.nodes {
            if let Ok(slot) = node.cli(&["CLUSTER", "KEYSLOT", key]).await {
                return slot.int().and_then(|slot| u16::try_from(slot).ok()).ok_or_else(odd);
            }
        }
        Err(io::Error::new(io::ErrorKind::NotConnected, "no node of the cluster answers"))
    }

    /// The node that has `key` now.
    ///
    /// # Errors
    ///
    /// If none of those that answer has it.
    pub async fn master_of(&self, key: &str) -> io::Result<&RedisServer> {
        let slot = self.slot_of(key).await?;
        let claims = self.claims().await;
        let masters = claims.into_iter().filter(|(_, claim)| claim.has(slot));
        // A master that was replaced while it was away claims the slot, too, until it hears of it.
        let newest = masters.max_by_key(|(_, claim)| claim.epoch);
        newest.map(|(node, _)| node).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no master has the key {key}"))
        })
    }

    /// The replicas, of those that answer, of the master of `key`.
    ///
    /// # Errors
    ///
    /// If the key has no master.
    pub async fn replicas_of(&self, key: &str) -> io::Result<Vec<&RedisServer>> {
        let master = self.master_of(key).await?.cli(&["CLUSTER", "MYID"]).await?.text();
        let claims = self.claims().await.into_iter();
        let replicas = claims.filter(|(_, claim)| claim.master.as_deref() == Some(&master));
        Ok(replicas.map(|(node, _)| node).collect())
    }

    /// Makes a replica the master of `key` without asking anybody, with what it has, and waits
    /// until all agree. Returns the new master.
    ///
    /// # Errors
    ///
    /// If the key's master has no replica, or they do not agree.
    pub async fn take_over(&self, key: &str) -> io::Result<&RedisServer> {
        let replicas = self.replicas_of(key).await?;
        let replica = replicas.first().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no replica has the key {key}"))
        })?;
        replica.cli(&["CLUSTER", "FAILOVER", "TAKEOVER"]).await?;
        self.wait_master(key, replica).await?;
        self.wait_ok().await?;
        Ok(replica)
    }

    /// kill -9 of the master of `key`; waits until the others have made one of its replicas the
    /// master and all is fine. Returns the dead one and the new one.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub async fn kill_master_of(&self, key: &str) -> io::Result<(&RedisServer, &RedisServer)> {
        let old = self.master_of(key).await?;
        old.kill().await?;
        let deadline = Deadline::new("a replica to be made the master");
        let new = loop {
            match self.master_of(key).await {
                Ok(new) if new.port() != old.port() => break new,
                _ => deadline.tick().await?,
            }
        };
        self.wait_ok().await?;
        Ok((old, new))
    }

    async fn wait_master(&self, key: &str, node: &RedisServer) -> io::Result<()> {
        let deadline = Deadline::new("a replica to be the master");
        while self.master_of(key).await?.port() != node.port() {
            deadline.tick().await?;
        }
        Ok(())
    }

    /// Waits until all nodes that run say that the cluster is fine, and name the same master for
    /// each slot.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub async fn wait_ok(&self) -> io::Result<()> {
        let mut deadline = Deadline::new("all nodes to say that their cluster is fine");
        loop {
            match self.views().await {
                Ok(views) if agree(&views) => return Ok(()),
                Ok(views) => deadline.saw(format!("{views:?}")),
                Err(error) => deadline.saw(error),
            }
            deadline.tick().await?;
        }
    }

    /// What each node that runs says about the cluster: its state, and whose the slots are.
    async fn views(&self) -> io::Result<Vec<(bool, Vec<String>)>> {
        let mut views = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            let mut conn = node.connect().await?;
            let info = conn.call(&["CLUSTER", "INFO"]).await?.text();
            let nodes = conn.call(&["CLUSTER", "NODES"]).await?.text();
            let mut owners: Vec<String> = nodes.lines().filter_map(owner).collect();
            owners.sort_unstable();
            views.push((info.contains("cluster_state:ok"), owners));
        }
        Ok(views)
    }

    /// What the nodes that answer say of themselves.
    async fn claims(&self) -> Vec<(&RedisServer, Claim)> {
        let mut claims = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            // One that does not answer has no say.
            if let Ok(nodes) = node.cli(&["CLUSTER", "NODES"]).await {
                let text = nodes.text();
                let line = text.lines().find(|line| line.contains("myself"));
                claims.extend(line.and_then(Claim::parse).map(|claim| (node, claim)));
            }
        }
        claims
    }
}

impl Claim {
    /// `id addr flags master ping pong epoch link slot…`
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let &[id, _, _, master, _, _, epoch, _, ref slots @ ..] = words.as_slice() else {
            return None;
        };
        let range = |word: &&str| {
            let (from, to) = word.split_once('-').unwrap_or((word, word));
            Some((from.parse().ok()?, to.parse().ok()?))
        };
        Some(Self {
            id: id.to_owned(),
            master: (master != "-").then(|| master.to_owned()),
            epoch: epoch.parse().ok()?,
            slots: slots.iter().filter_map(range).collect(),
        })
    }

    fn has(&self, slot: u16) -> bool {
        self.master.is_none() && self.slots.iter().any(|&(from, to)| (from..=to).contains(&slot))
    }
}

/// The id and the slots of a master that has some.
fn owner(line: &str) -> Option<String> {
    let claim = Claim::parse(line)?;
    let owns = claim.master.is_none() && !claim.slots.is_empty();
    owns.then(|| format!("{} {:?}", claim.id, claim.slots))
}

fn agree(views: &[(bool, Vec<String>)]) -> bool {
    let Some(((_, first), rest)) = views.split_first() else { return false };
    views.iter().all(|(fine, _)| *fine) && rest.iter().all(|(_, owners)| owners == first)
}

fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is no slot")
}
