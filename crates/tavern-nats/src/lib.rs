//! The NATS backend of Tavern: JetStream on NATS 2.9 and newer, one server or a cluster.
//!
//! A namespace is one stream; the seq of an entry is its sequence in the stream, and its subject
//! names its lane. The server republishes what it has stored, with the sequence, to a subject that
//! every node listens to with one subscription: so a node counts, and reads what did not come. A
//! second, tiny stream says which log it is, how its epochs grew, and what it keeps.
//!
//! **Under stress.** Losing a connection loses no message: the link is made anew, on another server
//! if there is one, and what was missed is read from the stream. A publish whose acknowledgement is
//! lost has an unknown outcome; sent again under its key it is stored once, as the server remembers
//! keys, and the log itself is asked for what the server forgets over a restart. A server that comes
//! back with an older state, or a stream that was deleted, makes the next append open a new epoch,
//! and clients are told what they missed.
//!
//! **The account** needs these permissions and no others, with `NAMESPACE` escaped as in the streams'
//! names; in a domain its subjects begin with `$JS.DOMAIN.API.` instead. `_INBOX` is the inbox prefix,
//! if one is set: with one of its own a node cannot hear what others are answered.
//!
//! ```text
//! publish:   tavern.NAMESPACE.log.>   tavern.NAMESPACE.meta   tavern.NAMESPACE.feed.live.>   _INBOX.>
//!            $JS.API.STREAM.INFO.TAVERN_NAMESPACE
//!            $JS.API.STREAM.MSG.GET.TAVERN_NAMESPACE      $JS.API.STREAM.MSG.GET.TAVERN_NAMESPACE_META
//!            $JS.API.CONSUMER.CREATE.TAVERN_NAMESPACE     $JS.API.CONSUMER.CREATE.TAVERN_NAMESPACE_META
//!            $JS.API.CONSUMER.DELETE.TAVERN_NAMESPACE.>   $JS.API.CONSUMER.DELETE.TAVERN_NAMESPACE_META.>
//!            $JS.API.CONSUMER.MSG.NEXT.TAVERN_NAMESPACE.>
//!            unless the streams are there:
//!            $JS.API.STREAM.CREATE.TAVERN_NAMESPACE       $JS.API.STREAM.CREATE.TAVERN_NAMESPACE_META
//!            to change what is kept:
//!            $JS.API.STREAM.UPDATE.TAVERN_NAMESPACE
//! subscribe: tavern.NAMESPACE.feed.>   _INBOX.>
//! ```
//!
//! **The driver** is `async-nats`, its core alone. Its own reconnecting is not used: it hides the
//! moment in which a push can be lost, and sends what it had queued to whichever server it finds.
//! JetStream's requests are made here, because a stream's settings that a newer server has and the
//! driver does not know must survive an update.

mod api;
mod appender;
mod backend;
mod batch;
mod body;
mod clock;
mod config;
mod connect;
mod failure;
mod inbound;
mod index;
mod link;
mod log;
mod meta;
mod names;
mod number;
mod outlet;
mod page;
mod resent;
mod scan;
mod shared;
mod stream;
mod sweep;

pub use backend::NatsBackend;
pub use config::{Credentials, NatsConfig, Storage, Tls};
