//! `PgBouncer` in front of a server.

use std::io;
use std::time::Duration;

use tavern_testkit::engine::{
    PgBouncer, PgBouncerOptions, PostgresAuth, PostgresOptions, PostgresServer,
};
use tavern_testkit::wait::within;
use tokio::time::timeout;

use super::start;

const WHO: &str = "SELECT pg_backend_pid()";

async fn ask(server: &PostgresServer, bouncer: &PgBouncer, sql: &str) -> io::Result<String> {
    server.psql_at(&bouncer.url("postgres", "postgres"), sql).await
}

/// How many clients there are, and how many connections to the server that are lent to one.
async fn clients_and_lent(bouncer: &PgBouncer) -> (u32, u32) {
    let pools = bouncer.console("SHOW POOLS").await.unwrap();
    let pool = pools.lines().find(|line| line.starts_with("postgres|")).unwrap();
    let fields: Vec<&str> = pool.split('|').collect();
    (fields[2].parse().unwrap(), fields[6].parse().unwrap())
}

#[tokio::test]
async fn a_connection_is_lent_for_a_transaction() {
    let server = start().await;
    let options = PgBouncerOptions::new().with_setting("default_pool_size", "1");
    let bouncer = PgBouncer::start(&server, options).await.unwrap();
    let first = ask(&server, &bouncer, WHO).await.unwrap();
    assert_eq!(ask(&server, &bouncer, WHO).await.unwrap(), first, "it has one connection");
    for (begin, lent) in [("", 0), ("BEGIN;", 1)] {
        // It asks, and asks again much later.
        let idle = format!("{begin} SELECT 1 \\watch 100");
        let play = async {
            while clients_and_lent(&bouncer).await != (1, lent) {}
            let asked = timeout(Duration::from_millis(500), ask(&server, &bouncer, WHO)).await;
            assert_eq!(asked.is_err(), lent == 1, "{begin}");
        };
        tokio::select! {
            result = ask(&server, &bouncer, &idle) => panic!("{result:?}"),
            () = within("another client", play) => {}
        }
    }
}

#[tokio::test]
async fn it_dies_and_stands_still_and_comes_back() {
    let server = start().await;
    let bouncer = PgBouncer::start(&server, PgBouncerOptions::new()).await.unwrap();
    for again in 0..2 {
        assert_eq!(ask(&server, &bouncer, "SELECT 1").await.unwrap(), "1", "{again}");
        bouncer.pause().unwrap();
        let mut query = Box::pin(ask(&server, &bouncer, "SELECT 2"));
        assert!(timeout(Duration::from_millis(200), &mut query).await.is_err(), "{again}");
        bouncer.resume().unwrap();
        assert_eq!(within("an answer", query).await.unwrap(), "2", "{again}");
        assert!(bouncer.start_again().await.is_err(), "{again}: it runs");
        if again == 0 { bouncer.kill().await } else { bouncer.terminate().await }.unwrap();
        assert!(!bouncer.is_running(), "{again}");
        ask(&server, &bouncer, "SELECT 3").await.unwrap_err();
        bouncer.start_again().await.unwrap();
    }
    // A server that comes back is found again.
    server.kill().await.unwrap();
    server.start_again().await.unwrap();
    let back = async { while ask(&server, &bouncer, "SELECT 4").await.is_err() {} };
    within("the server behind it", back).await;
}

#[tokio::test]
async fn its_users_prove_who_they_are_to_both() {
    for auth in
        [PostgresAuth::Trust, PostgresAuth::Scram, PostgresAuth::Md5, PostgresAuth::Password]
    {
        let options = PostgresOptions::new().without_fsync().with_auth(auth);
        let server = PostgresServer::start(options).await.unwrap();
        server.create_role("app", "secret").await.unwrap();
        let options = PgBouncerOptions::new().with_auth(auth).with_user("app", "secret");
        let bouncer = PgBouncer::start(&server, options).await.unwrap();
        let ask = async |user: &str| {
            server.psql_at(&bouncer.url(user, "postgres"), "SELECT current_user").await
        };
        assert_eq!(ask("app:secret").await.unwrap(), "app", "{auth:?}");
        assert_eq!(ask("app:wrong").await.is_ok(), auth == PostgresAuth::Trust, "{auth:?}");
        ask("stranger:secret").await.unwrap_err();
        assert!(bouncer.console("SHOW VERSION").await.unwrap().starts_with("PgBouncer 1"));
    }
}
