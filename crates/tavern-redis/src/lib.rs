//! The Redis backend of Tavern: Redis 6.2 and newer, Valkey; one server, Sentinel or Cluster.
//!
//! One script appends a batch: it looks for keys and ids it has seen, opens an epoch if the server
//! is another than at the last append, takes the seqs, adds the entries to a stream per lane, and
//! publishes. Payloads go out on a channel per topic; one more message, the *spine*, says on a channel
//! every node holds which lanes the batch's seqs lie in. So a node knows of every seq whether it
//! should have come, and reads what did not.
//!
//! **Under stress.** Losing a connection loses no message: the link is made anew, interest restored
//! and confirmed, and what was missed is read from history. An append whose answer is lost has an
//! unknown outcome; sent again under its keys it is stored once. A link that is cut in silence is
//! noticed by a ping. A server that restarts without its data, is flushed, or is replaced by a replica
//! that had less makes the next append open a new epoch, and clients are told what they missed.
//!
//! **An ACL user** needs no more than this; in a cluster of Redis 7 and newer `spublish`,
//! `ssubscribe` and `sunsubscribe` as well, and its Sentinels have users of their own:
//!
//! ```text
//! ACL SETUSER tavern on >PASSWORD resetkeys ~{tavern:NAMESPACE}:* resetchannels &{tavern:NAMESPACE}:*
//!     -@all +client|setname +ping +info +select +wait +time +evalsha +script|load
//!     +publish +subscribe +unsubscribe +get +set +pexpire +del +unlink
//!     +hget +hmget +hset +hdel +llen +lindex +lpop +rpush +xadd +xlen +xrange +xtrim
//!     +zadd +zcard +zcount +zlexcount +zrange +zrangebylex +zrangebyscore +zrem +zscan +zscore
//!     +zunionstore
//! ```
//!
//! **The driver** is the `redis` crate: its multiplexed RESP3 connection hands pushes and answers of
//! one connection over in the order they came, so that a head read on the feed's connection is a
//! baseline. Its own reconnecting, its cluster client and its resubscribing are not used: they hide
//! the moment in which a push can be lost, which this backend must tell. A namespace lies in one slot,
//! so a cluster is one server here, found by asking.

mod append;
mod appender;
mod backend;
mod config;
mod failure;
mod fetch;
mod inbound;
mod interest;
mod link;
mod locate;
mod log;
mod names;
mod number;
mod page;
mod push;
mod reply;
mod script;
mod server;
mod shared;
mod sweep;

pub use backend::RedisBackend;
pub use config::{Credentials, Durability, RedisConfig, Tls, Topology};
