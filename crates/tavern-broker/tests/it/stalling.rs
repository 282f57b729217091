//! A backend that fails, hangs or is slow: publishers are answered in time, and nothing spins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tavern_backend::{Backend, Bus, Error, Keep, MessageEnvelope, Retention};
use tavern_broker::{Broker, BrokerConfig, Delivery, Outcome, Settled};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::faulty::Faulty;
use crate::kit::{LIMIT, cabled, config, engine, open};

/// The default rules, and live topics below `live/`.
fn rules() -> Retention {
    Retention::default().with_rule("live/**".try_into().unwrap(), Keep::live())
}

fn faulty(backend: Faulty, config: BrokerConfig) -> Broker {
    Broker::builder().bus(Bus::new(backend)).config(config).build().unwrap()
}

/// Nothing to do is done in no time: a task that turns in circles would use it all up.
#[track_caller]
fn check_idle(time: Duration) -> impl Future<Output = ()> {
    let here = std::panic::Location::caller();
    async move {
        let busy = || Handle::current().metrics().worker_total_busy_duration(0);
        let before = busy();
        tokio::time::sleep(time).await;
        let busy = busy() - before;
        assert!(busy < time / 3, "busy for {busy:?} of {time:?}: {here}");
    }
}

#[tokio::test]
async fn after_a_live_message_that_failed_there_is_nothing_to_do() {
    let (broker, cable) = cabled(&engine(rules()), config());
    let (_stream, _) = open(&broker, &["live/t"]).await;
    cable.lose_answers(1);
    assert!(matches!(broker.publish("live/t", "x").await, Ok(Outcome::Live)));
    // The time of the next try comes, and there is nothing to try.
    tokio::time::sleep(Duration::from_millis(100)).await;
    check_idle(Duration::from_millis(300)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hole_behind_a_slow_line_is_read_in_smaller_pages_and_is_no_gap() {
    let engine = engine(rules());
    // An entry takes 5 ms; a whole page would take ten times the patience.
    let backend = Faulty::new(&engine).read(|inner, query| async move {
        let page = inner.read(query).await?;
        tokio::time::sleep(Duration::from_millis(5) * page.entries.len().try_into().unwrap()).await;
        Ok(page)
    });
    let cable = backend.cable();
    let broker = faulty(backend, config());
    let (mut stream, _) = open(&broker, &["t"]).await;
    let other = Bus::new(engine.node());
    cable.lose_pushes(200);
    for n in 0..200 {
        other.publish(message(n)).await.unwrap();
    }
    for n in 0..200 {
        let delivery = tokio::time::timeout(LIMIT, stream.recv()).await.unwrap();
        let Some(Delivery::Message(message)) = delivery else { panic!("{n}: {delivery:?}") };
        assert_eq!(message.data().as_str(), n.to_string());
    }
}

fn message(n: u32) -> MessageEnvelope {
    MessageEnvelope::new("t".try_into().unwrap(), n.to_string())
}

#[tokio::test]
async fn after_the_spool_was_given_up_there_is_nothing_to_do() {
    let backend = Faulty::new(&engine(rules()))
        .publish(|_, _| async { Err(Error::unavailable("out of order")) });
    let mut config = config();
    config.publish_patience = Duration::from_millis(50);
    config.spool_age = Duration::from_millis(400);
    let broker = faulty(backend, config);
    let Ok(Outcome::Spooled(mut ticket)) = broker.publish("t", "x").await else {
        panic!("spooled")
    };
    let settled = tokio::time::timeout(LIMIT, ticket.wait()).await.unwrap();
    assert!(matches!(settled, Settled::Discarded { .. }), "{settled:?}");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    check_idle(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn publishers_behind_a_slow_backend_get_their_tickets_in_time_and_nothing_spins() {
    let backend = Faulty::new(&engine(rules())).publish(|inner, append| async move {
        tokio::time::sleep(Duration::from_millis(250)).await;
        inner.publish(append).await
    });
    let mut config = config();
    config.publish_patience = Duration::from_millis(300);
    config.publish_batch = 1;
    let broker = faulty(backend, config);
    let began = Instant::now();
    let publish = |n: &'static str| {
        let broker = broker.clone();
        async move { (broker.publish("t", n).await.unwrap(), began.elapsed()) }
    };
    // The first is answered in time; the backend is never silent for so long as the patience.
    let (first, second, third, fourth, ()) = tokio::join!(
        publish("1"),
        publish("2"),
        publish("3"),
        publish("4"),
        check_idle(Duration::from_millis(900))
    );
    assert!(matches!(first.0, Outcome::Stored(_)), "{first:?}");
    for (outcome, after) in [second, third, fourth] {
        assert!(after < Duration::from_millis(400), "answered after {after:?}");
        let Outcome::Spooled(mut ticket) = outcome else { panic!("{outcome:?}") };
        let settled = tokio::time::timeout(LIMIT, ticket.wait()).await.unwrap();
        assert!(matches!(settled, Settled::Stored(_)), "{settled:?}");
    }
}

#[tokio::test]
async fn a_live_message_does_not_wait_behind_a_publication_that_hangs() {
    let hangs = Arc::new(AtomicBool::new(true));
    let stage = Arc::clone(&hangs);
    let engine = engine(rules());
    let backend = Faulty::new(&engine).publish(move |inner, append| {
        let hangs = stage.load(SeqCst);
        async move {
            if hangs {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            inner.publish(append).await
        }
    });
    let broker = faulty(backend, config());
    let (_opened, _) = open(&broker, &["t"]).await;
    let began = Instant::now();
    let live = async {
        // Behind the retained one, which is at the backend by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
        (broker.publish("live/t", "now").await.unwrap(), began.elapsed())
    };
    let (retained, (live, after)) = tokio::join!(broker.publish("t", "1"), live);
    assert!(matches!(live, Outcome::Live), "{live:?}");
    assert!(after < Duration::from_secs(1), "answered after {after:?}");
    let Ok(Outcome::Spooled(mut ticket)) = retained else { panic!("{retained:?}") };
    let counters = broker.status().counters;
    assert_eq!((counters.published_live, counters.live_unsent), (1, 1));
    check_idle(Duration::from_millis(300)).await;

    // It is not kept for later, and who waits behind it is served.
    hangs.store(false, SeqCst);
    let settled = tokio::time::timeout(LIMIT, ticket.wait()).await.unwrap();
    assert!(matches!(settled, Settled::Stored(_)), "{settled:?}");
    assert_eq!(broker.status().counters.published_live, 1);
}

#[tokio::test(start_paused = true)]
async fn a_live_message_reaches_its_own_node_while_the_rules_are_unknown() {
    let (broker, cable) = cabled(&engine(rules()), config());
    cable.cut();
    let mut stream = broker.subscribe(["live/t"]).open().unwrap();
    // The node has not reached the log: it cannot know that the topic is live.
    let outcome = broker.publish("live/t", "x").await;
    assert!(matches!(outcome, Ok(Outcome::Spooled(_))), "{outcome:?}");
    cable.heal();
    let mut messages = Vec::new();
    while let Ok(delivery) = tokio::time::timeout(Duration::from_secs(3), stream.recv()).await {
        if let Some(Delivery::Message(message)) = delivery {
            messages.push(message.data().as_str().to_owned());
        }
    }
    assert_eq!(messages, ["x"]);
}
