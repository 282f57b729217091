//! Where the program `tavern` is.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// Names a program that was built before.
const VARIABLE: &str = "TAVERN_E2E_HUB";

/// The program to test. Cargo tells only the tests of its own package where it is, so it is asked.
pub(crate) fn path() -> &'static PathBuf {
    static PATH: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::var_os(VARIABLE).map_or_else(build, PathBuf::from));
    &PATH
}

/// Has cargo build it, or find that it is built.
fn build() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--package", "tavern-server", "--bin", "tavern"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "the hub cannot be built");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the program")
}
