//! What the log keeps, what it says of the rest, and for how long.

use std::time::Duration;

use tavern_backend::{Backend, Keep, MemoryBackend, MemoryConfig, ReadQuery, Retention};
use tokio::time::advance;

use crate::fixture::{batch, filter, filters, floors, message, read, scoped, seqs, store};

const MINUTE: Duration = Duration::from_secs(60);

fn keeping(entries: u32, age: Duration) -> MemoryBackend {
    MemoryBackend::with_retention(Retention::default().with_default(Keep::new(entries, age)))
}

#[tokio::test]
async fn seqs_are_dense_whatever_the_topic() {
    let (a, b) = MemoryBackend::pair();
    for n in 1..=4 {
        let node = if n % 2 == 0 { &a } else { &b };
        assert_eq!(store(node, message(&format!("t{n}"), "")).await, n);
    }
    let page = read(&a, &[], 1).await;
    assert_eq!((seqs(&page), page.after, page.to, page.head), (vec![2, 3, 4], 1, 4, 4));
    let page = read(&a, &["t1", "t3"], 0).await;
    assert_eq!((seqs(&page), page.to), (vec![1, 3], 4));
    let page = read(&a, &["t1", "t3", "*"], 3).await;
    assert_eq!((seqs(&page), page.to), (vec![4], 4));
}

#[tokio::test]
async fn a_page_says_how_far_it_goes() {
    let a = MemoryBackend::new();
    for n in 1..=6 {
        store(&a, message(if n % 2 == 0 { "even" } else { "odd" }, "")).await;
    }
    for texts in [&["even"][..], &["even", "ev*"]] {
        let query = |to| ReadQuery::range(1, to).with_filters(filters(texts));
        let page = a.read(query(99).with_limit(2)).await.unwrap();
        assert_eq!((seqs(&page), page.to), (vec![2, 4], 4), "{texts:?}: the limit came first");
        let page = a.read(query(99).with_limit(3)).await.unwrap();
        assert_eq!((seqs(&page), page.to), (vec![2, 4, 6], 6), "{texts:?}: exactly the limit");
        let page = a.read(query(5).with_limit(9)).await.unwrap();
        assert_eq!((seqs(&page), page.to), (vec![2, 4], 5), "{texts:?}: what was asked");
    }
    let page = read(&a, &[], 9).await;
    assert_eq!((seqs(&page), page.to, page.head), (vec![], 6, 6), "beyond the head");
}

#[tokio::test]
async fn a_lane_is_trimmed_by_count_and_leaves_a_floor() {
    let a = keeping(2, Duration::ZERO);
    for n in 1..=3 {
        store(&a, message("t", &n.to_string())).await;
        store(&a, message("u", &n.to_string())).await;
    }
    store(&a, message("t", "4")).await;
    let page = read(&a, &[], 0).await;
    assert_eq!((seqs(&page), floors(&page)), (vec![4, 5, 6, 7], vec!["t=3".into(), "u=2".into()]));
    assert!(page.floors_complete);
    assert_eq!(floors(&read(&a, &[], 2).await), ["t=3"], "floors above the cursor only");
    assert_eq!(floors(&read(&a, &["u", "x"], 0).await), ["u=2"]);
    assert_eq!(floors(&read(&a, &["u*"], 0).await), Vec::<String>::new());
    assert_eq!(floors(&read(&a, &["*"], 2).await), ["t=3"]);
    assert_eq!(floors(&read(&a, &[], 3).await), Vec::<String>::new());
}

#[tokio::test]
async fn another_scope_neither_trims_nor_gaps_mine() {
    let a = keeping(2, Duration::ZERO);
    store(&a, scoped("t", "alice", "1")).await;
    store(&a, message("t", "2")).await;
    for n in 0..300 {
        store(&a, scoped("t", "bob", &n.to_string())).await;
    }
    let page = read(&a, &["t"], 0).await;
    assert_eq!((seqs(&page), floors(&page)), (vec![1, 2, 301, 302], vec!["t:bob=300".into()]));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_counts_as_removed() {
    let a = keeping(9, 5 * MINUTE);
    store(&a, message("t", "1")).await;
    advance(3 * MINUTE).await;
    store(&a, message("t", "2")).await;
    store(&a, message("u", "3")).await;
    advance(2 * MINUTE - Duration::from_millis(1)).await;
    assert_eq!(seqs(&read(&a, &[], 0).await), [1, 2, 3]);
    advance(Duration::from_millis(1)).await;
    let page = read(&a, &[], 0).await;
    assert_eq!((seqs(&page), floors(&page)), (vec![2, 3], vec!["t=1".into()]));
    advance(3 * MINUTE).await;
    let page = read(&a, &[], 0).await;
    assert_eq!((seqs(&page), floors(&page)), (vec![], vec!["t=2".into(), "u=3".into()]));
    assert_eq!((page.horizon, page.head, page.to), (0, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_lane_silent_for_a_day_is_folded_into_the_horizon() {
    let a = keeping(1, MINUTE);
    store(&a, message("old", "1")).await;
    store(&a, message("old", "2")).await;
    advance(60 * MINUTE).await;
    store(&a, message("new", "3")).await;
    advance(23 * 60 * MINUTE - Duration::from_millis(1)).await;
    let page = read(&a, &["**"], 0).await;
    assert_eq!((floors(&page), page.horizon), (vec!["new=3".into(), "old=2".into()], 0));
    advance(Duration::from_millis(1)).await;
    let page = read(&a, &["**"], 0).await;
    assert_eq!((floors(&page), page.horizon), (vec!["new=3".into()], 2));
    assert_eq!(a.head().await.unwrap().horizon, 2);
    // It begins anew, and says nothing of what the horizon says.
    store(&a, message("old", "4")).await;
    assert_eq!(floors(&read(&a, &["old"], 0).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_keeps_something_for_ever_is_never_folded() {
    let a = keeping(1, Duration::ZERO);
    store(&a, message("t", "1")).await;
    store(&a, message("t", "2")).await;
    advance(100 * 24 * 60 * MINUTE).await;
    let page = read(&a, &[], 0).await;
    assert_eq!((seqs(&page), floors(&page), page.horizon), (vec![2], vec!["t=1".into()], 0));
}

#[tokio::test]
async fn the_list_of_floors_is_capped_only_where_all_lanes_are_asked_for() {
    let a = keeping(1, Duration::ZERO);
    for round in 0..2 {
        for n in 0..4097 {
            store(&a, message(&format!("t/{n}"), &round.to_string())).await;
        }
    }
    let page = read(&a, &[], 0).await;
    assert_eq!((page.floors.len(), page.floors_complete), (4096, false));
    let page = read(&a, &[], 1).await;
    assert_eq!((page.floors.len(), page.floors_complete), (4096, true));
    let page = read(&a, &["t/*"], 0).await;
    assert_eq!((page.floors.len(), page.floors_complete), (4097, true));
}

#[tokio::test]
async fn the_first_rule_that_matches_decides() {
    let retention = Retention::default()
        .with_rule(filter("a/b"), Keep::new(3, Duration::ZERO))
        .with_rule(filter("a/*"), Keep::new(1, Duration::ZERO));
    let a = MemoryBackend::with_retention(retention.clone());
    for topic in ["a/b", "a/c", "d"] {
        let messages = [(); 5].map(|()| message(topic, ""));
        a.publish(batch(&a, &messages)).await.unwrap();
    }
    assert_eq!(seqs(&read(&a, &[], 0).await), [3, 4, 5, 10, 11, 12, 13, 14, 15]);
    assert_eq!(*a.head().await.unwrap().retention, retention);
}

#[tokio::test(start_paused = true)]
async fn a_ttl_counts_from_acceptance_on_the_logs_clock() {
    let a = MemoryBackend::new();
    let mut append = batch(&a, &[message("t", "")]);
    append.publications[0].envelope.ttl = Some(MINUTE);
    let accepted = a.head().await.unwrap().now;
    advance(Duration::from_secs(40)).await;
    a.publish(append).await.unwrap();
    let entry = read(&a, &[], 0).await.entries.remove(0);
    assert_eq!(entry.record.waited, Duration::from_secs(40));
    assert_eq!(entry.accepted(), accepted);
    assert_eq!(entry.expires(), Some(accepted.after(MINUTE)));
    // It is a tombstone then, not a hole.
    advance(MINUTE).await;
    assert_eq!(seqs(&read(&a, &[], 0).await), [1]);
}

#[tokio::test]
async fn the_facts_are_told() {
    let config = MemoryConfig::default().with_namespace("chat").with_max_payload(7);
    let a = MemoryBackend::with_config(config);
    let info = a.info();
    assert_eq!((info.name, &*info.namespace, info.max_payload), ("memory", "chat", 7));
    assert_ne!(info.node, a.fork().info().node);
}
