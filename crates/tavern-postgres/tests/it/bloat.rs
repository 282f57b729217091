//! What stays on the disk is what is kept, however much went through.

use tavern_backend::{Append, Publication};
use tavern_testkit::engine::PostgresOptions;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tokio::time::Instant;

use crate::stand::{Stand, keeping, moved, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_through_does_not_stay() {
    const TOPICS: usize = 20;
    const KEEP: u32 = 64;
    const BATCHES: usize = 40;
    let options = PostgresOptions::new().with_setting("autovacuum_naptime", "1s");
    let stand = Stand::start_with(options).await.with(|config| {
        config.retention = Some(keeping(KEEP));
    });
    let bus = stand.bus().await;
    for _ in 0..BATCHES {
        let publications = (0..1000).map(|n| Publication {
            key: bus.next_key(),
            envelope: message(&format!("t/{}", n % TOPICS), "x".repeat(100)),
            accepted: Instant::now(),
        });
        let append = Append { known: None, publications: publications.collect() };
        within("an append", bus.append(append)).await.unwrap();
    }
    // The grace passes.
    let kept = TOPICS * usize::try_from(KEEP).unwrap();
    until("what is too many is gone", || async {
        let left: usize = stand.psql("SELECT count(*) FROM tavern.entry").await.parse().unwrap();
        assert!(left >= kept, "{left}");
        left == kept
    })
    .await;
    let floors = "SELECT min(floor) > 0 FROM tavern.lane";
    assert_eq!(stand.psql(floors).await, "t", "and it is known that it was there");
    until("it is vacuumed", || async {
        let dead = "SELECT n_dead_tup < 6000 AND autovacuum_count > 0 FROM pg_stat_user_tables
            WHERE relname = 'entry'";
        stand.psql(dead).await == "t"
    })
    .await;
    // One message for each batch that was stored in one: runs, not messages.
    let sent: usize = stand.psql("SELECT count(*) FROM tavern.sent").await.parse().unwrap();
    assert!(sent <= BATCHES, "{sent}");
    bus.close().await.unwrap();
}

/// The planner takes a queue for empty, as it was when it was looked at; its dead rows are many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outbox_is_read_by_its_index() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    for n in 0..20 {
        stand.psql(&format!("SELECT tavern.publish('t', '{n}')")).await;
        moved(&bus, &n.to_string()).await;
    }
    // Statistics come with a delay.
    let looks = "SELECT idx_scan > 100 FROM pg_stat_user_tables WHERE relname = 'outbox'";
    until("the outbox was looked at", || async { stand.psql(looks).await == "t" }).await;
    let scans = "SELECT relname, seq_scan FROM pg_stat_user_tables
        WHERE relname = 'outbox' AND seq_scan > 3 ORDER BY 1";
    assert_eq!(stand.psql(scans).await, "");
    bus.close().await.unwrap();
}
