//! Judges what clients and publishers were told, knowing all that was ever appended.
//!
//! It accepts only: complete, in order, once, within scope, unexpired — or a gap event, in place,
//! that covers what is missing and could not be helped.

mod publishing;
mod stretch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Lane, LogTime, Position};
use tavern_broker::GapReason;

use super::archive::{Archive, Birth, Views};
use super::client::{Client, Item, Recorded};
use super::engine::Told;
use super::publishing::Publication;
use super::trace::Trace;

use stretch::{Stretch, ToldGap};

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    pub(super) wrong: Vec<String>,
    pub(super) messages: u64,
    pub(super) live: u64,
    pub(super) resumes: u64,
    /// Gap events, by reason, and those of them that covered nothing.
    pub(super) gaps: BTreeMap<&'static str, u64>,
    pub(super) over: BTreeMap<&'static str, u64>,
    /// Entries that a client was told to have missed.
    pub(super) told_missing: u64,
    /// Entries that the log lost, and of which nobody was left who knew.
    pub(super) lost_untold: u64,
}

/// All that the oracle knows.
pub(super) struct Case<'a> {
    pub(super) archive: &'a Archive,
    pub(super) views: &'a Views,
    pub(super) told: &'a [Told],
    pub(super) publications: &'a [Publication],
    pub(super) trace: &'a Trace,
    /// What a node may be wrong by about the log's time.
    pub(super) tolerance: Duration,
    /// For how long a promise to publish holds.
    pub(super) spool_age: Duration,
}

/// Judges one client.
pub(super) fn judge(case: &Case<'_>, client: &Client, verdict: &mut Verdict) {
    let mut judge = Judge {
        case,
        client,
        at: None,
        delivered: BTreeSet::new(),
        live: BTreeSet::new(),
        heard: BTreeSet::new(),
        gaps: Vec::new(),
        stretch: Stretch::default(),
        slow: false,
        verdict,
    };
    for recorded in &client.record {
        judge.take(recorded);
    }
    judge.end();
    let live = judge.heard;
    publishing::heard(case, client, &live, verdict);
}

/// Judges what publishers were told.
pub(super) fn judge_publishing(case: &Case<'_>, verdict: &mut Verdict) {
    publishing::judge(case, verdict);
}

struct Judge<'a> {
    case: &'a Case<'a>,
    client: &'a Client,
    /// Where it stands, as it was told.
    at: Option<Position>,
    /// The births it was given.
    delivered: BTreeSet<usize>,
    /// The live messages of this connection, and all.
    live: BTreeSet<Arc<str>>,
    heard: BTreeSet<Arc<str>>,
    gaps: Vec<ToldGap>,
    stretch: Stretch,
    /// It reads slowly, or did on this connection.
    slow: bool,
    verdict: &'a mut Verdict,
}

impl Judge<'_> {
    fn wrong(&mut self, recorded: &Recorded, what: &str) {
        let (name, at) = (self.client.name, recorded.at);
        let wrong = format!("client {name} at {}.{:03}: {what}", at.as_secs(), at.subsec_millis());
        self.verdict.wrong.push(wrong);
    }

    fn wants(&self, lane: &Lane) -> bool {
        wants(self.client, lane)
    }

    fn take(&mut self, recorded: &Recorded) {
        match &recorded.item {
            Item::Connect(resume) => {
                self.verdict.resumes += u64::from(resume.is_some());
                self.stretch = Stretch::new(recorded.at, resume.is_some());
                // What was told on a connection that is gone is told again, if it still holds.
                self.gaps.iter_mut().for_each(|gap| gap.open = false);
                // From another node a live message may come once more.
                self.live.clear();
            }
            Item::Message { position, lane, text } => {
                self.message(recorded, *position, lane, text);
            }
            Item::Live { lane, text } => self.live(recorded, lane, text),
            Item::Gap { reason, topics } => {
                *self.verdict.gaps.entry(reason.as_str()).or_default() += 1;
                self.stretch.gap(*reason);
                self.gaps.push(ToldGap::new(*reason, topics.clone(), recorded));
            }
            Item::Cursor(position) if !self.stretch.resumed && self.at.is_none() => {
                self.at = Some(*position);
            }
            Item::Cursor(position) | Item::Silent(position) => {
                self.pass(recorded, *position, None);
            }
            Item::Reconnected { delivered, dropped, complete, position } => {
                self.pass(recorded, *position, None);
                let said = (*delivered, *dropped, *complete);
                if let Some(wrong) = self.stretch.end(said) {
                    self.wrong(recorded, &wrong);
                }
            }
            Item::Truncated { dropped } => self.stretch.dropped += dropped,
            Item::Left | Item::Degraded | Item::Recovered | Item::Closing | Item::Slow(_) => {}
        }
    }

    fn message(&mut self, recorded: &Recorded, position: Position, lane: &Lane, text: &Arc<str>) {
        self.verdict.messages += 1;
        self.stretch.messages += 1;
        let at = self.case.trace.at(position);
        if !self.wants(lane) {
            return self.wrong(recorded, &format!("{at} {lane:?} is not for this client"));
        }
        let Some(number) = self.case.views.find(position) else {
            return self.wrong(recorded, &format!("there never was anything at {at}"));
        };
        let birth = &self.case.archive.births[number];
        if birth.text != *text || birth.lane != *lane {
            return self.wrong(recorded, &format!("{at} is not what the log has there"));
        }
        if let Some(expires) = birth.expires
            && expires.after(self.case.tolerance) <= recorded.log
            // What waits for a slow client was looked at when it was read for it.
            && !self.slow
        {
            let late = recorded.log.as_millis() - expires.as_millis();
            self.wrong(recorded, &format!("{at} had expired {late} ms ago"));
        }
        if !self.delivered.insert(number) {
            return self.wrong(recorded, &format!("{at} came twice"));
        }
        self.pass(recorded, position, Some(number));
        for gap in &mut self.gaps {
            gap.closed.insert(lane.topic.clone());
        }
    }

    fn live(&mut self, recorded: &Recorded, lane: &Lane, text: &Arc<str>) {
        self.verdict.live += 1;
        if !self.wants(lane) {
            return self.wrong(recorded, &format!("a live message of {lane:?} is not for it"));
        }
        let known = self.case.publications.iter().any(|p| p.text == *text && p.lane == *lane);
        if !known {
            return self.wrong(recorded, "nobody published this live message");
        }
        self.heard.insert(Arc::clone(text));
        if !self.live.insert(Arc::clone(text)) {
            self.wrong(recorded, "a live message came twice");
        }
    }

    /// The client was told a position: all it wants up to there was given, or is excused.
    fn pass(&mut self, recorded: &Recorded, to: Position, message: Option<usize>) {
        let views = self.case.views;
        let Some(newer) = views.number(to.epoch) else {
            let at = self.case.trace.at(to);
            return self.wrong(recorded, &format!("{at} is of an epoch that never was"));
        };
        let Some(from) = self.at.replace(to) else { return };
        let Some(older) = views.number(from.epoch) else { return };
        if newer < older && views.shared(newer, older).is_some_and(|end| to.seq <= end) {
            // What was pushed before the fork, and waited, is told as it was pushed.
            return self.pass_on(recorded, from, Position::new(from.epoch, to.seq), message);
        }
        if newer < older {
            let (from, to) = (self.case.trace.at(from), self.case.trace.at(to));
            return self.wrong(recorded, &format!("it goes back from {from} to {to}"));
        }
        let told = std::mem::take(&mut self.stretch.told_epoch);
        if older == newer {
            let back = to.seq < from.seq || (message.is_some() && to.seq == from.seq);
            if back && !told {
                let (from, to) = (self.case.trace.at(from), self.case.trace.at(to));
                return self.wrong(recorded, &format!("it goes back from {from} to {to}"));
            }
            for number in views.range(newer, from.seq, to.seq) {
                self.passed(recorded, number, message, false);
            }
            return;
        }
        let shared = views.shared(older, newer);
        let start = shared.map_or(0, |shared| from.seq.min(shared));
        for number in views.range(newer, start, to.seq) {
            self.passed(recorded, number, message, shared.is_none());
        }
        let births = &self.case.archive.births;
        for (number, birth) in births.iter().enumerate() {
            let Some(epoch) = views.number(birth.position.epoch) else { continue };
            let between = (older..newer).contains(&epoch);
            let above = epoch > older || birth.position.seq > from.seq;
            let kept = views.shared(epoch, newer).is_some_and(|end| birth.position.seq <= end);
            if between && above && !kept {
                self.lost(recorded, number, shared.is_none());
            }
        }
    }

    fn pass_on(&mut self, recorded: &Recorded, from: Position, to: Position, n: Option<usize>) {
        self.at = Some(from);
        self.pass(recorded, to, n);
    }

    /// Whether something is nothing to the client, or was given to it.
    fn is_settled(&self, number: usize, message: Option<usize>) -> bool {
        let birth = &self.case.archive.births[number];
        Some(number) == message || !self.wants(&birth.lane) || self.delivered.contains(&number)
    }

    /// The client went past an entry of the log.
    fn passed(&mut self, recorded: &Recorded, number: usize, message: Option<usize>, cut: bool) {
        if self.is_settled(number, message) {
            return;
        }
        let birth = &self.case.archive.births[number];
        let excused = self.excuse(birth, cut || birth.lost.is_some());
        if excused {
            self.stretch.missing += 1;
            self.verdict.told_missing += 1;
            return;
        }
        if self.may_have_expired(birth, recorded.log) {
            return;
        }
        if self.stretch.dropped > 0 {
            self.stretch.dropped -= 1;
            return;
        }
        let at = self.case.trace.at(birth.position);
        let kept = match (birth.removed, birth.lost) {
            (None, Some(lost)) => format!("lost at {lost:?}"),
            (Some(removed), None) => format!("removed at {removed:?}"),
            (Some(removed), Some(lost)) => format!("removed at {removed:?}, lost at {lost:?}"),
            (None, None) => "in history".to_owned(),
        };
        let (topic, newer) =
            (&birth.lane.topic, if birth.newer { ", of a newer form" } else { "" });
        let what = format!("{at} {topic} ({kept}{newer}) is missing, and no gap says so");
        self.wrong(recorded, &what);
    }

    /// The client went over to an epoch that does not have this any more.
    fn lost(&mut self, recorded: &Recorded, number: usize, replaced: bool) {
        if self.is_settled(number, None) {
            return;
        }
        let birth = &self.case.archive.births[number];
        if self.excuse(birth, true) {
            self.stretch.missing += 1;
            self.verdict.told_missing += 1;
            return;
        }
        if self.may_have_expired(birth, recorded.log) || birth.removed.is_some() {
            return;
        }
        if !replaced && !self.node_knew(recorded, birth) {
            self.verdict.lost_untold += 1;
            return;
        }
        let at = self.case.trace.at(birth.position);
        let what = format!("{at} {} was lost by the log, and no gap says so", birth.lane.topic);
        self.wrong(recorded, &what);
    }

    fn may_have_expired(&self, birth: &Birth, now: LogTime) -> bool {
        birth.expires.is_some_and(|expires| expires <= now.after(self.case.tolerance))
    }

    /// Whether the client's node knew of this entry, or that it is lost, before it can have decided
    /// what to tell: before it had heard of the epoch that came after.
    fn node_knew(&self, recorded: &Recorded, birth: &Birth) -> bool {
        let Some(told) = self.case.told.get(recorded.link) else { return false };
        let lost = birth.position;
        let views = self.case.views;
        let own = views.number(lost.epoch);
        let heard = told.lineages.iter().find(|(_, l)| views.number(l.epoch) > own);
        let heard = heard.map_or(recorded.at, |(at, _)| *at).max(self.stretch.began);
        let was_there = told
            .positions
            .iter()
            .any(|(at, p)| *at < heard && p.epoch == lost.epoch && p.seq >= lost.seq);
        let was_told = told.lineages.iter().any(|(at, lineage)| {
            let fork = lineage.forks.iter().find(|fork| fork.parent == lost.epoch);
            *at <= heard
                && fork.is_some_and(|fork| fork.at < lost.seq && lost.seq <= fork.lost_through)
        });
        was_there || was_told
    }

    /// Whether a gap that was told covers this entry; all that do are justified by it.
    fn excuse(&mut self, birth: &Birth, lost: bool) -> bool {
        let mut excused = false;
        for gap in self.gaps.iter_mut().filter(|gap| gap.covers(birth)) {
            let holds = match gap.reason {
                GapReason::Trimmed | GapReason::Slow => {
                    birth.removed.is_some_and(|removed| removed <= gap.at)
                }
                GapReason::Epoch => lost,
                GapReason::Format => birth.newer,
                // It stands where the hole is: what is missing behind something that came since, it
                // does not cover.
                GapReason::Outage => !gap.closed.contains(&birth.lane.topic),
                GapReason::UnknownId => true,
                _ => false,
            };
            gap.used |= holds;
            excused |= holds;
        }
        excused
    }

    fn end(&mut self) {
        let live = self.client.filters.iter().any(|filter| {
            self.case.publications.iter().any(|p| p.live && filter.matches(&p.lane.topic))
        });
        for gap in self.gaps.iter().filter(|gap| !gap.used) {
            let helped = match gap.reason {
                GapReason::Live => true,
                GapReason::Slow => live,
                GapReason::Outage => publishing::was_given_up(self.case, self.client, gap),
                _ => false,
            };
            if !helped {
                *self.verdict.over.entry(gap.reason.as_str()).or_default() += 1;
            }
        }
    }
}

/// Whether a client is to see what is published to a lane.
pub(super) fn wants(client: &Client, lane: &Lane) -> bool {
    !lane.topic.is_reserved()
        && lane.scope == client.scope
        && client.filters.iter().any(|filter| filter.matches(&lane.topic))
}
