//! What a backend does with what is published.

use std::collections::BTreeSet;

use tavern_backend::{Append, Entry, Error, Published, Rejection};
use tokio::task::JoinSet;

use crate::Stage;
use crate::say::{Also, id, lane, message};
use crate::stage::Node;
use crate::wait::within;

/// Seqs count +1 per entry of the namespace, whatever the topic and the node.
pub async fn seqs_are_dense_across_topics_and_nodes(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let mut publishers = JoinSet::new();
    for publisher in 0..4 {
        let node = nodes[publisher % 2].clone();
        publishers.spawn(async move {
            let mut seqs = Vec::new();
            for n in 0..25 {
                seqs.push(node.store(message(&format!("t/{publisher}"), format!("{n}"))).await);
            }
            seqs
        });
    }
    let of_each = within("four publishers", publishers.join_all()).await;
    let epochs = of_each.iter().flatten().map(|p| p.epoch.to_u64()).collect::<BTreeSet<_>>();
    assert_eq!(epochs.len(), 1, "one epoch");
    for seqs in &of_each {
        assert!(seqs.is_sorted_by_key(|p| p.seq), "a publisher's own order is kept");
    }
    let mut seqs = of_each.iter().flatten().map(|p| p.seq).collect::<Vec<_>>();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>(), "dense from 1");
    for node in nodes {
        assert_eq!(node.head().await.position.seq, 100);
        let seqs = entries(&node).await.iter().map(|e| e.position.seq).collect::<Vec<_>>();
        assert_eq!(seqs, (1..=100).collect::<Vec<_>>(), "history has each once, in order");
    }
}

/// A batch lies in the log in the order it was handed over.
pub async fn a_batch_is_appended_in_order(stage: Stage) {
    let node = stage.node().await;
    let batch = (0..100).map(|n| message(&format!("t/{}", n % 7), n.to_string()));
    let published = node.append(batch.map(|m| node.publication(m)).collect()).await;
    let first = match published.first() {
        Some(Published::Stored(position)) => position.seq,
        other => panic!("stored, not {other:?}"),
    };
    for (n, published) in (first..).zip(&published) {
        assert!(matches!(published, Published::Stored(p) if p.seq == n), "{published:?} at {n}");
    }
    let texts = node.texts().await;
    assert_eq!(texts, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Publishes that are given up half-way leave whole batches or nothing, and no hole.
pub async fn a_publish_given_up_half_way_is_whole_or_nothing(stage: Stage) {
    let node = stage.node().await;
    for round in 0..60_u32 {
        let batch = (0..5).map(|n| node.publication(message("t", format!("{round}:{n}"))));
        let append = Append { known: None, publications: batch.collect() };
        let bus = node.bus().clone();
        let mut publishing = Box::pin(async move { bus.append(append).await });
        for _ in 0..round % 6 {
            // Polled a few times, a moment apart, then dropped.
            if futures_util::poll!(&mut publishing).is_ready() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_micros(200)).await;
        }
    }
    // What was given up may still be on its way; a batch behind it all is not.
    node.store(message("t", "last")).await;
    let texts = node.texts().await;
    let rounds = texts.iter().filter_map(|text| text.split_once(':')).map(|(round, _)| round);
    for round in rounds.collect::<BTreeSet<_>>() {
        let mut of_round = texts.iter().filter_map(|text| text.strip_prefix(&format!("{round}:")));
        let all = (0..5).map(|n| n.to_string()).collect::<Vec<_>>();
        assert!(of_round.by_ref().eq(all.iter().map(String::as_str)), "round {round} is whole");
    }
    let head = node.head().await.position.seq;
    assert_eq!(u64::try_from(texts.len()).unwrap_or(0), head, "no hole");
}

/// Another publisher's batch never stands inside this one's, where batches are atomic; elsewhere
/// each publisher's own messages stay in their order.
pub async fn batches_of_two_nodes_do_not_mix(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let mut publishers = JoinSet::new();
    for node in nodes.clone() {
        publishers.spawn(async move {
            for round in 0..10 {
                let text = format!("{}:{round:02}", node.bus().node());
                let of = |n| format!("{text}:{n:02}");
                let batch = (0..20).map(|n| node.publication(message("t", of(n))));
                node.append(batch.collect()).await;
            }
        });
    }
    within("two publishers", publishers.join_all()).await;
    let texts = nodes[0].texts().await;
    assert_eq!(texts.len(), 400);
    for node in &nodes {
        let own = node.bus().node().to_string();
        let own = texts.iter().filter(|text| text.starts_with(&own)).collect::<Vec<_>>();
        assert!(own.len() == 200 && own.is_sorted(), "a publisher's own order: {own:?}");
    }
    for batch in texts.chunks(20).filter(|_| nodes[0].bus().info().atomic_batches) {
        let whole = |text: &String| text.rsplit_once(':').map(|(batch, _)| batch.to_owned());
        let first = whole(&batch[0]);
        assert!(batch.iter().all(|text| whole(text) == first), "a batch in one piece: {batch:?}");
    }
}

/// A message that is refused or known does not stop the others of its batch.
pub async fn one_bad_message_does_not_stop_its_batch(stage: Stage) {
    let node = stage.node().await;
    let known = node.publication(message("t", "known"));
    let first = node.append(vec![known.clone()]).await;
    node.store(message("t", "theirs").id("taken")).await;
    let published = node
        .append(vec![
            node.publication(message("t", "before")),
            known,
            node.publication(message("t", "mine").id("taken")),
            node.publication(message("t", "after")),
        ])
        .await;
    let [Published::Stored(before), duplicate, refused, Published::Stored(after)] =
        published.as_slice()
    else {
        panic!("stored, duplicate, refused, stored, not {published:?}");
    };
    assert!(
        matches!((&first[0], duplicate), (Published::Stored(a), Published::Duplicate(b)) if a == b)
    );
    assert!(matches!(refused, Published::Rejected(Rejection::IdConflict { .. })), "{refused:?}");
    assert_eq!(after.seq, before.seq + 1, "what is refused takes no seq");
    assert_eq!(node.texts().await, ["known", "theirs", "before", "after"]);
}

/// A key that comes again is a duplicate, at the first one's place.
pub async fn a_key_is_stored_once(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let publication = node.publication(message("t", "once"));
    let first = node.append(vec![publication.clone()]).await;
    other.store(message("t", "between")).await;
    let again = node.append(vec![publication.clone(), publication]).await;
    let Published::Stored(position) = first[0] else { panic!("stored, not {first:?}") };
    let duplicate = Published::Duplicate(position);
    assert_eq!(again, [duplicate.clone(), duplicate]);
    assert_eq!(other.texts().await, ["once", "between"]);
}

/// A key twice in one batch is one entry.
pub async fn a_key_twice_in_a_batch_is_stored_once(stage: Stage) {
    let node = stage.node().await;
    let publication = node.publication(message("t", "once"));
    let published = node.append(vec![publication.clone(), publication]).await;
    let [Published::Stored(first), Published::Duplicate(second)] = published.as_slice() else {
        panic!("stored and duplicate, not {published:?}");
    };
    assert_eq!(first, second);
    assert_eq!(node.texts().await, ["once"]);
}

/// An id that comes again in its lane, with the same message, is a duplicate; from any node.
pub async fn an_id_is_stored_once_in_its_lane(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let position = node.store(message("t", "once").id("7").event("e")).await;
    for node in [&node, &other] {
        let again = node.publication(message("t", "once").id("7").event("e"));
        assert_eq!(node.append(vec![again]).await, [Published::Duplicate(position)]);
    }
    assert_eq!(entries(&other).await.len(), 1);
    let found = within("find", other.bus().find(&lane("t", None), &id("7"))).await;
    assert_eq!(found.expect("found"), Some(position.seq));
}

/// An id that comes again with another message is an error, and nothing is stored.
pub async fn an_id_with_another_message_is_refused(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let position = node.store(message("t", "one").id("7")).await;
    for other_message in [message("t", "two").id("7"), message("t", "one").id("7").event("e")] {
        let refused = other.append(vec![other.publication(other_message)]).await;
        match refused.as_slice() {
            [Published::Rejected(Rejection::IdConflict { id, position: at })] => {
                assert_eq!((id.as_str(), *at), ("7", position));
            }
            other => panic!("an id conflict, not {other:?}"),
        }
    }
    assert_eq!(other.texts().await, ["one"]);
}

/// The same id in another topic or another scope is another message.
pub async fn hard_case_11_the_same_id_in_another_lane(stage: Stage) {
    let node = stage.node().await;
    let a = node.store(message("a", "first").id("1")).await;
    let b = node.store(message("b", "first").id("1")).await;
    let mine = node.store(message("a", "first").id("1").scope("me")).await;
    let theirs = node.store(message("a", "other").id("1").scope("them")).await;
    for (topic, scope, position) in
        [("a", None, a), ("b", None, b), ("a", Some("me"), mine), ("a", Some("them"), theirs)]
    {
        let found = within("find", node.bus().find(&lane(topic, scope), &id("1"))).await;
        assert_eq!(found.expect("found"), Some(position.seq), "{topic} {scope:?}");
    }
    let found = within("find", node.bus().find(&lane("b", Some("me")), &id("1"))).await;
    assert_eq!(found.expect("an answer"), None, "nothing has this id in this lane");
}

/// All that travels with a message comes back, on the other node, from the push and from history.
pub async fn what_was_published_comes_back(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let mut listener = crate::Listener::new(other.bus());
    within("interest", other.bus().add_interest(&[crate::say::filter("**")]))
        .await
        .expect("interest");
    let ttl = std::time::Duration::from_secs(3600);
    let published = [
        message("plain", "data"),
        message("a/b/c", "{\"n\":1}").scope("user:42").id("id 1").event("created").ttl(ttl),
        message("a/b/c", "x").scope("Ünïcode ☃").id("~-~").event("a b:c"),
    ];
    for (n, envelope) in (1..).zip(&published) {
        assert_eq!(node.store(envelope.clone()).await.seq, n);
    }
    // In any order: the node sorts them.
    listener.until("the pushes", |l| l.entries.len() == published.len()).await;
    let pushed = listener.entries.values().map(|e| e.envelope().clone()).collect::<Vec<_>>();
    assert_eq!(pushed, published, "as pushed");
    let read = entries(&other).await;
    let kept = read.iter().map(|e| e.envelope().clone()).collect::<Vec<_>>();
    assert_eq!(kept, published, "as read");
    assert!(read.iter().all(|e| e.record.origin.node == node.bus().node()), "the origin is kept");
    assert!(read.is_sorted_by_key(|e| e.appended), "append times never go back");
}

/// A message of the largest size is carried; one byte more is refused for good.
pub async fn data_of_the_largest_size_and_one_over(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let max = node.bus().info().max_payload;
    let largest = "m".repeat(max);
    node.store(message("t", largest.clone())).await;
    let over = node.publication(message("t", format!("{largest}m")));
    let bus = node.bus().clone();
    let append = Append { known: None, publications: vec![over] };
    match within("the answer to a message too large", bus.append(append)).await {
        Ok(published) => match published.as_slice() {
            [Published::Rejected(Rejection::TooLarge { max: told, .. })] => assert_eq!(*told, max),
            other => panic!("too large, not {other:?}"),
        },
        Err(Error::TooLarge { max: told, .. }) => assert_eq!(told, max),
        Err(other) => panic!("too large, not {other}"),
    }
    node.store(message("t", "the link still works")).await;
    let texts = other.texts().await;
    assert!(texts == [largest.as_str(), "the link still works"], "nothing else is stored");
}

/// Data is text, and comes back byte for byte.
pub async fn data_comes_back_byte_for_byte(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let texts_in = odd_data();
    for text in &texts_in {
        node.store(message("t", *text)).await;
    }
    assert_eq!(other.texts().await, texts_in);
}

/// Every topic that the rules allow is one of its own.
pub async fn odd_topics_are_topics(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let topics = odd_topics();
    for topic in &topics {
        node.store(message(topic, topic.clone())).await;
    }
    for topic in &topics {
        let only = [crate::say::topic(topic).into()].into_iter().collect();
        let pages = other.read_after(0, Some(only)).await;
        let read = pages.iter().flat_map(|page| &page.entries).collect::<Vec<_>>();
        assert_eq!(read.len(), 1, "one entry lies in {topic:?}");
        assert_eq!(read[0].envelope().topic.as_str(), topic);
        assert_eq!(read[0].envelope().data.as_str(), topic);
    }
}

/// Data that has been seen to break something somewhere.
pub(crate) fn odd_data() -> Vec<&'static str> {
    vec![
        "",
        " ",
        "\n",
        "one\ntwo\n\nfour",
        "one\r\ntwo\rthree\n",
        "\u{feff}bom in front",
        "nul \0 inside, \u{1}\u{7f}\u{80}\u{9f} too",
        "\u{fffd} \u{10ffff} 🦀 e\u{301}",
        "data: not a field\nid: 7\nevent: tavern-cursor\n\n: comment",
        "'; drop table entries; --",
        "{\"json\":\"\\u0000\"}",
        "trailing blanks \t ",
    ]
}

/// Topics at the edge of what is allowed.
pub(crate) fn odd_topics() -> Vec<String> {
    let mut topics = [
        "a",
        "A",
        "a/b",
        "a.b",
        "a b",
        " a",
        "a ",
        "a*b",
        "**a",
        "a>",
        ">",
        "+",
        "#",
        "a/#",
        "%",
        "_",
        "a_b",
        "a%b",
        "'",
        "\"",
        "\\",
        "{a}",
        "[a]",
        "a?b",
        "é",
        "e\u{301}",
        "☃/🦀",
        "-",
        "--",
        "null",
        "0",
        "a:b",
        "tavern",
        "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    topics.push("x".repeat(255));
    topics.push(format!("{}é", "y".repeat(253)));
    topics
}

async fn entries(node: &Node) -> Vec<std::sync::Arc<Entry>> {
    node.read_all().await.into_iter().flat_map(|page| page.entries).collect()
}
