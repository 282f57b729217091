//! The suite that every backend passes.

use tavern_testkit::engine::RedisOptions;

use crate::kit::RedisRig;

tavern_testkit::conformance!(RedisRig::new(RedisOptions::default()));
