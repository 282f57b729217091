//! What sweeps remove, and what it takes them.

use std::time::Duration;

use tavern_backend::{Keep, Published, Retention};
use tavern_testkit::say::{Also as _, filter, message};
use tavern_testkit::wait::within;

use crate::stand::{Stand, keeping, store, texts, until};

/// Nothing else is in such a log: not even a newest entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_live_topics_only_is_swept() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    for n in 0..20 {
        let outcome = within("a publish", bus.publish(message("live/a", n.to_string()))).await;
        assert_eq!(outcome.unwrap(), Published::Live);
    }
    stand.psql("UPDATE tavern.live SET at = at - 60000").await;
    until("they are gone", || async {
        stand.psql("SELECT count(*) FROM tavern.live").await == "0"
    })
    .await;
    bus.close().await.unwrap();
}

/// Each id is looked at once, when it is old enough; it then goes with its entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_stay_are_not_looked_at_again() {
    let stand = Stand::start().await.with(|config| config.retention = Some(keeping(5)));
    let bus = stand.bus().await;
    let say = |n: usize| message(&format!("t/{}", n % 2), n.to_string()).id(&n.to_string());
    for n in 0..10 {
        store(&bus, say(n)).await;
    }
    stand.psql("UPDATE tavern.given SET at = at - 3600000").await;
    let passed = "SELECT ids FROM tavern.namespace";
    until("all have been looked at", || async { stand.psql(passed).await == "10" }).await;
    assert_eq!(stand.psql("SELECT count(*) FROM tavern.given").await, "10", "they have entries");
    // It is not passed again: what nothing points to would go.
    stand.psql("UPDATE tavern.given SET seq = 3 WHERE seq = 4").await;
    for n in 10..14 {
        store(&bus, say(n)).await;
    }
    let again = within("an answer", bus.publish(say(0))).await.unwrap();
    assert!(matches!(again, Published::Duplicate(_)), "{again:?}");
    assert_eq!(stand.psql("SELECT count(*) FROM tavern.given").await, "14");
    stand.psql("UPDATE tavern.entry SET appended = appended - 60000").await;
    until("entries go", || async { texts(&bus).await.len() == 10 }).await;
    // Those of 1, 2, 3 and what was made of 4.
    until("their ids, too", || async {
        stand.psql("SELECT string_agg(id, ' ' ORDER BY seq) FROM tavern.given").await
            == "4 5 6 7 8 9 10 11 12 13"
    })
    .await;
    bus.close().await.unwrap();
}

/// The server's clock was a year ahead when the first came: what comes later is not of then, and what
/// came before that ages with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_a_year_ahead_does_not_stop_the_log_s() {
    const YEAR: &str = "31536000000";
    let minute = Duration::from_secs(60);
    let rules = Retention::default()
        .with_default(Keep::new(3, Duration::from_secs(3600)))
        .with_rule(filter("aging/**"), Keep::new(100, minute));
    let stand = Stand::start().await.with(move |config| config.retention = Some(rules.clone()));
    let bus = stand.bus().await;
    for n in 0..5 {
        store(&bus, message("t", n.to_string())).await;
        store(&bus, message("aging/t", n.to_string()).id(&n.to_string())).await;
    }
    stand.psql(&format!("UPDATE tavern.entry SET appended = appended + {YEAR}; UPDATE tavern.given SET at = at + {YEAR}")).await;
    let clock = "SELECT abs(extract(epoch FROM clock_timestamp()) * 1000 - appended) < 60000
        FROM tavern.entry ORDER BY seq DESC LIMIT 1";
    store(&bus, message("aging/t", "after")).await;
    assert_eq!(stand.psql(clock).await, "t", "it has the server's time");
    let lane = "SELECT count(*) FROM tavern.entry e JOIN tavern.lane l ON l.id = e.lane
        WHERE l.topic = ";
    until("too many are removed", || async { stand.psql(&format!("{lane}'t'")).await == "3" })
        .await;
    store(&bus, message("t", "newest")).await;
    assert_eq!(stand.psql(&format!("{lane}'aging/t'")).await, "6");
    // A minute later.
    stand.psql("UPDATE tavern.entry SET appended = appended - 70000 WHERE seq IN (11)").await;
    until("what came before it is old, too", || async {
        stand.psql(&format!("{lane}'aging/t'")).await == "0"
    })
    .await;
    bus.close().await.unwrap();
}
