//! Ids that publishers give.

use tavern_broker::{Error, GapReason, Outcome};

use super::order::two;
use crate::Stage;
use crate::client::{Client, publish};
use crate::say::{Also, message};
use crate::wait::within;

/// The SSE id is a cursor with the publisher's id behind it; a client that sends it back goes on.
pub async fn a_publishers_id_rides_behind_the_cursor(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    for n in 1..=5 {
        publish(&brokers[0], message("t", format!("msg-{n}")).id(&format!("id-{n}"))).await;
    }
    for _ in 1..=2 {
        client.message().await;
    }
    let third = client.message().await;
    let last_event_id = format!("{}~id-3", third.cursor().expect("a cursor"));
    let frame = std::str::from_utf8(third.encoded()).expect("text").to_owned();
    assert!(frame.starts_with(&format!("id: {last_event_id}\n")), "{frame}");
    for broker in &brokers {
        let mut resumed = Client::resume_from(broker, &["t"], last_event_id.as_bytes());
        assert_eq!(resumed.complete_replay().await, ["msg-4", "msg-5"]);
    }
}

/// An id that looks like a cursor is an id: no publisher can forge a position.
pub async fn hard_case_04_an_id_that_looks_like_a_cursor(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    let opening = client.opened().await;
    let mut forged = opening;
    forged.0.seq += 105;
    for n in 1..=3 {
        let envelope = message("t", n.to_string()).id(&format!("{forged}"));
        let topic = if n == 1 { "t".to_owned() } else { format!("t{n}") };
        let envelope =
            tavern_backend::MessageEnvelope { topic: crate::say::topic(&topic), ..envelope };
        publish(&brokers[0], envelope).await;
    }
    publish(&brokers[0], message("t", "behind")).await;
    let first = client.message().await;
    let frame = std::str::from_utf8(first.encoded()).expect("text").to_owned();
    let id = frame.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
    assert!(id.ends_with(&format!("~{forged}")) && !id.starts_with(&forged.to_string()), "{id}");
    let mut resumed = Client::resume_from(&brokers[0], &["t"], id.as_bytes());
    assert_eq!(resumed.complete_replay().await, ["behind"]);
}

/// The same id in two topics: a client of one topic goes on behind its own; of several, it is told
/// that the id means nothing there.
pub async fn hard_case_04_the_same_id_in_two_topics(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    for (topic, text, id) in
        [("a", "a1", Some("1")), ("a", "a2", None), ("b", "b1", Some("1")), ("b", "b2", None)]
    {
        let envelope = message(topic, text);
        publish(&brokers[0], id.map_or(envelope.clone(), |id| envelope.id(id))).await;
    }
    for broker in &brokers {
        for (topic, behind) in [("a", "a2"), ("b", "b2")] {
            let mut client = Client::resume_from(broker, &[topic], b"1");
            assert_eq!(client.complete_replay().await, [behind], "on {topic}");
        }
        for wanted in [&["a", "b"][..], &["*"]] {
            let (replay, reconnected) = Client::resume_from(broker, wanted, b"1").replay().await;
            assert_eq!(replay.reasons(), [GapReason::UnknownId], "{wanted:?}");
            assert!(!reconnected.complete);
        }
        let scoped = broker.subscribe(["a"]).scope("other").resume("1");
        let (replay, _) = Client::open(scoped).replay().await;
        assert_eq!(replay.reasons(), [GapReason::UnknownId], "another lane's id");
    }
}

/// An id nobody gave: a gap says so, live messages follow, and the gap is not told again.
pub async fn an_unknown_id_is_a_gap(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    for n in 1..=3 {
        publish(&brokers[0], message("t", n.to_string()).id(&n.to_string())).await;
    }
    let mut client = Client::resume_from(&brokers[1], &["t"], b"rolled-out");
    let (replay, reconnected) = client.replay().await;
    assert_eq!(replay.reasons(), [GapReason::UnknownId]);
    assert_eq!(replay.gaps[0].1.last_event_id, "rolled-out");
    assert_eq!(replay.gaps[0].1.topics, ["t"]);
    assert!(replay.messages.is_empty() && !reconnected.complete, "{replay:?} {reconnected:?}");
    publish(&brokers[0], message("t", "4")).await;
    assert_eq!(client.texts(1).await, ["4"]);
    let resumed = Client::resume(&brokers[0], &["t"], reconnected.cursor).complete_replay().await;
    assert_eq!(resumed, ["4"]);
}

/// A second message with an id: the first one's place; with another message: an error. Subscribers
/// see one.
pub async fn an_id_is_published_once(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    let first = publish(&brokers[0], message("t", "x").id("7")).await;
    for broker in &brokers {
        let again = within("again", broker.publish_envelope(message("t", "x").id("7"))).await;
        assert!(matches!(again, Ok(Outcome::Duplicate(cursor)) if cursor == first), "{again:?}");
        let other = within("another", broker.publish_envelope(message("t", "y").id("7"))).await;
        assert!(matches!(other, Err(Error::IdConflict(_))), "{other:?}");
        let elsewhere = publish(broker, message("t", "x").id("7").scope("s")).await;
        assert_ne!(elsewhere, first, "another scope is another lane");
    }
    publish(&brokers[0], message("t", "behind")).await;
    assert_eq!(client.texts(2).await, ["x", "behind"]);
}
