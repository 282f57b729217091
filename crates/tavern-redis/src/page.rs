//! Pages of history.
//!
//! First the server is asked where entries of the range may lie, then the lanes found are read. What
//! a lane is said to have lost is read in the same step as its entries, so that nothing can be
//! trimmed in between without being told.

use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use tavern_backend::{Epoch, FeedEvent, Floor, Lane, LogTime, Page, Position, ReadQuery};

use crate::failure::Failure;
use crate::inbound::event;
use crate::log::View;
use crate::names::parse_lane;
use crate::number::{FAR, count, millis};
use crate::push::{Push, parse};
use crate::reply::{Reply, entry_id, strange};
use crate::script::{self, Call};
use crate::shared::{Session, Shared};

type Result<T> = std::result::Result<T, Failure>;

/// Batches of the spine in one answer, as its script says.
const SPINES: usize = 1024;
/// Lanes listed in one answer.
const LISTED: usize = 8192;
/// Lanes read in one call.
const LANES: usize = 256;
/// Topics of a query that are looked up one by one.
const TOPICS: usize = 256;
/// Bytes of entries in one page, from which on it ends early.
const BYTES: u64 = 8 << 20;
/// How often a page is begun anew because the log changed under it.
const TRIES: usize = 5;

/// Reads a page.
pub(crate) async fn read(shared: &Shared, session: &Session, query: &ReadQuery) -> Result<Page> {
    let mut view = shared.known(session).await?;
    for _ in 0..TRIES {
        match Reading::new(shared, session, &view, query).page().await {
            Ok(Some(page)) => return Ok(page),
            Ok(None) => view = shared.look(session).await?.view,
            Err(failure) => {
                session.notice(&failure);
                return Err(failure);
            }
        }
    }
    Err(Failure::new("the log changes all the time"))
}

struct Reading<'a> {
    shared: &'a Shared,
    session: &'a Session,
    view: &'a View,
    query: &'a ReadQuery,
}

/// Where to look, at one moment.
#[derive(Debug)]
struct Index {
    epoch: Epoch,
    head: u64,
    horizon: u64,
    /// How far it speaks of the range.
    to: u64,
    /// Lanes that may have entries up to there, or had some.
    lanes: Vec<(Bytes, Lane)>,
    /// Seqs whose lane this version cannot read.
    unreadable: Vec<u64>,
}

/// What lanes hold.
#[derive(Debug, Default)]
struct Found {
    floors: Vec<Floor>,
    entries: BTreeMap<u64, FeedEvent>,
    /// Nothing above this is known of all lanes.
    to: u64,
    /// Of lanes whose entries were too much, the one that begins first.
    left_out: Option<(u64, (Bytes, Lane))>,
}

impl<'a> Reading<'a> {
    const fn new(
        shared: &'a Shared,
        session: &'a Session,
        view: &'a View,
        query: &'a ReadQuery,
    ) -> Self {
        Self { shared, session, view, query }
    }

    /// The page; `None` if the log is another than was thought.
    async fn page(&self) -> Result<Option<Page>> {
        let Some(index) = self.index().await? else { return Ok(None) };
        let to = self.query.to.min(index.to);
        let mut found = Found { to, ..Found::default() };
        let limit = self.query.limit.max(1);
        for lanes in index.lanes.chunks(LANES) {
            if !self.lanes(&index, lanes, to, limit, &mut found).await? {
                return Ok(None);
            }
        }
        for seq in &index.unreadable {
            let position = Position::new(index.epoch, *seq);
            let reason = "its topic cannot be read".into();
            let event = FeedEvent::Undecodable { position, lane: None, reason };
            found.entries.insert(*seq, event);
        }
        if found.to <= self.query.after
            && let Some((first, lane)) = found.left_out.take()
        {
            // It stands in the way alone: nothing else lies below its first entry.
            let mut alone = Found { to: first, ..Found::default() };
            if !self.lanes(&index, &[lane], first, 1, &mut alone).await? {
                return Ok(None);
            }
            (found.to, found.entries) = (first, alone.entries);
        }
        let mut page = Page {
            epoch: index.epoch,
            after: self.query.after,
            to: found.to.max(self.query.after.min(index.head)),
            entries: Vec::new(),
            undecodable: Vec::new(),
            floors: found.floors,
            floors_complete: true,
            horizon: index.horizon,
            head: index.head,
        };
        let mut taken = 0;
        for (seq, event) in found.entries {
            if seq > page.to {
                break;
            }
            match event {
                FeedEvent::Entry(entry) => page.entries.push(entry),
                FeedEvent::Undecodable { position, lane, reason } => {
                    tracing::warn!(%position, %reason, "an entry cannot be read");
                    page.undecodable.push((seq, lane));
                }
                _ => continue,
            }
            taken += 1;
            if taken >= limit {
                page.to = seq;
                break;
            }
        }
        Ok(Some(page))
    }

    fn wants(&self, lane: &Lane) -> bool {
        self.query.wants(lane)
    }

    async fn index(&self) -> Result<Option<Index>> {
        let mut index: Option<Index> = None;
        let mut behind = self.query.after;
        loop {
            let Some((part, more)) = self.index_part(behind).await? else { return Ok(None) };
            match &mut index {
                None => index = Some(part),
                Some(index) if index.epoch == part.epoch => index.lanes.extend(part.lanes),
                Some(_) => return Ok(None),
            }
            let Some(last) = more else { break };
            behind = last;
        }
        let Some(mut index) = index else { return Err(strange()) };
        // A lane that changed while it was listed is there twice.
        let mut seen = HashSet::new();
        index.lanes.retain(|(name, _)| seen.insert(name.clone()));
        Ok(Some(index))
    }

    /// Asks where to look; with a score behind which there is more of the list, if there is.
    async fn index_part(&self, behind: u64) -> Result<Option<(Index, Option<u64>)>> {
        let keys = &self.view.keys;
        let mut call = Call::new(&script::INDEX);
        call.key(self.shared.names.meta()).key(keys.lanes()).key(keys.names()).key(keys.spine());
        call.arg(self.view.log.as_str()).arg(self.view.rules.as_str());
        call.number(self.query.after).number(self.query.to.min(FAR)).number(behind);
        call.number(count(LISTED));
        if let Some(filters) = &self.query.filters
            && filters.wildcards().is_empty()
            && filters.topics().take(TOPICS + 1).count() <= TOPICS
        {
            if filters.is_empty() {
                // Of no topic: a name that no lane has.
                call.arg("\n");
            }
            for topic in filters.topics() {
                call.arg(topic.as_str());
            }
        }
        let mut reply = Reply::new(call.run(&mut self.session.reader.clone()).await?)?;
        match reply.text()?.as_str() {
            "ok" => {}
            "stale" => return Ok(None),
            "damaged" => {
                self.shared.open(self.session, &self.view.log).await?;
                return Ok(None);
            }
            _ => return Err(strange()),
        }
        let (epoch, head, horizon) = (reply.epoch()?, reply.number()?, reply.number()?);
        let covered = reply.number()? == 1;
        let list = reply.list()?;
        let (lanes, unreadable) = (Vec::new(), Vec::new());
        let mut index = Index { epoch, head, horizon, to: head, lanes, unreadable };
        if covered {
            self.follow_spine(&mut index, list)?;
            return Ok(Some((index, None)));
        }
        let more = self.take_list(&mut index, list, behind)?;
        Ok(Some((index, more)))
    }

    /// Where the entries of the range are, seq by seq: as many as the page takes.
    fn follow_spine(&self, index: &mut Index, mut blobs: Reply) -> Result<()> {
        let cut = blobs.left() >= SPINES;
        let (mut last, mut wanted) = (self.query.after, 0);
        while blobs.left() > 0 {
            let Some(Push::Spine(spine)) = parse(blobs.bytes()?) else { return Err(strange()) };
            let wants: Vec<_> = spine
                .lanes
                .iter()
                .map(|(_, lane)| lane.as_ref().is_none_or(|lane| self.wants(lane)))
                .collect();
            let mut taken = vec![false; wants.len()];
            for (seq, number) in spine.seqs().filter(|(seq, _)| *seq > self.query.after) {
                last = seq;
                let number = usize::from(number);
                if !wants[number] {
                    continue;
                }
                match &spine.lanes[number] {
                    (_, None) => index.unreadable.push(seq),
                    (name, Some(lane)) if !taken[number] => {
                        taken[number] = true;
                        index.lanes.push((name.clone(), lane.clone()));
                    }
                    _ => {}
                }
                wanted += 1;
                if wanted == self.query.limit.max(1) {
                    index.to = seq.min(index.head);
                    return Ok(());
                }
            }
        }
        if cut {
            index.to = last.min(index.head);
        }
        Ok(())
    }

    /// Lanes that changed since the beginning of the range. Returns where the list was cut, if it was.
    fn take_list(&self, index: &mut Index, mut list: Reply, behind: u64) -> Result<Option<u64>> {
        let (mut listed, mut last) = (0, behind);
        while list.left() > 0 {
            let name = list.bytes()?;
            last = list.number()?;
            listed += 1;
            if let Some(lane) = parse_lane(&name).filter(|lane| self.wants(lane)) {
                index.lanes.push((name, lane));
            }
        }
        Ok((listed == LISTED).then_some(last))
    }

    /// Reads some lanes. `false` if the log changed meanwhile.
    async fn lanes(
        &self,
        index: &Index,
        lanes: &[(Bytes, Lane)],
        to: u64,
        limit: usize,
        found: &mut Found,
    ) -> Result<bool> {
        let mut call = Call::new(&script::LANES);
        call.key(self.shared.names.meta()).key(self.view.keys.lanes());
        call.arg(self.view.log.as_str()).arg(self.view.rules.as_str());
        call.number(self.query.after).number(to);
        call.number(count(limit)).number(BYTES);
        for (name, lane) in lanes {
            let text = std::str::from_utf8(name).map_err(|_| strange())?;
            let keep = self.view.retention.of(&lane.topic);
            let wanted = to > self.query.after;
            call.key(self.view.keys.stream(text));
            call.bytes(name.clone()).number(u64::from(keep.entries)).number(millis(keep.age));
            call.arg(if wanted { "1" } else { "" });
        }
        let mut reply = Reply::new(call.run(&mut self.session.reader.clone()).await?)?;
        match reply.text()?.as_str() {
            "ok" => {}
            "stale" => return Ok(false),
            _ => return Err(strange()),
        }
        if reply.epoch()? != index.epoch {
            return Ok(false);
        }
        for (name, lane) in lanes {
            let mut of_lane = reply.list()?;
            let floor = of_lane.number()?;
            if floor > self.query.after {
                found.floors.push(Floor { lane: lane.clone(), seq: floor });
            }
            let rest = of_lane.number()?;
            if rest == 2 {
                // Too much for one answer: only where its entries begin.
                let (first, _) = entry_id(&of_lane.bytes()?)?;
                found.to = found.to.min(first - 1);
                if found.left_out.as_ref().is_none_or(|(seq, _)| *seq > first) {
                    found.left_out = Some((first, (name.clone(), lane.clone())));
                }
                continue;
            }
            let mut last = 0;
            while of_lane.left() > 0 {
                let (seq, at) = entry_id(&of_lane.bytes()?)?;
                let position = Position::new(index.epoch, seq);
                let event = event(position, LogTime::from_millis(at), of_lane.bytes()?);
                found.entries.insert(seq, event);
                last = seq;
            }
            if rest == 1 {
                found.to = found.to.min(last);
            }
        }
        Ok(true)
    }
}

/// Where the entry with this id stands, as long as the log remembers.
pub(crate) async fn find(
    shared: &Shared,
    session: &Session,
    lane: &str,
    id: &str,
) -> Result<Option<u64>> {
    let mut view = shared.known(session).await?;
    for _ in 0..TRIES {
        let mut call = Call::new(&script::FIND);
        call.key(shared.names.meta()).key(view.keys.ids(lane)).arg(view.log.as_str()).arg(id);
        let mut reply = Reply::new(call.run(&mut session.reader.clone()).await?)?;
        if reply.text()? == "stale" {
            view = shared.look(session).await?.view;
            continue;
        }
        let given = reply.text()?;
        if given.is_empty() {
            return Ok(None);
        }
        let seq = given.split(':').next().and_then(|seq| seq.parse().ok());
        return seq.map(Some).ok_or_else(strange);
    }
    Err(Failure::new("the log changes all the time"))
}
