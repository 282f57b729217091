//! What a node has to be allowed, and what it says if it is not.

use tavern_backend::Error;
use tavern_testkit::say::{Also as _, message};

use super::all_works;
use crate::stand::{Stand, keeping, until};

/// As the documentation has them.
const RIGHTS: [(&str, &str); 9] = [
    ("schema_version", "SELECT"),
    ("namespace", "SELECT, INSERT, UPDATE"),
    ("lane", "SELECT, INSERT, UPDATE, DELETE"),
    ("entry", "SELECT, INSERT, DELETE"),
    ("sent", "SELECT, INSERT, UPDATE, DELETE"),
    ("given", "SELECT, INSERT, UPDATE, DELETE"),
    ("outbox", "SELECT, DELETE"),
    ("live", "SELECT, INSERT, DELETE"),
    ("life", "SELECT, INSERT"),
];

/// The schema is the owner's; the node's role has the least rights, and needs each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_needs_few_rights_in_a_schema_of_somebody_else() {
    let stand = Stand::start().await;
    stand.server.create_role("owner", "").await.unwrap();
    stand.server.create_role("node", "").await.unwrap();
    stand.psql("GRANT CREATE ON DATABASE postgres TO owner").await;
    let node = stand.at(stand.server.url("node", "postgres")).with(|c| c.migrate = false);
    let error = node.open().await.unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    assert!(error.to_string().contains("schema()"), "{error}");
    let migrating = node.with(|config| config.migrate = true);
    let error = migrating.open().await.unwrap_err();
    let create = "GRANT CREATE ON DATABASE postgres TO node;";
    assert!(error.to_string().contains(create), "{error}");
    let owner = stand.server.url("owner", "postgres");
    stand.server.psql_at(&owner, &tavern_postgres::schema()).await.unwrap();
    let error = node.open().await.unwrap_err();
    assert!(error.to_string().contains("GRANT USAGE ON SCHEMA tavern TO node;"), "{error}");
    let mut grants = "GRANT USAGE ON SCHEMA tavern TO node;".to_owned();
    for (table, rights) in RIGHTS {
        grants.push_str(&format!("GRANT {rights} ON tavern.{table} TO node;"));
    }
    stand.server.psql_at(&owner, &grants).await.unwrap();
    all_works(&node).await;
    // What sweeping needs, and new rules.
    let few = node.with(|config| {
        config.retention = Some(keeping(3));
        config.apply_retention = true;
    });
    let bus = few.bus().await;
    for n in 0..20 {
        crate::stand::store(&bus, message("swept", n.to_string()).id(&n.to_string())).await;
    }
    // As if that were long ago.
    stand.psql("UPDATE tavern.entry SET appended = appended - 3000000; UPDATE tavern.sent SET at = 0; UPDATE tavern.given SET at = 0").await;
    crate::stand::store(&bus, message("other", "x")).await;
    until("it is swept", || async {
        stand.psql("SELECT count(*) FROM tavern.entry e JOIN tavern.lane l ON l.id = e.lane WHERE l.topic = 'swept'").await == "3"
            && stand.psql("SELECT count(*) FROM tavern.given").await != "20"
    })
    .await;
    bus.close().await.unwrap();
    // The role can do no more than that.
    for statement in
        ["DROP TABLE tavern.entry", "UPDATE tavern.entry SET seq = 1", "CREATE TABLE tavern.x ()"]
    {
        let url = stand.server.url("node", "postgres");
        stand.server.psql_at(&url, statement).await.unwrap_err();
    }
}

/// A schema that is the superuser's, and a role that may do with it what a node needs.
async fn with_rights() -> (Stand, Stand) {
    let stand = Stand::start().await;
    stand.psql(&tavern_postgres::schema()).await;
    stand.server.create_role("node", "").await.unwrap();
    stand.psql("GRANT USAGE ON SCHEMA tavern TO node").await;
    for (table, rights) in RIGHTS {
        stand.psql(&format!("GRANT {rights} ON tavern.{table} TO node")).await;
    }
    let node = stand.at(stand.server.url("node", "postgres")).with(|c| c.migrate = false);
    (stand, node)
}

/// The statements that a node which may not do all that it needs asks for.
async fn asked_for(node: &Stand) -> Vec<String> {
    let error = node.open().await.unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    let text = error.to_string();
    let (_, grants) = text.split_once("let their owner run: ").unwrap_or_else(|| panic!("{text}"));
    grants.trim_end_matches(';').split("; ").map(str::to_owned).collect()
}

/// Takes each right away, once: the node says which one it lacks, as the statement that gives it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_right_that_is_missing_is_said_as_the_statement_that_gives_it() {
    let (stand, node) = with_rights().await;
    let mut all = vec![("USAGE ON SCHEMA tavern".to_owned(), "node")];
    for (table, rights) in RIGHTS {
        let each = rights.split(", ");
        all.extend(each.map(|right| (format!("{right} ON tavern.{table}"), "node")));
    }
    let functions = "SELECT proname FROM pg_proc
        WHERE pronamespace = 'tavern'::regnamespace AND proname <> 'publish'";
    let functions = stand.psql(functions).await;
    assert!(functions.lines().count() >= 6, "{functions}");
    for function in functions.lines() {
        all.push((format!("EXECUTE ON FUNCTION tavern.{function}"), "PUBLIC"));
    }
    for function in ["pg_control_system()", "pg_notify(text,text)"] {
        all.push((format!("EXECUTE ON FUNCTION pg_catalog.{function}"), "PUBLIC"));
    }
    for (right, whose) in &all {
        stand.psql(&format!("REVOKE {right} FROM {whose}")).await;
        let asked = asked_for(&node).await;
        assert_eq!(asked, [format!("GRANT {right} TO node")]);
        stand.psql(&asked[0]).await;
    }
    // With `migrate` it is the same.
    let migrating = node.with(|config| config.migrate = true);
    for (right, _) in &all {
        stand.psql(&format!("REVOKE {right} FROM node")).await;
    }
    let (asked, again) = (asked_for(&node).await, asked_for(&migrating).await);
    assert_eq!(asked, again);
    let mut wanted: Vec<_> =
        all.iter().map(|(right, _)| format!("GRANT {right} TO node")).collect();
    let mut sorted = asked.clone();
    wanted.sort();
    sorted.sort();
    assert_eq!(sorted, wanted, "all at once");
    for statement in asked {
        stand.psql(&statement).await;
    }
    all_works(&node).await;
}

/// The statements of a page of the documentation that begins at `from`.
fn statements<'a>(text: &'a str, from: &str, comment: &str) -> Vec<&'a str> {
    let (_, text) = text.split_once(from).unwrap();
    let (_, text) = text.split_once("```sql\n").unwrap();
    let (block, _) = text.split_once("```").unwrap();
    let lines = block.lines().map(|line| line.strip_prefix(comment).unwrap_or(line).trim());
    lines.filter(|line| !line.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_the_documentation_gives_are_enough() {
    let manual = include_str!("../../../../../docs/operations.md");
    let docs = include_str!("../../../src/lib.rs");
    for (grants, role) in [
        (statements(manual, "\n## Postgres\n", ""), "tavern_hub"),
        (statements(docs, "//! **Rights.**", "//!"), "node"),
    ] {
        assert!(grants.len() >= 4, "{grants:?}");
        let stand = Stand::start().await;
        for role in [role, "app"] {
            stand.server.create_role(role, "").await.unwrap();
        }
        stand.psql(&tavern_postgres::schema()).await;
        let node = stand.at(stand.server.url(role, "postgres")).with(|c| c.migrate = false);
        assert!(asked_for(&node).await.len() > 10);
        for grant in grants {
            stand.psql(grant).await;
        }
        all_works(&node).await;
    }
}

/// Who listens comes by another address, and may be somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_connect_in_order_to_listen_is_said() {
    let stand = Stand::start().await;
    stand.server.create_role("ear", "").await.unwrap();
    stand.psql("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC").await;
    let listen = stand.server.url("ear", "postgres");
    let node = stand.with(move |config| config.listen_url = Some(listen.clone()));
    let error = node.open().await.unwrap_err().to_string();
    let grant = "GRANT CONNECT ON DATABASE \"postgres\" TO \"ear\"";
    assert!(error.contains(grant), "{error}");
    stand.psql(grant).await;
    all_works(&node).await;
}

/// Else nothing would ever be heard there, and everything come with the poll.
#[tokio::test]
async fn listening_to_another_database_is_refused() {
    let (stand, other) = (Stand::start().await, Stand::start().await);
    stand.server.create_database("other").await.unwrap();
    for url in [stand.server.url("postgres", "other"), other.server.url("postgres", "postgres")] {
        let node = stand.with(move |config| config.listen_url = Some(url.clone()));
        let error = node.open().await.unwrap_err().to_string();
        assert!(error.contains("another database"), "{error}");
    }
}
