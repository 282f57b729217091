//! What a broken backend says instead of the truth.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tavern_backend::{
    Append, Bus, Entry, Epoch, FeedEvent, Floor, Head, Lane, Lineage, MessageId, Page, Payload,
    Position, Publication, Published, Topic, TopicFilter,
};
use tokio::time::Instant;

use super::Fault;

/// What it remembers in order to lie.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) epoch: Option<Epoch>,
    pub(super) head: Option<Head>,
    pub(super) ids: HashMap<MessageId, (Lane, Position)>,
    pub(super) seen: BTreeMap<u64, Arc<Entry>>,
    pub(super) batches: u64,
    pub(super) interest: BTreeSet<TopicFilter>,
}

/// Changes what is asked of the engine.
pub(super) fn publications(fault: Fault, bus: &Bus, append: &mut Append) {
    match fault {
        Fault::ForgetsKnown => append.known = None,
        Fault::ReversesBatches => append.publications.reverse(),
        _ => {}
    }
    let max = bus.info().max_payload;
    for publication in &mut append.publications {
        change(fault, bus, max, publication);
    }
}

fn change(fault: Fault, bus: &Bus, max: usize, publication: &mut Publication) {
    let envelope = &mut publication.envelope;
    match fault {
        // Far from the counters that the node gives out.
        Fault::ForgetsKeys => publication.key.counter = bus.next_key().counter + (1 << 40),
        Fault::ForgetsIds => envelope.id = None,
        Fault::IgnoresScope => envelope.scope = None,
        Fault::IgnoresTtl => envelope.ttl = None,
        Fault::RestartsTtl => publication.accepted = Instant::now(),
        Fault::IgnoresEventNames => envelope.event = None,
        Fault::TruncatesData if envelope.data.len() > max => {
            let mut end = max;
            while !envelope.data.as_str().is_char_boundary(end) {
                end -= 1;
            }
            envelope.data = Payload::from(&envelope.data.as_str()[..end]);
        }
        Fault::TidiesData => {
            let tidy = envelope.data.as_str().replace("\r\n", "\n").replace('\r', "\n");
            envelope.data = Payload::from(tidy.trim_end());
        }
        Fault::FoldsTopics => {
            if let Ok(topic) = Topic::new(envelope.topic.as_str().to_lowercase()) {
                envelope.topic = topic;
            }
        }
        _ => {}
    }
}

/// Changes what the engine pushed.
pub(super) fn pushed(fault: Fault, memory: &mut Memory, event: FeedEvent) -> Vec<FeedEvent> {
    match (fault, event) {
        (Fault::SkipsEntries, FeedEvent::Entry(entry)) if entry.position.seq % 2 == 0 => {
            let Position { epoch, seq } = entry.position;
            vec![FeedEvent::Skip { epoch, from: seq, to: seq }]
        }
        (Fault::SwapsNeighbours, FeedEvent::Entry(entry)) => {
            let mut entry = Entry::clone(&entry);
            // 2 and 3, 4 and 5, …
            entry.position.seq = (entry.position.seq ^ 1).max(1);
            vec![FeedEvent::Entry(Arc::new(entry))]
        }
        (Fault::RepeatsLive, FeedEvent::Live(live)) => {
            vec![FeedEvent::Live(live.clone()), FeedEvent::Live(live)]
        }
        (Fault::KeepsForever, FeedEvent::Entry(entry)) => {
            memory.seen.insert(entry.position.seq, Arc::clone(&entry));
            vec![FeedEvent::Entry(entry)]
        }
        (Fault::ReusesEpoch | Fault::OwnEpoch, event) => vec![with_epoch(memory, event)],
        (_, event) => vec![event],
    }
}

fn with_epoch(memory: &mut Memory, event: FeedEvent) -> FeedEvent {
    match event {
        FeedEvent::Entry(entry) => {
            let mut entry = Entry::clone(&entry);
            entry.position = memory.position(entry.position);
            FeedEvent::Entry(Arc::new(entry))
        }
        FeedEvent::Skip { epoch, from, to } => {
            FeedEvent::Skip { epoch: memory.epoch(epoch), from, to }
        }
        FeedEvent::LinkRestored { head } => FeedEvent::LinkRestored { head: memory.position(head) },
        event => event,
    }
}

/// Changes a page.
pub(super) fn page(fault: Fault, memory: &mut Memory, mut page: Page) -> Page {
    match fault {
        Fault::DropsFromPages => page.entries.retain(|entry| entry.position.seq % 2 == 1),
        Fault::EmptyPages => page.entries.clear(),
        Fault::ForgetsFloors => {
            page.floors.clear();
            page.horizon = 0;
        }
        Fault::FloorsBelowTheOldest => {
            page.floors.clear();
            for entry in &page.entries {
                let (lane, seq) = (entry.lane(), entry.position.seq - 1);
                let told = page.floors.iter().any(|floor| floor.lane == lane);
                if !told && seq > page.after {
                    page.floors.push(Floor { lane, seq });
                }
            }
        }
        Fault::TinyPages => {
            if let Some(entry) = page.entries.first() {
                page.to = entry.position.seq;
                page.entries.truncate(1);
            }
        }
        Fault::KeepsForever => {
            for entry in &page.entries {
                memory.seen.insert(entry.position.seq, Arc::clone(entry));
            }
            let range = page.after + 1..=page.to.max(page.after + 1);
            page.entries = memory.seen.range(range).map(|(_, entry)| Arc::clone(entry)).collect();
            page.floors.clear();
        }
        Fault::ReusesEpoch | Fault::OwnEpoch => {
            page.epoch = memory.epoch(page.epoch);
            for entry in &mut page.entries {
                let mut lie = Entry::clone(entry);
                lie.position = memory.position(lie.position);
                *entry = Arc::new(lie);
            }
        }
        _ => {}
    }
    page
}

/// Changes the head.
pub(super) fn head(fault: Fault, memory: &mut Memory, mut head: Head) -> Head {
    match fault {
        Fault::StaleHead => memory.head.get_or_insert(head).clone(),
        Fault::ReusesEpoch | Fault::OwnEpoch => {
            head.position = memory.position(head.position);
            head.lineage = Arc::new(Lineage::first(head.position.epoch));
            head
        }
        _ => head,
    }
}

impl Memory {
    /// The one epoch this backend ever speaks of.
    fn epoch(&mut self, truth: Epoch) -> Epoch {
        *self.epoch.get_or_insert(truth)
    }

    pub(super) fn position(&mut self, truth: Position) -> Position {
        Position::new(self.epoch(truth.epoch), truth.seq)
    }

    pub(super) fn published(&mut self, fault: Fault, published: &mut [Published]) {
        if fault == Fault::ReversesBatches {
            published.reverse();
        }
        if matches!(fault, Fault::ReusesEpoch | Fault::OwnEpoch) {
            for published in published {
                match published {
                    Published::Stored(position) | Published::Duplicate(position) => {
                        *position = self.position(*position);
                    }
                    _ => {}
                }
            }
        }
    }
}
