//! Getting in: TLS, users, passwords, rights, database numbers.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Bus, Error, Published, ReadQuery};
use tavern_redis::{RedisConfig, Tls};
use tavern_testkit::engine::RedisOptions;
use tavern_testkit::say::{Also, filter, filters, message};
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, publish};

use crate::stand::{Stand, keeping, store, until};

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
    let lane = tavern_testkit::say::lane("t/1", None);
    let found = nodes[1].bus().find(&lane, &tavern_testkit::say::id("1")).await.unwrap();
    assert!(found.is_some());
    nodes[1].bus().add_interest(&[filter("more")]).await.unwrap();
    nodes[1].bus().remove_interest(&[filter("more")]).await.unwrap();
    stage.close().await;
}

fn with_tls(stand: &Stand, ca: &str) -> (tempfile::TempDir, Stand) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, ca).unwrap();
    let port = stand.server.tls_url().rsplit_once(':').unwrap().1.parse().unwrap();
    let stand = stand.with(move |config| {
        let mut tls = Tls::default();
        tls.ca = Some(file.clone());
        config.addresses = vec![("localhost".to_owned(), port)];
        config.tls = Some(tls);
    });
    (dir, stand)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_an_authority_of_ones_own() {
    let stand = Stand::start_with(RedisOptions::default().with_tls()).await;
    let (_dir, tls) = with_tls(&stand, &stand.server.ca_pem().unwrap());
    all_works(&tls).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_and_said() {
    let stand = Stand::start_with(RedisOptions::default().with_tls()).await;
    let other = Stand::start_with(RedisOptions::default().with_tls()).await;
    let (_dir, tls) = with_tls(&stand, &other.server.ca_pem().unwrap());
    let error = tls.open().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("localhost") && said.contains("certificate"), "{said}");
    // Nor is a certificate for another name taken: this one is for 127.0.0.1 and localhost.
    let port = stand.server.tls_url().rsplit_once(':').unwrap().1.parse().unwrap();
    let (_dir, tls) = with_tls(&stand, &stand.server.ca_pem().unwrap());
    let tls = {
        let config = tls.config();
        stand.with(move |c| {
            c.tls.clone_from(&config.tls);
            c.addresses = vec![("127.0.0.2".to_owned(), port)];
        })
    };
    tls.open().await.unwrap_err();
    // A file that is none says so before anything is connected.
    let missing = stand.with(|config| {
        let mut tls = Tls::default();
        tls.ca = Some("/no/such/ca.pem".into());
        config.tls = Some(tls);
    });
    let error = missing.open().await.unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
    assert!(error.to_string().contains("/no/such/ca.pem"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let mut config = RedisConfig::new("127.0.0.1", 1);
    config.timeout = Duration::from_secs(1);
    let error = within("an answer", tavern_redis::RedisBackend::open(config)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

fn with_user(stand: &Stand, name: Option<&'static str>, password: Option<&'static str>) -> Stand {
    stand.with(move |config| {
        config.credentials.username = name.map(str::to_owned);
        config.credentials.password = password.map(str::to_owned);
    })
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_and_passwords_open_the_door_and_are_never_said() {
    let stand =
        Stand::start_with(RedisOptions::default().with_user("tavern", "hunter2-secret")).await;
    all_works(&with_user(&stand, Some("tavern"), Some("hunter2-secret"))).await;
    for (name, password) in [
        (Some("tavern"), Some("wrong-secret")),
        (Some("nobody"), Some("hunter2-secret")),
        (None, Some("hunter2-secret")),
        (None, None),
    ] {
        let wrong = with_user(&stand, name, password);
        let error = wrong.open().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("password"), "{name:?}: {said}");
        let whole = whole(&error);
        assert!(!whole.contains("secret"), "{whole}");
        assert!(!format!("{:?}", wrong.config()).contains("secret"));
    }
    let good = with_user(&stand, Some("tavern"), Some("hunter2-secret"));
    let backend = good.open().await.unwrap();
    assert!(!format!("{backend:?}").contains("secret"));
    drop(backend);
}

/// A password of the server itself, as Redis had it before there were users.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_without_a_user() {
    let stand = Stand::start().await;
    stand.say(&["CONFIG", "SET", "requirepass", "only-a-password"]).await;
    let error = stand.open().await.unwrap_err();
    assert!(error.to_string().contains("asks for a password"), "{error}");
    let bus = with_user(&stand, None, Some("only-a-password")).bus().await;
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    bus.close().await.unwrap();
}

/// The rights that the documentation names.
fn documented_rights() -> Vec<String> {
    let docs = include_str!("../../src/lib.rs").lines();
    let docs = docs.map(|line| line.trim_start_matches("//!").trim());
    let rights = docs.skip_while(|line| !line.starts_with("ACL SETUSER tavern"));
    let rights = rights.take_while(|line| !line.starts_with("```")).collect::<Vec<_>>().join(" ");
    let rights = rights.replace("NAMESPACE", "default");
    rights.split(' ').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough() {
    let stand = Stand::start().await;
    let rights = documented_rights();
    assert!(rights.len() > 30, "{rights:?}");
    stand.say(&rights.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let user = with_user(&stand, Some("tavern"), Some("PASSWORD"));
    all_works(&user).await;
    // The sweeper has something to do, too.
    let bus = user.bus().await;
    let names = stand.key(":names").await;
    stand.say(&["DEL", &names]).await;
    until("the sweeper writes the names", || async { stand.say(&["ZCARD", &names]).await != "0" })
        .await;
    bus.close().await.unwrap();
    let refused = stand.server.cli(&["ACL", "LOG"]).await.unwrap();
    assert!(refused.items().is_empty(), "nothing was refused: {refused}");
    // Another namespace is not theirs.
    let other = user.with(|config| {
        config.credentials.username = Some("tavern".to_owned());
        config.credentials.password = Some("PASSWORD".to_owned());
        config.namespace = "other".to_owned();
    });
    let error = other.open().await.unwrap_err();
    assert!(error.to_string().contains("ACL"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_missing_is_named() {
    let stand = Stand::start().await;
    let rights = documented_rights();
    stand.say(&rights.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let user = with_user(&stand, Some("tavern"), Some("PASSWORD"));
    for (right, named) in
        [("info", "info"), ("evalsha", "evalsha"), ("subscribe", "subscribe"), ("hmget", "")]
    {
        stand.say(&["ACL", "SETUSER", "tavern", &format!("-{right}")]).await;
        let error = user.open().await.unwrap_err();
        assert!(error.to_string().contains("ACL"), "{right}: {error}");
        assert!(error.to_string().contains(named), "{right}: {error}");
        stand.say(&["ACL", "SETUSER", "tavern", &format!("+{right}")]).await;
    }
    // Rights that are taken away while it runs.
    let bus = user.bus().await;
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    stand.say(&["ACL", "SETUSER", "tavern", "-xadd"]).await;
    let error = bus.publish(message("t", "no")).await.unwrap_err();
    assert!(error.to_string().contains("can't run this command"), "{error}");
    stand.say(&["ACL", "SETUSER", "tavern", "+xadd", "resetchannels"]).await;
    // The server cuts a feed that may not hear its channels any more.
    eventually("the node says what it may not", || {
        bus.health().get().reason.is_some_and(|reason| reason.contains("ACL"))
    })
    .await;
    stand.say(&["ACL", "SETUSER", "tavern", "&{tavern:default}:*"]).await;
    assert!(within("the link comes back", bus.health().wait_up()).await);
    assert!(store(&bus, message("t", "2")).await >= 2);
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_numbers_are_apart() {
    let stand = Stand::start().await;
    let third = stand.with(|config| config.database = 3);
    all_works(&third).await;
    assert_eq!(stand.say(&["DBSIZE"]).await, "0", "nothing is in database 0");
    let buses: [Bus; 2] = [stand.bus().await, third.bus().await];
    assert_eq!(store(&buses[0], message("t/1", "x").id("1")).await, 1);
    assert!(store(&buses[1], message("t/1", "x")).await > 3);
    for bus in buses {
        bus.close().await.unwrap();
    }
    let error = stand.with(|config| config.database = 4000).open().await.unwrap_err();
    assert!(error.to_string().contains("DB index"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_named_in_the_servers_list() {
    let stand = Stand::start().await.with(|config| config.client_name = "shop".to_owned());
    let bus = stand.bus().await;
    let name = format!("name=shop-{}", bus.node());
    let list = stand.say(&["CLIENT", "LIST"]).await;
    assert_eq!(list.lines().filter(|line| line.contains(&name)).count(), 3, "{list}");
    bus.close().await.unwrap();
    until("its connections are gone", || async {
        !stand.say(&["CLIENT", "LIST"]).await.contains(&name)
    })
    .await;
}
