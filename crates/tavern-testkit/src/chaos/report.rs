//! One table of what happened and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Chaos;
use super::client::Client;
use super::plan::Fault;
use super::publisher::Answers;
use crate::oracle::{Ledger, Verdict};

/// What one hub said of one fault.
#[derive(Debug, Clone, Default)]
pub struct Happened {
    /// How long after it began `/readyz` said so, if it did.
    pub found: Option<Duration>,
    /// The same for `tavern-degraded` on a stream.
    pub told: Option<Duration>,
    /// How long after it ended `/readyz` said that all is well again, if it had said anything else.
    pub ready: Option<Duration>,
    /// What it said.
    pub why: Option<String>,
}

/// What hubs said of faults of one kind.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// How often it happened.
    pub count: u64,
    /// What each hub said each time.
    pub hubs: Vec<Happened>,
}

impl Times {
    /// What hubs said, and how often; the commonest three.
    fn reasons(&self) -> Vec<(String, usize)> {
        let mut reasons = BTreeMap::<String, usize>::new();
        for why in self.hubs.iter().filter_map(|hub| hub.why.as_deref()) {
            // Ports and offsets differ from run to run.
            let words = why
                .split(' ')
                .map(|word| if word.contains("127.0.0.1") { "ADDRESS" } else { word });
            *reasons.entry(words.collect::<Vec<_>>().join(" ")).or_default() += 1;
        }
        let mut reasons = reasons.into_iter().collect::<Vec<_>>();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons.truncate(3);
        reasons
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// What was run.
    pub title: String,
    /// Faults by kind.
    pub faults: BTreeMap<Fault, Times>,
    /// What publishers were answered.
    pub answers: Answers,
    /// Publications in the log, perhaps published but seen by nobody, refused.
    pub publications: [u64; 3],
    /// Clients, and those whose record is accepted.
    pub clients: [u64; 2],
    /// Streams that clients opened.
    pub streams: u64,
    /// Streams that ended although no client and no death of a hub ended them.
    pub ended: u64,
    /// `tavern-degraded` and `tavern-recovered` events that clients got.
    pub notices: [u64; 2],
    /// What all clients got, were to get, and missed.
    pub verdict: Verdict,
    /// Times `/healthz` did not say that a hub lives that did.
    pub flaps: u64,
    /// What was wrong.
    pub wrong: Vec<String>,
    /// How long all of it took.
    pub took: Duration,
}

impl Report {
    pub(super) fn new(chaos: &Chaos) -> Self {
        let Chaos { engine, time, seed, hubs, clients, publishers, rate } = chaos;
        let title = format!(
            "{}: seed {seed}, {} s of faults, {hubs} hubs, {clients} streams, {publishers} publishers \
             with {rate} messages/s",
            engine.name(),
            time.as_secs(),
        );
        Self { title, ..Self::default() }
    }

    /// Whether nothing was lost without a word, no stream ended by the engine, and nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let [clients, accepted] = self.clients;
        self.wrong.is_empty()
            && accepted == clients
            && self.ended == 0
            && self.verdict.lost == 0
            && self.flaps == 0
    }

    /// Gaps that cover nothing that was missing.
    #[must_use]
    pub fn over_reports(&self) -> u64 {
        self.verdict.gaps.values().map(|[_, over]| over).sum()
    }

    pub(super) fn add_fault(&mut self, fault: Fault, hubs: &[Happened]) {
        let times = self.faults.entry(fault).or_default();
        times.count += 1;
        times.hubs.extend_from_slice(hubs);
    }

    pub(super) fn add_publisher(&mut self, answers: &Answers, wrong: Vec<String>) {
        self.answers.stored += answers.stored;
        self.answers.duplicate += answers.duplicate;
        self.answers.spooled += answers.spooled;
        self.answers.rejected += answers.rejected;
        self.answers.lost += answers.lost;
        self.wrong.extend(wrong);
    }

    pub(super) fn add_client(&mut self, client: &Client, verdict: Verdict) {
        self.clients[0] += 1;
        self.streams += client.streams;
        self.ended += client.ended;
        self.notices[0] += client.record.notices("tavern-degraded");
        self.notices[1] += client.record.notices("tavern-recovered");
        if verdict.wrong.is_empty() && client.wrong.is_none() {
            self.clients[1] += 1;
        }
        self.wrong.extend(client.wrong.clone());
        let all = &mut self.verdict;
        all.received += verdict.received;
        all.expected += verdict.expected;
        all.told += verdict.told;
        all.lost += verdict.lost;
        all.expired += verdict.expired;
        for (reason, [gaps, over]) in verdict.gaps {
            let sum = all.gaps.entry(reason).or_default();
            *sum = [sum[0] + gaps, sum[1] + over];
        }
        self.wrong.extend(verdict.wrong.into_iter().take(5));
    }

    pub(super) fn add_ledger(&mut self, ledger: &Ledger) {
        self.publications = ledger.counts();
        self.wrong.extend_from_slice(ledger.wrong());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(
            f,
            "{:<24} {:>5} {:>9} {:>17} {:>17} {:>17}",
            "fault", "times", "noticed", "found s", "told s", "ready again s"
        )?;
        for (fault, times) in &self.faults {
            let column = |of: fn(&Happened) -> Option<Duration>| {
                let mut all = times.hubs.iter().filter_map(of).collect::<Vec<_>>();
                all.sort_unstable();
                match (all.get(all.len() / 2), all.last()) {
                    (Some(middle), Some(last)) => {
                        format!("{:.2} … {:.2}", middle.as_secs_f64(), last.as_secs_f64())
                    }
                    _ => "-".to_owned(),
                }
            };
            let noticed = times.hubs.iter().filter(|hub| hub.found.is_some()).count();
            writeln!(
                f,
                "{fault:<24} {:>5} {:>9} {:>17} {:>17} {:>17}",
                times.count,
                format!("{noticed}/{}", times.hubs.len()),
                column(|hub| hub.found),
                column(|hub| hub.told),
                column(|hub| hub.ready),
            )?;
            for (why, count) in times.reasons() {
                writeln!(f, "    {count} × {why}")?;
            }
        }
        writeln!(f, "(of all hubs, middle … longest; found by /readyz, told by tavern-degraded)")?;
        let Answers { stored, duplicate, spooled, rejected, lost } = self.answers;
        let [there, perhaps, refused] = self.publications;
        let [clients, accepted] = self.clients;
        let gaps = self.verdict.gaps.iter();
        let gaps = gaps.map(|(reason, [all, over])| format!("{reason} {all} ({over})"));
        let gaps = gaps.collect::<Vec<_>>().join(", ");
        let rows = [
            ("messages published", format!("{}", there + perhaps + refused)),
            ("  in the log", there.to_string()),
            ("  answer lost or spooled, and not in the log", perhaps.to_string()),
            ("  refused", refused.to_string()),
            (
                "answers: stored, duplicate, spooled, later, lost",
                format!("{stored}, {duplicate}, {spooled}, {rejected}, {lost}"),
            ),
            ("streams opened", self.streams.to_string()),
            ("degraded and recovered events on them", format!("{:?}", self.notices)),
            ("messages for the clients", self.verdict.expected.to_string()),
            ("  delivered", self.verdict.received.to_string()),
            ("  missing, and a gap in place said so", self.verdict.told.to_string()),
            ("  expired before they could be delivered", self.verdict.expired.to_string()),
            ("  lost without a word (must be 0)", self.verdict.lost.to_string()),
            ("gaps by reason (those that cover nothing)", gaps),
            ("streams ended by the engine (must be 0)", self.ended.to_string()),
            ("times /healthz wavered (must be 0)", self.flaps.to_string()),
            ("clients whose record is accepted", format!("{accepted} of {clients}")),
            ("seconds in all", format!("{:.0}", self.took.as_secs_f64())),
        ];
        for (what, value) in rows {
            writeln!(f, "{what:<50} {value}")?;
        }
        for wrong in self.wrong.iter().take(20) {
            writeln!(f, "WRONG: {wrong}")?;
        }
        Ok(())
    }
}
