//! An append that is carried out, and whose answer is lost.

use tavern_backend::Error;
use tavern_testkit::say::message;
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, publish};

use crate::stand::{Stand, texts, until};

/// From now on commits are done, but not answered: they wait for a replica that never comes.
async fn no_commit_is_answered(stand: &Stand) {
    stand.psql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    stand.psql("SELECT pg_reload_conf()").await;
    until("it is in force", || async {
        stand.psql("SHOW synchronous_standby_names").await == "nobody"
    })
    .await;
}

/// Ends the connection of who waits for such an answer.
async fn cut_off_who_waits(stand: &Stand) {
    let waits = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name LIKE 'tavern-%' AND wait_event = 'SyncRep'";
    until("an append waits", || async { stand.psql(waits).await != "0" }).await;
    stand.psql("ALTER SYSTEM RESET synchronous_standby_names").await;
    stand.psql("SELECT pg_reload_conf()").await;
}

/// It is known to be in doubt, and stored once, although it is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_answer_is_lost_is_stored_once() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "before")).await;

    no_commit_is_answered(&stand).await;
    let mut publishing = tokio::task::JoinSet::new();
    publishing.spawn(publish(&broker, message("t", "in doubt")));
    cut_off_who_waits(&stand).await;
    within("it is settled", publishing.join_all()).await;
    publish(&broker, message("t", "after")).await;
    assert_eq!(client.texts(3).await, ["before", "in doubt", "after"]);

    // Who does not send it again is told.
    let health = node.bus().health();
    let before = health.get().connects;
    no_commit_is_answered(&stand).await;
    let bus = node.bus().clone();
    let mut publishing = tokio::task::JoinSet::new();
    publishing.spawn(async move { bus.publish(message("t", "for the bus")).await });
    cut_off_who_waits(&stand).await;
    let answer = within("an answer", publishing.join_next()).await.unwrap().unwrap();
    assert!(matches!(answer, Err(Error::OutcomeUnknown { .. })), "{answer:?}");
    assert_eq!(client.texts(1).await, ["for the bus"]);
    // It may have come before the connection was cut.
    eventually("the node is back", || health.get().up && health.get().connects > before).await;
    assert_eq!(texts(node.bus()).await, ["before", "in doubt", "after", "for the bus"]);
    stage.close().await;
}
