//! The suite that every backend passes, on Valkey.

use tavern_testkit::engine::{Flavor, RedisOptions};

use crate::kit::RedisRig;

tavern_testkit::conformance!(RedisRig::new(RedisOptions::new(Flavor::Valkey)));
