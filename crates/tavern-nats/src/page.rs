//! Reads the log.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tavern_backend::{FeedEvent, Lane, MessageId, Origin, Page, Position, ReadQuery, Topic};

use crate::api::Which;
use crate::body;
use crate::failure::Failure;
use crate::index::{Index, Plan, Seen};
use crate::log::{State, View};
use crate::names::{lane_name, message_id, parse_lane};
use crate::number::count;
use crate::scan::{Found, Range};
use crate::shared::{Session, Shared};

type Result<T> = std::result::Result<T, Failure>;

/// How often a page is begun anew because the log was trimmed under it.
const TRIES: usize = 4;
/// Entries that are fetched one by one; for more a consumer is made.
const SINGLE: usize = 32;
/// Requests on their way at once.
const AT_ONCE: usize = 32;
/// Bytes of a page; it then ends early.
const BYTES: usize = 8 << 20;
/// Entries of one consumer in a page.
const STRETCH: u64 = 4096;
/// Topics that are looked for one by one.
const TOPICS: usize = 16;
/// Seqs of one scan backwards.
const BACK: u64 = 65_536;
/// Scans that one page may take: many, where it comes from far back.
const SCANS: usize = 4096;

/// Fetched messages by seq: the end of the subject, and the body.
type Fetched = HashMap<u64, (String, Bytes)>;

pub(crate) async fn read(shared: &Shared, session: &Session, query: &ReadQuery) -> Result<Page> {
    // The server serves a crowd of readers worse than a few at a time. It closes with nothing.
    let _turn = shared.reads.acquire().await;
    for attempt in 0.. {
        let state = shared.look(session).await?;
        let head = state.head.position.seq;
        let to = query.to.min(head);
        let mut page = Page {
            epoch: state.head.position.epoch,
            after: query.after,
            to,
            entries: Vec::new(),
            undecodable: Vec::new(),
            floors: Vec::new(),
            floors_complete: true,
            horizon: state.head.horizon,
            head,
        };
        if query.after >= to {
            return Ok(page);
        }
        if attempt > TRIES * 4 {
            return Err(Failure::new("the log is trimmed faster than it can be read"));
        }
        let Some(plan) = plan(shared, session, &state, query, to).await? else { continue };
        page.to = plan.to;
        let (fetched, reached) = fetch(session, shared, &state.view, &plan).await?;
        page.to = page.to.min(reached);
        let missing = plan.seqs.iter().find(|seq| **seq <= reached && !fetched.contains_key(seq));
        if let Some(missing) = missing {
            // It was trimmed since, and a newer entry of its lane says so.
            if attempt >= TRIES
                && let Some(index) = shared.index().as_mut()
            {
                index.gone(*missing);
            }
            continue;
        }
        // What the index has no room for is told as missing.
        page.horizon = page.horizon.max(plan.unknown);
        page.floors = plan.floors;
        page.floors_complete = plan.floors_complete;
        for (seq, (name, body)) in in_order(fetched, page.to) {
            let lane = parse_lane(&name);
            let position = Position::new(page.epoch, seq);
            match body::event(position, lane.as_ref(), body) {
                FeedEvent::Entry(entry) => page.entries.push(entry),
                _ => page.undecodable.push((seq, lane)),
            }
        }
        return Ok(page);
    }
    Err(Failure::new("the log changes all the time"))
}

fn in_order(fetched: Fetched, to: u64) -> Vec<(u64, (String, Bytes))> {
    let mut all = fetched.into_iter().filter(|(seq, _)| *seq <= to).collect::<Vec<_>>();
    all.sort_unstable_by_key(|(seq, _)| *seq);
    all
}

/// Says what the page is made of; `None` if the log became another one meanwhile.
async fn plan(
    shared: &Shared,
    session: &Session,
    state: &State,
    query: &ReadQuery,
    to: u64,
) -> Result<Option<Plan>> {
    let low = query.after.max(state.first.saturating_sub(1));
    let known = shared.index().as_ref().map_or(u64::MAX, Index::low);
    if let Some(topics) = few_topics(query)
        && known.saturating_sub(low) > BACK
    {
        return of_topics(shared, session, state, query, &topics, low).await.map(Some);
    }
    complete(shared, session, state, low).await?;
    let now = shared.clock.now();
    let mut index = shared.index();
    let epoch = state.view.lineage.epoch;
    let Some(index) = index.as_mut().filter(|index| index.epoch() == epoch) else {
        return Ok(None);
    };
    let missing = index.low() > low && !index.is_full();
    if missing || !index.is_whole(to) {
        return Ok(None);
    }
    Ok(Some(index.plan(query.filters.as_deref(), query.after, to, query.limit, now)))
}

/// The topics of a query that names a few.
fn few_topics(query: &ReadQuery) -> Option<Vec<Topic>> {
    let filters = query.filters.as_ref()?;
    let few = filters.wildcards().is_empty() && (1..=TOPICS).contains(&filters.topics().count());
    few.then(|| filters.topics().cloned().collect())
}

/// The same from afar for a few topics: the server looks for them, in every scope.
async fn of_topics(
    shared: &Shared,
    session: &Session,
    state: &State,
    query: &ReadQuery,
    topics: &[Topic],
    low: u64,
) -> Result<Plan> {
    let (stream, head) = (shared.names.log_stream(), state.head.position.seq);
    let mut all = Vec::new();
    for topic in topics {
        let name = lane_name(topic, None);
        let subject = format!("{}*.{}", state.view.prefix, name.trim_start_matches("_."));
        let subject = Some(subject.as_str());
        // Until there is no more: what went meanwhile went because of something that is seen then.
        let to = u64::MAX - 1;
        let range = Range { stream: &stream, from: low + 1, to, subject, headers_only: true };
        all.extend(collect(session, range).await?);
    }
    all.sort_unstable_by_key(|found| found.seq);
    let last = all.last().map_or(head, |found| found.seq.max(head));
    let (retention, limits) = (Arc::clone(&state.view.retention), state.view.limits.clone());
    let mut index = Index::new(low, state.view.lineage.epoch, retention, limits);
    index.scanned_above(seen(&all, state), last);
    let to = query.to.min(head);
    Ok(index.plan(query.filters.as_deref(), query.after, to, query.limit, shared.clock.now()))
}

/// Makes the index know everything above `low` up to the head, and all floors of it.
///
/// While it is scanned, entries go: because of newer ones of their lanes, which tell the floor once
/// they are known. So the head is asked again afterwards, and the index must reach that, too; by
/// pushes, which leave nothing out, or by a scan that found no hole.
async fn complete(shared: &Shared, session: &Session, state: &State, low: u64) -> Result<()> {
    let mut head = state.head.position.seq;
    let oldest = state.first.saturating_sub(1);
    let look = |to: u64| {
        let index = shared.index();
        index.as_ref().map(|i| (i.low(), i.high(), i.is_full(), i.is_whole(to)))
    };
    let done = |(known, _, full, whole): (u64, u64, bool, bool)| whole && (full || known <= low);
    if look(head).is_some_and(done) {
        return Ok(());
    }
    let _turn = shared.scanning.lock().await;
    let stream = shared.names.log_stream();
    let range = |from, to| Range { stream: &stream, from, to, subject: None, headers_only: true };
    // Whether this is the stretch between two looks at the head, and nothing was missing in it.
    let mut seamless = false;
    for _ in 0..SCANS {
        let Some(now) = look(head) else { return Ok(()) };
        let (known, high, full, _) = now;
        let applied = if done(now) {
            return Ok(());
        } else if high < head {
            let to = head.min(high.saturating_add(BACK));
            let found = collect(session, range(high.max(oldest) + 1, to)).await?;
            seamless &= count(found.len()) == to - high;
            with_index(shared, state, |index| {
                index.scanned_above(seen(&found, state), to);
                if seamless && to == head {
                    index.settle(head);
                }
            })
        } else if known > low && !full {
            // Further than asked for: others come from a little further back.
            let most = known.saturating_sub(BACK).max(oldest);
            let extra = low.saturating_sub((head - low) / 4).max(most);
            let found = collect(session, range(extra + 1, known)).await?;
            with_index(shared, state, |index| {
                index.scanned_below(seen(&found, state).rev(), extra);
            })
        } else {
            head = shared.look(session).await?.head.position.seq;
            seamless = true;
            with_index(shared, state, |index| {
                if index.high() >= head {
                    index.settle(head);
                }
            })
        };
        if !applied {
            // The log became another one.
            return Ok(());
        }
    }
    Err(Failure::new("the log is trimmed faster than it can be read"))
}

/// Changes the index if it is still the one of this epoch; says whether it is.
fn with_index(shared: &Shared, state: &State, change: impl FnOnce(&mut Index)) -> bool {
    let mut index = shared.index();
    let index = index.as_mut().filter(|index| index.epoch() == state.view.lineage.epoch);
    index.map(change).is_some()
}

async fn collect(session: &Session, range: Range<'_>) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    let scanned = range.scan(&session.api, |found| {
        all.push(found);
        ControlFlow::Continue(())
    });
    scanned.await.inspect_err(|failure| session.notice(failure))?;
    Ok(all)
}

fn seen<'a>(
    found: &'a [Found],
    state: &'a State,
) -> impl DoubleEndedIterator<Item = Seen<'a>> + use<'a> {
    found.iter().map(move |found| {
        let name = found.subject.strip_prefix(&state.view.prefix).unwrap_or(&found.subject);
        Seen { seq: found.seq, name, time: found.time }
    })
}

/// Fetches entries. Returns them, and up to where that went: not to the plan's end if it is too much.
async fn fetch(
    session: &Session,
    shared: &Shared,
    view: &View,
    plan: &Plan,
) -> Result<(Fetched, u64)> {
    let (mut fetched, mut bytes) = (Fetched::new(), 0);
    let stream = shared.names.log_stream();
    let mut rest = plan.seqs.as_slice();
    while let Some(first) = rest.first() {
        let close = rest.partition_point(|seq| seq - first < STRETCH);
        let (near, far) = rest.split_at(close);
        let span = near.last().map_or(0, |last| last - first + 1);
        // What lies close together comes from one consumer; what lies far apart, message by message.
        if near.len() > SINGLE && span <= count(near.len()) * 8 {
            let wanted = near.iter().copied().collect::<std::collections::HashSet<_>>();
            let range = Range {
                stream: &stream,
                from: *first,
                to: first + span - 1,
                subject: None,
                headers_only: false,
            };
            let scanned = range.scan(&session.api, |found| {
                if wanted.contains(&found.seq) {
                    bytes += found.payload.len();
                    let name = name_of(&found.subject, view);
                    fetched.insert(found.seq, (name, found.payload));
                }
                if bytes > BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            scanned.await.inspect_err(|failure| session.notice(failure))?;
            rest = far;
        } else {
            let some = near.len().min(SINGLE);
            let gets =
                near[..some].iter().copied().map(|seq| session.api.get(&stream, Which::Seq(seq)));
            let got = stream::iter(gets).buffered(AT_ONCE).try_collect::<Vec<_>>().await;
            let got = got.inspect_err(|failure| session.notice(failure))?;
            for stored in got.into_iter().flatten() {
                bytes += stored.payload.len();
                fetched.insert(stored.seq, (name_of(&stored.subject, view), stored.payload));
            }
            rest = &rest[some..];
        }
        if bytes > BYTES {
            let reached = fetched.keys().max().copied().unwrap_or(plan.to);
            let whole = rest.is_empty() && plan.seqs.last() == Some(&reached);
            return Ok((fetched, if whole { plan.to } else { reached }));
        }
    }
    Ok((fetched, plan.to))
}

fn name_of(subject: &str, view: &View) -> String {
    subject.strip_prefix(&view.prefix).unwrap_or(subject).to_owned()
}

/// The seq of the entry that was published with this id in this lane, if it is still there.
pub(crate) async fn find(
    shared: &Shared,
    session: &Session,
    lane: &Lane,
    id: &MessageId,
) -> Result<Option<u64>> {
    let state = shared.look(session).await?;
    let name = lane_name(&lane.topic, lane.scope.as_ref());
    let nobody = Origin { node: shared.node, counter: 0 };
    let wanted = message_id(&name, Some(id), nobody);
    let mut found = None;
    in_lane(shared, session, &state, &name, true, |message| {
        if message.id.as_deref() == Some(wanted.as_str()) {
            found = Some(message.seq);
        }
    })
    .await?;
    Ok(found)
}

/// Goes through what is stored of a lane.
pub(crate) async fn in_lane(
    shared: &Shared,
    session: &Session,
    state: &State,
    name: &str,
    headers_only: bool,
    mut each: impl FnMut(Found),
) -> Result<()> {
    let (stream, subject) = (shared.names.log_stream(), format!("{}{name}", state.view.prefix));
    let range = Range {
        stream: &stream,
        from: state.first.max(1),
        to: state.head.position.seq,
        subject: Some(&subject),
        headers_only,
    };
    let scanned = range.scan(&session.api, |found| {
        each(found);
        ControlFlow::Continue(())
    });
    scanned.await.inspect_err(|failure| session.notice(failure))
}

/// A publication as the log has it.
pub(crate) async fn at(
    shared: &Shared,
    session: &Session,
    seq: u64,
) -> Result<Option<Arc<tavern_backend::Entry>>> {
    let got = session.api.get(&shared.names.log_stream(), Which::Seq(seq)).await;
    let Some(stored) = got.inspect_err(|failure| session.notice(failure))? else {
        return Ok(None);
    };
    let nowhere = Position::new(tavern_backend::Epoch::from_u64(0), seq);
    Ok(match body::event(nowhere, None, stored.payload) {
        FeedEvent::Entry(entry) => Some(entry),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
