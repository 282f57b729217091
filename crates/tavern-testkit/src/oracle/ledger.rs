//! What was published, and what is known to have become of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tavern_backend::Topic;
use tokio::time::Instant;

/// What a publisher was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is in the log, at this seq; also if it was there before.
    Stored(u64),
    /// Nobody knows: the answer was lost, or it is in a spool. It may be there once.
    Perhaps,
    /// It was refused.
    Refused,
}

/// What was published, with which outcome, and where in the log it was seen.
///
/// A publication's data is [`Ledger::data`], which names it; nothing else is remembered of it. What
/// clients were told is a [`Record`](super::Record) each, which [`judge`](Self::judge) holds
/// against this.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Topics with their scopes.
    lanes: BTreeSet<(Topic, Option<String>)>,
    publications: Vec<Publication>,
    /// Where in the log which of them is.
    pub(super) log: BTreeMap<u64, u64>,
    wrong: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Publication {
    pub(super) topic: Topic,
    pub(super) scope: Option<String>,
    pub(super) ttl: Option<Duration>,
    /// Its last of a lane, which its clients wait for.
    last: bool,
    /// When it was surely accepted, if it was at all.
    pub(super) answered: Option<Instant>,
    pub(super) answer: Answer,
    pub(super) seq: Option<u64>,
}

impl Ledger {
    /// Nothing was published yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that somebody is about to publish; returns the publication's number.
    pub fn publish(&mut self, topic: &Topic, scope: Option<&str>, ttl: Option<Duration>) -> u64 {
        let scope = scope.map(str::to_owned);
        self.lanes.insert((topic.clone(), scope.clone()));
        let answer = Answer::Perhaps;
        let (topic, last) = (topic.clone(), false);
        let publication =
            Publication { topic, scope, ttl, last, answered: None, answer, seq: None };
        self.publications.push(publication);
        u64::try_from(self.publications.len()).unwrap_or(u64::MAX) - 1
    }

    /// The same for the last publication of a lane: a client that has those of all its lanes has
    /// everything that it will get.
    pub fn publish_last(&mut self, topic: &Topic, scope: Option<&str>) -> u64 {
        let number = self.publish(topic, scope, None);
        if let Some(publication) = self.publications.last_mut() {
            publication.last = true;
        }
        number
    }

    /// The data that it is to be published with: no spaces are in what topics and scopes are used.
    #[must_use]
    pub fn data(&self, number: u64) -> String {
        let Some(of) = self.get(number) else { return String::new() };
        let scope = of.scope.as_deref().unwrap_or("-");
        let kind = match (of.last, of.ttl) {
            (true, _) => "last",
            (false, Some(_)) => "ttl",
            (false, None) => "-",
        };
        format!("{number} {} {scope} {kind}", of.topic)
    }

    /// Notes an answer to the publisher. Later ones may know more.
    pub fn answered(&mut self, number: u64, answer: Answer, now: Instant) {
        let Some(of) = self.get_mut(number) else { return };
        of.answered = Some(now);
        match (of.answer, answer) {
            // What is known is not unknown again: a retry may be refused.
            (Answer::Stored(_), Answer::Perhaps | Answer::Refused) => {}
            // An earlier attempt may have come to something.
            (Answer::Perhaps, Answer::Refused) if of.seq.is_some() => {}
            _ => of.answer = answer,
        }
        if let Answer::Stored(seq) = answer {
            self.seen(number, seq);
        }
    }

    /// Notes where in the log it is.
    pub(super) fn seen(&mut self, number: u64, seq: u64) {
        let Some(of) = self.get_mut(number) else {
            self.wrong.push(format!("seq {seq} is publication {number}, which nobody made"));
            return;
        };
        let refused = of.answer == Answer::Refused;
        match of.seq.replace(seq) {
            Some(before) if before != seq => self
                .wrong
                .push(format!("publication {number} is in the log twice: at {before} and {seq}")),
            Some(_) => {}
            None if refused => {
                self.wrong.push(format!("publication {number} was refused, and is at {seq}"));
            }
            None => match self.log.insert(seq, number) {
                Some(other) if other != number => {
                    self.wrong.push(format!("seq {seq} is publication {other} and {number}"));
                }
                _ => {}
            },
        }
    }

    /// What is wrong with the log itself, whatever clients were told.
    #[must_use]
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// How many publications there are, by what is known of them: in the log, perhaps but not seen
    /// by anyone, refused.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for of in &self.publications {
            let kind = match (of.seq, of.answer) {
                (Some(_), _) => 0,
                (None, Answer::Refused) => 2,
                (None, _) => 1,
            };
            counts[kind] += 1;
        }
        counts
    }

    /// All topics with their scopes.
    pub fn topics(&self) -> impl Iterator<Item = (&Topic, Option<&str>)> {
        self.lanes.iter().map(|(topic, scope)| (topic, scope.as_deref()))
    }

    pub(super) fn get(&self, number: u64) -> Option<&Publication> {
        self.publications.get(usize::try_from(number).ok()?)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Publication> {
        self.publications.get_mut(usize::try_from(number).ok()?)
    }

    /// Those that may have been lost with a spool.
    pub(super) fn unseen(&self) -> impl Iterator<Item = &Publication> {
        let perhaps = |of: &&Publication| of.seq.is_none() && of.answer == Answer::Perhaps;
        self.publications.iter().filter(perhaps)
    }
}
