//! Outcomes: what `publish` says is true.

use std::time::Duration;

use tavern_backend::Retention;
use tavern_broker::{Delivery, Error, Event, GapReason, Outcome, Settled};

use crate::kit::{LIMIT, broker, cabled, config, engine, message, next, open, store};

#[tokio::test(start_paused = true)]
async fn messages_of_one_publisher_are_stored_in_order() {
    let engine = engine(Retention::default());
    let (a, b) = (broker(&engine), broker(&engine));
    let (mut stream, _) = open(&b, &["t"]).await;
    let envelopes = (0..500)
        .map(|n: u32| tavern_backend::MessageEnvelope::new("t".try_into().unwrap(), n.to_string()));
    let outcomes = a.publish_all(envelopes.collect()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Stored(_)))));
    for n in 0..500 {
        assert_eq!(message(&mut stream).await.data().as_str(), n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_given_twice_is_a_duplicate_and_with_another_message_an_error() {
    let broker = broker(&engine(Retention::default()));
    let first = store(&broker, "t", Event::new("x").id("7")).await;
    let again = broker.publish("t", Event::new("x").id("7")).await.unwrap();
    assert!(matches!(again, Outcome::Duplicate(cursor) if cursor == first), "{again:?}");
    let other = broker.publish("t", Event::new("y").id("7")).await;
    assert!(matches!(other, Err(Error::IdConflict(_))), "{other:?}");
    store(&broker, "u", Event::new("y").id("7")).await;
    store(&broker, "t", Event::new("y").id("7").scope("s")).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_is_refused_before_it_is_sent() {
    let broker = broker(&engine(Retention::default()));
    let max = broker.bus().info().max_payload;
    store(&broker, "t", "x".repeat(max)).await;
    let over = broker.publish("t", "x".repeat(max + 1)).await;
    assert!(matches!(over, Err(Error::TooLarge { size, .. }) if size == max + 1), "{over:?}");
}

#[tokio::test(start_paused = true)]
async fn a_spooled_message_is_stored_in_order_once_the_backend_is_back() {
    let engine = engine(Retention::default());
    let (a, cable) = cabled(&engine, config());
    let b = broker(&engine);
    let (mut there, _) = open(&b, &["t"]).await;
    cable.cut();
    let mut tickets = Vec::new();
    for n in 0..10 {
        match a.publish("t", n.to_string()).await.unwrap() {
            Outcome::Spooled(ticket) => tickets.push(ticket),
            other => panic!("{other:?}"),
        }
    }
    assert!(tickets.iter().all(|ticket| ticket.settled().is_none()));
    assert_eq!(a.status().counters.spool_entries, 10);
    cable.heal();
    for (n, ticket) in tickets.iter_mut().enumerate() {
        let settled = tokio::time::timeout(LIMIT, ticket.wait()).await.unwrap();
        assert!(matches!(settled, Settled::Stored(_)), "{settled:?}");
        assert_eq!(message(&mut there).await.data().as_str(), n.to_string());
    }
    store(&a, "t", "after").await;
    assert_eq!(message(&mut there).await.data().as_str(), "after");
}

#[tokio::test(start_paused = true)]
async fn a_publish_whose_answer_was_lost_is_stored_once_and_in_its_place() {
    let engine = engine(Retention::default());
    let (a, cable) = cabled(&engine, config());
    let b = broker(&engine);
    let (mut there, _) = open(&b, &["t"]).await;
    cable.lose_answers(1);
    let (first, second) = tokio::join!(a.publish("t", "1"), a.publish("t", "2"));
    assert!(matches!(first.unwrap(), Outcome::Stored(_)));
    assert!(matches!(second.unwrap(), Outcome::Stored(_)));
    for n in 1..=2 {
        assert_eq!(message(&mut there).await.data().as_str(), n.to_string());
    }
    crate::kit::silence(&mut there).await;
}

#[tokio::test(start_paused = true)]
async fn over_the_bounds_of_the_spool_the_publisher_is_told() {
    let engine = engine(Retention::default());
    let mut config = config();
    config.spool_entries = 3;
    let (a, cable) = cabled(&engine, config);
    cable.cut();
    for n in 0..3 {
        assert!(matches!(a.publish("t", n.to_string()).await, Ok(Outcome::Spooled(_))));
    }
    let over = a.publish("t", "4").await;
    assert!(
        matches!(&over, Err(error @ Error::SpoolFull { .. }) if error.is_transient()),
        "{over:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_told_to_the_publisher_and_to_the_subscribers() {
    let engine = engine(Retention::default());
    let mut config = config();
    config.spool_age = Duration::from_secs(2);
    let (a, cable) = cabled(&engine, config);
    let (mut here, _) = open(&a, &["t"]).await;
    cable.cut();
    assert!(matches!(next(&mut here).await, Delivery::Degraded(_)));
    let Ok(Outcome::Spooled(mut ticket)) = a.publish("t", "lost").await else { panic!("spooled") };
    assert!(ticket.time_left() <= Duration::from_secs(2));
    let settled = tokio::time::timeout(LIMIT, ticket.wait()).await.unwrap();
    assert!(matches!(settled, Settled::Discarded { maybe_stored: false, .. }), "{settled:?}");
    let Delivery::Gap(gap) = next(&mut here).await else { panic!("a gap") };
    assert_eq!((gap.reason, gap.topics), (GapReason::Outage, vec!["t".to_owned()]));
    assert_eq!(a.status().counters.spool_discarded, 1);
}

#[tokio::test(start_paused = true)]
async fn closing_settles_what_is_on_its_way() {
    let engine = engine(Retention::default());
    let mut config = config();
    config.close_drain = Duration::from_secs(1);
    let (a, cable) = cabled(&engine, config);
    cable.cut();
    let Ok(Outcome::Spooled(mut ticket)) = a.publish("t", "x").await else { panic!("spooled") };
    a.close().await;
    assert!(matches!(ticket.wait().await, Settled::Discarded { .. }));
}
