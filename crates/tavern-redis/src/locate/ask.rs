//! Asking where the primary is.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};

use super::{Address, Connector, Result};
use crate::config::Topology;
use crate::failure::Failure;
use crate::reply::{Reply, strange};

/// How often one node of a cluster may send us to the next.
const HOPS: usize = 4;

impl Connector {
    /// The addresses to ask, in this order, each with its number.
    pub(super) fn in_turn(&self) -> Vec<(usize, Address)> {
        let mut all = self.config.addresses.clone();
        let first = match self.config.topology {
            // They are in the order that the user gave.
            Topology::Single => 0,
            Topology::Sentinel | Topology::Cluster => self.first.load(Ordering::Relaxed),
        };
        let heard_of = self.heard_of.lock().unwrap_or_else(PoisonError::into_inner);
        for address in heard_of.iter() {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        let mut all: Vec<_> = all.into_iter().enumerate().collect();
        let first = first.min(all.len().saturating_sub(1));
        all.rotate_left(first);
        all
    }

    /// Asks one where the primary is.
    pub(super) async fn ask(&self, address: &Address) -> Result<Address> {
        match self.config.topology {
            Topology::Single => Ok(address.clone()),
            Topology::Sentinel => self.ask_sentinel(address).await,
            Topology::Cluster => self.ask_cluster(address).await,
        }
    }

    async fn ask_sentinel(&self, sentinel: &Address) -> Result<Address> {
        let master = self.config.sentinel_master.as_deref().unwrap_or_default();
        let credentials = &self.config.sentinel_credentials;
        let mut conn = self.open(sentinel, credentials, 0, None).await?;
        let command = cmd("SENTINEL").arg("get-master-addr-by-name").arg(master).clone();
        match conn.send_packed_command(&command).await?.extract_error()? {
            Value::Array(parts) => {
                let mut reply = Reply::new(Value::Array(parts))?;
                Ok((reply.text()?, u16::try_from(reply.number()?).map_err(|_| strange())?))
            }
            Value::Nil => {
                Err(Failure::of_link(format!("the Sentinels know no primary `{master}`")))
            }
            _ => Err(strange()),
        }
    }

    /// Which node of the cluster has the slot of the namespace. Who was sent for may send on: not
    /// all have heard the same.
    async fn ask_cluster(&self, node: &Address) -> Result<Address> {
        let mut node = node.clone();
        for _ in 0..HOPS {
            let mut conn = self.connect(&node, None).await?;
            // Any command for a key of the slot: who does not have it says who does.
            let command = cmd("HGET").arg(&self.meta).arg("schema").clone();
            let answer = conn.send_packed_command(&command).await.and_then(Value::extract_error);
            let Err(error) = answer else {
                self.hear(&mut conn, &node).await;
                return Ok(node);
            };
            let Some((to, _)) = error.redirect_node() else { return Err(error.into()) };
            node = parse(to, &node.0).ok_or_else(strange)?;
        }
        Err(Failure::of_link(
            "the nodes of the cluster do not agree on who has the namespace's slot",
        ))
    }

    /// Takes note of the other nodes of a cluster: those that were configured may all go, one after
    /// the other.
    async fn hear(&self, conn: &mut MultiplexedConnection, node: &Address) {
        let command = cmd("CLUSTER").arg("NODES").clone();
        let text = match conn.send_packed_command(&command).await.and_then(Value::extract_error) {
            Ok(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
            Ok(Value::VerbatimString { text, .. }) => text,
            // Not allowed, perhaps: then those that were configured must do.
            _ => return,
        };
        // `id host:port@bus,name flags …`
        let addresses = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (_, address, flags) = (words.next()?, words.next()?, words.next()?);
            let gone = ["fail", "noaddr", "handshake"];
            let there = !flags.split(',').any(|flag| gone.contains(&flag));
            there.then(|| parse(address.split('@').next()?, &node.0)).flatten()
        });
        *self.heard_of.lock().unwrap_or_else(PoisonError::into_inner) = addresses.collect();
    }
}

/// `host:port`; without a host it is the one that was asked.
fn parse(address: &str, asked: &str) -> Option<Address> {
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.is_empty() { asked } else { host.trim_matches(['[', ']']) };
    Some((host.to_owned(), port.parse().ok()?))
}
