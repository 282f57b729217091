//! One thing after another.

use std::time::Duration;

use tavern_backend::{MessageEnvelope, Topic};
use tokio::time::Instant;

use super::{World, note};
use crate::sim::client::Item;
use crate::sim::plan::{Plan, SCOPES};
use crate::sim::publishing::Said;
use crate::sim::trouble::Trouble;
use crate::sim::weather::Weather;

/// The most calls to publish that wait at a time.
const MOST_UNDERWAY: usize = 30;

impl World {
    /// Lets something happen.
    pub(super) fn trouble(&mut self) {
        let sum = self.plan.weights.iter().map(|(_, weight)| weight).sum::<u32>();
        let mut at = self.rng.u32(..sum);
        let chosen = self.plan.weights.iter().find(|(_, weight)| {
            let hit = at < *weight;
            at = at.saturating_sub(*weight);
            hit
        });
        let Some((trouble, _)) = chosen.copied() else { return };
        self.troubles += u64::from(trouble != Trouble::Publish);
        let slot = self.rng.usize(..self.slots.len());
        match trouble {
            Trouble::Publish => self.publish_some(slot),
            Trouble::Connect => {
                let n = self.rng.usize(..self.clients.len());
                self.connect(n, slot);
            }
            Trouble::Leave => {
                let n = self.rng.usize(..self.clients.len());
                self.leave(n);
            }
            Trouble::Pace => self.pace(),
            Trouble::Weather => {
                let fair = self.rng.u32(..3) == 0;
                let weather = if fair { Weather::fair() } else { Weather::any(&mut self.rng) };
                if let Some(link) = self.link(slot) {
                    self.trace.say(format_args!("link {link}: {weather:?}"));
                    self.engine.lock().links[link].weather = weather;
                }
            }
            Trouble::Cut => self.link(slot).into_iter().for_each(|link| self.engine.cut(link)),
            Trouble::Heal => self.link(slot).into_iter().for_each(|link| self.engine.heal(link)),
            Trouble::Crash => self.engine.crash(),
            Trouble::Return => self.come_back(),
            Trouble::Failover => {
                let to = self.any_end();
                self.engine.restart(to);
                if self.rng.bool() {
                    self.links().into_iter().for_each(|link| self.engine.cut(link));
                }
            }
            Trouble::Replace => self.engine.replace(),
            Trouble::Sync => {
                let mut state = self.engine.lock();
                state.log.durable = state.log.head;
            }
            Trouble::Kill => self.kill(slot),
            Trouble::Close => {
                if let Some(running) = self.slots[slot].take() {
                    self.trace.say(format_args!("node {slot} closes"));
                    self.close(running);
                }
            }
            Trouble::Start => {
                if self.slots[slot].is_none() {
                    self.start(slot);
                }
            }
            Trouble::Jump => {
                if self.plan.jumps {
                    let skew = self.rng.i64(-2_000..2_000);
                    self.trace.say(format_args!("the log's clock is off by {skew} ms"));
                    self.engine.lock().skew = skew;
                }
            }
            // It happens in the pause behind it.
            Trouble::Idle => {
                let long = Duration::from_millis(self.rng.u64(1_000..15_000));
                self.idle_until = Some(Instant::now() + long);
            }
        }
    }

    fn publish_some(&mut self, slot: usize) {
        if self.underway.len() >= MOST_UNDERWAY {
            return;
        }
        if self.rng.u32(..30) == 0 && self.publish_again(slot) {
            return;
        }
        let first = self.publications.len();
        let mut envelopes: Vec<MessageEnvelope> = Vec::new();
        for n in 0..self.rng.usize(1..6) {
            let Ok(topic) = Topic::new(Plan::topic(&mut self.rng)) else { continue };
            let scope = SCOPES[if self.rng.bool() { 0 } else { self.rng.usize(..SCOPES.len()) }];
            let mut envelope = self.envelope(topic, scope, true);
            // Numbers follow each other within the batch too.
            let text = envelope.data.as_str();
            let rest = text.split_once(' ').map_or("", |(_, rest)| rest);
            envelope.data = format!("{} {rest}", first + n).into();
            if envelope.id.is_some() {
                envelope.id = format!("id-{}", first + n).try_into().ok();
            }
            envelopes.push(envelope);
        }
        self.publish(slot, envelopes);
    }

    /// Publishes something that has an id once more.
    fn publish_again(&mut self, slot: usize) -> bool {
        let n = self.rng.usize(..self.publications.len().max(1));
        let Some(old) = self.publications.get(n) else { return false };
        if old.live || old.again {
            return false;
        }
        let mut envelope = MessageEnvelope::new(old.lane.topic.clone(), &*old.text);
        envelope.scope.clone_from(&old.lane.scope);
        envelope.ttl = old.ttl;
        envelope.id = old.id.clone();
        if envelope.id.is_none() {
            return false;
        }
        self.publish(slot, vec![envelope]);
        if let Some(new) = self.publications.last_mut() {
            new.again = true;
        }
        true
    }

    fn pace(&mut self) {
        let n = self.rng.usize(..self.clients.len());
        let slow = (self.rng.u32(..3) > 0)
            .then(|| (self.rng.usize(1..20), Duration::from_millis(self.rng.u64(10..3_000))));
        let client = &mut self.clients[n];
        client.slow = slow;
        let note = note(&self.engine, &self.trace, false);
        client.note(&note, Item::Slow(slow.is_some()));
    }

    fn link(&self, slot: usize) -> Option<usize> {
        self.slots[slot].as_ref().map(|running| running.link)
    }

    fn links(&self) -> Vec<usize> {
        (0..self.slots.len()).filter_map(|slot| self.link(slot)).collect()
    }

    /// Where the log may end after a failure: most often it keeps what is durable.
    fn any_end(&mut self) -> u64 {
        let (head, durable) = {
            let state = self.engine.lock();
            (state.log.head, state.log.durable)
        };
        match self.rng.u32(..4) {
            0 => head,
            1 => self.rng.u64(head.saturating_sub(40)..=head),
            _ => self.rng.u64(durable.min(head)..=head),
        }
    }

    fn come_back(&mut self) {
        if !self.engine.lock().up {
            let to = self.any_end();
            self.engine.restart(to);
        }
        for link in self.links() {
            if self.rng.bool() {
                self.engine.heal(link);
            }
        }
    }

    fn kill(&mut self, slot: usize) {
        let Some(running) = self.slots[slot].take() else { return };
        let link = running.link;
        self.trace.say(format_args!("node {slot} is killed"));
        for client in self.clients.iter_mut().filter(|c| c.slot == slot && c.stream.is_some()) {
            client.stream = None;
            let note = note(&self.engine, &self.trace, false);
            client.note(&note, Item::Left);
        }
        self.engine.kill(link);
        self.underway.retain(|call| call.link != link);
        for publication in self.publications.iter_mut().filter(|p| p.link == link) {
            if matches!(publication.said, Said::Spooled(_)) {
                publication.said = Said::Nothing;
            }
        }
        drop(running);
    }

    /// Ends all trouble.
    pub(super) fn mend(&mut self) {
        if !self.engine.lock().up {
            let to = self.any_end();
            self.engine.restart(to);
        }
        for link in &mut self.engine.lock().links {
            link.weather = Weather::fair();
        }
        for slot in 0..self.slots.len() {
            match self.link(slot) {
                Some(link) => self.engine.heal(link),
                None => self.start(slot),
            }
        }
        for link in &mut self.engine.lock().links {
            link.weather = Weather::fair();
        }
        for client in &mut self.clients {
            client.slow = None;
        }
    }
}
