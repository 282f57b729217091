//! The tables, and how a connection is set up.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use tavern_backend::{Epoch, Retention, wire};

use crate::config::SqliteConfig;
use crate::failure::{Failure, Outcome};
use crate::incarnation::Incarnation;
use crate::number::wall_clock;
use crate::place::Place;

/// "TAVR": says that a database is one of ours.
const APPLICATION: i32 = 0x5441_5652;
/// The schema this release reads and writes.
pub(crate) const SCHEMA: i32 = 1;

/// `due` of a lane: when it is worth a look again, so never earlier than what has to happen.
/// `keys.seqs`: 64 seqs of 8 bytes, one for each counter of the chunk. See `keys.rs`.
const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    incarnation TEXT NOT NULL,
    seq INTEGER NOT NULL,
    appended INTEGER NOT NULL,
    horizon INTEGER NOT NULL,
    live INTEGER NOT NULL,
    lanes INTEGER NOT NULL,
    retention INTEGER NOT NULL,
    format INTEGER NOT NULL
) STRICT;
CREATE TABLE forks (
    id INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,
    at INTEGER NOT NULL,
    lost_through INTEGER NOT NULL
) STRICT;
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    appended INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX log_lane ON log (lane, seq);
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    scope TEXT NOT NULL,
    count INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    due INTEGER NOT NULL,
    UNIQUE (topic, scope)
) STRICT;
CREATE INDEX lanes_due ON lanes (due);
CREATE INDEX lanes_floor ON lanes (floor);
CREATE TABLE ids (
    seq INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    id TEXT NOT NULL,
    hash INTEGER NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (lane, id)
) STRICT;
CREATE TABLE keys (
    node INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    at INTEGER NOT NULL,
    seqs BLOB NOT NULL,
    PRIMARY KEY (node, chunk)
) STRICT;
CREATE INDEX keys_at ON keys (at);
CREATE TABLE live (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    node INTEGER NOT NULL,
    topic TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Writes, and creates the file if there is none.
    Create,
    /// Only reads. SQLite still needs to write to the index of the write-ahead log.
    Read,
}

/// Opens a connection and sets it up; the tables may not be there yet.
pub(crate) fn connect(place: &Place, config: &SqliteConfig, access: Access) -> Outcome<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if access == Access::Create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let conn = Connection::open_with_flags(&place.db, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(64);
    // No memory map: a file that is cut short under one ends the process with SIGBUS.
    conn.execute_batch("PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF;")?;
    match access {
        Access::Read => conn.execute_batch("PRAGMA query_only = ON;")?,
        Access::Create => {
            // Without the limit the write-ahead log would stay as large as its largest moment. A
            // checkpoint every 16 MiB: the same few pages change in every commit, and the longer
            // it waits the fewer of them it copies.
            conn.execute_batch(&format!(
                "PRAGMA synchronous = {}; PRAGMA journal_size_limit = 67108864;
                 PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -16384;",
                config.durability.pragma()
            ))?;
        }
    }
    Ok(conn)
}

/// How long SQLite itself waits; whoever needs more asks again, so that it can be told to stop.
pub(crate) const BUSY: Duration = Duration::from_millis(100);

/// Makes sure that the file holds a log of `config.namespace` in a schema this version knows.
/// The caller holds the writers' lock. Returns whether the log was created.
pub(crate) fn prepare(
    conn: &mut Connection,
    config: &SqliteConfig,
    incarnation: &Incarnation,
) -> Outcome<bool> {
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let schema: i32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    let created = if application == APPLICATION {
        check_schema(schema)?;
        false
    } else if application == 0 && tables == 0 {
        create(conn, config, incarnation)?;
        true
    } else {
        return Err(Failure::unusable(
            "the file is a SQLite database of another program; give another path",
        ));
    };
    // Also for a log that exists: the journal mode is written in the file and could have been
    // changed by somebody.
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::unusable(format_args!(
            "the database cannot use a write-ahead log here (its journal mode stays `{mode}`)"
        )));
    }
    let namespace: Option<String> = conn
        .query_row("SELECT value FROM meta WHERE key = 'namespace'", [], |row| row.get(0))
        .optional()?;
    match namespace {
        Some(name) if name == config.namespace => Ok(created),
        Some(name) => Err(Failure::unusable(format_args!(
            "the file holds the namespace `{name}`, not `{}`; a file holds one namespace: give \
             each its own",
            config.namespace
        ))),
        None => Err(rusqlite::Error::QueryReturnedNoRows.into()),
    }
}

fn check_schema(schema: i32) -> Outcome<()> {
    if schema == SCHEMA {
        return Ok(());
    }
    Err(Failure::unusable(format_args!(
        "the file has schema version {schema}, this release knows version {SCHEMA}; update this \
         node, or give it another file"
    )))
}

fn create(conn: &mut Connection, config: &SqliteConfig, incarnation: &Incarnation) -> Outcome<()> {
    let epoch = Epoch::random().map_err(Failure::away)?;
    let retention = config.retention.clone().unwrap_or_default();
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLES)?;
    tx.execute(
        "INSERT INTO state VALUES (1, ?1, ?2, 0, ?3, 0, 0, 0, ?4, ?5)",
        (
            epoch.to_u64().cast_signed(),
            incarnation.as_str(),
            wall_clock(),
            crate::number::signed(retention.version),
            wire::WRITES,
        ),
    )?;
    tx.execute("INSERT INTO meta VALUES ('namespace', ?1)", [&config.namespace])?;
    write_retention(&tx, &retention)?;
    tx.pragma_update(None, "application_id", APPLICATION)?;
    tx.pragma_update(None, "user_version", SCHEMA)?;
    tx.commit()?;
    Ok(())
}

/// The retention rules in the log.
pub(crate) fn read_retention(conn: &Connection) -> Outcome<Retention> {
    let text: String =
        conn.query_row("SELECT value FROM meta WHERE key = 'retention'", [], |row| row.get(0))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::unusable(format_args!("the log's retention rules cannot be read ({error})"))
    })
}

pub(crate) fn write_retention(conn: &Connection, retention: &Retention) -> Outcome<()> {
    let text = serde_json::to_string(retention)
        .map_err(|error| Failure::away(format_args!("the retention rules are refused: {error}")))?;
    conn.execute("INSERT OR REPLACE INTO meta VALUES ('retention', ?1)", [text])?;
    Ok(())
}
