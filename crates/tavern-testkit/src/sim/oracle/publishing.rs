//! Whether what publishers were told is true, and heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tavern_broker::GapReason;

use super::stretch::ToldGap;
use super::{Case, Verdict, wants};
use crate::sim::client::{Client, Item};
use crate::sim::publishing::{Publication, Said};

/// Within this a node must have told its own.
const SOON: Duration = Duration::from_secs(4);

pub(super) fn judge(case: &Case<'_>, verdict: &mut Verdict) {
    for (n, publication) in case.publications.iter().enumerate() {
        if let Some(wrong) = judge_one(case, publication) {
            verdict.wrong.push(format!("publication {n}: {wrong}"));
        }
    }
    judge_log(case, verdict);
}

fn judge_one(case: &Case<'_>, publication: &Publication) -> Option<String> {
    match &publication.said {
        Said::Stored(at) | Said::Duplicate(at) => {
            let there = case.views.find(*at).map(|n| &case.archive.births[n]);
            let at = case.trace.at(*at);
            let same = there.is_some_and(|there| {
                there.text == publication.text && there.lane == publication.lane
            });
            (!same).then(|| format!("it is said to be at {at}, and is not"))
        }
        Said::Live => (!publication.live).then(|| "its topic is not live".to_owned()),
        Said::Refused { sure: true, why } | Said::Discarded { sure: true, why } => {
            let stored = case.archive.births.iter().find(|b| b.text == publication.text);
            // Under its id it may have been sent once more, and stored then.
            let again = case.publications.iter().any(|p| p.again && p.text == publication.text);
            let stored = stored.filter(|_| !again && !publication.live)?;
            let at = case.trace.at(stored.position);
            Some(format!("it is said not to be stored ({why}), and is at {at}"))
        }
        Said::Nothing | Said::Spooled(_) | Said::Refused { .. } | Said::Discarded { .. } => None,
    }
}

/// Nothing lies in the log twice, and what one node accepted for a topic is in its order.
fn judge_log(case: &Case<'_>, verdict: &mut Verdict) {
    let mut seen = BTreeMap::new();
    let mut counters = BTreeMap::new();
    for (seq, n) in case.views.newest() {
        let birth = &case.archive.births[n];
        if birth.lane.topic.is_reserved() {
            continue;
        }
        // What nobody was told to be stored may come late, or once more under its id.
        let told = case.publications.iter().filter(|p| p.text == birth.text);
        let vague =
            |p: &Publication| p.again || !matches!(p.said, Said::Stored(_) | Said::Duplicate(_));
        if told.clone().any(vague) {
            continue;
        }
        if let Some(first) = seen.insert((birth.lane.clone(), Arc::clone(&birth.text)), seq) {
            let text = birth.text.split(' ').next().unwrap_or_default();
            verdict.wrong.push(format!("{text} is stored twice, at {first} and at {seq}"));
        }
        let key = (birth.origin.node, birth.lane.topic.clone());
        let last = counters.insert(key, birth.origin.counter);
        if last.is_some_and(|last| last > birth.origin.counter) {
            let text = birth.text.split(' ').next().unwrap_or_default();
            verdict.wrong.push(format!("{text} at {seq} was overtaken on its way to the log"));
        }
    }
}

/// Whether a promise was taken back that this gap may be about.
pub(super) fn was_given_up(case: &Case<'_>, client: &Client, gap: &ToldGap) -> bool {
    case.publications.iter().any(|p| {
        matches!(p.said, Said::Discarded { .. } | Said::Nothing)
            && p.link == gap.link
            && p.at <= gap.at
            && gap.names(&p.lane.topic)
            && wants(client, &p.lane)
    })
}

/// Whether a client heard what it had to hear on the node it was on: live messages of that node, and
/// that a promise was taken back.
pub(super) fn heard(
    case: &Case<'_>,
    client: &Client,
    live: &BTreeSet<Arc<str>>,
    verdict: &mut Verdict,
) {
    let mut on: Option<(usize, Duration)> = None;
    let mut slow = false;
    // When it was up to date on a connection: first, and last.
    let (mut opened, mut last) = (None, None);
    let mut stays = Vec::new();
    for recorded in &client.record {
        match &recorded.item {
            Item::Connect(_) => {
                (on, opened, last) = (Some((recorded.link, recorded.at)), None, None)
            }
            Item::Message { .. } | Item::Cursor(_) | Item::Reconnected { .. } | Item::Silent(_) => {
                opened = opened.or(Some(recorded.at));
                last = Some(recorded.at);
            }
            Item::Slow(now) => {
                // What it was to hear by then is not asked for.
                slow |= *now;
                on = on.map(|(link, _)| (link, recorded.at));
                if !*now {
                    slow = false;
                }
            }
            Item::Left => {
                if let Some((link, began)) = on.take().filter(|_| !slow) {
                    let live = opened.zip(last).unwrap_or((recorded.at, began));
                    stays.push((link, (began, recorded.at), live));
                }
            }
            _ => {}
        }
    }
    for (n, publication) in case.publications.iter().enumerate() {
        if !wants(client, &publication.lane) {
            continue;
        }
        let spans = |(began, ended): (Duration, Duration), patience: Duration| {
            began < publication.at && publication.at + patience < ended
        };
        let here = || stays.iter().filter(|(link, ..)| *link == publication.link);
        let within = |patience| here().any(|(_, stay, _)| spans(*stay, patience));
        let current = |patience| here().any(|(_, _, live)| spans(*live, patience));
        let told = |reason: GapReason, most: Duration| {
            let until = publication.at + most;
            client.record.iter().any(|r| {
                r.at >= publication.at
                    && r.at <= until
                    && matches!(&r.item, Item::Gap { reason: said, topics } if *said == reason
                        && topics.iter().any(|t| t.matches(&publication.lane.topic)))
            })
        };
        match publication.said {
            Said::Live
                if publication.ttl.is_none()
                    && within(SOON)
                    && !live.contains(&publication.text)
                    && !told(GapReason::Slow, SOON) =>
            {
                let name = client.name;
                verdict.wrong.push(format!(
                    "client {name} did not get the live publication {n} of its own node"
                ));
            }
            Said::Discarded { .. }
                if current(case.spool_age + SOON)
                    && !told(GapReason::Outage, case.spool_age + SOON) =>
            {
                let name = client.name;
                verdict
                    .wrong
                    .push(format!("client {name} was not told that publication {n} was given up"));
            }
            _ => {}
        }
    }
}
