//! The schema: made once by many, kept from older releases, replaced by newer ones.

use tavern_backend::Error;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;

use crate::stand::{Stand, moved, store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_open_at_once_on_an_empty_database() {
    let stand = Stand::start().await;
    // Where it is hardest.
    stand.psql("ALTER SYSTEM SET default_transaction_isolation = 'serializable'").await;
    stand.psql("SELECT pg_reload_conf()").await;
    let opening = (0..10).map(|_| stand.bus());
    let nodes = within("all open", futures_util::future::join_all(opening)).await;
    for (n, node) in (1..).zip(&nodes) {
        assert_eq!(store(node, message("t", n.to_string())).await, n, "one log");
    }
    for node in nodes {
        node.close().await.unwrap();
    }
    let versions = stand.psql("SELECT version, functions > 0 FROM tavern.schema_version").await;
    assert_eq!(versions, "1|t");
}

#[tokio::test]
async fn a_newer_schema_is_a_lasting_error_that_names_it() {
    let stand = Stand::start().await;
    stand.bus().await.close().await.unwrap();
    stand.psql("INSERT INTO tavern.schema_version VALUES (7, 9)").await;
    for migrate in [true, false] {
        let error = stand.with(move |c| c.migrate = migrate).open().await.unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("version 7") && said.contains("version 1"), "{said}");
    }
    // Nor do the statements touch it.
    stand.psql("DROP FUNCTION tavern.cut").await;
    stand.psql(&tavern_postgres::schema()).await;
    assert_eq!(stand.psql("SELECT count(*) FROM pg_proc WHERE proname = 'cut'").await, "0");
    let versions = "SELECT version, functions = 9 FROM tavern.schema_version ORDER BY 1";
    assert_eq!(stand.psql(versions).await, "1|f\n7|t");
}

/// Those of an older release; by a node, and by who applies the statements.
#[tokio::test]
async fn older_functions_are_replaced() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    store(&bus, message("t", "1")).await;
    bus.close().await.unwrap();
    let older = "
        CREATE OR REPLACE FUNCTION tavern.cut(
            c_lane int8, c_floor int8, keep int4, age int8, clock int8
        ) RETURNS int8 LANGUAGE plpgsql AS $$ BEGIN RAISE 'it is old'; END $$;
        UPDATE tavern.schema_version SET functions = 5";
    stand.psql(older).await;
    let fixed = stand.with(|config| config.migrate = false);
    let error = fixed.open().await.unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    let bus = stand.bus().await;
    moved(&bus, "1").await;
    bus.close().await.unwrap();
    stand.psql(older).await;
    stand.psql(&tavern_postgres::schema()).await;
    let bus = fixed.bus().await;
    moved(&bus, "1").await;
    bus.close().await.unwrap();
    let versions = "SELECT version, functions > 0 FROM tavern.schema_version";
    assert_eq!(stand.psql(versions).await, "1|t");
}

/// Its tables were others.
#[tokio::test]
async fn a_schema_from_before_the_first_release_is_a_lasting_error_that_says_what_to_do() {
    let stand = Stand::start().await;
    stand.bus().await.close().await.unwrap();
    stand.psql("UPDATE tavern.schema_version SET functions = 4").await;
    for migrate in [true, false] {
        let error = stand.with(move |c| c.migrate = migrate).open().await.unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
        assert!(error.to_string().contains("DROP SCHEMA tavern CASCADE"), "{error}");
    }
    let said = stand.sql().await.refused(&tavern_postgres::schema()).await;
    assert!(said.contains("DROP SCHEMA tavern CASCADE"), "{said}");
    stand.psql("DROP SCHEMA tavern CASCADE").await;
    stand.bus().await.close().await.unwrap();
}

/// What a node makes and what the statements make is the same, and they can be applied again.
#[tokio::test]
async fn the_statements_make_what_a_node_makes() {
    let stand = Stand::start().await;
    stand.bus().await.close().await.unwrap();
    stand.server.create_database("other").await.unwrap();
    for _ in 0..2 {
        stand.server.psql_in("other", &tavern_postgres::schema()).await.unwrap();
    }
    let catalogue = "
        SELECT c.relname, c.relpersistence, c.reloptions, a.attname, a.atttypid::regtype, a.attnotnull,
            a.attstorage, a.attidentity FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'tavern'::regnamespace AND a.attnum > 0 ORDER BY 1, 4;
        SELECT proname, md5(prosrc), proconfig, prosecdef, proacl FROM pg_proc
            WHERE pronamespace = 'tavern'::regnamespace ORDER BY 1;
        SELECT indexdef FROM pg_indexes WHERE schemaname = 'tavern' ORDER BY 1;
        SELECT version, functions FROM tavern.schema_version";
    let (ours, theirs) =
        (stand.psql(catalogue).await, stand.server.psql_in("other", catalogue).await.unwrap());
    assert!(ours.lines().count() > 50, "{ours}");
    assert_eq!(ours, theirs);
    let url = stand.server.url("postgres", "other");
    let other = stand.at(url).with(|config| config.migrate = false);
    let bus = other.bus().await;
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    bus.close().await.unwrap();
}
