//! Databases that cannot hold every character, and messages that the database refuses.

use tavern_backend::{Append, Backend as _, Error, NodeId, Origin, Publication, Published};
use tavern_testkit::Said;
use tavern_testkit::engine::PostgresOptions;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;

use crate::stand::{Stand, store, until};

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused_for_good() {
    let stand = Stand::start().await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = encoding.to_lowercase();
        stand
            .psql(&format!(
                "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'
                TEMPLATE template0"
            ))
            .await;
        let error = stand.at(stand.server.url("postgres", &name)).open().await.unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(encoding) && said.contains("ENCODING 'UTF8'"), "{said}");
    }
}

/// Lets the database refuse what goes to the topic `bad`.
async fn refusing() -> Stand {
    let stand = Stand::start_with(PostgresOptions::new()).await;
    stand.open().await.unwrap().close().await.unwrap();
    stand
        .psql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'no equivalent' USING ERRCODE = 'untranslatable_character';
            END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON tavern.lane FOR EACH ROW
                WHEN (NEW.topic = 'bad') EXECUTE FUNCTION refuse()",
        )
        .await;
    stand
}

/// Those who publish at the same moment go into the log all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_takes_no_other_with_it() {
    let stand = refusing().await;
    let node = std::sync::Arc::new(stand.open().await.unwrap());
    let publisher = NodeId::random().unwrap();
    // While it waits for the lock, the others come together.
    let holder = stand.sql().await;
    holder.run("BEGIN; SELECT pg_advisory_xact_lock(1952545398, id) FROM tavern.namespace").await;
    let mut calls = Vec::new();
    for (counter, topic) in (1..).zip(["first", "good", "bad", "fine"]) {
        let publication = Publication {
            key: Origin { node: publisher, counter },
            envelope: message(topic, "x"),
            accepted: tokio::time::Instant::now(),
        };
        let append = Append { known: None, publications: vec![publication] };
        let node = std::sync::Arc::clone(&node);
        let mut call = Box::pin(async move { node.publish(append).await });
        // It is in the queue now.
        assert!(futures_util::FutureExt::now_or_never(&mut call).is_none());
        calls.push(call);
        if counter == 1 {
            until("the first waits", || async {
                stand.psql("SELECT count(*) FROM pg_locks WHERE NOT granted").await == "1"
            })
            .await;
        }
    }
    holder.run("COMMIT").await;
    let mut answers = Vec::new();
    for call in calls {
        answers.push(within("an answer", call).await);
    }
    for at in [0, 1, 3] {
        let stored = answers[at].as_ref().unwrap();
        assert!(matches!(stored.as_slice(), [Published::Stored(_)]), "{at}: {stored:?}");
    }
    let error = answers[2].as_ref().unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains("no equivalent"), "{error:?}");
    node.close().await.unwrap();
}

/// It stays in the outbox: people hear of it, once.
#[tokio::test]
async fn an_outbox_that_cannot_be_moved_is_said_once() {
    let stand = refusing().await;
    let said = Said::listen("tavern_postgres");
    let node = stand.open().await.unwrap();
    stand.psql("SELECT tavern.publish('bad', 'x')").await;
    let mut lines = Vec::new();
    until("it is said", || {
        lines.extend(said.take());
        std::future::ready(!lines.is_empty())
    })
    .await;
    let before: i64 = rollbacks(&stand).await;
    until("it is tried again", || async { rollbacks(&stand).await > before + 5 }).await;
    lines.extend(said.take());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("outbox") && lines[0].contains("no equivalent"), "{lines:?}");
    node.close().await.unwrap();
}

async fn rollbacks(stand: &Stand) -> i64 {
    let ask = "SELECT xact_rollback FROM pg_stat_database WHERE datname = 'postgres'";
    stand.psql(ask).await.parse().unwrap()
}

/// It would be sent for ever, each time with the link's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_no_call_can_carry_is_refused() {
    let stand = Stand::start().await.with(|config| config.max_payload = 64 << 20);
    let node = stand.open().await.unwrap();
    let publisher = NodeId::random().unwrap();
    let envelope = message("t", "x".repeat(64 << 20));
    let publications = (1..10).map(|counter| Publication {
        key: Origin { node: publisher, counter },
        // All have the same bytes.
        envelope: envelope.clone(),
        accepted: tokio::time::Instant::now(),
    });
    let append = Append { known: None, publications: publications.collect() };
    let error = within("an answer", node.publish(append)).await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    let bus = tavern_backend::Bus::new(node);
    assert_eq!(store(&bus, message("t", "x")).await, 1);
    assert_eq!(bus.health().get().connects, 1);
    bus.close().await.unwrap();
}
