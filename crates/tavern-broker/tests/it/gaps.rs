//! Gaps: whoever missed something is told, in its place and once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tavern_backend::{
    Append, Backend, Bus, Cable, Keep, MessageEnvelope, Publication, Retention, Topic,
};
use tavern_broker::{Broker, Delivery, GapReason, Outcome, Settled, Subscription};

use crate::faulty::Faulty;
use crate::kit::{
    broker, cabled, config, engine, gap, message, next, open, opened, reconnected, silence, store,
};

fn keep(entries: u32) -> Retention {
    Retention::default().with_default(Keep::new(entries, Duration::ZERO))
}

/// Appends so many messages to `topic`, by one call.
async fn flood(bus: &Bus, topic: &str, messages: usize) {
    let envelope = MessageEnvelope::new(Topic::new(topic).unwrap(), "x");
    let publication = || {
        let accepted = tokio::time::Instant::now();
        Publication { key: bus.next_key(), envelope: envelope.clone(), accepted }
    };
    let publications = (0..messages).map(|_| publication()).collect();
    bus.append(Append { known: None, publications }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_within_a_hole_is_told_to_who_comes_later() {
    let engine = engine(keep(2));
    let (a, cable) = cabled(&engine, config());
    let other = broker(&engine);
    let (mut stream, _) = open(&a, &["t", "u"]).await;
    let before = store(&other, "t", "1").await;
    assert_eq!(message(&mut stream).await.data().as_str(), "1");
    cable.cut();
    assert!(matches!(next(&mut stream).await, Delivery::Degraded(_)));
    let within = store(&other, "u", "of another topic").await;
    for n in 2..=6 {
        store(&other, "t", n.to_string()).await;
    }
    cable.heal();
    let mut gaps = 0;
    loop {
        match next(&mut stream).await {
            Delivery::Gap(gap) => {
                assert_eq!((gap.reason, gap.topics), (GapReason::Trimmed, vec!["t".to_owned()]));
                gaps += 1;
            }
            Delivery::Message(message) if message.data().as_str() == "6" => break,
            _ => {}
        }
    }
    assert_eq!(gaps, 1);
    // The node has what it could read in its ring, and there it cannot be seen what is missing.
    for cursor in [before, within] {
        let mut back = a.subscribe(["t"]).resume(cursor).open().unwrap();
        assert_eq!(gap(&mut back).await.reason, GapReason::Trimmed);
        for n in 5..=6 {
            assert_eq!(message(&mut back).await.data().as_str(), n.to_string());
        }
        assert!(!reconnected(&mut back).await.complete);
        silence(&mut back).await;
    }
    // Of the other topic nothing is missing.
    let mut back = a.subscribe(["u"]).resume(before).open().unwrap();
    assert_eq!(message(&mut back).await.data().as_str(), "of another topic");
    assert!(reconnected(&mut back).await.complete);
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_is_told_once_however_many_pages_its_hole_takes() {
    let engine =
        engine(keep(2).with_rule("u".try_into().unwrap(), Keep::new(100_000, Duration::ZERO)));
    let (a, cable) = cabled(&engine, config());
    let other = Bus::new(engine.node());
    let (mut t, _) = open(&a, &["t"]).await;
    let (_u, _) = open(&a, &["u"]).await;
    cable.cut();
    assert!(matches!(next(&mut t).await, Delivery::Degraded(_)));
    flood(&other, "u", 5_000).await;
    flood(&other, "t", 4).await;
    cable.heal();
    let (mut gaps, mut messages) = (0, 0);
    while messages < 2 {
        match next(&mut t).await {
            Delivery::Gap(_) => gaps += 1,
            Delivery::Message(_) => messages += 1,
            Delivery::Recovered(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gaps, 1);
}

#[tokio::test(start_paused = true)]
async fn from_the_oldest_on_whatever_is_trimmed_on_the_way_is_a_gap() {
    let engine = engine(keep(300));
    let other = Bus::new(engine.node());
    let (reads, writer) = (AtomicU64::new(0), other.clone());
    let faulty = Faulty::new(&engine).read(move |node, query| {
        // Before the second page is read, everything up to 400 goes.
        let second = reads.fetch_add(1, Ordering::Relaxed) == 1;
        let writer = writer.clone();
        async move {
            if second {
                flood(&writer, "t", 300).await;
            }
            node.read(query).await
        }
    });
    flood(&other, "t", 400).await;
    let a = Broker::builder().bus(Bus::new(faulty)).config(config()).build().unwrap();
    let mut stream = a.subscribe(["t"]).from_oldest().open().unwrap();
    // What is gone when it begins is no gap.
    let first = message(&mut stream).await.cursor().unwrap().0.seq;
    assert_eq!(first, 101);
    let mut last = first;
    let gap = loop {
        match next(&mut stream).await {
            Delivery::Message(message) => {
                let seq = message.cursor().unwrap().0.seq;
                assert_eq!(seq, last + 1, "and no gap");
                last = seq;
            }
            Delivery::Gap(gap) => break gap,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(gap.reason, GapReason::Trimmed);
    // What there was when it came ends here; the rest is news.
    assert_eq!(opened(&mut stream).await.0.seq, 400);
    for seq in 401..=700 {
        assert_eq!(message(&mut stream).await.cursor().unwrap().0.seq, seq);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_very_many_topics_names_the_filters_that_match_them() {
    let engine = engine(keep(1));
    let other = broker(&engine);
    let at = store(&other, "first", "x").await;
    for _ in 0..2 {
        for n in 0..500 {
            store(&other, &format!("orders/{n}/state"), "x").await;
        }
        for n in 0..64 {
            store(&other, &format!("news/{n}"), "x").await;
        }
    }
    let a = broker(&engine);
    let filters = ["orders/**", "orders/7/state", "orders/8/none", "news/*"];
    let mut many = a.subscribe(filters).resume(at).open().unwrap();
    assert_eq!(gap(&mut many).await.topics, ["news/*", "orders/**", "orders/7/state"]);
    let mut few = a.subscribe(["news/*"]).resume(at).open().unwrap();
    let topics = gap(&mut few).await.topics;
    assert!(topics.len() == 64 && topics.contains(&"news/7".to_owned()), "{topics:?}");
}

/// A message that was promised, and given up while the backend was away.
async fn given_up(a: &Broker, cable: &Cable, topic: &str) {
    cable.cut();
    let outcome = a.publish(topic, "promised").await.unwrap();
    let Outcome::Spooled(mut ticket) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(ticket.wait().await, Settled::Discarded { .. }));
    cable.heal();
    // The clock is paused: it moves once the node has noticed.
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// What a stream is told, without whether the backend is there.
async fn told(stream: &mut Subscription) -> Delivery {
    loop {
        match next(stream).await {
            Delivery::Degraded(_) | Delivery::Recovered(_) => {}
            other => return other,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_promise_that_was_broken_is_told_to_who_was_away() {
    let engine = engine(Retention::default());
    let mut config = config();
    config.spool_age = Duration::from_millis(600);
    let (a, cable) = cabled(&engine, config);
    let (mut stream, _) = open(&a, &["t"]).await;
    let before = store(&a, "t", "1").await;
    let at = store(&a, "t", "2").await;
    for _ in 0..2 {
        message(&mut stream).await;
    }
    given_up(&a, &cable, "t").await;
    let Delivery::Gap(gap) = told(&mut stream).await else { panic!() };
    assert_eq!((gap.reason, gap.topics), (GapReason::Outage, vec!["t".to_owned()]));
    for (cursor, messages) in [(before, 1), (at, 0)] {
        let mut back = a.subscribe(["t", "u"]).resume(cursor).open().unwrap();
        let Delivery::Gap(gap) = told(&mut back).await else { panic!() };
        assert_eq!((gap.reason, gap.topics), (GapReason::Outage, vec!["t".to_owned()]));
        for _ in 0..messages {
            message(&mut back).await;
        }
        assert!(!reconnected(&mut back).await.complete);
        silence(&mut back).await;
    }
    // Nothing is missing of the other topic, nor to who has what came later.
    let mut back = a.subscribe(["u"]).resume(at).open().unwrap();
    assert!(reconnected(&mut back).await.complete);
    let later = store(&a, "t", "3").await;
    assert!(matches!(told(&mut stream).await, Delivery::Message(_)));
    let mut back = a.subscribe(["t"]).resume(later).open().unwrap();
    assert!(reconnected(&mut back).await.complete);
}

#[tokio::test(start_paused = true)]
async fn a_promise_that_is_broken_while_a_stream_opens_is_told_once_it_has() {
    let engine = engine(Retention::default());
    let mut config = config();
    config.spool_age = Duration::from_millis(600);
    let (a, cable) = cabled(&engine, config);
    let (_interested, _) = open(&a, &["t"]).await;
    let at = store(&a, "t", "1").await;
    store(&a, "t", "2").await;
    let mut back = a.subscribe(["t"]).resume(at).open().unwrap();
    given_up(&a, &cable, "t").await;
    assert!(matches!(told(&mut back).await, Delivery::Gap(_)));
    assert!(matches!(told(&mut back).await, Delivery::Message(_)));
    assert!(!reconnected(&mut back).await.complete);
    silence(&mut back).await;
}

#[tokio::test(start_paused = true)]
async fn a_promise_that_was_broken_is_told_to_who_reads_so_slowly_that_it_left_the_ring() {
    let engine = engine(Retention::default());
    let mut config = config();
    config.spool_age = Duration::from_millis(600);
    config.ring_bytes = 20_000;
    let (a, cable) = cabled(&engine, config);
    let (mut slow, _) = open(&a, &["t"]).await;
    let (_loud, _) = open(&a, &["loud"]).await;
    given_up(&a, &cable, "t").await;
    for _ in 0..200 {
        store(&a, "loud", "x").await;
    }
    let Delivery::Gap(gap) = told(&mut slow).await else { panic!() };
    assert_eq!((gap.reason, gap.topics), (GapReason::Outage, vec!["t".to_owned()]));
    silence(&mut slow).await;
}
