//! The edges between the crates, as `ARCHITECTURE.md` draws them: they point down only.
//!
//! ```text
//! server ► tavern ► http ► broker ► backend ◄ sqlite, redis, nats, postgres
//!                     └──────┴───► sse          testkit ► broker, backend, sse
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which crates of the workspace each one may name in what it ships. A new edge is a decision.
const DOWN: &[(&str, &[&str])] = &[
    ("tavern-sse", &[]),
    ("tavern-backend", &[]),
    ("tavern-sqlite", &["tavern-backend"]),
    ("tavern-redis", &["tavern-backend"]),
    ("tavern-nats", &["tavern-backend"]),
    ("tavern-postgres", &["tavern-backend"]),
    ("tavern-broker", &["tavern-backend", "tavern-sse"]),
    ("tavern-http", &["tavern-backend", "tavern-broker", "tavern-sse"]),
    (
        "tavern",
        &[
            "tavern-backend",
            "tavern-broker",
            "tavern-http",
            "tavern-nats",
            "tavern-postgres",
            "tavern-redis",
            "tavern-sqlite",
        ],
    ),
    ("tavern-server", &["tavern", "tavern-sse"]),
    ("tavern-testkit", &["tavern-backend", "tavern-broker", "tavern-sse"]),
    // Not published; nothing may name them.
    (
        "tavern-bench",
        &[
            "tavern",
            "tavern-backend",
            "tavern-broker",
            "tavern-nats",
            "tavern-postgres",
            "tavern-redis",
            "tavern-sqlite",
            "tavern-sse",
            "tavern-testkit",
        ],
    ),
    ("tavern-e2e", &[]),
    ("tavern-examples", &[]),
];

/// What the kit for testing may be named by.
const KIT: &str = "tavern-testkit";

/// Crates with which sockets, HTTP or TLS come in. `mio` and `socket2` are tokio's `net`.
const NETWORK: &[&str] = &[
    "async-nats",
    "aws-lc-rs",
    "axum",
    "fred",
    "h2",
    "http",
    "hyper",
    "mio",
    "native-tls",
    "openssl-sys",
    "postgres",
    "redis",
    "reqwest",
    "ring",
    "rustls",
    "socket2",
    "tokio-postgres",
    "tokio-rustls",
    "tower-http",
    "ureq",
];

/// Crates that store.
const ENGINES: &[&str] = &["libsqlite3-sys", "rocksdb", "rusqlite", "sled", "sqlx"];

/// What the crates of the workspace declare to depend on: crate, then (dependency, kind).
fn declared() -> BTreeMap<String, BTreeSet<(String, Kind)>> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<_> = packages.iter().map(name).collect();
    let edges = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies
            .map(|dependency| (name(dependency), Kind::of(dependency)))
            .filter(|(dependency, _)| ours.contains(dependency))
            .collect()
    };
    packages.iter().map(|package| (name(package), edges(package))).collect()
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Shipped,
    Dev,
}

impl Kind {
    fn of(dependency: &Value) -> Self {
        match dependency["kind"].as_str() {
            Some("dev") => Self::Dev,
            None | Some("build") => Self::Shipped,
            Some(other) => panic!("a kind of dependency that this test does not know: {other}"),
        }
    }
}

/// The names of everything that ships with `package`, all of its features on; tokio with its
/// features, as `tokio/net`.
fn shipped(package: &str) -> BTreeSet<String> {
    let args = ["tree", "-p", package, "-e", "no-dev", "--all-features", "--prefix", "none"];
    let tree = cargo(&[&args[..], &["--format", "{p}|{f}"]].concat());
    let mut shipped = BTreeSet::new();
    for line in tree.lines() {
        let (named, features) = line.split_once('|').unwrap();
        let name = named.split(' ').next().unwrap();
        shipped.insert(name.to_owned());
        if name == "tokio" {
            let features = features.trim_end_matches(" (*)").split(',');
            shipped.extend(features.map(|feature| format!("tokio/{feature}")));
        }
    }
    assert!(shipped.contains(package), "{tree}");
    shipped
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn ships_none_of(package: &str, forbidden: &[&[&str]]) {
    let shipped = shipped(package);
    let found: Vec<_> =
        forbidden.concat().into_iter().filter(|name| shipped.contains(*name)).collect();
    assert!(found.is_empty(), "{package} must do without {found:?}; see `cargo tree -p {package}`");
}

#[test]
fn arrows_point_down() {
    let drawn: BTreeMap<_, _> = DOWN.iter().copied().collect();
    for (package, edges) in declared() {
        let allowed = drawn.get(package.as_str());
        let allowed =
            allowed.unwrap_or_else(|| panic!("{package} has no place in the drawing yet"));
        for (dependency, kind) in edges {
            let fine = kind == Kind::Dev || allowed.contains(&dependency.as_str());
            assert!(fine, "{package} ► {dependency} is not in the drawing");
        }
    }
}

#[test]
fn the_drawing_has_no_crate_that_is_gone() {
    let declared = declared();
    for (package, allowed) in DOWN {
        for name in [package].into_iter().chain(*allowed) {
            assert!(declared.contains_key(*name), "{name} is drawn but not there");
        }
    }
}

#[test]
fn only_tests_and_benches_name_the_testkit() {
    for (package, edges) in declared() {
        let ships_it = edges.contains(&(KIT.to_owned(), Kind::Shipped));
        assert!(!ships_it || package == "tavern-bench", "{package} ships {KIT}");
    }
}

#[test]
fn the_format_needs_no_runtime() {
    ships_none_of("tavern-sse", &[NETWORK, ENGINES, &["tokio", "futures-util", "tracing"]]);
}

#[test]
fn the_contract_opens_no_socket() {
    ships_none_of(
        "tavern-backend",
        &[NETWORK, ENGINES, &["tokio/net", "tokio/full", "tavern-sse"]],
    );
}

#[test]
fn the_broker_cannot_name_a_transport() {
    let backends = ["tavern-sqlite", "tavern-redis", "tavern-nats", "tavern-postgres"];
    let transports = [&backends[..], &["tavern-http", "tokio/net", "tokio/full"]].concat();
    ships_none_of("tavern-broker", &[NETWORK, ENGINES, &transports]);
}

#[test]
fn a_transport_cannot_name_the_broker() {
    let above = ["tavern-broker", "tavern-http", "tavern-sse", "tavern"];
    ships_none_of("tavern-sqlite", &[NETWORK, &above]);
    ships_none_of("tavern-redis", &[ENGINES, &above]);
    ships_none_of("tavern-nats", &[ENGINES, &above]);
    ships_none_of("tavern-postgres", &[ENGINES, &above]);
}

#[test]
fn http_knows_no_backend_but_the_contract() {
    let backends = ["tavern-sqlite", "tavern-redis", "tavern-nats", "tavern-postgres", "tavern"];
    ships_none_of("tavern-http", &[ENGINES, &backends]);
}
