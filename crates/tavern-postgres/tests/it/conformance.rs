//! The suite that every backend passes.

use crate::kit::PostgresRig;

tavern_testkit::conformance!(PostgresRig::new());
