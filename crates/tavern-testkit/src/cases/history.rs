//! What a backend says of the past.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Entry, FilterSet, Keep, Page, Published, ReadQuery, Retention};
use tokio::time::Instant;

use crate::Stage;
use crate::say::{Also, filter, filters, id, lane, message};
use crate::stage::Node;
use crate::wait::within;

/// Pages hold no more than asked, go on where the last one ended, and together are the log.
pub async fn pages_together_are_the_log(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let batch =
        (1..=100).map(|n| node.publication(message(&format!("t/{}", n % 3), n.to_string())));
    node.append(batch.collect()).await;
    for limit in [1, 7, 100, 1000] {
        let (mut after, mut texts) = (0, Vec::new());
        while after < 100 {
            let page = read(&other, ReadQuery::range(after, u64::MAX).with_limit(limit)).await;
            assert!(page.entries.len() <= limit, "{} entries of {limit}", page.entries.len());
            assert!(page.to > after && page.to <= 100, "from {after} to {}", page.to);
            assert_eq!((page.after, page.head), (after, 100));
            assert!(
                page.entries.iter().all(|e| e.position.seq > after && e.position.seq <= page.to)
            );
            texts.extend(page.entries.iter().map(|e| e.envelope().data.as_str().to_owned()));
            after = page.to;
        }
        assert_eq!(texts, (1..=100).map(|n| n.to_string()).collect::<Vec<_>>(), "limit {limit}");
    }
}

/// A range is a range: nothing at its beginning, everything at its end, nothing beyond.
pub async fn a_range_has_exact_ends(stage: Stage) {
    let node = stage.node().await;
    let batch = (1..=30).map(|n| node.publication(message("t", n.to_string())));
    node.append(batch.collect()).await;
    for (after, to) in [(0, 1), (4, 9), (29, 30), (10, 10), (30, 40), (25, 400)] {
        let page = read(&node, ReadQuery::range(after, to)).await;
        let seqs = page.entries.iter().map(|e| e.position.seq).collect::<Vec<_>>();
        let expected = (after + 1..=to.min(30)).collect::<Vec<_>>();
        assert_eq!(seqs, expected, "in {after}..={to}");
        assert!(page.to <= 30 && page.to >= to.min(30), "{} of {after}..={to}", page.to);
    }
}

/// Filters choose topics, plain and wild, and leave the others out.
pub async fn filters_choose_topics(stage: Stage) {
    let node = stage.node().await;
    for topic in ["a", "a/b", "a/b/c", "b", "b/c", "c"] {
        node.store(message(topic, topic)).await;
        node.store(message(topic, topic).scope("s")).await;
    }
    for (wanted, expected) in [
        (vec!["a"], vec!["a"]),
        (vec!["a/*"], vec!["a/b"]),
        (vec!["a/**"], vec!["a", "a/b", "a/b/c"]),
        (vec!["*"], vec!["a", "b", "c"]),
        (vec!["**/c"], vec!["a/b/c", "b/c", "c"]),
        (vec!["b", "a/b/*", "nothing"], vec!["a/b/c", "b"]),
        (vec!["nothing/**"], vec![]),
    ] {
        let pages = node.read_after(0, Some(filters(&wanted))).await;
        let read = pages.iter().flat_map(|page| &page.entries);
        let read = read.map(|e| e.envelope().topic.as_str().to_owned()).collect::<Vec<_>>();
        let twice = expected.iter().flat_map(|t| [(*t).to_owned(), (*t).to_owned()]);
        assert_eq!(read, twice.collect::<Vec<_>>(), "{wanted:?}");
    }
}

/// Each lane keeps its own newest entries, and its floor is the last one it lost.
pub async fn hard_case_08_floors_of_each_lane(stage: Stage) {
    let node = stage.node_keeping(keeping(3)).await;
    // In a: 1 to 5, in b: 6, in a again: 7. Lane a keeps 4, 5, 7 and lost 3 at last.
    for _ in 1..=5 {
        node.store(message("a", "x")).await;
    }
    node.store(message("b", "x")).await;
    node.store(message("a", "x")).await;
    let other = stage.node_keeping(keeping(3)).await;
    trimmed(&other, 0, &[("a", None, 3)]).await;
    let page = read(&other, ReadQuery::range(0, 100)).await;
    let seqs = page.entries.iter().map(|e| e.position.seq).collect::<Vec<_>>();
    assert_eq!(seqs, [4, 5, 6, 7], "lane a keeps its newest three, lane b its only one");
}

/// A floor is what was removed, not what lies before the oldest kept.
pub async fn hard_case_08_a_quiet_lane_has_no_false_floor(stage: Stage) {
    let node = stage.node_keeping(keeping(2)).await;
    for n in 1..=3 {
        node.store(message("quiet", n.to_string())).await;
    }
    for n in 0..40 {
        node.store(message(&format!("noise/{n}"), "x")).await;
    }
    let late = node.store(message("quiet", "late")).await;
    // Lane quiet held 1, 2, 3, 44 and keeps two: 1 and 2 are gone.
    trimmed(&node, 0, &[("quiet", None, 2)]).await;
    let wanted = filters(&["quiet"]);
    let page = read(&node, ReadQuery::range(2, u64::MAX).with_filters(Arc::new(wanted))).await;
    assert!(page.floors.is_empty(), "a cursor at 2 missed nothing: {:?}", page.floors);
    assert!(page.horizon <= 2, "nor is it below the horizon: {}", page.horizon);
    let seqs = page.entries.iter().map(|e| e.position.seq).collect::<Vec<_>>();
    assert_eq!(seqs, [3, late.seq]);
}

/// What is older than the rule counts as removed, stored or not.
pub async fn hard_case_08_age_counts_as_removed(stage: Stage) {
    let age = Duration::from_millis(300);
    let node = stage.node_keeping(Retention::default().with_default(Keep::new(100, age))).await;
    for n in 1..=3 {
        node.store(message("t", n.to_string())).await;
    }
    node.log_time_passes(age).await;
    node.store(message("t", "young")).await;
    let page = read(&node, ReadQuery::range(0, 100)).await;
    assert_eq!(texts(&page.entries), ["young"]);
    let floors = floors(&page);
    let missed_until = floors.get(&lane("t", None)).copied().unwrap_or(page.horizon);
    assert_eq!(missed_until, 3, "the three old ones are told: {floors:?}, {}", page.horizon);
}

/// Another scope's flood of the same topic removes nothing of mine.
pub async fn hard_case_09_another_scopes_flood_trims_nothing_of_mine(stage: Stage) {
    let node = stage.node_keeping(keeping(4)).await;
    node.store(message("notify", "for alice").scope("alice")).await;
    node.store(message("notify", "for all")).await;
    let flood = (0..60).map(|n| node.publication(message("notify", n.to_string()).scope("bob")));
    node.append(flood.collect()).await;
    trimmed(&node, 0, &[("notify", Some("bob"), 58)]).await;
    let page = read(&node, ReadQuery::range(0, 1000)).await;
    assert_eq!(texts(&page.entries), ["for alice", "for all", "56", "57", "58", "59"]);
    let others = floors(&page)
        .into_keys()
        .filter(|lane| lane.scope.as_ref().is_none_or(|s| s.as_str() != "bob"));
    assert_eq!(others.collect::<Vec<_>>(), [], "no floor but bob's");
}

/// Floors are told of the lanes that were asked for.
pub async fn floors_are_of_the_lanes_asked_for(stage: Stage) {
    let node = stage.node_keeping(keeping(1)).await;
    for topic in ["a/1", "a/2", "b/1"] {
        for n in 0..3 {
            node.store(message(topic, n.to_string())).await;
        }
    }
    trimmed(&node, 0, &[("a/1", None, 2), ("a/2", None, 5), ("b/1", None, 8)]).await;
    for (wanted, after, expected) in [
        (vec!["a/*"], 0, vec!["a/1", "a/2"]),
        (vec!["b/**"], 0, vec!["b/1"]),
        (vec!["**"], 2, vec!["a/2", "b/1"]),
        (vec!["**"], 8, vec![]),
        (vec!["c"], 0, vec![]),
    ] {
        let wanted: FilterSet = wanted.into_iter().map(filter).collect();
        let query = ReadQuery::range(after, u64::MAX).with_filters(Arc::new(wanted));
        let page = read(&node, query).await;
        let told = page.floors.iter().map(|f| f.lane.topic.as_str()).collect::<BTreeSet<_>>();
        assert!(page.floors_complete, "three lanes fit any list");
        assert_eq!(told, expected.into_iter().collect(), "after {after}");
    }
}

/// A key is known even when its entry is gone.
pub async fn hard_case_12_a_trimmed_entry_is_still_a_duplicate(stage: Stage) {
    let node = stage.node_keeping(keeping(1)).await;
    let publication = node.publication(message("t", "first"));
    let first = node.append(vec![publication.clone()]).await;
    for n in 0..5 {
        node.store(message("t", n.to_string())).await;
    }
    trimmed(&node, 0, &[("t", None, 5)]).await;
    let again = node.append(vec![publication]).await;
    assert!(
        matches!((&first[0], &again[0]), (Published::Stored(a), Published::Duplicate(b)) if a == b),
        "{first:?}, then {again:?}"
    );
    assert_eq!(node.head().await.position.seq, 6, "it is not stored as the latest value");
}

/// A TTL counts from the acceptance, not from the append.
pub async fn a_ttl_counts_from_acceptance(stage: Stage) {
    let node = stage.node().await;
    let mut waited = node.publication(message("t", "x").ttl(Duration::from_secs(60)));
    let while_waiting = Duration::from_secs(20);
    waited.accepted = Instant::now().checked_sub(while_waiting).expect("the machine is older");
    node.append(vec![waited]).await;
    let page = read(&node, ReadQuery::range(0, 10)).await;
    let entry = page.entries.first().expect("the entry");
    assert!(entry.record.waited >= while_waiting, "waited {:?}", entry.record.waited);
    assert!(entry.record.waited < while_waiting * 2, "waited {:?}", entry.record.waited);
    let left = entry.expires().expect("it expires").as_millis() - entry.appended.as_millis();
    assert!((20_000..=40_000).contains(&left), "{left} ms are left at the append");
}

/// An id is found in its lane only, and none is found that never was.
pub async fn an_id_is_found_in_its_lane(stage: Stage) {
    let node = stage.node().await;
    let position = node.store(message("t", "x").id("here")).await;
    let find = |topic: &'static str, text: &'static str| {
        let bus = node.bus().clone();
        within(
            "find",
            async move { bus.find(&lane(topic, None), &id(text)).await.expect("an answer") },
        )
    };
    assert_eq!(find("t", "here").await, Some(position.seq));
    assert_eq!(find("t", "there").await, None);
    assert_eq!(find("other", "here").await, None);
}

/// The head says where the log is, on every node; its clock goes on.
pub async fn the_head_is_the_same_on_every_node(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    for n in 1..=5 {
        let position = node.store(message("t", n.to_string())).await;
        for node in [&node, &other] {
            let head = node.head().await;
            assert_eq!(head.position, position);
            assert_eq!(head.lineage.epoch, position.epoch);
        }
    }
    let before = other.head().await.now;
    other.log_time_passes(Duration::from_millis(20)).await;
    assert!(node.head().await.now > before);
}

/// Two nodes with different rules: both follow those of the log.
pub async fn hard_case_10_two_nodes_with_different_rules(stage: Stage) {
    let first = stage.node_keeping(keeping(5)).await;
    let rules = first.head().await.retention;
    let second = stage.node_keeping(Retention::default().with_default(Keep::live())).await;
    for node in [&first, &second] {
        assert!(node.head().await.retention.same_rules(&rules), "the log's own rules are in force");
    }
    for n in 0..4 {
        let node = if n % 2 == 0 { &first } else { &second };
        node.store(message("t", n.to_string())).await;
    }
    let third = stage.node_keeping(keeping(1)).await;
    third.store(message("t", "4")).await;
    let page = read(&third, ReadQuery::range(0, 10)).await;
    assert_eq!(texts(&page.entries), ["0", "1", "2", "3", "4"], "nobody trims by other rules");
}

/// 10,000 topics are 10,000 lanes: each entry is kept and read.
pub async fn ten_thousand_topics_in_history(stage: Stage) {
    let node = stage.node_keeping(keeping(2)).await;
    for block in 0..10 {
        let batch = (0..1000).map(|n| {
            let n = block * 1000 + n;
            node.publication(message(&format!("t/{n}"), n.to_string()))
        });
        node.append(batch.collect()).await;
    }
    let pages = node.read_all().await;
    let read = pages.iter().flat_map(|page| &page.entries);
    let read = read.map(|e| e.envelope().data.as_str().to_owned()).collect::<Vec<_>>();
    assert!(read == (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>(), "{} read", read.len());
    assert!(
        pages.iter().all(|page| page.floors.is_empty() && page.horizon == 0),
        "nothing is gone"
    );
    let one = read_one(&node, "t/7777").await;
    assert_eq!(texts(&one), ["7777"]);
}

pub(crate) fn keeping(entries: u32) -> Retention {
    Retention::default().with_default(Keep::new(entries, Duration::from_secs(3600)))
}

async fn read_one(node: &Node, topic: &str) -> Vec<Arc<Entry>> {
    let pages = node.read_after(0, Some(filters(&[topic]))).await;
    pages.into_iter().flat_map(|page| page.entries).collect()
}

async fn read(node: &Node, query: ReadQuery) -> Page {
    within("a page", node.bus().read(query)).await.expect("a page")
}

/// Waits until the floors above `after` are these: a backend may trim a little later, but what it
/// has not trimmed yet it must not call removed.
async fn trimmed(node: &Node, after: u64, expected: &[(&str, Option<&str>, u64)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(topic, scope, seq)| (lane(topic, *scope), *seq)).collect();
    let query = ReadQuery::range(after, u64::MAX);
    within(&format!("the floors {expected:?}"), async {
        loop {
            let page = read(node, query.clone()).await;
            let told = floors(&page);
            if told == expected {
                return;
            }
            for (lane, seq) in told {
                let last = expected.get(&lane).copied();
                assert!(last.is_some_and(|last| seq <= last), "a false floor {seq} of {lane:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn floors(page: &Page) -> BTreeMap<tavern_backend::Lane, u64> {
    page.floors.iter().map(|floor| (floor.lane.clone(), floor.seq)).collect()
}

fn texts(entries: &[Arc<Entry>]) -> Vec<&str> {
    entries.iter().map(|entry| entry.envelope().data.as_str()).collect()
}
