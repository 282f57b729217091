//! The contract on a log that nothing happens to.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{
    Backend, Error, FeedEvent, FilterSet, Keep, MessageId, Published, ReadQuery, Rejection,
    Retention, Topic, TopicFilter,
};

use crate::kit::{Dir, Follower, Node, message, scoped, seqs, soon, texts, with_id};

#[tokio::test]
async fn seqs_are_dense_and_all_nodes_read_the_same() {
    let dir = Dir::new();
    let (a, b) = (dir.node().await, dir.node().await);
    for n in 1..=5_u64 {
        let node = if n % 2 == 0 { &a } else { &b };
        assert_eq!(node.publish("orders", &n.to_string()).await.seq, n);
    }
    let page = a.all().await;
    assert_eq!(seqs(&page), [1, 2, 3, 4, 5]);
    assert_eq!(texts(&page), ["1", "2", "3", "4", "5"]);
    assert_eq!((page.to, page.head, page.horizon), (5, 5, 0));
    assert_eq!(page.entries, b.all().await.entries);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn the_feed_yields_entries_and_skips_to_every_node_its_own_included() {
    let dir = Dir::new();
    let (a, b) = (dir.node().await, dir.node().await);
    let (mut at_a, mut at_b) = (Follower::new(&a), Follower::new(&b));
    assert_eq!(a.subscribe("orders").await.seq, 0);
    b.subscribe("**").await;
    a.publish("news", "1").await;
    a.publish("news", "2").await;
    let third = b.publish("orders", "3").await;
    for seq in 1..=3 {
        assert_eq!(at_b.entry().await.position.seq, seq);
    }
    let mut skipped = 0;
    loop {
        match at_a.next().await {
            FeedEvent::Skip { from, to, .. } => {
                assert_eq!(from, skipped + 1);
                skipped = to;
            }
            FeedEvent::Entry(entry) => {
                assert_eq!((entry.position, skipped), (third, 2));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    a.close().await;
    at_a.ends().await;
    assert!(matches!(b.backend.feed(), Err(Error::FeedTaken)));
    b.close().await;
}

#[tokio::test]
async fn a_node_hears_the_doorbell_and_need_not_look() {
    let dir = Dir::new();
    // Later than anything here waits for.
    let config = dir.config().with_poll_interval(Duration::from_secs(3600));
    let (a, b) = (Node::open(config.clone()).await, Node::open(config).await);
    let (mut at_a, mut at_b) = (Follower::new(&a), Follower::new(&b));
    a.subscribe("**").await;
    b.subscribe("**").await;
    for seq in 1..=20 {
        let position = if seq % 2 == 0 { &a } else { &b }.publish("t", "x").await;
        assert_eq!(at_a.entry().await.position, position);
        assert_eq!(at_b.entry().await.position, position);
    }
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_key_and_an_id_are_stored_once() {
    let dir = Dir::new();
    let node = dir.node().await;
    let once = node.publication(message("orders", "a"));
    let first = node.append(vec![once.clone(), once.clone()]).await.unwrap();
    let Published::Stored(position) = first[0] else { panic!("{first:?}") };
    assert_eq!(first[1], Published::Duplicate(position));
    assert_eq!(node.append(vec![once]).await.unwrap(), [Published::Duplicate(position)]);

    let named = with_id(message("orders", "b"), "id-1");
    let Published::Stored(position) = node.send(named.clone()).await.unwrap() else { panic!() };
    assert_eq!(node.send(named).await.unwrap(), Published::Duplicate(position));
    let other = node.send(with_id(message("orders", "c"), "id-1")).await.unwrap();
    let id = MessageId::new("id-1").unwrap();
    assert_eq!(other, Published::Rejected(Rejection::IdConflict { id: id.clone(), position }));
    let elsewhere = node.send(with_id(scoped("orders", "user:1", "c"), "id-1")).await.unwrap();
    assert!(matches!(elsewhere, Published::Stored(_)), "an id is of its lane only");
    let lane = message("orders", "").lane();
    assert_eq!(node.backend.find(&lane, &id).await.unwrap(), Some(position.seq));
    assert_eq!(node.backend.find(&lane, &MessageId::new("id-2").unwrap()).await.unwrap(), None);
    node.close().await;
}

#[tokio::test]
async fn live_messages_reach_the_other_nodes_and_leave_no_trace() {
    let dir = Dir::new();
    let rules = Retention::default().with_rule(TopicFilter::new("live/**").unwrap(), Keep::live());
    let config = dir.config().with_retention(rules);
    let (a, b) = (Node::open(config.clone()).await, Node::open(config).await);
    let (mut at_a, mut at_b) = (Follower::new(&a), Follower::new(&b));
    a.subscribe("**").await;
    b.subscribe("live/x").await;
    let once = a.publication(message("live/x", "1"));
    assert_eq!(a.append(vec![once.clone()]).await.unwrap(), [Published::Live]);
    assert_eq!(a.append(vec![once]).await.unwrap(), [Published::Live]);
    a.send(message("live/y", "2")).await.unwrap();
    a.send(message("live/x", "3")).await.unwrap();
    for data in ["1", "3"] {
        let FeedEvent::Live(live) = at_b.next().await else { panic!() };
        assert_eq!(live.envelope.data.as_str(), data);
    }
    assert_eq!(a.head().await.seq, 0);
    let mark = a.publish("orders", "mark").await;
    // Its own live messages would have come before this.
    assert_eq!(at_a.entry().await.position, mark);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn large_live_messages_come_in_pages_of_a_bounded_size() {
    const MIB: usize = 1 << 20;
    let dir = Dir::new();
    let rules = Retention::default().with_rule(TopicFilter::new("live/**").unwrap(), Keep::live());
    let config = dir.config().with_retention(rules);
    let (a, b) = (Node::open(config.clone()).await, Node::open(config).await);
    let mut feed = b.backend.feed().unwrap();
    b.subscribe("live/**").await;
    // In one transaction: they are all there at once.
    let text = "x".repeat(MIB);
    let messages = (0..12).map(|_| a.publication(message("live/x", &text))).collect();
    assert_eq!(a.append(messages).await.unwrap().len(), 12);
    let mut arrived = 0;
    while arrived < 12 * MIB {
        let page = soon("a page of the feed", feed.recv()).await.unwrap();
        let size = |event: &FeedEvent| match event {
            FeedEvent::Live(live) => live.envelope.data.len(),
            other => panic!("{other:?}"),
        };
        let size: usize = page.iter().map(size).sum();
        assert!(size <= 4 * MIB, "{size} bytes in one page");
        arrived += size;
    }
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn pages_end_at_the_limit_and_hold_what_was_asked_for() {
    let dir = Dir::new();
    let node = dir.node().await;
    for n in 1..=6 {
        node.publish(if n % 2 == 0 { "even" } else { "odd" }, &n.to_string()).await;
    }
    let page = node.read(ReadQuery::range(1, 5).with_limit(2)).await;
    assert_eq!((seqs(&page), page.to), (vec![2, 3], 3));
    let filters: FilterSet = [TopicFilter::new("even").unwrap()].into_iter().collect();
    let query = ReadQuery::range(0, 100).with_filters(Arc::new(filters));
    let page = node.read(query).await;
    assert_eq!((seqs(&page), page.to), (vec![2, 4, 6], 6));
    node.close().await;
}

#[tokio::test]
async fn after_close_everything_says_closed() {
    let dir = Dir::new();
    let node = dir.node().await;
    node.publish("orders", "1").await;
    node.close().await;
    node.close().await;
    let topic = TopicFilter::from(Topic::new("orders").unwrap());
    assert!(matches!(node.send(message("orders", "2")).await, Err(Error::Closed)));
    assert!(matches!(node.backend.subscribe(&[topic]).await, Err(Error::Closed)));
    assert!(matches!(node.backend.head().await, Err(Error::Closed)));
    assert!(matches!(node.backend.feed(), Err(Error::Closed)));
    assert!(node.backend.health().get().closed);
}
