//! `nats://` and `tls://`, on servers that ask who it is.

mod operator;

use std::path::Path;

use nkeys::KeyPair;
use tavern::backend::{Error, Published};
use tavern::{Broker, Delivery, connect};
use tavern_testkit::engine::{NatsAuth, NatsFlavor, NatsOptions, NatsServer, NatsTls, NatsUser};
use tavern_testkit::wait::within;

const FLAVORS: [NatsFlavor; 2] = [NatsFlavor::Debian, NatsFlavor::Current];

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
    assert_eq!(bus.info().name, "nats");
    assert!(!format!("{:?}", bus.info()).contains("hunter2"), "{:?}", bus.info());
    Broker::builder().bus(bus).build().unwrap()
}

async fn refused(url: &str, said: &str) {
    let error = error(url, said).await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

/// It is no use to try again.
async fn misconfigured(url: &str, said: &str) {
    let error = error(url, said).await;
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
}

async fn error(url: &str, said: &str) -> Error {
    let error = within("an answer", connect(url)).await.expect_err(url);
    let text = format!("{error} {error:?}");
    assert!(text.contains(said) && !text.contains("hunter2"), "{said}: {text}");
    error
}

async fn server(flavor: NatsFlavor, auth: NatsAuth) -> NatsServer {
    NatsServer::start(NatsOptions::new(flavor).with_auth(auth)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_or_a_user_opens_the_door() {
    for flavor in FLAVORS {
        let token = server(flavor, NatsAuth::Token("hunter2".to_owned())).await;
        works(&token.url()).await;
        refused(&format!("nats://nothunter2@{}", token.addr()), "refuses the credentials").await;
        refused(&format!("nats://{}", token.addr()), "refuses the credentials").await;

        let users = NatsAuth::Users(vec![NatsUser::new("ann", "hunter2@,/")]);
        let user = server(flavor, users).await;
        works(&format!("nats://ann:hunter2%40%2C%2F@{}", user.addr())).await;
        refused(&format!("nats://ann:hunter2@{}", user.addr()), "refuses the credentials").await;
        refused(&format!("nats://hunter2@{}", user.addr()), "refuses the credentials").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_nkey_signs_from_its_file() {
    for flavor in FLAVORS {
        let [pair, stranger] = [KeyPair::new_user(), KeyPair::new_user()];
        let users = NatsAuth::Users(vec![NatsUser::with_key(pair.public_key())]);
        let server = server(flavor, users).await;
        let dir = tempfile::tempdir().unwrap();
        let url = |pair: &KeyPair| {
            let path = dir.path().join(pair.public_key());
            std::fs::write(&path, pair.seed().unwrap()).unwrap();
            format!("nats://{}?nkey={}", server.addr(), path.display())
        };
        works(&url(&pair)).await;
        refused(&url(&stranger), "refuses the credentials").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file_speaks_for_a_user_of_an_account() {
    for flavor in FLAVORS {
        let operator = operator::Operator::new();
        let server = server(flavor, NatsAuth::Raw(operator.config(), None)).await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ann.creds");
        std::fs::write(&path, operator.credentials()).unwrap();
        let url = format!("nats://{}?creds={}", server.addr(), path.display());
        works(&url).await;

        std::fs::write(&path, operator::Operator::new().credentials()).unwrap();
        refused(&url, "refuses the credentials").await;
        std::fs::write(&path, "hunter2").unwrap();
        misconfigured(&url, "has no part `NATS USER JWT`").await;
        let missing = format!("nats://{}?creds=/no/such.creds", server.addr());
        misconfigured(&missing, "/no/such.creds").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_trusts_the_authority_that_is_named() {
    for flavor in FLAVORS {
        let tls = NatsOptions::new(flavor).with_tls(NatsTls::Server);
        let [server, other] =
            [NatsServer::start(tls.clone()).await.unwrap(), NatsServer::start(tls).await.unwrap()];
        let ca = |server: &NatsServer| server.dir().join("ca.pem").display().to_string();
        works(&format!("{}?ca={}", server.url(), ca(&server))).await;
        refused(&format!("{}?ca={}", server.url(), ca(&other)), "certificate").await;
        refused(&server.url(), "certificate").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    for flavor in FLAVORS {
        let options = NatsOptions::new(flavor).with_tls(NatsTls::Mutual);
        let server = NatsServer::start(options).await.unwrap();
        let (cert, key) = server.client_files();
        let url = |cert: &Path, key: &Path| {
            let ca = server.dir().join("ca.pem");
            format!(
                "{}?ca={}&cert={}&key={}",
                server.url(),
                ca.display(),
                cert.display(),
                key.display()
            )
        };
        works(&url(&cert, &key)).await;
        refused(&format!("{}?ca={}", server.url(), server.dir().join("ca.pem").display()), "")
            .await;
        misconfigured(&url(&cert, Path::new("/no/such.key")), "/no/such.key").await;
    }
}

/// Only newer servers can be told to. This one waits before it greets those who do not begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_may_come_before_the_greeting() {
    let first = "tls { cert_file: server.pem, key_file: server.key, handshake_first: 1500ms }";
    let options = NatsOptions::new(NatsFlavor::Current).with_tls(NatsTls::Server);
    let server = NatsServer::start(options.with_config(first)).await.unwrap();
    let ca = server.dir().join("ca.pem").display().to_string();
    let url = format!("{}?ca={ca}&timeout=1000", server.url());
    works(&format!("{url}&tls_first=true")).await;
    refused(&url, "does not answer in time").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_streams_are_made_with_stands_in_the_query() {
    let server = NatsServer::start(NatsFlavor::Debian).await.unwrap();
    let query = "namespace=shop&storage=memory&dedup_window=420&lane_memory=60&max_payload=1000";
    let url = format!("nats://{}?{query}&client_name=till", server.addr());
    let bus = connect(&url).await.unwrap();
    assert_eq!((bus.info().namespace.as_str(), bus.info().max_payload), ("shop", 1000));
    assert!(bus.info().durability.contains("memory"), "{}", bus.info().durability);
    let made = server.js("STREAM.INFO.TAVERN_shop", serde_json::Value::Null).await.unwrap();
    let made = &made["config"];
    assert_eq!(made["storage"], "memory");
    assert_eq!(made["duplicate_window"], 420_000_000_000_u64);
    assert_eq!(made["max_age"], 480_000_000_000_u64, "the window, and the memory of lanes: {made}");
    assert_eq!((&made["deny_delete"], &made["deny_purge"]), (&true.into(), &true.into()));
    let list = server.http("/connz").await.unwrap();
    let names = list["connections"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str());
    assert_eq!(names.filter(|name| name.starts_with("till-")).count(), 3, "{list}");
    bus.close().await.unwrap();

    let envelope = tavern::MessageEnvelope::new("t".parse().unwrap(), "1");
    let other = connect(&format!("nats://{}", server.addr())).await.unwrap();
    assert_eq!(other.info().namespace, "default");
    let published = other.publish(envelope).await.unwrap();
    assert!(matches!(published, Published::Stored { .. }), "{published:?}");
    other.close().await.unwrap();

    refused(&format!("nats://{}?replicas=3&namespace=r", server.addr()), "needs a cluster").await;
}
