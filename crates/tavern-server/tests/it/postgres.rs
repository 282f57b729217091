//! Hubs on Postgres: what a user sees of it.

use std::process::Stdio;
use std::time::Duration;

use tavern_testkit::engine::{PostgresAuth, PostgresOptions, PostgresServer};
use tavern_testkit::{Event, SseStream};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStderr;

use crate::kit::{Node, empty, refused, tavern, until, within};

/// One that a superuser `ann` comes in to with a password.
async fn server() -> PostgresServer {
    let options = PostgresOptions::new().without_fsync().with_auth(PostgresAuth::Scram);
    let server = PostgresServer::start(options).await.unwrap();
    server.create_role("ann", "hunter2").await.unwrap();
    server.psql("ALTER ROLE ann SUPERUSER").await.unwrap();
    server
}

fn url(server: &PostgresServer) -> String {
    server.url("ann:hunter2", "postgres")
}

/// A hub, and what it logs.
async fn hub(server: &PostgresServer) -> (Node, Lines<BufReader<ChildStderr>>) {
    let dir = empty();
    let mut command = tavern(dir.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--backend", &url(server)]);
    command.stderr(Stdio::piped());
    let mut node = Node::of(command).await;
    let log = BufReader::new(node.child.stderr.take().unwrap()).lines();
    (node, log)
}

#[tokio::test]
async fn two_hubs_on_one_database_are_a_cluster() {
    let server = server().await;
    let ((a, mut log), (b, _)) = (hub(&server).await, hub(&server).await);
    let mut stream = b.stream("orders", "").await;
    let opening = stream.opening().await;
    let first = a.post("orders", "1").await;
    assert_eq!(stream.message().await, ("1".to_owned(), first.clone()));
    let mut back = a.stream("orders", &opening).await;
    assert_eq!(back.message().await, ("1".to_owned(), first));

    let (of_a, of_b) = (a.json("/status").await, b.json("/status").await);
    assert_eq!(of_a["epoch"], of_b["epoch"]);
    assert_ne!(of_a["node"], of_b["node"]);
    let backend = &of_a["backend"];
    assert_eq!(backend["name"], "postgres");
    assert_eq!(backend["location"], format!("postgres://{}/postgres", server.addr()));
    assert!(backend["durability"].as_str().unwrap().contains("synchronous_commit"));
    let metrics = a.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains(r#"backend="postgres""#), "{metrics}");
    assert!(metrics.contains("tavern_backend_up 1\n"), "{metrics}");

    // What it says at its start, and nowhere the password.
    let listening = until(&mut log, "tavern::_events::listening").await;
    assert!(listening.contains(&server.addr()), "{listening}");
    for text in [listening, of_a.to_string(), metrics] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn what_sql_publishes_reaches_the_clients_of_all_hubs_once() {
    let server = server().await;
    let ((a, _), (b, _)) = (hub(&server).await, hub(&server).await);
    let (mut of_a, mut of_b) = (a.stream("orders/*", "").await, b.stream("orders/*", "").await);
    let opening = of_a.opening().await;
    of_b.opening().await;

    let publish = "SELECT tavern.publish('orders/7', 'hello')";
    server.psql_at(&url(&server), publish).await.unwrap();
    let (data, id) = of_a.message().await;
    assert_eq!(data, "hello");
    assert_eq!(of_b.message().await, (data, id));

    // What is rolled back was never said; in one transaction, the order is that of the calls.
    server.psql("BEGIN; SELECT tavern.publish('orders/7', 'never'); ROLLBACK").await.unwrap();
    let two = "BEGIN; SELECT tavern.publish('orders/8', '1', event => 'paid', id => 'x');
        SELECT tavern.publish('orders/7', E'2\nlines'); COMMIT";
    server.psql(two).await.unwrap();
    for stream in [&mut of_a, &mut of_b] {
        let paid = said(stream).await;
        assert_eq!((paid.name.as_str(), paid.data.as_str()), ("paid", "1"));
        assert_eq!(stream.message().await.0, "2\nlines");
    }
    // An id is one, whoever gives it.
    let again = "SELECT tavern.publish('orders/8', '1', event => 'paid', id => 'x')";
    server.psql(again).await.unwrap();
    let last = b.post("orders/7", "3").await;
    for stream in [&mut of_a, &mut of_b] {
        assert_eq!(stream.message().await, ("3".to_owned(), last.clone()));
    }

    // And it is in the log.
    let mut back = b.stream("orders/*", &opening).await;
    assert_eq!(back.message().await.0, "hello");
    // The one that was known already is taken out as well.
    let left = "SELECT count(*) FROM tavern.outbox";
    within("the outbox is empty", async {
        while server.psql(left).await.unwrap() != "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// The next event that somebody has published.
async fn said(stream: &mut SseStream) -> Event {
    loop {
        let event = stream.next().await;
        if !event.name.starts_with("tavern-") {
            return event;
        }
    }
}

/// What the README shows.
const ROW_CHANGES: &str = include_str!("../../../../examples/row_changes.sql");

#[tokio::test]
async fn the_example_publishes_what_becomes_of_rows() {
    let server = server().await;
    let (hub, _) = hub(&server).await;
    let mut stream = hub.stream("orders/*", "").await;
    let opening = stream.opening().await;
    server.psql("CREATE TABLE orders (id int PRIMARY KEY, state text)").await.unwrap();
    server.psql(ROW_CHANGES).await.unwrap();

    // One statement, many rows; one that is undone; one that touches nothing.
    server.psql("INSERT INTO orders SELECT n, 'new' FROM generate_series(1, 3) n").await.unwrap();
    server.psql("BEGIN; DELETE FROM orders; ROLLBACK").await.unwrap();
    server.psql("UPDATE orders SET state = 'paid' WHERE id = 2").await.unwrap();
    server.psql("UPDATE orders SET state = 'lost' WHERE id = 9").await.unwrap();
    server.psql("DELETE FROM orders WHERE id = 3").await.unwrap();
    let row = |id: i32, state: &str| serde_json::json!({ "id": id, "state": state });
    let nothing = serde_json::Value::Null;
    let mut back = hub.stream("orders/*", &opening).await;
    for stream in [&mut stream, &mut back] {
        for (name, old, new) in [
            ("insert", nothing.clone(), row(1, "new")),
            ("insert", nothing.clone(), row(2, "new")),
            ("insert", nothing.clone(), row(3, "new")),
            ("update", row(2, "new"), row(2, "paid")),
            ("delete", row(3, "new"), nothing.clone()),
        ] {
            let event = said(stream).await;
            let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!((event.name.as_str(), &data["old"], &data["new"]), (name, &old, &new));
        }
    }
    let mut one = hub.stream("orders/2", &opening).await;
    let names = (said(&mut one).await.name, said(&mut one).await.name);
    assert_eq!(names, ("insert".to_owned(), "update".to_owned()));
}

#[tokio::test]
async fn streams_outlive_the_death_of_the_server() {
    let server = server().await;
    let ((a, mut log), (b, _)) = (hub(&server).await, hub(&server).await);
    let mut stream = b.stream("orders", "").await;
    stream.opening().await;
    let before = a.post("orders", "1").await;
    assert_eq!(stream.message().await.0, "1");

    server.kill().await.unwrap();
    stream.event("tavern-degraded").await;
    until(&mut log, "the link to the database is lost").await;
    let ready = || async { a.get("/readyz").await.status() };
    within("it is not ready", async {
        while ready().await != 503 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let metrics = a.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("tavern_backend_up 0\n"), "{metrics}");
    let status = a.json("/status").await;
    assert!(!status.to_string().contains("hunter2"), "{status}");

    server.start_again().await.unwrap();
    stream.event("tavern-recovered").await;
    within("it is ready", async {
        while ready().await != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let id = a.post("orders", "2").await;
    assert_eq!(stream.message().await, ("2".to_owned(), id));
    server.psql("SELECT tavern.publish('orders', '3')").await.unwrap();
    assert_eq!(stream.message().await.0, "3");
    let mut back = a.stream("orders", &before).await;
    assert_eq!(back.message().await.0, "2");
    assert_eq!(back.message().await.0, "3");
    let end = back.event("tavern-reconnected").await.data;
    assert!(end.contains(r#""complete":true"#), "{end}");

    drop(a);
    let mut rest = String::new();
    while let Some(line) = within("the end of the log", log.next_line()).await.unwrap() {
        assert!(!line.contains("ERROR"), "{line}");
        rest.push_str(&line);
    }
    assert!(!rest.contains("tokio_postgres") && !rest.contains("hunter2"), "{rest}");
}

#[tokio::test]
async fn a_namespace_that_is_deleted_begins_anew_and_clients_are_told() {
    let server = server().await;
    let (hub, _) = hub(&server).await;
    let mut stream = hub.stream("orders", "").await;
    stream.opening().await;
    let before = hub.post("orders", "1").await;
    assert_eq!(stream.message().await.0, "1");
    // As the documentation says.
    server.psql("DELETE FROM tavern.namespace WHERE name = 'default'").await.unwrap();
    server.psql("SELECT tavern.publish('orders', '2')").await.unwrap();
    let gap = stream.event("tavern-replay-gap").await.data;
    assert!(gap.contains(r#""reason":"epoch""#), "{gap}");
    let mut back = hub.stream("orders", &before).await;
    let gap = back.event("tavern-replay-gap").await.data;
    assert!(gap.contains(r#""reason":"epoch""#), "{gap}");
    let last = hub.post("orders", "3").await;
    for stream in [&mut stream, &mut back] {
        let (mut data, mut id) = stream.message().await;
        // Whether the gap was told before it or in its place.
        if data == "2" {
            (data, id) = stream.message().await;
        }
        assert_eq!((data.as_str(), &id), ("3", &last));
    }
    let left = server.psql("SELECT count(*), min(seq) FROM tavern.entry").await.unwrap();
    assert_eq!(left, "2|1");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_said() {
    let dir = empty();
    let check = async |url: String, code: i32, words: &str| {
        let args = ["serve", "--listen", "127.0.0.1:0", "--backend", &url];
        refused(dir.path(), &args, code, words).await;
    };
    let server = server().await;
    let wrong = server.url("ann:wrong", "postgres");
    check(wrong, 1, "refuses the user or the password").await;
    check(server.url("ann:hunter2", "attic"), 1, "there is no such database").await;
    check(format!("{}?durability=full", url(&server)), 2, "`durability` is no parameter").await;
    check(format!("{}?migrate=false", url(&server)), 1, "`migrate` is off").await;
    server.psql("ALTER DATABASE postgres SET default_transaction_read_only = on").await.unwrap();
    check(url(&server), 1, "read-only").await;
    server.terminate().await.unwrap();
    check(url(&server), 1, "Connection refused").await;
}
