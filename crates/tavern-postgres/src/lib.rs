//! The Postgres backend of Tavern: Postgres 13 and newer, also behind a pooler in transaction mode.
//!
//! The log is a table in the schema `tavern`. A node appends what its callers publish together in one
//! short transaction of its own, at READ COMMITTED under an advisory lock, so seqs are dense and rise in
//! the order of commits; there is no counter row. A `NOTIFY` without data rings at every node, which
//! then reads what is new; behind it stands a poll
//! ([`poll_interval`](PostgresConfig::poll_interval)).
//!
//! **SQL publishes, too.** `tavern.publish(topic, data, event, id, scope, ttl, namespace)` is an insert
//! into an outbox, in the caller's own transaction, at any isolation level, also in triggers. It takes
//! no lock, so it blocks nobody and cannot deadlock; what is rolled back is never seen. `ttl` is in
//! milliseconds. Nodes move the outbox into the log, each message once, those of a transaction in
//! their order; between transactions that of the commits decides, as far as a node has seen them apart.
//! What is larger than [`max_payload`](PostgresConfig::max_payload) is discarded then, with a line in
//! the log as an error. A namespace that no node serves keeps its messages in the outbox.
//!
//! ```sql
//! CREATE FUNCTION orders_changed() RETURNS trigger LANGUAGE plpgsql AS $$
//! BEGIN
//!     PERFORM tavern.publish(
//!         topic => 'orders/' || coalesce(NEW.id, OLD.id),
//!         data => coalesce(to_json(NEW), 'null')::text,
//!         event => lower(TG_OP));
//!     RETURN NULL;
//! END $$;
//! CREATE TRIGGER orders_changed AFTER INSERT OR UPDATE OR DELETE ON orders
//!     FOR EACH ROW EXECUTE FUNCTION orders_changed();
//! ```
//!
//! **Connections.** A node has a pool of its own of exactly five: one appends, one asks, one follows
//! the log, one listens, one removes what is too old. An application's pool is never used. Behind
//! `PgBouncer` in transaction mode, which hands no notifications on, all but the fourth may go through
//! it; that takes
//! [`listen_url`](PostgresConfig::listen_url), which leads to the server itself. Without it everything
//! works, but what other nodes publish comes with the poll. An address with several hosts finds the
//! one that writes; all that may go through a pooler have to lead to the same server. The database
//! is one with the encoding UTF8. `sslmode` is understood up to `verify-full`, with `sslrootcert`,
//! `sslcert` and `sslkey`; `sslrootcert=system` goes with `verify-full` only, and means it. A password
//! that is not in the address comes from `passfile`, `PGPASSFILE` or `~/.pgpass`, for each host its
//! own, unless others may read that file. In an address `?` may be in a password as it is; `@` and `/`
//! are percent-encoded. Each of the first four is asked for a sign of life every 15 seconds, more often where
//! `idle_session_timeout` asks for it, so that nothing in between forgets one that is idle; TCP
//! keepalives come as often, unless the address says otherwise.
//!
//! **Under stress.** Losing a connection loses no message: they are made anew, and what was
//! missed is read from the log. An append whose answer is lost has an unknown outcome; sent again under
//! its keys it is stored once. Whoever waits in vain for [`timeout`](PostgresConfig::timeout) gets an
//! error; a connection on which nothing is heard for as long again is lost, and a statement that is only
//! slow is not: a page ends in time by itself, and the next one is smaller. A process that never reads
//! its feed publishes as ever. A database that is read-only or a replica is not used: the node says so
//! and waits. After a restart, a crash, a promotion or a restored backup, be it of the server's files or
//! a dump, the next append opens a new epoch; clients are told if they had seen what is lost. So it does
//! where the log's table was emptied, which goes on above what it had, as far as floors, keys and ids
//! tell; what somebody deletes from its end row by row is noticed only while a node that has seen it
//! runs. A `statement_timeout` or a
//! full disk fails the append, not the link; while the disk is full the node is down, says so, and
//! finds out by itself when there is room. Ages and TTLs count on the server's clock: if that jumps
//! ahead, everything is older at once; if it jumps back, the log's stands still until it has caught up,
//! a node warns of it, and not if that is more than a day: then the log goes by the server's again, and
//! what is of tomorrow or later grows older with what comes after it in its lane. While a commit waits
//! for a standby that is gone, publishing waits with it; nothing piles up on the server.
//!
//! Appends take the advisory lock `(1952545398, id)`, where `id` is the namespace's in
//! `tavern.namespace`. As with any such lock, every role of the database can hold it, whatever its
//! rights, and stop publishing: who shares the database is trusted that far. `pg_locks` shows who does.
//!
//! **Rights.** The role that a node comes in as creates the schema, for which it needs `CREATE` on the
//! database. With [`migrate`](PostgresConfig::migrate) off somebody else applies the statements of
//! [`schema`], and the node's role needs no more than this; if it has less, opening fails with the
//! statements that are missing:
//!
//! ```sql
//! GRANT USAGE ON SCHEMA tavern TO node;
//! GRANT SELECT ON tavern.schema_version TO node;
//! GRANT SELECT, INSERT, UPDATE ON tavern.namespace TO node;
//! GRANT SELECT, INSERT, UPDATE, DELETE ON tavern.lane, tavern.sent, tavern.given TO node;
//! GRANT SELECT, INSERT, DELETE ON tavern.entry, tavern.live TO node;
//! GRANT SELECT, INSERT ON tavern.life TO node;
//! GRANT SELECT, DELETE ON tavern.outbox TO node;
//! ```
//!
//! Who publishes by SQL needs this, and can then do nothing else in the schema:
//!
//! ```sql
//! GRANT USAGE ON SCHEMA tavern TO app;
//! GRANT EXECUTE ON FUNCTION tavern.publish TO app;
//! ```
//!
//! **Upkeep.** Nodes remove what the rules do not keep, some thousand entries at a time, ten seconds
//! after it came at the earliest. The log grows at one end and is emptied at the other, and its tables
//! are vacuumed early, so the space is used again: that takes `autovacuum` on. Where a database's
//! default is `serializable`, give the node's role `default_transaction_isolation = 'read committed'`:
//! it works without, but its looks into the outbox count as reads of a serializable transaction, and
//! may make the application's fail.

mod append;
mod appender;
mod backend;
mod config;
mod connect;
mod dsn;
mod failure;
mod follower;
mod line;
mod link;
mod log;
mod number;
mod outbox;
mod outlet;
mod page;
mod pattern;
mod record;
mod rights;
mod schema;
mod shared;
mod sweep;
mod vitals;

pub use backend::PostgresBackend;
pub use config::PostgresConfig;
pub use schema::schema;
