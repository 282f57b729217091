//! Promise 4: resume anywhere.

use tavern_backend::{Cursor, Epoch, Position};
use tavern_broker::{Delivery, GapReason};

use super::order::two;
use crate::client::{Client, publish, publish_all};
use crate::say::{Also, message};
use crate::wait::{eventually, within};
use crate::{Node, Stage};

/// From every position of a log, on either node: everything behind it, once, and nothing else.
pub async fn resume_on_either_node_at_every_position(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let opening = Client::fresh(&brokers[0], &["t/*"]).opened().await;
    let mut cursors = vec![opening];
    for n in 0..40 {
        let topic = format!("t/{}", n % 3);
        cursors.push(publish(&brokers[n % 2], message(&topic, n.to_string())).await);
    }
    for (n, cursor) in cursors.into_iter().enumerate() {
        for broker in &brokers {
            let all = Client::resume(broker, &["t/*"], cursor).complete_replay().await;
            assert_eq!(all, (n..40).map(|n| n.to_string()).collect::<Vec<_>>(), "behind {n}");
            let one = Client::resume(broker, &["t/1"], cursor).complete_replay().await;
            let expected = (n..40).filter(|n| n % 3 == 1).map(|n| n.to_string());
            assert_eq!(one, expected.collect::<Vec<_>>(), "of t/1 behind {n}");
        }
    }
}

/// One cursor resumes several topics and wildcards together, in the one order.
pub async fn resume_with_several_topics_and_wildcards(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let wanted = ["a", "b/*", "c/**/z", "never/seen"];
    let mut client = Client::fresh(&brokers[0], &wanted);
    client.opened().await;
    let topics = ["a", "b/1", "b", "c/z", "c/d/e/z", "c/d", "a/b", "b/2"];
    let mut expected = Vec::new();
    for n in 0..64 {
        let topic = topics[n % topics.len()];
        publish(&brokers[n % 2], message(topic, format!("{topic} {n}"))).await;
        if ["a", "b/1", "b/2", "c/z", "c/d/e/z"].contains(&topic) {
            expected.push(format!("{topic} {n}"));
        }
    }
    let first = client.texts(expected.len() / 2).await;
    let last = client.message().await;
    drop(client);
    let cursor = last.cursor().expect("a retained message");
    let rest = Client::resume(&brokers[1], &wanted, cursor).complete_replay().await;
    assert_eq!([first, vec![last.data().as_str().to_owned()], rest].concat(), expected);
}

/// A client that drops again and again, moving to the other node each time, while both publish.
pub async fn drop_and_resume_while_publishing(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[0], &["t/*"]);
    let mut cursor = client.opened().await;
    let publishers = brokers.clone();
    let mut publishing = tokio::task::JoinSet::new();
    publishing.spawn(async move {
        for n in 0..400 {
            publish(&publishers[n % 2], message(&format!("t/{}", n % 7), n.to_string())).await;
        }
    });
    let mut texts = Vec::new();
    let mut moves = 0;
    while texts.len() < 400 {
        for _ in 0..(moves * 7) % 23 {
            if texts.len() == 400 {
                break;
            }
            match client.next("the next of 400 messages").await {
                Some(Delivery::Message(message)) => {
                    cursor = message.cursor().expect("a cursor");
                    texts.push(message.data().as_str().to_owned());
                }
                Some(Delivery::Reconnected(reconnected)) => {
                    assert!(reconnected.complete);
                    cursor = reconnected.cursor;
                }
                Some(Delivery::Cursor(moved)) => cursor = moved,
                other => panic!("messages, not {other:?}"),
            }
        }
        moves += 1;
        client = Client::resume(&brokers[moves % 2], &["t/*"], cursor);
    }
    assert_eq!(texts, (0..400).map(|n| n.to_string()).collect::<Vec<_>>());
    within("the publisher ends", publishing.join_all()).await;
}

/// All processes end and the engine restarts: cursors of before go on, on new nodes.
pub async fn resume_after_a_restart_of_all_processes(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[0], &["t"]);
    let opening = client.opened().await;
    publish(&brokers[0], message("t", "1")).await;
    let middle = publish(&brokers[1], message("t", "2")).await;
    let last = publish(&brokers[0], message("t", "3").id("three")).await;
    for broker in &brokers {
        within("a broker closes", broker.close()).await;
    }
    stage.restart().await;
    let (_nodes, brokers) = two(&stage).await;
    let texts = |from: usize, to: usize| (from..=to).map(|n| n.to_string()).collect::<Vec<_>>();
    for broker in &brokers {
        assert_eq!(Client::resume(broker, &["t"], opening).complete_replay().await, texts(1, 3));
        assert_eq!(Client::resume(broker, &["t"], last).complete_replay().await, texts(4, 3));
    }
    publish(&brokers[1], message("t", "4")).await;
    for broker in &brokers {
        assert_eq!(Client::resume(broker, &["t"], middle).complete_replay().await, texts(3, 4));
        let by_id = Client::resume_from(broker, &["t"], b"three").complete_replay().await;
        assert_eq!(by_id, texts(4, 4));
    }
}

/// A cursor of another log is a gap, told once; the stream is live behind it.
pub async fn a_foreign_cursor_is_a_gap(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    for n in 1..=3 {
        publish(&brokers[0], message("t", n.to_string())).await;
    }
    let foreign = Cursor(Position::new(Epoch::from_u64(0x00C0_FFEE), 2));
    let mut client = Client::resume(&brokers[1], &["t"], foreign);
    let (replay, reconnected) = client.replay().await;
    assert_eq!(replay.reasons(), [GapReason::Epoch]);
    assert_eq!(replay.gaps[0].1.last_event_id, foreign.to_string());
    assert!(replay.messages.is_empty() && !reconnected.complete);
    publish(&brokers[0], message("t", "4")).await;
    assert_eq!(client.texts(1).await, ["4"]);
    let again = Client::resume(&brokers[0], &["t"], reconnected.cursor).complete_replay().await;
    assert_eq!(again, ["4"]);
}

/// Whatever a client sends as its last id: a gap or a fresh start, never an end, never a panic.
pub async fn malformed_ids_are_gaps(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let cursor = publish(&brokers[0], message("t", "1")).await;
    let good = cursor.to_string();
    let long = "x".repeat(300);
    let malformed: [&[u8]; 12] = [
        b" ",
        b"~",
        b"1",
        b"-1",
        b"9999999999999999999999999",
        &good.as_bytes()[..good.len() / 2],
        &[0xff, 0xfe, 0x00],
        b"line\nbreak",
        long.as_bytes(),
        b"10000000000000-18446744073709551616",
        b"10000000000000-01",
        "\u{1F980}".as_bytes(),
    ];
    for id in malformed {
        for broker in &brokers {
            let mut client = Client::resume_from(broker, &["t"], id);
            let (replay, reconnected) = client.replay().await;
            let said = String::from_utf8_lossy(id);
            assert_eq!(replay.reasons(), [GapReason::UnknownId], "{said:?}");
            assert!(!reconnected.complete && replay.messages.is_empty(), "{said:?}");
        }
    }
    let mut empty = Client::resume_from(&brokers[0], &["t"], b"");
    empty.opened().await;
    publish(&brokers[1], message("t", "2")).await;
    assert_eq!(empty.texts(1).await, ["2"]);
}

/// A cursor beyond the log's own head was never given out by this log: a gap.
pub async fn a_cursor_beyond_the_head_is_a_gap(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut cursor = publish(&brokers[0], message("t", "1")).await;
    cursor.0.seq += 1_000_000;
    let mut client = Client::resume(&brokers[1], &["t"], cursor);
    let (replay, reconnected) = client.replay().await;
    assert_eq!(replay.reasons(), [GapReason::Epoch]);
    assert!(!reconnected.complete && reconnected.cursor.0.seq < cursor.0.seq);
    publish(&brokers[0], message("t", "2")).await;
    assert_eq!(client.texts(1).await, ["2"]);
}

/// A cursor ahead of a node that lags: no false gap, nothing again, and what comes after comes.
pub async fn hard_case_03_a_cursor_ahead_of_a_lagging_node(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let ahead = nodes[0].broker();
    // It must not catch up by itself during the case: that is what a lagging node is.
    let lagging = nodes[1].broker_with(|config| {
        config.repair_patience = std::time::Duration::from_secs(60);
    });
    let mut here = Client::fresh(&ahead, &["t"]);
    let mut there = Client::fresh(&lagging, &["t"]);
    here.opened().await;
    there.opened().await;
    for n in 1..=5 {
        publish(&ahead, message("t", n.to_string())).await;
    }
    assert_eq!(there.texts(5).await, ["1", "2", "3", "4", "5"]);
    nodes[1].cable().hold();
    nodes[1].cable().hang_reads();
    for n in 6..=10 {
        publish(&ahead, message("t", n.to_string())).await;
    }
    let mut cursor = None;
    while here.message().await.data().as_str() != "10" {}
    cursor.replace(here.cursor().expect("a cursor"));
    let mut moved = Client::resume(&lagging, &["t"], cursor.expect("taken"));
    {
        // It may be told at once that it is live, or once the node is there; nothing else.
        let next = moved.next("nothing yet");
        tokio::pin!(next);
        if let std::task::Poll::Ready(first) = futures_util::poll!(&mut next) {
            assert!(matches!(first, Some(Delivery::Reconnected(r)) if r.complete), "{first:?}");
        }
    }
    drop(moved);
    let mut moved = Client::resume(&lagging, &["t"], cursor.expect("taken"));
    publish(&ahead, message("t", "11")).await;
    nodes[1].cable().mend_reads();
    nodes[1].cable().release();
    let mut texts = Vec::new();
    while texts.is_empty() {
        match moved.next("message 11").await {
            Some(Delivery::Message(message)) => texts.push(message.data().as_str().to_owned()),
            Some(Delivery::Reconnected(reconnected)) => assert!(reconnected.complete),
            Some(Delivery::Cursor(_)) => {}
            other => panic!("message 11, not {other:?}"),
        }
    }
    assert_eq!(texts, ["11"], "none of 6 to 10 again");
    assert_eq!(
        there.texts(6).await,
        ["6", "7", "8", "9", "10", "11"],
        "who lagged with it has all"
    );
}

/// A gap is told once: the cursor that ends it ends it for good, also on a topic that stays quiet.
pub async fn hard_case_25_a_gap_is_told_once(stage: Stage) {
    let rules = super::history::keeping(3);
    let nodes = [stage.node_keeping(rules.clone()).await, stage.node_keeping(rules).await];
    let brokers = nodes.each_ref().map(Node::broker);
    let start = publish(&brokers[0], message("t", "0")).await;
    for n in 1..=9 {
        publish(&brokers[0], message("t", n.to_string())).await;
    }
    for broker in &brokers {
        let (replay, reconnected) = Client::resume(broker, &["t"], start).replay().await;
        assert_eq!(replay.reasons(), [GapReason::Trimmed]);
        assert_eq!(replay.texts(), ["7", "8", "9"]);
        assert!(!reconnected.complete);
        for broker in &brokers {
            let quiet = Client::resume(broker, &["t"], reconnected.cursor).complete_replay().await;
            assert_eq!(quiet, [""; 0], "neither gap nor message again");
        }
    }
}

/// The opening cursor is an event with data, so that every browser keeps it; a client cut off
/// before its first message resumes exactly.
pub async fn hard_case_05_the_opening_cursor_is_kept_by_every_browser(stage: Stage) {
    use tavern_sse::{IdWithoutData, Parser, ParserConfig};
    let (_nodes, brokers) = two(&stage).await;
    publish(&brokers[0], message("t", "before")).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    let opening = client.next("the opening cursor").await.expect("the opening cursor");
    assert!(matches!(opening, Delivery::Cursor(_)), "{opening:?}");
    let frame = opening.encode();
    publish(&brokers[0], message("t", "missed")).await;
    for browser in [IdWithoutData::Apply, IdWithoutData::Drop, IdWithoutData::Defer] {
        let config = ParserConfig::default().with_id_without_data(browser);
        let mut parser = Parser::with_config(config);
        let items = parser.push(&frame).collect::<Result<Vec<_>, _>>().expect("a frame");
        let [tavern_sse::Item::Block(block)] = items.as_slice() else {
            panic!("one block, not {items:?}");
        };
        assert_eq!(
            (block.event.as_deref(), block.data.as_deref()),
            (Some("tavern-cursor"), Some(""))
        );
        let last = parser.last_event_id().to_owned();
        let mut resumed = Client::resume_from(&brokers[0], &["t"], last.as_bytes());
        assert_eq!(resumed.complete_replay().await, ["missed"], "as {browser:?}");
    }
}

/// The position moves with the log, also when no message of the client's own carries it.
pub async fn the_position_moves_without_messages(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["quiet"]);
    let opening = client.opened().await;
    let mut last = opening;
    for n in 0..20 {
        last = publish(&brokers[0], message("busy", n.to_string())).await;
    }
    let mut stream = client.into_inner();
    eventually("the position moves", || {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut none = Vec::new();
        // The position moves as the stream is looked at.
        let looked = stream.poll_batch(&mut context, &mut none, 8);
        assert!(looked.is_pending() || none.iter().all(|d| matches!(d, Delivery::Cursor(_))));
        stream.cursor().is_some_and(|cursor| cursor.0.seq >= last.0.seq)
    })
    .await;
    let moved = stream.cursor().expect("a position");
    drop(stream);
    publish(&brokers[0], message("quiet", "x")).await;
    assert_eq!(Client::resume(&brokers[0], &["quiet"], moved).complete_replay().await, ["x"]);
}

/// A replay over the configured maximum leaves its oldest part out, and says how much.
pub async fn a_replay_over_the_maximum_is_truncated(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let publisher = nodes[0].broker();
    let broker = nodes[1].broker_with(|config| config.max_replay = Some(3));
    let start = publish(&publisher, message("t", "1")).await;
    let envelopes = (2..=20).map(|n| message("t", n.to_string()));
    publish_all(&publisher, envelopes.collect()).await;
    let (replay, reconnected) = Client::resume(&broker, &["t"], start).replay().await;
    assert_eq!(replay.texts(), ["18", "19", "20"]);
    let truncated = replay.truncated.expect("a replay that was cut");
    assert_eq!((truncated.delivered, truncated.dropped), (3, 16));
    assert_eq!((reconnected.delivered, reconnected.dropped), (3, 16));
    assert!(!reconnected.complete);
    let within_limit = publish(&publisher, message("t", "21")).await;
    assert_eq!(Client::resume(&broker, &["t"], reconnected.cursor).complete_replay().await, ["21"]);
    assert!(within_limit.0.seq > reconnected.cursor.0.seq);
}

/// What history still has can be asked for by a fresh subscriber.
pub async fn a_fresh_subscriber_may_begin_with_the_oldest(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    for n in 1..=5 {
        publish(&brokers[0], message("t", n.to_string()).id(&n.to_string())).await;
    }
    for broker in &brokers {
        let mut client = Client::open(broker.subscribe(["t"]).from_oldest());
        assert_eq!(client.texts(5).await, ["1", "2", "3", "4", "5"]);
    }
    let mut client = Client::open(brokers[1].subscribe(["t"]).from_oldest());
    publish(&brokers[0], message("t", "6")).await;
    assert_eq!(client.texts(6).await, ["1", "2", "3", "4", "5", "6"]);
}
