//! The memory backend passes the suite.

use tavern_testkit::MemoryRig;

tavern_testkit::conformance!(MemoryRig::new());
