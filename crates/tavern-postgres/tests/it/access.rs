//! Getting in: TLS, passwords and where they come from; and what a node has to be allowed.

mod environment;
mod rights;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tavern_backend::{Error, Published, ReadQuery};
use tavern_testkit::engine::{PostgresAuth, PostgresOptions};
use tavern_testkit::say::{Also as _, filters, id, lane, message};
use tavern_testkit::{Client, publish};

use crate::stand::{Stand, keeping};

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
    stand.psql("SELECT tavern.publish('t/4', 'of SQL')").await;
    assert_eq!(client.texts(1).await, ["of SQL"]);
    stage.close().await;
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

/// Opens a node that is refused; returns what is said about it, and how its configuration looks.
async fn refused(stand: &Stand) -> String {
    let error = stand.open().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    format!("{} {:?}", whole(&error), stand.config())
}

fn write_pass_file(file: &Path, lines: &str, mode: u32) {
    std::fs::write(file, lines).unwrap();
    std::fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

async fn with_tls() -> Stand {
    let options = PostgresOptions::new()
        .with_tls()
        .with_hba("hostssl all all 127.0.0.1/32 trust")
        .with_hba("hostnossl all all 127.0.0.1/32 reject");
    Stand::start_with(options).await
}

fn secured(stand: &Stand, host: &str, mode: &str, ca: &Path) -> Stand {
    let (port, ca) = (stand.server.port(), ca.display().to_string());
    stand.at(format!(
        "postgres://postgres@{host}:{port}/postgres?hostaddr=127.0.0.1&sslmode={mode}&sslrootcert={ca}"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_verified_in_full_with_an_authority_of_ones_own() {
    let stand = with_tls().await;
    let ca = stand.server.ca_file();
    all_works(&secured(&stand, "localhost", "verify-full", &ca)).await;
    let said = refused(&secured(&stand, "localhost", "disable", &ca)).await;
    assert!(said.contains("refuses"), "{said}");
}

#[tokio::test]
async fn another_authority_and_another_name_are_refused_and_said() {
    let (stand, other) = (with_tls().await, with_tls().await);
    for mode in ["verify-full", "verify-ca", "require"] {
        let said = refused(&secured(&stand, "localhost", mode, &other.server.ca_file())).await;
        assert!(said.contains("certificate") && said.contains("localhost"), "{mode}: {said}");
    }
    let ca = stand.server.ca_file();
    let said = refused(&secured(&stand, "db.example", "verify-full", &ca)).await;
    assert!(said.contains("certificate") && said.contains("db.example"), "{said}");
    secured(&stand, "db.example", "verify-ca", &ca).bus().await.close().await.unwrap();
    let missing = secured(&stand, "localhost", "verify-full", Path::new("/no/such/ca.pem"));
    let error = missing.open().await.unwrap_err();
    assert!(error.to_string().contains("/no/such/ca.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_shown_and_comes_from_a_file_as_well() {
    let stand = Stand::start_with(PostgresOptions::new().with_auth(PostgresAuth::Scram)).await;
    stand.server.create_role("anna", "p@ss:w/rd").await.unwrap();
    stand.psql("GRANT CREATE ON DATABASE postgres TO anna").await;
    let port = stand.server.port();
    all_works(&stand.at(stand.server.url("anna:p%40ss%3Aw%2Frd", "postgres"))).await;
    let pairs =
        format!("host=127.0.0.1 port={port} user=anna dbname=postgres password='p@ss:w/rd'");
    stand.at(pairs).bus().await.close().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pass");
    let lines = format!(
        "# ours\n127.0.0.1:{port}:other:*:no\n*:{port}:postgres:anna:p@ss\\:w/rd\n*:*:*:*:no\n"
    );
    write_pass_file(&file, &lines, 0o600);
    let by_file = |user: &str| {
        let url = stand.server.url(user, "postgres");
        stand.at(format!("{url}?passfile={}", file.display()))
    };
    by_file("anna").bus().await.close().await.unwrap();
    for wrong in
        [stand.at(stand.server.url("anna:open-barley", "postgres")), by_file("anna:open-barley")]
    {
        let said = refused(&wrong).await;
        assert!(said.contains("refuses the user or the password"), "{said}");
        assert!(!said.contains("barley") && said.contains(&port.to_string()), "{said}");
    }
    let said =
        refused(&stand.at(stand.server.url("anna", "postgres") + "?passfile=/no/such/file")).await;
    assert!(said.contains("password missing") && said.contains("/no/such/file"), "{said}");
    write_pass_file(&file, &lines, 0o640);
    let said = refused(&by_file("anna")).await;
    assert!(said.contains("chmod 600") && said.contains("/pass is not used"), "{said}");
    // What is in the URL needs no file.
    let url = stand.server.url("anna:p%40ss%3Aw%2Frd", "postgres");
    let both = stand.at(format!("{url}?passfile={}", file.display()));
    both.bus().await.close().await.unwrap();
}
