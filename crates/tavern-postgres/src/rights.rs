//! What a node's role has to be allowed, looked at before the node begins: one that lacks a right
//! would open, and then deliver nothing.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::connect::timed;
use crate::failure::Failure;
use crate::shared::Shared;

/// What is done to each table.
const TABLES: &[(&str, &[&str])] = &[
    ("schema_version", &["SELECT"]),
    ("namespace", &["SELECT", "INSERT", "UPDATE"]),
    ("lane", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("entry", &["SELECT", "INSERT", "DELETE"]),
    ("sent", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("given", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("outbox", &["SELECT", "DELETE"]),
    ("live", &["SELECT", "INSERT", "DELETE"]),
    ("life", &["SELECT", "INSERT"]),
];

/// What is called of the server's own. Everybody may, unless that was taken away; the same goes for
/// what is in the schema, of which a node uses all but the way in for SQL.
const BUILT_IN: &[&str] = &[
    "pg_control_system()",
    "pg_walfile_name(pg_lsn)",
    "pg_current_wal_insert_lsn()",
    "pg_postmaster_start_time()",
    "pg_is_in_recovery()",
    "pg_relation_filepath(regclass)",
    "pg_notify(text,text)",
    "pg_notification_queue_usage()",
    "pg_advisory_xact_lock(int4,int4)",
    "pg_try_advisory_xact_lock(int4,int4)",
];

/// The `GRANT` for each right that is missing; of what is not there yet, for the right to make it.
/// The catalogue may be read by everybody.
const MISSING: &str = "
WITH node AS (SELECT quote_ident(current_user) AS name)
SELECT what || ' TO ' || node.name FROM node, (
    SELECT 1 AS n, 'GRANT CREATE ON DATABASE ' || quote_ident(current_database()) AS what
        WHERE $3 AND to_regnamespace('tavern') IS NULL
            AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT 2, 'GRANT USAGE ON SCHEMA tavern' FROM pg_namespace s
        WHERE s.nspname = 'tavern' AND NOT has_schema_privilege(s.oid, 'USAGE')
    UNION ALL
    SELECT 3, 'GRANT ' || t.privilege || ' ON tavern.' || t.name
        FROM unnest($1::text[], $2::text[]) AS t(name, privilege)
        JOIN pg_namespace s ON s.nspname = 'tavern'
        JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = t.name
        WHERE NOT has_table_privilege(c.oid, t.privilege)
    UNION ALL
    SELECT 4, 'GRANT EXECUTE ON FUNCTION tavern.' || p.proname
        FROM pg_namespace s JOIN pg_proc p ON p.pronamespace = s.oid
        WHERE s.nspname = 'tavern' AND p.proname <> 'publish'
            AND NOT has_function_privilege(p.oid, 'EXECUTE')
    UNION ALL
    SELECT 5, 'GRANT EXECUTE ON FUNCTION pg_catalog.' || f.signature FROM unnest($4::text[]) AS f(signature)
        WHERE NOT has_function_privilege('pg_catalog.' || f.signature, 'EXECUTE')
) lacks ORDER BY n, what";

/// Fails with all that is missing, each as the statement that gives it.
pub(crate) async fn check(client: &Client, shared: &Shared) -> Result<(), Failure> {
    let pairs =
        TABLES.iter().flat_map(|(table, rights)| rights.iter().map(move |right| (*table, *right)));
    let (tables, rights): (Vec<&str>, Vec<&str>) = pairs.unzip();
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&tables, Type::TEXT_ARRAY),
        (&rights, Type::TEXT_ARRAY),
        (&shared.config.migrate, Type::BOOL),
        (&BUILT_IN, Type::TEXT_ARRAY),
    ];
    let rows = timed(shared.config.timeout, client.query_typed(MISSING, &values)).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let grants: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    Err(Failure::lasting(format!(
        "the role lacks rights; let their owner run: {};",
        grants.join("; ")
    )))
}
