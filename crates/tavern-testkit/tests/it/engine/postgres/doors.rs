//! Who comes in, and how.

use tavern_testkit::engine::{PostgresAuth, PostgresOptions, PostgresServer};

#[tokio::test]
async fn passwords_are_asked_for() {
    for auth in [PostgresAuth::Scram, PostgresAuth::Md5, PostgresAuth::Password] {
        let options = PostgresOptions::new().without_fsync().with_auth(auth);
        let server = PostgresServer::start(options).await.unwrap();
        server.create_role("app", "it's \"secret\"").await.unwrap();
        server.create_database("of app").await.unwrap();
        let right = server.url("app:it's%20%22secret%22", "of%20app");
        assert_eq!(server.psql_at(&right, "SELECT current_user").await.unwrap(), "app", "{auth:?}");
        let made = server.psql_in("of app", "SELECT current_database()").await.unwrap();
        assert_eq!(made, "of app", "{auth:?}");
        for (user, text) in [("app:wrong", "authentication failed"), ("app", "no password")] {
            let error = server.psql_at(&server.url(user, "postgres"), "SELECT 1").await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains(text), "{auth:?} {user}: {error}");
        }
        // Neither is more than a role that may log in.
        let error = server.psql_at(&right, "CREATE ROLE more").await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{error}");
    }
}

#[tokio::test]
async fn anyone_may_come_in_unless_told_otherwise() {
    let options = PostgresOptions::new()
        .without_fsync()
        .with_hba("host all refused 127.0.0.1/32 reject")
        .with_setting("statement_timeout", "100ms")
        .with_setting("max_connections", "7");
    let server = PostgresServer::start(options).await.unwrap();
    for name in ["app", "refused"] {
        server.create_role(name, "").await.unwrap();
    }
    let ask = async |user: &str, sql: &str| {
        let url = server.url(user, "postgres");
        server.psql_at(&url, sql).await.map_err(|error| error.to_string())
    };
    assert_eq!(ask("app", "SHOW max_connections; SHOW fsync").await.unwrap(), "7\noff");
    assert!(ask("refused", "SELECT 1").await.unwrap_err().contains("rejects"));
    assert!(ask("app", "SELECT pg_sleep(50)").await.unwrap_err().contains("statement timeout"));
}

#[tokio::test]
async fn tls_shows_a_certificate_of_an_authority_of_its_own() {
    let options = PostgresOptions::new()
        .without_fsync()
        .with_tls()
        .with_hba("hostnossl all all 127.0.0.1/32 reject");
    let server = PostgresServer::start(options).await.unwrap();
    let ask = async |server: &PostgresServer, ca: &PostgresServer, more: &str| {
        let ca = ca.ca_file();
        let url =
            format!("{}?sslrootcert={}&{more}", server.url("postgres", "postgres"), ca.display());
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        server.psql_at(&url, sql).await.map_err(|error| error.to_string())
    };
    assert_eq!(ask(&server, &server, "sslmode=verify-full").await.unwrap(), "t");
    assert!(ask(&server, &server, "sslmode=disable").await.unwrap_err().contains("no encryption"));
    let other =
        PostgresServer::start(PostgresOptions::new().without_fsync().with_tls()).await.unwrap();
    let error = ask(&server, &other, "sslmode=verify-full").await.unwrap_err();
    assert!(error.contains("certificate verify failed"), "{error}");
    // Where nobody has to, one may come without.
    assert_eq!(ask(&other, &other, "sslmode=disable").await.unwrap(), "f");
}
