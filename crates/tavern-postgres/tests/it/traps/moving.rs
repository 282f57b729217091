//! The way from the outbox into the log.

use std::sync::Arc;

use tavern_backend::{MessageEnvelope, Published, Rejection, Tasks};
use tavern_testkit::Said;
use tavern_testkit::say::{Also, message};
use tavern_testkit::wait::within;

use crate::stand::{Stand, log, moved, texts, until};

/// More than is moved at once, while three nodes move and others publish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transactions_messages_keep_their_order() {
    let stand = Stand::start().await;
    let nodes = [stand.bus().await, stand.bus().await, stand.bus().await];
    let app = stand.sql().await;
    let many = "SELECT tavern.publish('t/' || n % 7, n::text) FROM generate_series(1, 3000) n";
    app.run(&format!("BEGIN; {many}; COMMIT")).await;
    moved(&nodes[0], "3000").await;
    assert_eq!(texts(&nodes[1]).await, (1..=3000).map(|n| n.to_string()).collect::<Vec<_>>());
    for node in nodes {
        node.close().await.unwrap();
    }
}

/// Three nodes move; the connections of each are cut again and again, and one node goes for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_die_while_they_move_do_it_exactly_once() {
    const WRITERS: usize = 3;
    const TRANSACTIONS: usize = 60;
    let stand = Arc::new(Stand::start().await);
    let mut nodes = vec![stand.bus().await, stand.bus().await, stand.bus().await];
    let tasks = Tasks::new();
    let killing = Tasks::new();
    for writer in 0..WRITERS {
        let app = stand.sql().await;
        tasks.spawn(async move {
            for n in 0..TRANSACTIONS {
                let ten = format!(
                    "BEGIN; SELECT tavern.publish('t', '{writer}:' || {n} * 10 + k) \
                    FROM generate_series(0, 9) k; COMMIT"
                );
                app.run(&ten).await;
            }
        });
    }
    let (token, hand) = (killing.token().clone(), Arc::clone(&stand));
    killing.spawn(async move {
        let app = hand.sql().await;
        while !token.is_cancelled() {
            app.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name LIKE 'tavern-%' ORDER BY random() LIMIT 2",
            )
            .await;
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    });
    until("it is under way", || async {
        stand.psql("SELECT count(*) > 300 FROM tavern.entry").await == "t"
    })
    .await;
    // Without a word.
    drop(nodes.remove(0));
    within("the writers end", tasks.close()).await;
    within("the killing ends", killing.close()).await;
    let all = "SELECT count(*) = 0 FROM tavern.outbox";
    until("all is moved", || async { stand.psql(all).await == "t" }).await;
    let health = nodes[0].health();
    until("the node is up", || async { health.get().up }).await;
    let got = texts(&nodes[0]).await;
    assert_eq!(got.len(), WRITERS * TRANSACTIONS * 10, "each once");
    for writer in 0..WRITERS {
        let mine = format!("{writer}:");
        let theirs: Vec<_> = got.iter().filter_map(|text| text.strip_prefix(&mine)).collect();
        let wanted: Vec<_> = (0..TRANSACTIONS * 10).map(|n| n.to_string()).collect();
        assert_eq!(theirs, wanted, "in order, once");
    }
    for node in nodes {
        node.close().await.unwrap();
    }
}

/// However large: it is not even fetched, which might take longer than the link is waited for.
#[tokio::test]
async fn what_is_too_large_is_discarded_aloud_and_holds_up_nothing() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    let said = Said::listen("tavern_postgres");
    let app = stand.sql().await;
    let max = stand.config().max_payload;
    app.run(&format!(
        "BEGIN; SELECT tavern.publish('t', repeat('x', {max}));
        SELECT tavern.publish('t', repeat('x', {max} + 1));
        SELECT tavern.publish('t', repeat('x', 100000000)); SELECT tavern.publish('t', 'small'); COMMIT"
    ))
    .await;
    moved(&bus, "small").await;
    assert_eq!(log(&bus).await.iter().map(|(_, text)| text.len()).collect::<Vec<_>>(), [max, 5]);
    let lines = said.take();
    for size in [max + 1, 100_000_000] {
        let told = |line: &&String| line.contains("discarded") && line.contains(&size.to_string());
        assert_eq!(lines.iter().filter(told).count(), 1, "{lines:?}");
    }
    assert_eq!(bus.health().get().connects, 1, "the link is the same");
    bus.close().await.unwrap();
}

#[tokio::test]
async fn the_same_id_in_the_outbox_and_of_a_node_is_one_message() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    let said = Said::listen("tavern_postgres");
    let app = stand.sql().await;
    let publish =
        async |envelope: MessageEnvelope| within("a publish", bus.publish(envelope)).await.unwrap();
    let first = publish(message("t", "one").id("1").event("e")).await;
    app.run("SELECT tavern.publish('t', 'one', 'e', '1')").await;
    app.run("SELECT tavern.publish('t', 'two', NULL, '2'), tavern.publish('t', 'two', NULL, '2')")
        .await;
    app.run("SELECT tavern.publish('t', 'another', NULL, '1')").await;
    app.run("SELECT tavern.publish('t', 'in a scope', NULL, '1', 's')").await;
    app.run("SELECT tavern.publish('t', 'end')").await;
    moved(&bus, "end").await;
    assert_eq!(texts(&bus).await, ["one", "two", "in a scope", "end"]);
    assert!(matches!(first, Published::Stored(_)));
    let again = publish(message("t", "two").id("2")).await;
    assert!(matches!(again, Published::Duplicate(at) if at.seq == 2), "{again:?}");
    let other = publish(message("t", "three").id("2")).await;
    assert!(matches!(other, Published::Rejected(Rejection::IdConflict { .. })), "{other:?}");
    let lines = said.take();
    let refused = lines.iter().filter(|line| line.contains("refused")).count();
    assert_eq!(refused, 1, "who published another one is told, and nobody else: {lines:?}");
    bus.close().await.unwrap();
}
