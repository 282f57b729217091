//! Reading the ring.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tavern_backend::Position;
use tokio::sync::mpsc;

use super::catch_up::Trip;
use super::{Away, Handover, State, Subscription};
use crate::delivery::{Degraded, Delivery, GapReason};
use crate::frame::Frame;
use crate::marker::Marker;
use crate::ring::{Got, Limit, Read};

impl Subscription {
    /// Takes what the ring has. Pending if that is nothing; ready if it is worth looking again.
    pub(super) fn poll_live(&mut self, out: &mut Vec<Delivery>, limit: Limit) -> Poll<()> {
        let Some(position) = self.position else {
            self.state = State::Ended;
            return Poll::Ready(());
        };
        let mut got = std::mem::take(&mut self.got);
        let mut lost_live = false;
        let ring = &self.wish.node.ring;
        let follow = &self.following.follow;
        let read = ring.read(follow, self.at, position.seq, limit, &mut got, &mut lost_live);
        if lost_live {
            let reason = GapReason::Slow;
            out.push(self.wish.gap(reason, self.last_id(), self.wish.all_topics()));
        }
        for got in got.drain(..) {
            if self.take(got, out).is_break() {
                break;
            }
        }
        self.got = got;
        if !matches!(self.state, State::Live) {
            return Poll::Ready(());
        }
        match read {
            Read::More { at } => {
                self.at = at;
                Poll::Ready(())
            }
            Read::Drained { at, position, closing } => {
                self.at = at;
                self.drained(position, out);
                if closing {
                    self.end(out);
                    return Poll::Ready(());
                }
                Poll::Pending
            }
            Read::Fallen { base } => {
                self.fall(base);
                Poll::Ready(())
            }
        }
    }

    /// While the stream opens or catches up: messages of live topics, which need no position.
    pub(super) fn read_live_topics(&mut self, out: &mut Vec<Delivery>, max: usize) {
        let mut got = std::mem::take(&mut self.got);
        let (mut lost_live, limit) = (false, Limit::items(max));
        loop {
            let (ring, follow) = (&self.wish.node.ring, &self.following.follow);
            let read = ring.read(follow, self.at, u64::MAX, limit, &mut got, &mut lost_live);
            if let Read::Fallen { base } = read {
                self.missed_up_to(base);
            }
            self.at = match read {
                Read::More { at } | Read::Drained { at, .. } | Read::Fallen { base: at } => at,
            };
            for got in got.drain(..) {
                match got {
                    Got::Live(_, frame) => out.extend(self.wish.message(frame)),
                    Got::Marker(_, _, marker) => match &*marker {
                        Marker::Discarded { lane } => self.missed(lane),
                        marker => self.health(marker, out),
                    },
                    // It has a place in the log, and comes once this stream has one.
                    Got::Entry(_) => {}
                }
            }
            if matches!(read, Read::Drained { .. }) {
                break;
            }
        }
        if lost_live {
            out.push(self.wish.gap(GapReason::Slow, self.last_id(), self.wish.all_topics()));
        }
        self.got = got;
    }

    /// Takes one thing from the ring. Breaks if the stream has to go on from history behind it.
    fn take(&mut self, got: Got, out: &mut Vec<Delivery>) -> ControlFlow<()> {
        match got {
            Got::Entry(frame) => self.take_entry(frame, out),
            Got::Live(offset, frame) if offset >= self.live_from => {
                out.extend(self.wish.message(frame));
            }
            Got::Live(..) => {}
            Got::Marker(offset, seq, marker) => {
                let gap = self.pass(&marker, offset >= self.live_from, out);
                if let Some(here) = &mut self.position {
                    // Whatever it follows of what lies before the marker has been read.
                    here.seq = here.seq.max(seq);
                }
                if let Some((reason, last, topics)) = gap {
                    return self.meet(reason, last, topics, offset + 1, out);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Tells a gap that it met in the ring, which goes on at offset `at`. Breaks if the stream has
    /// to wait for what bridges the gap.
    pub(super) fn meet(
        &mut self,
        reason: GapReason,
        last: String,
        topics: Vec<String>,
        at: u64,
        out: &mut Vec<Delivery>,
    ) -> ControlFlow<()> {
        if self.wish.node.snapshot.is_some() {
            self.bridge(at, reason, last, topics);
            return ControlFlow::Break(());
        }
        if let Some(replay) = &mut self.replay {
            replay.open_gaps += 1;
        }
        out.push(self.wish.gap(reason, last, topics));
        ControlFlow::Continue(())
    }

    fn take_entry(&mut self, frame: Arc<Frame>, out: &mut Vec<Delivery>) {
        let (Some(entry), Some(here)) = (frame.position, self.position) else { return };
        // At or below the cursor the client has it: this node lagged behind another.
        if entry.seq <= here.seq {
            return;
        }
        self.end_replay_before(entry.seq, out);
        self.position = Some(Position::new(here.epoch, entry.seq));
        if self.replay.as_ref().is_some_and(|replay| replay.is_bridged(&frame, entry.seq)) {
            return;
        }
        let appended = frame.appended;
        let message = self.wish.message(frame);
        if let (Some(replay), Some(_)) = (&mut self.replay, &message) {
            replay.delivers(appended);
        }
        out.extend(message);
    }

    /// Passes a marker. Returns the gap that it is to this subscriber, if it is one: why, from
    /// where, and of which topics.
    fn pass(
        &mut self,
        marker: &Marker,
        new: bool,
        out: &mut Vec<Delivery>,
    ) -> Option<(GapReason, String, Vec<String>)> {
        match marker {
            Marker::Gap { reason, lanes } => {
                let topics = self.wish.topics_of(lanes.as_deref());
                (!topics.is_empty()).then(|| (*reason, self.last_id(), topics))
            }
            Marker::Trimmed { lanes, through } => {
                let topics = self.wish.topics_of(lanes.as_deref());
                if topics.is_empty() {
                    return None;
                }
                if self.wish.node.snapshot.is_some() {
                    self.replay.get_or_insert_default();
                }
                if let Some(replay) = &mut self.replay {
                    self.wish.told(replay, lanes.as_deref(), *through);
                }
                Some((GapReason::Trimmed, self.last_id(), topics))
            }
            Marker::Discarded { lane } => {
                let concerns = new && self.wish.wants(lane);
                concerns.then(|| (GapReason::Outage, self.last_id(), vec![lane.topic.to_string()]))
            }
            Marker::Fork { epoch, at, lost, known } => {
                let here = self.position.filter(|here| here.epoch != *epoch)?;
                let last = self.last_id();
                let seq = if *known { here.seq.min(*at) } else { *at };
                self.position = Some(Position::new(*epoch, seq));
                if let Some(replay) = &mut self.replay {
                    replay.crossed(*at, *known);
                }
                let gap = *lost || !known || here.seq > *at;
                gap.then(|| (GapReason::Epoch, last, self.wish.all_topics()))
            }
            Marker::Degraded { .. } | Marker::Recovered { .. } => {
                if new {
                    self.health(marker, out);
                }
                None
            }
        }
    }

    /// Tells a gap and bridges it with snapshots, then goes on in the ring at offset `at`.
    fn bridge(&mut self, at: u64, reason: GapReason, last: String, topics: Vec<String>) {
        let Some(position) = self.position else { return };
        // Live messages are given out meanwhile, from where that had come to.
        self.at = at.max(self.live_from);
        let (sender, deliveries) = mpsc::channel(2);
        let trip = Trip::new(&self.wish, &self.following, &self.interested, sender);
        let replay = self.replay.take().unwrap_or_default();
        let behind = Handover { at, position, replay: Some(replay) };
        let work = Box::pin(trip.bridge(behind, reason, last, topics));
        self.state = State::Away(Away { work, deliveries, done: None });
    }

    fn health(&self, marker: &Marker, out: &mut Vec<Delivery>) {
        let backend = self.wish.node.bus.info().name;
        match marker {
            Marker::Degraded { since } => {
                out.push(Delivery::Degraded(Degraded { backend, since: since.elapsed() }));
            }
            Marker::Recovered { after } => {
                out.push(Delivery::Recovered(Degraded { backend, since: *after }));
            }
            Marker::Gap { .. }
            | Marker::Trimmed { .. }
            | Marker::Discarded { .. }
            | Marker::Fork { .. } => {}
        }
    }

    /// The ring has no more for this reader up to `ring`.
    fn drained(&mut self, ring: Option<Position>, out: &mut Vec<Delivery>) {
        let (Some(ring), Some(here)) = (ring, self.position) else { return };
        if ring.epoch == here.epoch && ring.seq > here.seq {
            self.position = Some(ring);
        }
        let Some(here) = self.position else { return };
        let Some(until) = self.replay.as_ref().map(|replay| replay.until) else { return };
        if here.seq >= until {
            self.end_replay_before(until.saturating_add(1), out);
            return;
        }
        let ring = &self.wish.node.ring;
        ring.await_watermark(until, &self.following.signal);
        // It may have come that far between the look and the registration.
        if ring.position().is_some_and(|ring| ring.seq >= until) {
            self.following.signal.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Something behind the replay is about to be delivered: the replay ends before it.
    fn end_replay_before(&mut self, seq: u64, out: &mut Vec<Delivery>) {
        let (Some(replay), Some(here)) = (&mut self.replay, self.position) else { return };
        if seq > replay.until {
            out.extend(self.wish.end(replay, here));
            self.replay = None;
        }
    }

    /// What it wants left the ring, which begins at `base`, unread: goes on from history.
    fn fall(&mut self, base: u64) {
        let Some(position) = self.position else { return };
        self.wish.node.tallies.fell_off.one();
        self.missed_up_to(base);
        self.at = base.max(self.live_from);
        let (sender, deliveries) = mpsc::channel(2);
        let trip = Trip::new(&self.wish, &self.following, &self.interested, sender);
        let work = Box::pin(trip.go(position, self.replay.take(), GapReason::Slow));
        self.state = State::Away(Away { work, deliveries, done: None });
    }

    pub(super) fn last_id(&self) -> String {
        self.position
            .map(|position| tavern_backend::Cursor(position).to_string())
            .unwrap_or_default()
    }
}
