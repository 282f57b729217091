//! `postgres://`, on servers that ask who it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tavern::backend::{Error, Published};
use tavern::{Broker, Delivery, connect};
use tavern_testkit::engine::{PostgresAuth, PostgresOptions, PostgresServer};
use tavern_testkit::wait::within;

async fn server(options: PostgresOptions) -> PostgresServer {
    PostgresServer::start(options.without_fsync()).await.unwrap()
}

/// One that lets nobody in without a password, and has a role `ann` with a database of her own.
async fn guarded(options: PostgresOptions) -> PostgresServer {
    let server = server(options.with_auth(PostgresAuth::Scram)).await;
    server.create_role("ann", "hunter2@:/?").await.unwrap();
    server.create_database("shop").await.unwrap();
    server.psql("ALTER DATABASE shop OWNER TO ann").await.unwrap();
    server
}

/// What is published through one URL arrives through the other one.
async fn works(url: &str) {
    let [a, b] = [node(url).await, node(url).await];
    let mut stream = b.subscribe(["t"]).open().unwrap();
    let opening = within("the opening cursor", stream.recv()).await;
    assert!(matches!(opening, Some(Delivery::Cursor(_))), "{opening:?}");
    a.publish("t", "1").await.unwrap();
    loop {
        match within("the message", stream.recv()).await.expect("the stream goes on") {
            Delivery::Message(message) => {
                assert_eq!(message.data().as_str(), "1");
                break;
            }
            other => assert!(matches!(other, Delivery::Cursor(_)), "{other:?}"),
        }
    }
    drop(stream);
    a.close().await;
    b.close().await;
}

async fn node(url: &str) -> Broker {
    let bus = within("a connection", connect(url)).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(bus.info().name, "postgres");
    assert!(!format!("{:?}", bus.info()).contains("hunter2"), "{:?}", bus.info());
    Broker::builder().bus(bus).build().unwrap()
}

async fn refused(url: &str, said: &str) -> Error {
    let error = within("an answer", connect(url)).await.expect_err(url);
    let text = format!("{error} {error:?}");
    assert!(text.contains(said) && !text.contains("hunter2"), "{said}: {text}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_opens_the_door_wherever_it_stands() {
    let server = guarded(PostgresOptions::new()).await;
    let port = server.port();
    let encoded = "hunter2%40%3A%2F%3F";
    works(&format!("postgres://ann:{encoded}@127.0.0.1:{port}/shop")).await;
    works(&format!("postgresql://ann@127.0.0.1:{port}/shop?password={encoded}")).await;
    works(&format!("postgres://ann:hunter2%40%3A%2F?@127.0.0.1:{port}/shop?namespace=x")).await;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pass word");
    fs::write(&file, format!("127.0.0.1:{port}:shop:ann:hunter2@\\:/?\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let passfile = file.display().to_string().replace(' ', "%20");
    works(&format!("postgres://ann@127.0.0.1:{port}/shop?passfile={passfile}")).await;

    let wrong = format!("postgres://ann:nothunter2@127.0.0.1:{port}/shop");
    let error = refused(&wrong, "refuses the user or the password").await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let elsewhere = format!("postgres://ann:{encoded}@127.0.0.1:{port}/attic");
    refused(&elsewhere, "there is no such database").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_trusts_the_authority_that_is_named_and_looks_at_the_name() {
    let tls = || PostgresOptions::new().with_tls().with_hba("hostnossl all all all reject");
    let [server, other] = [server(tls()).await, server(tls()).await];
    let url = |host: &str, more: &str| {
        format!("postgres://postgres@{host}:{}/postgres?{more}", server.port())
    };
    let full =
        |of: &PostgresServer| format!("sslmode=verify-full&sslrootcert={}", of.ca_file().display());
    works(&url("127.0.0.1", &full(&server))).await;
    works(&url("localhost", &full(&server))).await;
    works(&url("127.0.0.1", "sslmode=require")).await;
    refused(&url("127.0.0.1", &full(&other)), "certificate").await;
    refused(&url("127.0.0.1", "sslmode=verify-full"), "certificate").await;
    refused(&url("127.0.0.1", "sslmode=disable"), "refuses").await;
    refused(&url("127.0.0.1", "sslmode=verify-full&sslrootcert=/no/such.pem"), "/no/such.pem")
        .await;
    // The name is not in its certificate; the address is, and who it is does not matter less.
    let ca = server.ca_file();
    let named = |mode: &str| {
        let port = server.port();
        format!(
            "postgres://postgres@hub.example:{port}/postgres?hostaddr=127.0.0.1&sslmode={mode}&sslrootcert={}",
            ca.display()
        )
    };
    works(&named("verify-ca")).await;
    refused(&named("verify-full"), "certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_in_the_file_system_is_a_host() {
    let server = server(PostgresOptions::new()).await;
    let (dir, port) = (server.socket_dir().display().to_string(), server.port());
    let encoded = dir.replace('/', "%2F");
    works(&format!("postgres://postgres@{encoded}:{port}/postgres")).await;
    works(&format!("postgres:///postgres?user=postgres&host={dir}&port={port}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_hosts_the_one_that_is_there() {
    let server = server(PostgresOptions::new()).await;
    let gone = self::server(PostgresOptions::new()).await;
    gone.terminate().await.unwrap();
    works(&format!("postgres://postgres@{},{}/postgres", gone.addr(), server.addr())).await;
    let alone = format!("postgres://postgres@{}/postgres", gone.addr());
    refused(&alone, "postgres://127.0.0.1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_query_reaches_the_backend_and_the_server() {
    let server = server(PostgresOptions::new()).await;
    let url = server.url("postgres", "postgres");
    let not_there = format!("{url}?migrate=false");
    refused(&not_there, "`migrate` is off").await;

    let listen = format!("{url}?application_name=ear");
    let listen = listen.replace(':', "%3A").replace('/', "%2F").replace('?', "%3F");
    let listen = listen.replace('=', "%3D");
    let query = "namespace=shop&max_payload=1000&application_name=till&options=-c%20work_mem%3D7MB";
    let bus = connect(&format!("{url}?{query}&listen={listen}")).await.unwrap();
    assert_eq!((bus.info().namespace.as_str(), bus.info().max_payload), ("shop", 1000));
    assert_eq!(bus.info().location, url.replace("postgres@", ""));
    let count = async |name: &str| {
        let sql =
            format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'");
        server.psql(&sql).await.unwrap()
    };
    // The one that sweeps comes by itself.
    within("four", async { while count("till").await != "4" {} }).await;
    assert_eq!(count("ear").await, "1");
    bus.close().await.unwrap();
    within("its connections are closed", async { while count("till").await != "0" {} }).await;

    // The schema is there by now.
    let bus = connect(&not_there).await.unwrap();
    assert_eq!(bus.info().namespace, "default");
    let name = format!("tavern-{}", bus.info().node);
    within("the node is known by its name", async { while count(&name).await != "5" {} }).await;
    let envelope = tavern::MessageEnvelope::new("t".parse().unwrap(), "1");
    let published = bus.publish(envelope).await.unwrap();
    assert!(matches!(published, Published::Stored { .. }), "{published:?}");
    bus.close().await.unwrap();
}

/// What the documentation grants.
fn grants() -> &'static str {
    let docs = include_str!("../../../../docs/operations.md");
    let (_, rest) = docs.split_once("```sql\nGRANT USAGE").unwrap();
    let all = docs.len() - rest.len() - "GRANT USAGE".len();
    docs[all..].split_once("```").unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_are_documented_are_enough_and_none_is_too_much() {
    let server = server(PostgresOptions::new()).await;
    for role in ["tavern_hub", "app", "guest"] {
        server.create_role(role, "x").await.unwrap();
    }
    let hub = format!("{}?migrate=false", server.url("tavern_hub", "postgres"));
    refused(&server.url("tavern_hub", "postgres"), "GRANT CREATE ON DATABASE postgres TO").await;
    let owner = connect(&server.url("postgres", "postgres")).await.unwrap();
    owner.close().await.unwrap();
    refused(&hub, "GRANT USAGE ON SCHEMA tavern TO tavern_hub;").await;
    server.psql(grants()).await.unwrap();
    works(&hub).await;

    let node = node(&hub).await;
    let mut stream = node.subscribe(["from/sql"]).open().unwrap();
    within("the opening cursor", stream.recv()).await.unwrap();
    let publish = "SELECT tavern.publish('from/sql', 'hello')";
    let guest = server.psql_at(&server.url("guest", "postgres"), publish).await.unwrap_err();
    assert!(guest.to_string().contains("permission denied"), "{guest}");
    let app = server.url("app", "postgres");
    let peek = server.psql_at(&app, "SELECT * FROM tavern.outbox").await.unwrap_err();
    assert!(peek.to_string().contains("permission denied"), "{peek}");
    server.psql_at(&app, publish).await.unwrap();
    let message = loop {
        match within("what SQL said", stream.recv()).await.expect("the stream goes on") {
            Delivery::Message(message) => break message,
            other => assert!(matches!(other, Delivery::Cursor(_)), "{other:?}"),
        }
    };
    assert_eq!(message.data().as_str(), "hello");
    drop(stream);
    node.close().await;
}
