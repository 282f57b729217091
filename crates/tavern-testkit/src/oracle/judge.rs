//! Holds what a client was told against what was published.

use std::collections::BTreeMap;
use std::time::Duration;

use tavern_backend::{Topic, TopicFilter};

use super::ledger::Ledger;
use super::record::{Record, Told};

/// What a client's record comes to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Messages received.
    pub received: u64,
    /// Messages of the log that were for it.
    pub expected: u64,
    /// Messages that it did not get, and a gap event in their place said so.
    pub told: u64,
    /// Messages that it did not get and nobody told it.
    pub lost: u64,
    /// Messages with a TTL that it did not get.
    pub expired: u64,
    /// Gap events by reason, and how many of them cover nothing that was missing.
    pub gaps: BTreeMap<String, [u64; 2]>,
    /// What is wrong, in words.
    pub wrong: Vec<String>,
}

/// A gap as it stands in a record: what may be missing because of it lies behind all that the client
/// had before it, and on each topic before the next message that it got there.
struct Place<'a> {
    reason: &'a str,
    topics: &'a [TopicFilter],
    behind: u64,
    before: BTreeMap<&'a Topic, u64>,
    covers: bool,
}

impl Ledger {
    /// Notes where in the log a client saw publications. All records are read before one is judged:
    /// what one client got, the others were to get.
    pub fn learn(&mut self, record: &Record) {
        for told in &record.told {
            if let Told::Message { seq, number } = told {
                self.seen(*number, *seq);
            }
        }
    }

    /// Accepts a record only if it is complete up to its last message, in order, once, within its
    /// scope and unexpired, or has a gap event in place for what is missing. What arrives later than
    /// its TTL by `slack` is expired.
    #[must_use]
    pub fn judge(&self, record: &Record, slack: Duration) -> Verdict {
        let mut verdict = Verdict::default();
        let mut places = self.places(record);
        let mut got = record.told.iter().filter_map(|told| match told {
            Told::Message { seq, number } => Some((*seq, *number)),
            Told::Gap { .. } => None,
        });
        let mut next = got.next();
        let from = record.start.unwrap_or(0) + 1;
        for (seq, number) in self.log.range(from..=record.last) {
            let Some(of) = self.get(*number) else { continue };
            if !record.wants(&of.topic, of.scope.as_deref()) {
                continue;
            }
            verdict.expected += 1;
            if next == Some((*seq, *number)) {
                verdict.received += 1;
                next = got.next();
                continue;
            }
            let mut told = false;
            for place in &mut places {
                if place.has(*seq, &of.topic) {
                    (told, place.covers) = (true, true);
                }
            }
            match (told, of.ttl) {
                (true, _) => verdict.told += 1,
                (false, Some(_)) => verdict.expired += 1,
                (false, None) => {
                    verdict.lost += 1;
                    verdict.wrong.push(format!("seq {seq}, {number} on {}, is lost", of.topic));
                }
            }
        }
        if let Some((seq, number)) = next {
            verdict.wrong.push(format!("seq {seq}, {number}, is not where the log has it"));
        }
        for place in places {
            let [all, over] = verdict.gaps.entry(place.reason.to_owned()).or_default();
            *all += 1;
            // What a node gave up before it was stored has no place in the log.
            let given_up = || {
                self.unseen().any(|of| {
                    record.wants(&of.topic, of.scope.as_deref())
                        && place.topics.iter().any(|filter| filter.matches(&of.topic))
                })
            };
            let excused = place.covers || (place.reason == "outage" && given_up());
            if !excused {
                *over += 1;
            }
        }
        for (number, at) in &record.timed {
            let Some(of) = self.get(*number) else { continue };
            let (Some(ttl), Some(answered)) = (of.ttl, of.answered) else { continue };
            let late = at.saturating_duration_since(answered + ttl);
            if late > slack {
                verdict.wrong.push(format!("{number} came {late:?} after it had expired"));
            }
        }
        verdict
    }
}

impl Place<'_> {
    fn has(&self, seq: u64, topic: &Topic) -> bool {
        self.behind < seq && self.before.get(topic).is_some_and(|before| seq < *before)
    }
}

impl Ledger {
    fn places<'a>(&'a self, record: &'a Record) -> Vec<Place<'a>> {
        let topics = self.topics().filter(|(topic, scope)| record.wants(topic, *scope));
        let topics = topics.map(|(topic, _)| topic).collect::<Vec<_>>();
        let mut places: Vec<Place<'a>> = Vec::new();
        // Gaps, and the topics of theirs on which nothing came since.
        let mut open: Vec<(usize, Vec<&Topic>)> = Vec::new();
        let mut behind = record.start.unwrap_or(0);
        for told in &record.told {
            match told {
                Told::Gap { reason, topics: filters } => {
                    let named = topics.iter().copied();
                    let named = named.filter(|t| filters.iter().any(|f| f.matches(t)));
                    let named = named.collect::<Vec<_>>();
                    open.push((places.len(), named.clone()));
                    let before = named.into_iter().map(|topic| (topic, u64::MAX)).collect();
                    places.push(Place { reason, topics: filters, behind, before, covers: false });
                }
                Told::Message { seq, number } => {
                    behind = *seq;
                    let Some(of) = self.get(*number).filter(|_| !open.is_empty()) else { continue };
                    for (place, waiting) in &mut open {
                        if let Some(at) = waiting.iter().position(|topic| **topic == of.topic) {
                            places[*place].before.insert(waiting.swap_remove(at), *seq);
                        }
                    }
                    open.retain(|(_, waiting)| !waiting.is_empty());
                }
            }
        }
        places
    }
}

#[cfg(test)]
mod tests;
