//! The known traps of publishing from a database, each by its name.

mod input;
mod moving;
mod rights;

use std::time::Duration;

use tavern_testkit::Client;
use tavern_testkit::publish;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;

use crate::stand::{Stand, log, moved, store, texts};

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

/// Writers that have published hold their transactions open while others publish. What they wrote
/// comes when they commit, in the order in which they do; nobody waits, and no seq is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dense_in_commit_order_beside_open_writers_at_every_isolation_level() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["**"]);
    client.opened().await;
    let mut writers = Vec::new();
    for level in LEVELS {
        let writer = stand.sql().await;
        writer.run(&format!("BEGIN ISOLATION LEVEL {level}")).await;
        writer.run(&format!("SELECT tavern.publish('held', 'held {level}')")).await;
        writers.push((level, writer));
    }
    let other = stand.sql().await;
    let mut wanted = Vec::new();
    for n in 0..30 {
        let level = LEVELS[n % 3];
        other
            .run(&format!(
                "BEGIN ISOLATION LEVEL {level}; SELECT tavern.publish('t', 'sql {n}'); COMMIT"
            ))
            .await;
        wanted.push(format!("sql {n}"));
        moved(node.bus(), &format!("sql {n}")).await;
        publish(&broker, message("t", format!("bus {n}"))).await;
        wanted.push(format!("bus {n}"));
    }
    for (level, writer) in writers.iter().rev() {
        writer.run("COMMIT").await;
        wanted.push(format!("held {level}"));
        moved(node.bus(), &format!("held {level}")).await;
    }
    let all = log(node.bus()).await;
    assert_eq!(all.first().unwrap().0, 1);
    assert_eq!(texts(node.bus()).await, wanted);
    assert_eq!(client.texts(wanted.len()).await, wanted);
    stage.close().await;
}

/// Nor does it matter what a transaction is by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_where_transactions_are_serializable_by_default() {
    let stand = Stand::start().await;
    stand.psql("ALTER SYSTEM SET default_transaction_isolation = 'serializable'").await;
    stand.psql("SELECT pg_reload_conf()").await;
    let stage = stand.stage();
    let (one, two) = (stage.node().await, stage.node().await);
    let brokers = [one.broker(), two.broker()];
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    let app = stand.sql().await;
    let mut wanted = Vec::new();
    for n in 0..50 {
        publish(&brokers[n % 2], message("t", format!("bus {n}"))).await;
        app.run(&format!("SELECT tavern.publish('t', 'sql {n}')")).await;
        wanted.extend([format!("bus {n}"), format!("sql {n}")]);
    }
    let mut got = client.texts(100).await;
    assert_eq!(got, texts(one.bus()).await);
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted);
    // A call that sweeps does so at READ COMMITTED: else what it must not remove it cannot see.
    let rare = stand.with(|config| config.outbox_interval = Duration::from_secs(5));
    let bus = rare.bus().await;
    let sweeps = "SELECT count(*) > 0 FROM pg_stat_activity
        WHERE query LIKE 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED;%tavern.sweep%'";
    crate::stand::until("it sweeps", || async { stand.psql(sweeps).await == "t" }).await;
    bus.close().await.unwrap();
    stage.close().await;
}

/// The trigger publishes; the rows are updated by two transactions, the other way round. Postgres
/// itself has no reason to complain: only a lock taken by `publish` would close the circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multi_row_trigger_does_not_deadlock() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    stand.psql(EXAMPLE).await;
    stand.psql("INSERT INTO orders VALUES (1, 'new'), (2, 'new')").await;
    moved(&bus, r#"{"id":2,"state":"new"}"#).await;
    let (one, two) = (stand.sql().await, stand.sql().await);
    one.run("BEGIN; UPDATE orders SET state = 'a' WHERE id = 1").await;
    two.run("BEGIN; UPDATE orders SET state = 'b' WHERE id = 2").await;
    // It waits for the row that the other has, and for nothing else.
    let waits = one.run("UPDATE orders SET state = 'a' WHERE id = 2; COMMIT");
    let commits = async {
        stand_waits(&stand).await;
        two.run("SELECT tavern.publish('t', 'two goes on'); COMMIT").await;
    };
    tokio::join!(waits, commits);
    moved(&bus, r#"{"id":2,"state":"a"}"#).await;
    bus.close().await.unwrap();
}

async fn stand_waits(stand: &Stand) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    crate::stand::until("it waits", || async { stand.psql(waiting).await != "0" }).await;
}

/// The example of the documentation: a trigger that publishes row changes.
const EXAMPLE: &str = "
CREATE TABLE orders (id int PRIMARY KEY, state text);
CREATE FUNCTION orders_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tavern.publish(
        topic => 'orders/' || coalesce(NEW.id, OLD.id),
        data => coalesce(to_json(NEW), 'null')::text,
        event => lower(TG_OP));
    RETURN NULL;
END $$;
CREATE TRIGGER orders_changed AFTER INSERT OR UPDATE OR DELETE ON orders
    FOR EACH ROW EXECUTE FUNCTION orders_changed();
";

#[tokio::test]
async fn a_trigger_publishes_row_changes() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["orders/*"]);
    client.opened().await;
    stand.psql(EXAMPLE).await;
    let app = stand.sql().await;
    app.run("INSERT INTO orders VALUES (7, 'new')").await;
    app.run("BEGIN; UPDATE orders SET state = 'never'; ROLLBACK").await;
    app.run("UPDATE orders SET state = 'paid'").await;
    app.run("DELETE FROM orders").await;
    for (event, data) in [
        ("insert", r#"{"id":7,"state":"new"}"#),
        ("update", r#"{"id":7,"state":"paid"}"#),
        ("delete", "null"),
    ] {
        let got = client.message().await;
        assert_eq!(got.topic().as_str(), "orders/7");
        assert_eq!(got.event().unwrap().as_str(), event);
        assert_eq!(got.data().as_str(), data);
    }
    stage.close().await;
}

/// While a transaction is open that has published, others publish: by SQL and by nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_blocks_no_other_publisher() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    let open = stand.sql().await;
    open.run("BEGIN; SELECT tavern.publish('t', 'open')").await;
    let other = stand.sql().await;
    other.run("SET lock_timeout = '100ms'; SELECT tavern.publish('t', 'other')").await;
    moved(&bus, "other").await;
    assert_eq!(store(&bus, message("t", "bus")).await, 2);
    // Nor is the one that holds it held up by them.
    open.run("SELECT tavern.publish('t', 'still open'); COMMIT").await;
    moved(&bus, "still open").await;
    assert_eq!(texts(&bus).await, ["other", "bus", "open", "still open"]);
    bus.close().await.unwrap();
}

/// A horizon of snapshots would stand still with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_in_another_database_stalls_nothing() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    stand.server.create_database("other").await.unwrap();
    let open = crate::stand::sql(&stand.server.url("postgres", "other")).await;
    open.run(
        "BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE x (n int); INSERT INTO x VALUES (1)",
    )
    .await;
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let app = stand.sql().await;
    app.run("SELECT tavern.publish('t', 'sql')").await;
    assert_eq!(client.texts(1).await, ["sql"]);
    publish(&broker, message("t", "bus")).await;
    assert_eq!(client.texts(1).await, ["bus"]);
    open.run("COMMIT").await;
    stage.close().await;
}

#[tokio::test]
async fn what_is_rolled_back_is_never_seen() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    let app = stand.sql().await;
    app.run("BEGIN; SELECT tavern.publish('t', 'no'); ROLLBACK").await;
    app.run(
        "BEGIN; SELECT tavern.publish('t', '1'); SAVEPOINT s; SELECT tavern.publish('t', 'no');
        ROLLBACK TO s; SELECT tavern.publish('t', '2'); COMMIT",
    )
    .await;
    // One that dies does not commit.
    let dies = stand.sql().await;
    dies.run("BEGIN; SELECT tavern.publish('t', 'no')").await;
    drop(dies);
    within("a moment", tokio::time::sleep(Duration::from_millis(100))).await;
    app.run("SELECT tavern.publish('t', '3')").await;
    moved(&bus, "3").await;
    assert_eq!(texts(&bus).await, ["1", "2", "3"]);
    assert_eq!(stand.psql("SELECT count(*) FROM tavern.outbox").await, "0");
    bus.close().await.unwrap();
}
