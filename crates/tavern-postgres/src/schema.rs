//! The schema `tavern` and its versions.
//!
//! Tables change by numbered steps, each applied once, in one transaction under an advisory lock, so
//! that nodes that open at once do not get into each other's way. Functions are replaced as a whole
//! where a release brings others.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::connect::timed;
use crate::failure::Failure;
use crate::shared::Shared;

/// Steps in order; their number is the version of the schema.
const STEPS: &[&str] = &[concat!(include_str!("sql/001.sql"), include_str!("sql/002_publish.sql"))];

/// With earlier functions the tables were others: before the first release.
const FIRST_FUNCTIONS: i32 = 5;

/// What is replaced as a whole.
const FUNCTIONS: &[&str] =
    &[include_str!("sql/append.sql"), include_str!("sql/read.sql"), include_str!("sql/sweep.sql")];

/// The version of the functions: raised with each change of them.
const FUNCTIONS_VERSION: i32 = 6;

/// Who migrates holds it.
const LOCK: i32 = 1_952_545_397;

/// A migration may have to wait for another node's.
const PATIENCE: u32 = 12;

/// The statements that bring a database to this release's version, for who applies them with a role
/// of its own ([`PostgresConfig::migrate`](crate::PostgresConfig::migrate) off). May be applied again
/// and to an older version's schema; what is newer is left alone.
#[must_use]
pub fn schema() -> String {
    let mut all = format!("BEGIN;\nSELECT pg_advisory_xact_lock({LOCK});\n{FIRST}");
    all.push_str(&format!(
        "DO $tavern_guard$ BEGIN
    IF (SELECT max(functions) < {FIRST_FUNCTIONS} FROM tavern.schema_version) THEN
        RAISE EXCEPTION '{UNRELEASED}';
    END IF;
END $tavern_guard$;
"
    ));
    for (step, number) in STEPS.iter().zip(1..) {
        all.push_str(&guarded(&format!("max(version) >= {number}"), step, (number, 0)));
    }
    let wanted = STEPS.len();
    let has = format!("max(version) > {wanted} OR max(functions) >= {FUNCTIONS_VERSION}");
    all.push_str(&guarded(&has, &FUNCTIONS.concat(), (wanted, FUNCTIONS_VERSION)));
    all.push_str("COMMIT;\n");
    all
}

/// The same statements, unless the schema is as said; then it has this version, and its functions
/// that one.
fn guarded(has: &str, statements: &str, (version, functions): (usize, i32)) -> String {
    format!(
        "DO $tavern_guard$ BEGIN
    IF NOT coalesce((SELECT {has} FROM tavern.schema_version), false) THEN
        EXECUTE $tavern_step$
{statements}
$tavern_step$;
        INSERT INTO tavern.schema_version (version, functions) VALUES ({version}, {functions})
            ON CONFLICT (version) DO UPDATE SET functions = excluded.functions;
    END IF;
END $tavern_guard$;
"
    )
}

const FIRST: &str = "
CREATE SCHEMA IF NOT EXISTS tavern;
CREATE TABLE IF NOT EXISTS tavern.schema_version (
    version int4 PRIMARY KEY,
    functions int4 NOT NULL,
    applied timestamptz NOT NULL DEFAULT clock_timestamp()
);
";

/// What has no steps to this release's tables.
const UNRELEASED: &str = "the schema `tavern` is of a version before the first release, and cannot be brought up to date: DROP SCHEMA tavern CASCADE, which loses what is in the log";

/// What the database has: the version of its tables and of its functions; `None` if nothing.
async fn version(client: &Client, shared: &Shared) -> Result<Option<(i32, i32)>, Failure> {
    let look = "SELECT max(version), max(functions) FROM tavern.schema_version";
    match timed(shared.config.timeout, client.query_typed_one(look, &[])).await {
        Ok(row) => {
            let (version, functions) = (row.get::<_, Option<i32>>(0), row.get::<_, Option<i32>>(1));
            Ok(version.zip(functions))
        }
        Err(failure) if failure.absent => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Creates the schema or brings it up to date, if need be and if it may.
pub(crate) async fn migrate(client: &Client, shared: &Shared) -> Result<(), Failure> {
    let wanted = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    let has = version(client, shared).await?;
    match has {
        Some((version, _)) if version > wanted => {
            return Err(Failure::lasting(format!(
                "the schema `tavern` has version {version}, this release knows version {wanted}; \
                 update this node"
            )));
        }
        Some((_, functions)) if functions < FIRST_FUNCTIONS => {
            return Err(Failure::lasting(UNRELEASED));
        }
        Some((version, functions)) if version == wanted && functions >= FUNCTIONS_VERSION => {
            return Ok(());
        }
        _ if !shared.config.migrate => {
            return Err(Failure::lasting(
                "the schema `tavern` is not there or not up to date, and `migrate` is off: apply \
                 the statements of `tavern_postgres::schema()`",
            ));
        }
        _ => {}
    }
    let limit = shared.config.timeout * PATIENCE;
    let run = async {
        client
            .batch_execute(&format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({LOCK})"
            ))
            .await?;
        client.batch_execute(FIRST).await?;
        let look = "SELECT coalesce(max(version), 0), coalesce(max(functions), 0) FROM tavern.schema_version";
        let row = client.query_typed_one(look, &[]).await?;
        let (version, functions) = (row.get::<_, i32>(0), row.get::<_, i32>(1));
        for (step, number) in STEPS.iter().zip(1..) {
            if number > version {
                client.batch_execute(step).await?;
                let note = "INSERT INTO tavern.schema_version (version, functions) VALUES ($1, 0)";
                client.execute_typed(note, &[(&number, Type::INT4)]).await?;
            }
        }
        if functions < FUNCTIONS_VERSION || version < wanted {
            for function in FUNCTIONS {
                client.batch_execute(function).await?;
            }
            let note = "UPDATE tavern.schema_version SET functions = $1 WHERE version = $2";
            client
                .execute_typed(note, &[(&FUNCTIONS_VERSION, Type::INT4), (&wanted, Type::INT4)])
                .await?;
        }
        client.batch_execute("COMMIT").await
    };
    timed(limit, run)
        .await
        .map_err(|failure| failure.while_at("the schema `tavern` cannot be made"))
}
