//! What a node listens to, and from where it is complete.

use std::time::Duration;

use tokio::task::JoinSet;

use super::order::two;
use crate::Stage;
use crate::client::{Client, publish, publish_all};
use crate::say::{filter, message};
use crate::wait::{eventually, within};

/// 10,000 times: subscribe on one node, see the opening cursor, publish on the other: it arrives.
pub async fn ten_thousand_subscribe_publish_races(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut racers = JoinSet::new();
    for racer in 0..100 {
        let [publisher, broker] = brokers.clone();
        racers.spawn(async move {
            for n in 0..100 {
                let topic = format!("race/{racer}/{n}");
                let mut client = Client::fresh(&broker, &[&topic]);
                let opening = client.opened().await;
                let cursor = publish(&publisher, message(&topic, "after")).await;
                assert!(cursor.0.seq > opening.0.seq);
                let message = client.message().await;
                assert_eq!(message.cursor(), Some(cursor), "{topic}");
            }
        });
    }
    // Longer than one wait: each of its steps has an end of its own.
    for ended in racers.join_all().await {
        ended
    }
}

/// What is published while interest is not confirmed yet is behind the opening cursor, or in the
/// stream; the cursor is no lie.
pub async fn hard_case_02_the_opening_cursor_is_complete(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    publish(&brokers[0], message("a", "long before")).await;
    nodes[1].cable().hold_subscribes(true);
    let mut client = Client::fresh(&brokers[1], &["a"]);
    let during = {
        let opening = client.opened();
        tokio::pin!(opening);
        assert!(futures_util::poll!(&mut opening).is_pending(), "not before it is confirmed");
        let during = publish(&brokers[0], message("a", "during")).await;
        nodes[1].cable().hold_subscribes(false);
        let opening = opening.await;
        (during, opening)
    };
    let (during, opening) = during;
    let after = publish(&brokers[0], message("a", "after")).await;
    let mut expected = vec!["after"];
    if during.0.seq > opening.0.seq {
        expected.insert(0, "during");
    }
    assert_eq!(client.texts(expected.len()).await, expected, "opened at {opening}");
    // A client that drops before its first message resumes exactly.
    let resumed = Client::resume(&brokers[0], &["a"], opening).complete_replay().await;
    assert_eq!(resumed, expected);
    assert!(after.0.seq > opening.0.seq);
}

/// `orders/**` sees orders/7 for the first time: nothing of it was missed, and no gap says so.
pub async fn hard_case_02_first_sight_of_a_topic_under_a_wildcard(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    for n in 0..20 {
        publish(&brokers[0], message("elsewhere", n.to_string())).await;
    }
    let mut client = Client::fresh(&brokers[1], &["orders/**"]);
    let opening = client.opened().await;
    for n in 0..20 {
        publish(&brokers[0], message("elsewhere", n.to_string())).await;
    }
    publish(&brokers[0], message("orders/7", "first")).await;
    publish(&brokers[0], message("orders/7/lines/1", "second")).await;
    assert_eq!(client.texts(2).await, ["first", "second"]);
    for broker in &brokers {
        let resumed = Client::resume(broker, &["orders/**"], opening).complete_replay().await;
        assert_eq!(resumed, ["first", "second"]);
    }
}

/// Interest lingered out, entries came meanwhile, interest returns: a resume from before gets them.
pub async fn hard_case_02_interest_lost_and_regained(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let publisher = nodes[0].broker();
    let broker = nodes[1].broker_with(|config| config.linger = Duration::from_millis(30));
    let mut client = Client::fresh(&broker, &["t"]);
    // Keeps the feed busy while nobody listens to `t`.
    let mut witness = Client::fresh(&broker, &["witness"]);
    witness.opened().await;
    client.opened().await;
    publish(&publisher, message("t", "80")).await;
    let last = client.message().await.cursor().expect("a cursor");
    drop(client);
    eventually("interest in t ends", || !nodes[1].cable().interest().contains(&filter("t"))).await;
    for n in 81..=95 {
        publish(&publisher, message("t", n.to_string())).await;
    }
    publish(&publisher, message("witness", "seen")).await;
    assert_eq!(witness.texts(1).await, ["seen"]);
    let mut anew = Client::fresh(&broker, &["t"]);
    anew.opened().await;
    publish(&publisher, message("t", "96")).await;
    assert_eq!(anew.texts(1).await, ["96"]);
    let resumed = Client::resume(&broker, &["t"], last).complete_replay().await;
    assert_eq!(resumed, (81..=96).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// The last subscriber leaves: interest lingers, then it is withdrawn at the engine itself.
pub async fn interest_lingers_and_is_withdrawn(stage: Stage) {
    let node = stage.node().await;
    let broker = node.broker_with(|config| config.linger = Duration::from_millis(500));
    let cable = node.cable();
    let wanted = ["t", "w/*"];
    let mut first = Client::fresh(&broker, &wanted);
    let mut second = Client::fresh(&broker, &["t"]);
    first.opened().await;
    second.opened().await;
    let has = |text: &str| cable.interest().contains(&filter(text));
    assert!(has("t") && has("w/*"), "{:?}", cable.interest());
    let subscribed = cable.calls().subscribe;
    drop(first);
    // Back within the linger: the engine hears nothing of it.
    let mut back = Client::fresh(&broker, &wanted);
    back.opened().await;
    assert_eq!(cable.calls().subscribe, subscribed, "no storm of subscribes");
    drop(back);
    eventually("interest in w/* ends", || !has("w/*")).await;
    assert!(has("t"), "the other subscriber's interest stays");
    drop(second);
    eventually("interest in t ends", || !has("t")).await;
    eventually("no subscriber is counted", || broker.status().subscribers == 0).await;
    eventually("no topic is counted", || broker.status().topics == 0).await;
}

/// Last out and first in, all the time, on one topic: whoever has its opening cursor gets what
/// comes after.
pub async fn last_out_first_in(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let publisher = nodes[0].broker();
    let broker = nodes[1].broker_with(|config| config.linger = Duration::from_millis(1));
    let mut guests = JoinSet::new();
    for guest in 0..3 {
        let (publisher, broker) = (publisher.clone(), broker.clone());
        guests.spawn(async move {
            for n in 0..60_u64 {
                let mut client = Client::fresh(&broker, &["t"]);
                client.opened().await;
                let mine = publish(&publisher, message("t", format!("{guest}:{n}"))).await;
                // Others' messages come too.
                while client.message().await.cursor() != Some(mine) {}
                drop(client);
                // Now and then long enough for the interest to end.
                if n % 3 == guest {
                    tokio::time::sleep(Duration::from_millis(n % 5)).await;
                }
            }
        });
    }
    for ended in guests.join_all().await {
        ended
    }
    // However the races went: what had ended for certain comes back too.
    for round in 0..3 {
        eventually("interest ends", || nodes[1].cable().interest().is_empty()).await;
        let mut client = Client::fresh(&broker, &["t"]);
        client.opened().await;
        let mine = publish(&publisher, message("t", format!("again:{round}"))).await;
        assert_eq!(client.message().await.cursor(), Some(mine));
    }
}

/// A subscriber that gives up before its interest is confirmed leaves none behind.
pub async fn given_up_half_way_leaves_no_interest(stage: Stage) {
    let node = stage.node().await;
    let broker = node.broker_with(|config| config.linger = Duration::from_millis(10));
    for round in 0..20 {
        let hold = round % 2 == 0;
        node.cable().hold_subscribes(hold);
        let mut client = Client::fresh(&broker, &["given/up"]);
        {
            let opening = client.opened();
            tokio::pin!(opening);
            for _ in 0..round {
                if futures_util::poll!(&mut opening).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        if round == 0 {
            // Also when the call is under way already.
            eventually("the engine is asked", || node.cable().calls().subscribe > 0).await;
        }
        drop(client);
        node.cable().hold_subscribes(false);
    }
    eventually("interest ends", || node.cable().interest().is_empty()).await;
    // And it can be had again.
    let mut client = Client::fresh(&broker, &["given/up"]);
    client.opened().await;
    publish(&broker, message("given/up", "x")).await;
    assert_eq!(client.texts(1).await, ["x"]);
}

/// Interest survives a cut: a topic asked for while the link was down is heard once it is back.
pub async fn interest_asked_for_during_an_outage(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut before = Client::fresh(&brokers[1], &["before"]);
    before.opened().await;
    nodes[1].cable().cut();
    let mut during = Client::fresh(&brokers[1], &["during"]);
    within("the cable heals", nodes[1].cable().heal()).await.expect("healed");
    eventually("interest is asked for", || nodes[1].cable().interest().contains(&filter("during")))
        .await;
    let envelopes = (0..5).map(|n| message("before", n.to_string()));
    publish_all(&brokers[0], envelopes.collect()).await;
    let texts = before.texts(5).await;
    assert_eq!(texts, (0..5).map(|n| n.to_string()).collect::<Vec<_>>());
    // Its stream may have opened degraded: then the cursor comes when the link is back.
    loop {
        match during.next("the opening cursor").await {
            Some(tavern_broker::Delivery::Cursor(_)) => break,
            Some(tavern_broker::Delivery::Degraded(_) | tavern_broker::Delivery::Recovered(_)) => {}
            other => panic!("the opening cursor, not {other:?}"),
        }
    }
    publish(&brokers[0], message("during", "x")).await;
    assert_eq!(during.texts(1).await, ["x"]);
}
