//! Reads the log: one call, one moment, held against the rules that the log has in it.

use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::try_join3;
use tavern_backend::{Floor, Lane, LogTime, MessageId, Page, Position, ReadQuery, Scope, Topic};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::failure::Failure;
use crate::line::patience;
use crate::log::{View, parse_epoch, strange};
use crate::number::{signed, unsigned};
use crate::pattern::{WIDTH, any};
use crate::record::{Read, read as read_record};
use crate::shared::{Session, Shared};

type Result<T> = std::result::Result<T, Failure>;

/// Floors that one page names.
const FLOORS: i32 = 4096;
/// Bytes of a page; it then ends early.
const BYTES: i64 = 8 << 20;
/// The same where that takes too long, as on a slow line: sending it counts.
const FEW_BYTES: i64 = 128 << 10;

const PAGE: &str = "SELECT kind, seq, appended, topic, scope, record
    FROM tavern.page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

const FIND: &str = "SELECT g.seq FROM tavern.given g JOIN tavern.lane l ON l.id = g.lane
    WHERE l.namespace = $1 AND l.topic = $2 AND l.scope = $3 AND g.id = $4";

pub(crate) async fn read(shared: &Shared, session: &Session, query: &ReadQuery) -> Result<Page> {
    let view = shared.known(session).await?;
    if let Some(page) = read_by(shared, session, query, &view).await? {
        return Ok(page);
    }
    // Another log, other rules; or a database that must not be asked, which is said here.
    let view = shared.look(session).await?.view;
    let page = read_by(shared, session, query, &view).await?;
    page.ok_or_else(|| Failure::new("the log is another one now"))
}

/// What the log says, held against these rules; nothing if it has others.
async fn read_by(
    shared: &Shared,
    session: &Session,
    query: &ReadQuery,
    view: &View,
) -> Result<Option<Page>> {
    let most = session.page.load(Ordering::Relaxed).min(BYTES);
    match page(shared, session, query, view, most).await {
        Err(failure) if failure.late && most > FEW_BYTES => {
            session.page.store(FEW_BYTES, Ordering::Relaxed);
            page(shared, session, query, view, FEW_BYTES).await
        }
        Ok(page) => {
            // Perhaps there is time for more.
            session.page.store(most.saturating_mul(2), Ordering::Relaxed);
            Ok(page)
        }
        failure => failure,
    }
}

async fn page(
    shared: &Shared,
    session: &Session,
    query: &ReadQuery,
    view: &View,
    most: i64,
) -> Result<Option<Page>> {
    let (topics, patterns) = match &query.filters {
        None => (None, None),
        Some(filters) => {
            let topics = filters.topics().map(|topic| topic.as_str().to_owned());
            (Some(topics.collect::<Vec<_>>()), Some(any(filters.wildcards())))
        }
    };
    let limit = i32::try_from(query.limit.max(1)).unwrap_or(i32::MAX);
    let values: [(&(dyn ToSql + Sync), Type); 14] = [
        (&view.id, Type::INT4),
        (&signed(query.after), Type::INT8),
        (&signed(query.to), Type::INT8),
        (&limit, Type::INT4),
        (&most, Type::INT8),
        (&FLOORS, Type::INT4),
        (&topics, Type::TEXT_ARRAY),
        (&patterns, Type::TEXT_ARRAY),
        (&view.rules.patterns, Type::TEXT_ARRAY),
        (&WIDTH, Type::INT4),
        (&view.rules.keeps, Type::INT4_ARRAY),
        (&view.rules.ages, Type::INT8_ARRAY),
        (&view.log, Type::TEXT),
        (&view.version, Type::INT8),
    ];
    let rows = ask(shared, session, &values).await;
    let rows = rows.inspect_err(|failure| session.notice(failure))?;
    let mut rows = rows.iter();
    let Some(head) = rows.next() else { return Ok(None) };
    let (epoch, last) = (parse_epoch(head.get(4))?, unsigned(head.get(1)));
    let mut page = Page {
        epoch,
        after: query.after,
        to: query.to.min(last),
        entries: Vec::new(),
        undecodable: Vec::new(),
        floors: Vec::new(),
        floors_complete: true,
        horizon: unsigned(head.get(2)),
        head: last,
    };
    let (mut count, mut bytes, mut reached) = (0, 0, 0);
    for row in rows {
        match row.get::<_, &str>(0) {
            "e" => {
                let seq = unsigned(row.get(1));
                let record: &[u8] = row.get(5);
                count += 1;
                bytes += i64::try_from(record.len()).unwrap_or(i64::MAX);
                reached = seq;
                let at = Position::new(epoch, seq);
                match read_record(at, LogTime::from_millis(row.get(2)), record.to_vec().into()) {
                    Read::Entry(entry) => page.entries.push(entry),
                    Read::Undecodable(..) => {
                        page.undecodable.push((seq, lane(row.get(3), row.get(4))));
                    }
                }
            }
            "f" => {
                if let Some(lane) = lane(row.get(3), row.get(4)) {
                    page.floors.push(Floor { lane, seq: unsigned(row.get(1)) });
                }
            }
            "x" => page.floors_complete = false,
            _ => return Err(strange()),
        }
    }
    if count >= limit || bytes >= most {
        page.to = reached;
    }
    Ok(Some(page))
}

/// Asks for a page, in a transaction of its own that ends if it takes too long. All of it goes out
/// together.
async fn ask(
    shared: &Shared,
    session: &Session,
    values: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>> {
    let limit = shared.config.timeout;
    let Ok(Ok(_place)) = tokio::time::timeout(limit, session.pages.acquire()).await else {
        return Err(Failure::slow());
    };
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {}",
        patience(limit)
    );
    let reader = &session.reader;
    let begun = reader.ask(limit, reader.batch_execute(&begin));
    let rows = reader.rows(limit, PAGE, values);
    let ended = async {
        // It is sent behind the rows, which are all that is waited for.
        drop(reader.batch_execute("COMMIT").now_or_never());
        Ok(())
    };
    try_join3(begun, rows, ended).await.map(|((), rows, ())| rows)
}

fn lane(topic: &str, scope: &str) -> Option<Lane> {
    let scope = if scope.is_empty() { None } else { Some(Scope::new(scope).ok()?) };
    Some(Lane { topic: Topic::new(topic).ok()?, scope })
}

pub(crate) async fn find(
    shared: &Shared,
    session: &Session,
    lane: &Lane,
    id: &MessageId,
) -> Result<Option<u64>> {
    let view = shared.known(session).await?;
    let scope = lane.scope.as_ref().map_or("", |scope| scope.as_str());
    let values: [(&(dyn ToSql + Sync), Type); 4] = [
        (&view.id, Type::INT4),
        (&lane.topic.as_str(), Type::TEXT),
        (&scope, Type::TEXT),
        (&id.as_str(), Type::TEXT),
    ];
    let reader = &session.reader;
    let row = reader.ask(shared.config.timeout, reader.query_typed_opt(FIND, &values)).await;
    let row = row.inspect_err(|failure| session.notice(failure))?;
    Ok(row.map(|row| unsigned(row.get(0))))
}
