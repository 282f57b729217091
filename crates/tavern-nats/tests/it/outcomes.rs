//! What publishing answers, and what the log has then: duplicates, ids, messages that are too large.

use std::time::Duration;

use tavern_backend::{Append, Error, MessageEnvelope, Published, Rejection};
use tavern_testkit::engine::{NatsFlavor, NatsOptions};
use tavern_testkit::say::{Also as _, message};
use tavern_testkit::wait::within;
use tavern_testkit::{Client, publish};

use crate::forwarder::Forwarder;
use crate::stand::{LOG, Stand, append, keeping, on_both, store, until, up};

on_both! {
    a_trimmed_message_that_is_sent_again_after_a_restart_is_a_duplicate,
    an_id_is_unique_in_its_lane_only,
    messages_around_the_servers_limit_never_cost_the_connection,
}

/// Only the newest is kept, the server forgets the ids of what it has trimmed when it restarts, and
/// no acknowledgement ever came: sent again, nothing is stored again, and the newest stays the
/// newest.
async fn a_trimmed_message_that_is_sent_again_after_a_restart_is_a_duplicate(flavor: NatsFlavor) {
    const MESSAGES: u64 = 150;
    let stand = Stand::start(flavor).await.with(|config| config.retention = Some(keeping(1)));
    let wire = Forwarder::to(stand.server.port()).await;
    let remote =
        stand.through(wire.port()).with(|config| config.timeout = Duration::from_millis(500));
    let (near, far) = (stand.bus().await, remote.stage());
    let node = far.node_keeping(keeping(1)).await;
    store(node.bus(), message("t", "before")).await;
    let publications: Vec<_> = (0..MESSAGES)
        .map(|n| {
            let envelope = message("t", n.to_string());
            // Some with an id of the publisher's, some without.
            node.publication(if n % 2 == 0 { envelope } else { envelope.id(&format!("id {n}")) })
        })
        .collect();
    wire.mute();
    let lost = Append { known: None, publications: publications.clone() };
    let error = within("an append", node.bus().append(lost)).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    until("all are stored", || async { near.head().await.unwrap().position.seq == MESSAGES + 1 })
        .await;
    let kept = stand.stream(LOG).await["state"]["messages"].as_u64().unwrap();
    assert!(kept < MESSAGES, "most are trimmed: {kept}");
    stand.server.kill().await.unwrap();
    wire.cut();
    wire.go_on();
    stand.server.start_again().await.unwrap();
    assert!(up(node.bus()).await && up(&near).await);
    for publication in publications.iter().step_by(7).chain(publications.last()) {
        let published = append(node.bus(), vec![publication.clone()]).await;
        assert!(matches!(published[0], Published::Duplicate(_)), "{publication:?}: {published:?}");
    }
    let published = append(node.bus(), publications).await;
    assert!(published.iter().all(|p| matches!(p, Published::Duplicate(_))), "{published:?}");
    let head = within("the head", near.head()).await.unwrap().position.seq;
    assert_eq!(head, MESSAGES + 1, "nothing was stored again");
    assert_eq!(node.texts().await, [(MESSAGES - 1).to_string()], "the newest");
    assert_eq!(store(node.bus(), message("t", "after")).await, MESSAGES + 2);
    far.close().await;
    near.close().await.unwrap();
}

/// Callers that publish at once may take their places in another order than their keys: that a later
/// one is stored does not mean that this one is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_overtaken_and_never_sent_is_stored() {
    let stand = Stand::start(NatsFlavor::Debian).await;
    let wire = Forwarder::to(stand.server.port()).await;
    let stage = stand.through(wire.port()).stage();
    let node = stage.node().await;
    let [first, second, third] =
        ["first", "second", "third"].map(|text| node.publication(message("t", text)));
    append(node.bus(), vec![second, third]).await;
    let connects = node.bus().health().get().connects;
    wire.cut();
    until("the link is another one", || async {
        node.bus().health().get().connects > connects && node.bus().healthy()
    })
    .await;
    let published = append(node.bus(), vec![first.clone()]).await;
    assert!(matches!(published[0], Published::Stored(p) if p.seq == 3), "{published:?}");
    let published = append(node.bus(), vec![first]).await;
    assert!(matches!(published[0], Published::Duplicate(p) if p.seq == 3), "{published:?}");
    assert_eq!(node.texts().await, ["second", "third", "first"]);
    stage.close().await;
}

/// One id on two topics and in two scopes is stored each time; in one lane it is a duplicate, or a
/// conflict if it says something else; also over a restart, whatever the id and the topic look like.
async fn an_id_is_unique_in_its_lane_only(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let (node, other) = (stage.node().await, stage.node().await);
    let longest = "ü".repeat(127);
    let ids = ["1", "a b", " ", "a.b", ".", "*", ">", "$JS.API", "zwölf ✓", "=20", "a:b", &longest];
    let topics = ["t", "t/u", "a b.c", ">/$", "ü ✓", &longest];
    let mut seqs = Vec::new();
    for topic in topics {
        for id in ids {
            seqs.push(store(node.bus(), message(topic, id).id(id)).await);
            seqs.push(store(other.bus(), message(topic, "scoped").id(id).scope("a.b *")).await);
        }
    }
    assert_eq!(seqs, (1..=seqs.len()).map(|n| u64::try_from(n).unwrap()).collect::<Vec<_>>());
    for round in 0..2 {
        let mut seq = 1;
        for topic in topics {
            for id in ids {
                let say = |bus: &tavern_backend::Bus, text: &str| {
                    let (bus, envelope) = (bus.clone(), message(topic, text).id(id));
                    within("a publish", async move { bus.publish(envelope).await.unwrap() })
                };
                let again = say(other.bus(), id).await;
                assert!(
                    matches!(again, Published::Duplicate(at) if at.seq == seq),
                    "round {round}, `{topic}` `{id}`: {again:?} instead of {seq}"
                );
                match say(node.bus(), "something else").await {
                    Published::Rejected(Rejection::IdConflict { id: of, position }) => {
                        assert_eq!((of.as_str(), position.seq), (id, seq));
                    }
                    wrong => panic!("a conflict, not {wrong:?}"),
                }
                let lane = tavern_testkit::say::lane(topic, None);
                let found = other.bus().find(&lane, &tavern_testkit::say::id(id)).await.unwrap();
                assert_eq!(found, Some(seq), "`{topic}` `{id}`");
                seq += 2;
            }
        }
        if round == 0 {
            stand.kill_and_start().await;
            for bus in [node.bus(), other.bus()] {
                // Health may not have noticed yet.
                until("the link is there", || async { bus.head().await.is_ok() }).await;
            }
        }
    }
    let head = node.head().await.position.seq;
    assert_eq!(head, u64::try_from(seqs.len()).unwrap(), "nothing more was stored");
    stage.close().await;
}

/// Just below the server's limit and just above it, headers counted, with long names and short ones:
/// stored, or refused as too large. A message that the server finds too large would cost the
/// connection, with all that is on its way.
async fn messages_around_the_servers_limit_never_cost_the_connection(flavor: NatsFlavor) {
    const LIMIT: usize = 8 << 10;
    let options = NatsOptions::new(flavor).with_max_payload(u32::try_from(LIMIT).unwrap());
    let stand = Stand::start_with(options).await;
    let stage = stand.stage();
    let (node, reader) = (stage.node().await, stage.node().await);
    let broker = reader.broker();
    let mut client = Client::fresh(&broker, &["**"]);
    client.opened().await;
    let mut sizes = Vec::new();
    let name = "ü.".repeat(85);
    let lanes: [fn(MessageEnvelope, &str) -> MessageEnvelope; 3] =
        [|m, _| m, |m, name| m.id(name), |m, name| m.scope(name).id(name).event(name)];
    let mut refused = 0;
    for topic in ["t", name.as_str()] {
        for lane in lanes {
            let mut largest = 0;
            let mut smallest = usize::MAX;
            for size in (LIMIT - 5500..LIMIT - 400).step_by(100).chain(LIMIT - 20..LIMIT + 20) {
                let scope = format!("{}{size}", &name[..240]);
                let data = format!("{size}:").repeat(size)[..size].to_owned();
                let envelope = lane(message(topic, data), &scope);
                match within("a publish", node.bus().publish(envelope)).await {
                    Ok(Published::Stored(_)) => {
                        largest = size;
                        sizes.push(size);
                    }
                    Ok(Published::Rejected(Rejection::TooLarge { size: said, max })) => {
                        assert_eq!(said, size);
                        assert!(max < size, "{max} are allowed, {size} are too large");
                        smallest = smallest.min(size);
                        refused += 1;
                    }
                    other => panic!("{topic} {size}: stored or too large, not {other:?}"),
                }
            }
            assert!(largest < smallest, "{largest} is stored, {smallest} is not");
        }
    }
    assert!(sizes.len() > 50 && refused > 200, "{} stored, {refused} refused", sizes.len());
    let read: Vec<_> = reader.texts().await.iter().map(String::len).collect();
    assert_eq!(read, sizes);
    // Those without a scope were pushed, too.
    publish(&broker, message("t", "last")).await;
    let mut pushed = 0;
    while client.message().await.data().as_str() != "last" {
        pushed += 1;
    }
    assert!(pushed > 30, "{pushed}");
    let connects = [&node, &reader].map(|node| node.bus().health().get().connects);
    assert_eq!(connects, [1, 1], "no connection was lost");
    stage.close().await;
}

/// A limit that was lowered while nodes run counts from the next connection on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_lowered_is_learnt() {
    let stand = Stand::start(NatsFlavor::Current).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let large = "x".repeat(20_000);
    publish(&broker, message("t", large.as_str())).await;
    assert_eq!(client.texts(1).await, [large.as_str()]);
    stand.reconfigure(|text| format!("{text}max_payload: 8192\n")).await;
    let refused = || async {
        let refused = node.bus().publish(message("t", large.as_str())).await;
        matches!(refused, Ok(Published::Rejected(Rejection::TooLarge { .. })))
    };
    until("it is too large now", refused).await;
    publish(&broker, message("t", "small")).await;
    assert_eq!(client.texts(1).await, ["small"]);
    // What is in the log and larger than the server takes now is read all the same.
    assert_eq!(stage.node().await.texts().await, [large.as_str(), "small"]);
    stage.close().await;
}
