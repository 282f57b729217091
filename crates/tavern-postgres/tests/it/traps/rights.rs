//! Who may publish by SQL, and nothing else.

use crate::stand::{Stand, moved, sql, texts};

#[tokio::test]
async fn a_role_that_may_publish_may_do_nothing_else() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    stand.server.create_role("app", "").await.unwrap();
    stand.server.create_role("guest", "").await.unwrap();
    stand.psql("GRANT USAGE ON SCHEMA tavern TO app, guest").await;
    stand.psql("GRANT EXECUTE ON FUNCTION tavern.publish TO app").await;
    let app = sql(&stand.server.url("app", "postgres")).await;
    app.run("SELECT tavern.publish('t', 'of app')").await;
    moved(&bus, "of app").await;
    for table in
        ["outbox", "entry", "lane", "namespace", "sent", "given", "live", "life", "schema_version"]
    {
        for statement in [
            format!("SELECT * FROM tavern.{table}"),
            format!("DELETE FROM tavern.{table}"),
            format!("TRUNCATE tavern.{table}"),
            format!("INSERT INTO tavern.{table} DEFAULT VALUES"),
        ] {
            let said = app.refused(&statement).await;
            assert!(said.contains("permission denied"), "{statement}: {said}");
        }
    }
    let call = "SELECT tavern.sweep(1, '', 0, '{\"\"}', 1, '{0}', '{0}', 0, 0, 100)";
    assert!(app.refused(call).await.contains("permission denied"));
    assert!(app.refused("CREATE TABLE tavern.mine ()").await.contains("permission denied"));
    let guest = sql(&stand.server.url("guest", "postgres")).await;
    let said = guest.refused("SELECT tavern.publish('t', 'of guest')").await;
    assert!(said.contains("permission denied for function publish"), "{said}");
    assert_eq!(texts(&bus).await, ["of app"]);
    bus.close().await.unwrap();
}

/// `publish` runs with its owner's rights, so what it names must not be the caller's: a type in the
/// caller's temporary schema would come first.
#[tokio::test]
async fn nothing_of_the_callers_runs_with_the_owners_rights() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    stand.server.create_role("app", "").await.unwrap();
    stand.psql("GRANT USAGE ON SCHEMA tavern TO app").await;
    stand.psql("GRANT EXECUTE ON FUNCTION tavern.publish TO app").await;
    let app = sql(&stand.server.url("app", "postgres")).await;
    app.run(
        "CREATE FUNCTION pg_temp.f(pg_catalog.text) RETURNS bool LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'runs as %', current_user; END $$;
        CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.f(VALUE))",
    )
    .await;
    app.run("SELECT tavern.publish('t', 'once')").await;
    moved(&bus, "once").await;
    bus.close().await.unwrap();
}
