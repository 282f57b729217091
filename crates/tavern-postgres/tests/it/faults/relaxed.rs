//! With `synchronous_commit` off a crash of the server takes the last moments: told, not lost quietly.

use tavern_testkit::engine::PostgresOptions;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tavern_testkit::{Client, publish};

use crate::stand::Stand;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_took_of_unsynchronous_commits_is_told() {
    // So that what was not waited for is not on the disk by chance.
    let options = PostgresOptions::new().with_setting("wal_writer_delay", "10s");
    let stand = Stand::start_with(options).await;
    let url = stand.server.url("postgres", "postgres");
    let relaxed = stand.at(format!("{url}?options=-c%20synchronous_commit%3Doff"));
    let stage = relaxed.stage();
    let broker = stage.node().await.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let mut kept = 0;
    let lost = loop {
        publish(&broker, message("t", "kept")).await;
        stand.psql("CHECKPOINT").await;
        let cursor = publish(&broker, message("t", "on its way")).await;
        kept += 1;
        assert_eq!(client.texts(2).await, ["kept", "on its way"]);
        within("the server dies", stand.server.kill()).await.unwrap();
        within("it starts again", stand.server.start_again()).await.unwrap();
        let head: u64 = stand.psql("SELECT max(seq) FROM tavern.entry").await.parse().unwrap();
        if head < cursor.0.seq {
            break cursor;
        }
        // Something else has written to the disk in that moment.
        assert!(kept < 5, "what nobody waits for is on the disk each time");
    };
    publish(&broker, message("t", "after")).await;
    assert_eq!(client.gap().await.reason.as_str(), "epoch");
    assert_eq!(client.texts(1).await, ["after"]);
    let (replay, _) = Client::resume(&broker, &["t"], lost).replay().await;
    assert!(replay.reasons().iter().any(|reason| reason.as_str() == "epoch"), "{replay:?}");
    assert_eq!(replay.texts(), ["after"]);
    stage.close().await;
}
