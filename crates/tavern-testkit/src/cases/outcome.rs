//! Promises 6 and 7: honest outcomes, and local life while the backend is away.

use std::time::Duration;

use tavern_backend::{Keep, Retention};
use tavern_broker::{Broker, BrokerConfig, Error, GapReason, Outcome, Settled, Ticket};

use super::order::two;
use crate::Stage;
use crate::client::{Client, publish, publish_all};
use crate::say::{Also, filter, message};
use crate::wait::{eventually, within};

/// The answer to a publish is lost: it is sent again under its key, and stored once.
pub async fn hard_case_12_a_lost_answer_is_settled(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    for round in 0..5 {
        nodes[0].cable().lose_answers(1 + round % 3);
        publish(&brokers[0], message("t", format!("{round}"))).await;
    }
    publish(&brokers[0], message("t", "last")).await;
    assert_eq!(client.texts(6).await, ["0", "1", "2", "3", "4", "last"]);
    assert_eq!(nodes[1].texts().await, ["0", "1", "2", "3", "4", "last"], "each once");
}

/// After a failure, later publishes wait behind the one that is not settled.
pub async fn hard_case_14_order_survives_failures(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    let mut expected = Vec::new();
    for round in 0..6 {
        let cable = nodes[0].cable();
        if round % 2 == 0 {
            cable.lose_answers(1)
        } else {
            cable.fail_publishes(2)
        }
        // Handed over one after the other, none waiting for the one before.
        let texts = (0..20).map(|n| format!("{round}:{n}")).collect::<Vec<_>>();
        let mut publishing = tokio::task::JoinSet::new();
        let (sent, mut sending) = tokio::sync::mpsc::channel(1);
        for text in &texts {
            let (broker, envelope, sent) =
                (brokers[0].clone(), message("t", text.clone()), sent.clone());
            publishing.spawn(async move {
                let publishing = broker.publish_envelope(envelope);
                tokio::pin!(publishing);
                // Its place is taken with the first poll.
                let first = futures_util::poll!(&mut publishing);
                sent.send(()).await.expect("waited for");
                match first {
                    std::task::Poll::Ready(outcome) => outcome,
                    std::task::Poll::Pending => publishing.await,
                }
            });
            within("a publish is under way", sending.recv()).await;
        }
        for outcome in within("all are settled", publishing.join_all()).await {
            settle(outcome.expect("accepted")).await;
        }
        expected.extend(texts);
    }
    assert_eq!(client.texts(expected.len()).await, expected);
    assert_eq!(nodes[1].texts().await, expected);
}

/// What waits in the spool goes first: a new publish does not overtake it.
pub async fn hard_case_14_a_new_publish_does_not_overtake_the_spool(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let broker = nodes[0].broker_with(impatient);
    let other = nodes[1].broker();
    let mut client = Client::fresh(&other, &["t"]);
    client.opened().await;
    nodes[0].cable().cut();
    let mut tickets = Vec::new();
    for n in 0..50 {
        tickets.push(spool(&broker, message("t", n.to_string())).await);
    }
    let healing = nodes[0].cable().heal();
    let (healed, cursors) = tokio::join!(healing, async {
        let mut cursors = Vec::new();
        for n in 50..80 {
            cursors.push(publish(&broker, message("t", n.to_string())).await);
        }
        cursors
    });
    healed.expect("healed");
    assert!(cursors.is_sorted_by_key(|cursor| cursor.0.seq));
    assert_eq!(client.texts(80).await, (0..80).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Spooled is a promise: on return it is stored, in order, and the ticket says where.
pub async fn hard_case_13_spooled_is_stored_in_the_end(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let broker = nodes[0].broker_with(impatient);
    let other = nodes[1].broker();
    let mut remote = Client::fresh(&other, &["t"]);
    let mut local = Client::fresh(&broker, &["t"]);
    remote.opened().await;
    local.opened().await;
    nodes[0].cable().cut();
    let mut tickets = Vec::new();
    for n in 0..10 {
        tickets.push(spool(&broker, message("t", n.to_string())).await);
    }
    assert!(
        tickets.iter().all(|ticket| ticket.settled().is_none() && !ticket.time_left().is_zero())
    );
    eventually("ten are counted", || broker.status().counters.spool_entries == 10).await;
    within("the cable heals", nodes[0].cable().heal()).await.expect("healed");
    let mut last = 0;
    for ticket in &mut tickets {
        match within("a ticket settles", ticket.wait()).await {
            Settled::Stored(cursor) if cursor.0.seq > last => last = cursor.0.seq,
            other => panic!("stored behind {last}, not {other:?}"),
        }
    }
    let all = (0..10).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(remote.texts(10).await, all);
    assert_eq!(local.texts(10).await, all);
    eventually("the spool is empty", || broker.status().counters.spool_entries == 0).await;
}

/// What the engine refuses for good once it is back is told: by the ticket, a counter and a gap.
pub async fn hard_case_13_spooled_and_refused_is_told(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let broker = nodes[0].broker_with(impatient);
    let mut client = Client::fresh(&broker, &["t"]);
    let mut other = Client::fresh(&broker, &["other"]);
    client.opened().await;
    other.opened().await;
    nodes[0].cable().cut();
    let mut refused = spool(&broker, message("t", "mine").id("7")).await;
    let mut stored = spool(&broker, message("t", "behind")).await;
    // Meanwhile somebody else takes the id.
    nodes[1].store(message("t", "theirs").id("7")).await;
    within("the cable heals", nodes[0].cable().heal()).await.expect("healed");
    let settled = within("the ticket settles", refused.wait()).await;
    assert!(matches!(settled, Settled::Discarded { maybe_stored: false, .. }), "{settled:?}");
    let settled = within("the ticket settles", stored.wait()).await;
    assert!(matches!(settled, Settled::Stored(_)), "{settled:?}");
    assert_eq!(broker.status().counters.spool_discarded, 1);
    let (mut gaps, mut texts) = (Vec::new(), Vec::new());
    while texts.len() < 2 || gaps.is_empty() {
        match client.next("a gap and two messages").await {
            Some(tavern_broker::Delivery::Gap(gap)) => gaps.push((gap.reason, gap.topics)),
            Some(tavern_broker::Delivery::Message(m)) => texts.push(m.data().as_str().to_owned()),
            Some(_) => {}
            None => panic!("the stream goes on"),
        }
    }
    assert_eq!(gaps, [(GapReason::Outage, vec!["t".to_owned()])]);
    assert_eq!(texts, ["theirs", "behind"]);
    publish(&broker, message("other", "x")).await;
    assert_eq!(other.texts(1).await, ["x"], "nothing of it was another topic's");
}

/// What waits longer than the spool may keep it is told, and never stored late.
pub async fn hard_case_13_spooled_too_long_is_told(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let broker = nodes[0].broker_with(|config| {
        impatient(config);
        config.spool_age = Duration::from_millis(200);
    });
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    nodes[0].cable().cut();
    let mut ticket = spool(&broker, message("t", "too long")).await;
    assert!(ticket.time_left() <= Duration::from_millis(200));
    let settled = within("the ticket settles", ticket.wait()).await;
    assert!(matches!(settled, Settled::Discarded { maybe_stored: false, .. }), "{settled:?}");
    assert_eq!(broker.status().counters.spool_discarded, 1);
    assert_eq!(client.gap().await.reason, GapReason::Outage);
    within("the cable heals", nodes[0].cable().heal()).await.expect("healed");
    publish(&broker, message("t", "after")).await;
    assert_eq!(client.texts(1).await, ["after"]);
    assert_eq!(nodes[1].texts().await, ["after"], "what was given up stays so");
}

/// A spool that is full says so; nothing is accepted that would be dropped.
pub async fn a_full_spool_refuses(stage: Stage) {
    let node = stage.node().await;
    let broker = node.broker_with(|config| {
        impatient(config);
        config.spool_entries = 5;
    });
    node.cable().cut();
    let (mut tickets, mut accepted) = (Vec::new(), Vec::new());
    let refused = loop {
        let text = accepted.len().to_string();
        match within("an answer", broker.publish_envelope(message("t", text.clone()))).await {
            Ok(Outcome::Spooled(ticket)) => tickets.push(ticket),
            Ok(other) => panic!("spooled, not {other:?}"),
            Err(refused) => break refused,
        }
        accepted.push(text);
        assert!(accepted.len() <= 5, "five at most");
    };
    assert!(matches!(refused, Error::SpoolFull { .. }), "{refused:?}");
    assert!(refused.is_transient());
    assert!(!accepted.is_empty());
    within("the cable heals", node.cable().heal()).await.expect("healed");
    for mut ticket in tickets {
        let settled = within("a ticket settles", ticket.wait()).await;
        assert!(matches!(settled, Settled::Stored(_)), "{settled:?}");
    }
    assert_eq!(node.texts().await, accepted, "what was accepted, and nothing else");
    publish(&broker, message("t", "room again")).await;
}

/// While the backend is away, live topics are delivered on their own node; streams stay open.
pub async fn local_life_goes_on(stage: Stage) {
    let rules = Retention::default().with_rule(filter("live/**"), Keep::live());
    let node = stage.node_keeping(rules).await;
    let broker = node.broker_with(impatient);
    let mut client = Client::fresh(&broker, &["live/a", "t"]);
    client.opened().await;
    node.cable().cut();
    for n in 0..5 {
        let outcome =
            within("an answer", broker.publish_envelope(message("live/a", n.to_string()))).await;
        assert!(matches!(outcome, Ok(Outcome::Live)), "{outcome:?}");
    }
    let spooled = spool(&broker, message("t", "retained")).await;
    assert_eq!(client.texts(5).await, ["0", "1", "2", "3", "4"]);
    assert!(!broker.readiness().ready, "not able to deliver across processes");
    within("the cable heals", node.cable().heal()).await.expect("healed");
    assert_eq!(client.texts(1).await, ["retained"]);
    settle(Outcome::Spooled(spooled)).await;
    eventually("it is ready again", || broker.readiness().ready).await;
}

/// A publish given up half-way by its caller is stored once or not at all, and those behind it are.
pub async fn a_publish_given_up_is_stored_once_or_not(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    for round in 0..40_u32 {
        let publishing = brokers[0].publish_envelope(message("t", format!("given up {round}")));
        {
            tokio::pin!(publishing);
            for _ in 0..round % 4 {
                if futures_util::poll!(&mut publishing).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        publish(&brokers[0], message("t", format!("kept {round}"))).await;
    }
    let texts = nodes[1].texts().await;
    let kept = texts.iter().filter(|text| text.starts_with("kept"));
    assert!(kept.eq(&(0..40).map(|n| format!("kept {n}")).collect::<Vec<_>>()), "{texts:?}");
    let mut once = texts.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), texts.len(), "none twice: {texts:?}");
}

/// Many at once, from both nodes, through a link that fails and loses answers: all stored, once.
pub async fn many_publishers_through_a_bad_link(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t/*"]);
    client.opened().await;
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..8 {
        let broker = brokers[publisher % 2].clone();
        publishers.spawn(async move {
            let envelopes = (0..50).map(|n| message(&format!("t/{publisher}"), n.to_string()));
            publish_all(&broker, envelopes.collect()).await
        });
    }
    for n in 0..6 {
        let cable = nodes[n % 2].cable();
        cable.lose_answers(1);
        tokio::task::yield_now().await;
        cable.fail_publishes(1);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let cursors = within("all publishers", publishers.join_all()).await;
    let mut seqs = cursors.iter().flatten().map(|cursor| cursor.0.seq).collect::<Vec<_>>();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 400, "each has a place of its own");
    let mut next = [0; 8];
    for _ in 0..400 {
        let message = client.message().await;
        let publisher: usize = message.topic().as_str()[2..].parse().expect("a number");
        assert_eq!(message.data().as_str(), next[publisher].to_string());
        next[publisher] += 1;
    }
    assert_eq!(next, [50; 8]);
}

/// Answers with a ticket soon.
fn impatient(config: &mut BrokerConfig) {
    config.publish_patience = Duration::from_millis(20);
}

/// Publishes what must be spooled.
#[track_caller]
fn spool(
    broker: &Broker,
    envelope: tavern_backend::MessageEnvelope,
) -> impl Future<Output = Ticket> + use<> {
    let (at, broker) = (std::panic::Location::caller(), broker.clone());
    within("a ticket", async move {
        match broker.publish_envelope(envelope).await {
            Ok(Outcome::Spooled(ticket)) => ticket,
            other => panic!("{at}: spooled, not {other:?}"),
        }
    })
}

/// Waits until it is in the log.
#[track_caller]
fn settle(outcome: Outcome) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    within("the outcome", async move {
        if let Outcome::Spooled(mut ticket) = outcome {
            let settled = ticket.wait().await;
            assert!(!matches!(settled, Settled::Discarded { .. }), "{at}: {settled:?}");
        }
    })
}
