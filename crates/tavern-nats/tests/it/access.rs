//! Getting in: tokens, users, keys, credentials, TLS; and what one may do inside.

mod jwt;
mod permissions;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use nkeys::KeyPair;
use tavern_backend::{Error, Published, ReadQuery};
use tavern_nats::{Credentials, NatsBackend, NatsConfig};
use tavern_testkit::engine::{NatsAuth, NatsFlavor, NatsOptions, NatsUser};
use tavern_testkit::say::{Also, filter, filters, id, lane, message};
use tavern_testkit::wait::within;
use tavern_testkit::{Client, publish};

use crate::stand::{Stand, keeping, on_both};

on_both! {
    a_token_is_shown,
    a_user_and_a_password_are_shown,
    a_key_signs,
    the_first_servers_are_dead,
    a_domain_is_named,
}

/// Everything a node does, on two of them.
async fn all_works(stand: &Stand) {
    let stage = stand.stage();
    let nodes = [stage.node_keeping(keeping(100)).await, stage.node_keeping(keeping(100)).await];
    let brokers = [nodes[0].broker(), nodes[1].broker()];
    let mut client = Client::fresh(&brokers[1], &["t/*", "live/a"]);
    let before = client.opened().await;
    publish(&brokers[0], message("t/1", "1").id("1")).await;
    publish(&brokers[0], message("t/2", "2").scope("s")).await;
    publish(&brokers[0], message("t/3", "3")).await;
    assert_eq!(client.texts(2).await, ["1", "3"]);
    let live = nodes[0].bus().publish(message("live/a", "4")).await.unwrap();
    assert_eq!(live, Published::Live);
    assert_eq!(client.texts(1).await, ["4"]);
    let mut late = Client::resume(&brokers[0], &["t/*"], before);
    assert_eq!(late.complete_replay().await, ["1", "3"]);
    let query = ReadQuery::range(0, u64::MAX).with_filters(Arc::new(filters(&["t/1", "t/2"])));
    assert_eq!(nodes[0].bus().read(query).await.unwrap().entries.len(), 2);
    let found = nodes[1].bus().find(&lane("t/1", None), &id("1")).await.unwrap();
    assert!(found.is_some());
    nodes[1].bus().add_interest(&[filter("more")]).await.unwrap();
    nodes[1].bus().remove_interest(&[filter("more")]).await.unwrap();
    stage.close().await;
    // One that reads what was there before it, from a consumer: more than is fetched one by one.
    let node = stand.stage().node_keeping(keeping(100)).await;
    let many = (0..60).map(|n| node.publication(message("many", n.to_string()))).collect();
    node.append(many).await;
    node.bus().close().await.unwrap();
    let node = stand.stage().node_keeping(keeping(100)).await;
    assert_eq!(node.texts().await.len(), 63);
    node.bus().close().await.unwrap();
}

/// Opens a node that is refused; returns what is said about it, with all that is behind it, and
/// what the configuration looks like when it is printed.
async fn refused(stand: &Stand) -> String {
    let error = stand.open().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    format!("{} {:?}", whole(&error), stand.config())
}

/// An error as a log shows it: with its sources.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error:?} {error}");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(" {error:?} {error}"));
        source = error.source();
    }
    text
}

fn as_who(stand: &Stand, credentials: Credentials) -> Stand {
    stand.with(move |config| config.credentials = credentials.clone())
}

fn user(name: &str, password: &str) -> Credentials {
    Credentials::User { username: name.to_owned(), password: password.to_owned() }
}

async fn a_token_is_shown(flavor: NatsFlavor) {
    let auth = NatsAuth::Token("open-sesame".to_owned());
    let stand = Stand::start_with(NatsOptions::new(flavor).with_auth(auth)).await;
    let token = |text: &str| as_who(&stand, Credentials::Token(text.to_owned()));
    all_works(&token("open-sesame")).await;
    assert!(!format!("{:?}", token("open-sesame").config()).contains("sesame"));
    let said = refused(&token("open-barley")).await;
    assert!(said.contains("refuses the credentials") && !said.contains("barley"), "{said}");
    let port = stand.server.port().to_string();
    assert!(said.contains(&port), "which server: {said}");
    let said = refused(&stand).await;
    assert!(said.contains("refuses the credentials"), "{said}");
}

async fn a_user_and_a_password_are_shown(flavor: NatsFlavor) {
    let auth = NatsAuth::Users(vec![NatsUser::new("anna", "p@ss/w:rd")]);
    let stand = Stand::start_with(NatsOptions::new(flavor).with_auth(auth)).await;
    all_works(&as_who(&stand, user("anna", "p@ss/w:rd"))).await;
    for (name, password) in [("anna", "wrong-word"), ("berta", "p@ss/w:rd"), ("anna", "")] {
        let said = refused(&as_who(&stand, user(name, password))).await;
        assert!(said.contains("refuses the credentials"), "{said}");
        assert!(password.is_empty() || !said.contains(password), "{said}");
    }
}

async fn a_key_signs(flavor: NatsFlavor) {
    let [pair, other] = [(); 2].map(|()| KeyPair::new_user());
    let auth = NatsAuth::Users(vec![NatsUser::with_key(pair.public_key())]);
    let stand = Stand::start_with(NatsOptions::new(flavor).with_auth(auth)).await;
    all_works(&as_who(&stand, Credentials::NKey(pair.seed().unwrap()))).await;
    let seed = other.seed().unwrap();
    let said = refused(&as_who(&stand, Credentials::NKey(seed.clone()))).await;
    assert!(said.contains("refuses the credentials") && !said.contains(&seed), "{said}");
    // The public half, as is easily confused.
    let error = as_who(&stand, Credentials::NKey(pair.public_key())).open().await.unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
    assert!(error.to_string().contains("seed"), "{error}");
}

/// The others are tried, without waiting for those that do not answer at all for long.
async fn the_first_servers_are_dead(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let [dead, silent] = [Stand::start(flavor).await, Stand::start(flavor).await];
    dead.server.kill().await.unwrap();
    silent.server.pause().unwrap();
    let ports = [&dead, &silent, &stand].map(|stand| stand.server.port());
    let several = stand.with(move |config| {
        config.timeout = Duration::from_millis(500);
        config.servers = ports.map(|port| ("127.0.0.1".to_owned(), port)).to_vec();
    });
    all_works(&several).await;
    // None is there: each is named, with what is wrong with it.
    stand.server.kill().await.unwrap();
    let said = refused(&several).await;
    for (port, what) in ports.iter().zip(["reached", "in time", "reached"]) {
        let at = said.find(&format!("127.0.0.1:{port}: ")).unwrap_or_else(|| panic!("{said}"));
        assert!(said[at..].split(';').next().unwrap().contains(what), "{port} {what}: {said}");
    }
    silent.server.resume().unwrap();
}

async fn a_domain_is_named(flavor: NatsFlavor) {
    let options =
        NatsOptions::new(flavor).with_config("jetstream { store_dir: \"store\", domain: \"hub\" }");
    let stand = Stand::start_with(options).await;
    let named = |name: &'static str| stand.with(|config| config.domain = Some(name.to_owned()));
    all_works(&named("hub")).await;
    let said = refused(&named("spoke")).await;
    assert!(said.contains("spoke"), "{said}");
}

/// There is nobody at that address.
#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let mut config = NatsConfig::new("127.0.0.1", 1);
    config.timeout = Duration::from_secs(1);
    let error = within("an answer", NatsBackend::open(config)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1: "), "{error}");
    let mut config = NatsConfig::new("no-such-host.invalid", 4222);
    config.timeout = Duration::from_secs(5);
    let error = within("an answer", NatsBackend::open(config)).await.unwrap_err();
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}
