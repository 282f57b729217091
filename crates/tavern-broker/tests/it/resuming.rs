//! Resume: from any position, on any node, or told what is missing.

use std::time::Duration;

use tavern_backend::{Bus, Keep, LastEventId, Retention, TopicFilter};
use tavern_broker::{Broker, Delivery, Event, GapReason};

use crate::kit::{
    broker, broker_with, cabled, config, engine, gap, message, next, open, opened, reconnected,
    silence, store,
};

fn keep(entries: u32) -> Retention {
    Retention::default().with_default(Keep::new(entries, Duration::ZERO))
}

#[tokio::test(start_paused = true)]
async fn a_client_goes_on_behind_its_cursor_on_the_other_node() {
    let engine = engine(Retention::default());
    let (a, b) = (broker(&engine), broker(&engine));
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(store(&a, if n % 2 == 0 { "even" } else { "odd" }, n.to_string()).await);
    }
    for (n, id) in ids.iter().enumerate() {
        let mut stream = b.subscribe(["even", "odd"]).resume(*id).open().unwrap();
        for m in n + 1..10 {
            assert_eq!(message(&mut stream).await.data().as_str(), m.to_string());
        }
        let end = reconnected(&mut stream).await;
        assert_eq!((end.delivered, end.complete), (9 - u64::try_from(n).unwrap(), true));
        assert_eq!(end.cursor, ids[9]);
        silence(&mut stream).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_first_begins_with_what_is_kept_and_tells_no_gap() {
    let engine = engine(keep(3));
    let broker = broker(&engine);
    for n in 1..=5 {
        store(&broker, "t", Event::new(n.to_string()).id(n.to_string())).await;
    }
    let mut stream = broker.subscribe(["t"]).resume("").from_oldest().open().unwrap();
    for n in 3..=5 {
        let message = message(&mut stream).await;
        assert_eq!(message.data().as_str(), n.to_string());
        assert!(message.encoded().starts_with(b"id: 1"), "with its id");
    }
    opened(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_publishers_id_resumes_a_stream_of_one_topic_and_no_other() {
    let engine = engine(Retention::default());
    let broker = broker(&engine);
    for n in 1..=5 {
        store(&broker, "t", Event::new(format!("msg-{n}")).id(n.to_string())).await;
    }
    let mut one = broker.subscribe(["t"]).resume("3").open().unwrap();
    for n in 4..=5 {
        assert_eq!(message(&mut one).await.data().as_str(), format!("msg-{n}"));
    }
    let end = reconnected(&mut one).await;
    assert_eq!((end.delivered, end.dropped, end.complete), (2, 0, true));
    silence(&mut one).await;

    let mut two = broker.subscribe(["t", "u"]).resume("3").open().unwrap();
    assert_eq!(gap(&mut two).await.reason, GapReason::UnknownId);
    assert!(!reconnected(&mut two).await.complete);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_nobody_knows_is_a_gap_and_the_stream_goes_on() {
    let engine = engine(Retention::default());
    let broker = broker(&engine);
    store(&broker, "t", "1").await;
    let hostile = "a\"b\\c</script>\u{1f}";
    for id in ["unknown", "2f-105", hostile] {
        let mut stream = broker.subscribe(["t"]).resume(id).open().unwrap();
        let delivery = next(&mut stream).await;
        let encoded = String::from_utf8(delivery.encode().to_vec()).unwrap();
        let data = encoded.strip_prefix("event: tavern-replay-gap\ndata: ").unwrap();
        let data: serde_json::Value =
            serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
        assert_eq!(data["lastEventId"], id);
        assert_eq!(data["reason"], "unknown-id");
        assert_eq!(data["topics"][0], "t");
        let end = reconnected(&mut stream).await;
        assert_eq!((end.delivered, end.complete), (0, false));
        store(&broker, "t", "live").await;
        assert_eq!(message(&mut stream).await.data().as_str(), "live");
    }
    let mut raw = broker.subscribe(["t"]).resume(LastEventId::parse(b"\xff\xfe")).open().unwrap();
    assert_eq!(gap(&mut raw).await.reason, GapReason::UnknownId);
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_is_a_gap_of_that_topic_alone() {
    let engine = engine(keep(2));
    let broker = broker(&engine);
    let (_, start) = open(&broker, &["busy", "quiet"]).await;
    store(&broker, "quiet", "q").await;
    for n in 0..5 {
        store(&broker, "busy", n.to_string()).await;
    }
    let mut stream = broker.subscribe(["busy", "quiet"]).resume(start).open().unwrap();
    // From the ring nothing is missing; a node that has just come has only history.
    let all = message(&mut stream).await;
    assert_eq!(all.data().as_str(), "q");
    let other = self::broker(&engine);
    let mut stream = other.subscribe(["busy", "quiet"]).resume(start).open().unwrap();
    let gap = gap(&mut stream).await;
    assert_eq!((gap.reason, gap.topics), (GapReason::Trimmed, vec!["busy".to_owned()]));
    for text in ["q", "3", "4"] {
        assert_eq!(message(&mut stream).await.data().as_str(), text);
    }
    let end = reconnected(&mut stream).await;
    assert_eq!((end.delivered, end.complete), (3, false));
    // The gap ends with the id that came last: it is not told again.
    let mut again = other.subscribe(["busy", "quiet"]).resume(end.cursor).open().unwrap();
    assert!(reconnected(&mut again).await.complete);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_log_is_a_gap() {
    let engine = engine(Retention::default());
    let broker = broker(&engine);
    store(&broker, "t", "1").await;
    for foreign in ["10000000000007-1", "10000000000007-99"] {
        let mut stream = broker.subscribe(["t"]).resume(foreign).open().unwrap();
        assert_eq!(gap(&mut stream).await.reason, GapReason::Epoch);
        assert!(!reconnected(&mut stream).await.complete);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_of_live_topics_says_that_they_cannot_be_resumed() {
    let rule = TopicFilter::new("ticks/**").unwrap();
    let engine = engine(Retention::default().with_rule(rule, Keep::live()));
    let broker = broker(&engine);
    let (_, start) = open(&broker, &["ticks/eur", "orders"]).await;
    store(&broker, "orders", "1").await;
    for (filters, expected) in
        [(["ticks/eur", "orders"], "ticks/eur"), (["*/eur", "orders"], "*/eur")]
    {
        let mut stream = broker.subscribe(filters).resume(start).open().unwrap();
        let gap = gap(&mut stream).await;
        assert_eq!((gap.reason, gap.topics), (GapReason::Live, vec![expected.to_owned()]));
        message(&mut stream).await;
        assert!(reconnected(&mut stream).await.complete, "of what can be complete");
    }
    let mut stream = broker.subscribe(["orders", "other/**"]).resume(start).open().unwrap();
    message(&mut stream).await;
    reconnected(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_over_the_maximum_keeps_the_newest_and_says_what_it_left_out() {
    let engine = engine(Retention::default());
    let mut config = config();
    config.max_replay = Some(3);
    let broker = broker_with(&engine, config);
    let first = store(&broker, "t", "1").await;
    for n in 2..=20 {
        store(&broker, "t", n.to_string()).await;
    }
    let mut stream = broker.subscribe(["t"]).resume(first).open().unwrap();
    let Delivery::Truncated(truncated) = next(&mut stream).await else { panic!("truncated") };
    assert_eq!((truncated.delivered, truncated.dropped), (3, 16));
    for n in 18..=20 {
        assert_eq!(message(&mut stream).await.data().as_str(), n.to_string());
    }
    let end = reconnected(&mut stream).await;
    assert_eq!((end.delivered, end.dropped, end.complete), (3, 16, false));
    store(&broker, "t", "21").await;
    assert_eq!(message(&mut stream).await.data().as_str(), "21");

    let mut fits = broker.subscribe(["t"]).resume(end.cursor).open().unwrap();
    message(&mut fits).await;
    assert_eq!(reconnected(&mut fits).await.dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn a_replay_with_a_maximum_ends_before_what_was_published_meanwhile() {
    let live = Retention::default().with_rule("live/**".try_into().unwrap(), Keep::live());
    let engine = engine(live);
    let a = broker(&engine);
    let first = store(&a, "t", "1").await;
    for n in 2..=6 {
        store(&a, "t", n.to_string()).await;
    }
    let mut config = config();
    config.max_replay = Some(3);
    // Asked once the end of the replay is known: what comes now is beyond it.
    let publisher = a.clone();
    let snapshot = move |_| {
        let publisher = publisher.clone();
        async move {
            for n in 7..=9 {
                store(&publisher, "t", n.to_string()).await;
            }
            // Until this node knows of it.
            tokio::time::sleep(Duration::from_secs(1)).await;
            None
        }
    };
    let b = Broker::builder().bus(Bus::new(engine.node())).config(config).snapshot(snapshot);
    let b = b.build().unwrap();
    let mut stream = b.subscribe(["live/x", "t"]).resume(first).open().unwrap();
    assert_eq!(gap(&mut stream).await.reason, GapReason::Live);
    let Delivery::Truncated(truncated) = next(&mut stream).await else { panic!("truncated") };
    assert_eq!((truncated.delivered, truncated.dropped), (3, 2));
    for n in 4..=6 {
        assert_eq!(message(&mut stream).await.data().as_str(), n.to_string());
    }
    let end = reconnected(&mut stream).await;
    assert_eq!((end.delivered, end.dropped), (3, 2));
    for n in 7..=9 {
        assert_eq!(message(&mut stream).await.data().as_str(), n.to_string());
    }
    silence(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_opened_while_the_backend_is_away_settles_its_cursor_on_recovery() {
    let engine = engine(Retention::default());
    let (a, (b, cable)) = (broker(&engine), cabled(&engine, config()));
    let first = store(&a, "t", "1").await;
    cable.cut();
    store(&a, "t", "2").await;
    let mut stream = b.subscribe(["t"]).resume(first).open().unwrap();
    assert!(matches!(next(&mut stream).await, Delivery::Degraded(_)));
    silence(&mut stream).await;
    cable.heal();
    let mut texts = Vec::new();
    loop {
        match next(&mut stream).await {
            Delivery::Message(message) => texts.push(message.data().as_str().to_owned()),
            Delivery::Reconnected(end) => break assert!(end.complete),
            Delivery::Recovered(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(texts, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn many_resumes_with_different_cursors_cost_pages_and_not_clients() {
    let engine = engine(keep(10_000));
    let a = broker(&engine);
    let mut ids = Vec::new();
    for n in 0..1_000 {
        ids.push(store(&a, "t", n.to_string()).await);
    }
    // A node that has just come: its ring is empty, all of this is history to it.
    let b = broker(&engine);
    let mut streams: Vec<_> =
        ids.iter().map(|id| b.subscribe(["t"]).resume(*id).open().unwrap()).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        for m in n + 1..1_000 {
            assert_eq!(message(stream).await.data().as_str(), m.to_string());
        }
        assert!(reconnected(stream).await.complete);
    }
    let counters = b.status().counters;
    // 1,000 entries lie in 8 pages; the last one is not full, and may be read more than once.
    assert!(counters.page_reads <= 40, "{counters:?}");
}
