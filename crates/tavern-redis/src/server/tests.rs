use super::Server;

fn info(lines: &[&str]) -> String {
    let more = ["# Server", "os:Linux", "", "# Replication"];
    lines.iter().chain(&more).map(|line| format!("{line}\r\n")).collect()
}

#[test]
fn facts_are_read_from_info() {
    let server = Server::parse(&info(&[
        "redis_version:7.0.15",
        "role:master",
        "cluster_enabled:1",
        "maxmemory_policy:allkeys-lru",
        "loading:0",
    ]))
    .unwrap();
    assert_eq!((server.major, server.primary, server.cluster), (7, true, true));
    assert!(server.evicts() && !server.loading);
}

#[test]
fn a_replica_that_loads_is_seen_as_one() {
    let lines = ["redis_version:6.2.0", "role:slave", "cluster_enabled:0", "loading:1"];
    let server = Server::parse(&info(&lines)).unwrap();
    assert!(!server.primary && !server.cluster && server.loading && !server.evicts());
}

#[test]
fn only_policies_that_take_any_key_evict_the_log() {
    for (policy, evicts) in [
        ("noeviction", false),
        ("volatile-lru", false),
        ("volatile-ttl", false),
        ("allkeys-lfu", true),
        ("allkeys-random", true),
    ] {
        let lines = ["redis_version:6.2.0".to_owned(), format!("maxmemory_policy:{policy}")];
        let server = Server::parse(&info(&lines.each_ref().map(String::as_str))).unwrap();
        assert_eq!(server.evicts(), evicts, "{policy}");
    }
}

#[test]
fn servers_that_are_too_old_are_refused_by_name() {
    for version in ["6.0.16", "5.0.7", "2.8", "garbage", ""] {
        let failure = Server::parse(&info(&[&format!("redis_version:{version}")])).unwrap_err();
        assert!(failure.lasting, "{version}");
        assert!(failure.reason.contains(version) && failure.reason.contains("6.2"), "{version}");
    }
    // Valkey says which Redis it is compatible with.
    for version in ["6.2", "6.2.14", "7.2.4", "10.0.0-rc1"] {
        Server::parse(&info(&[&format!("redis_version:{version}")])).unwrap();
    }
}

#[test]
fn anything_may_be_in_info() {
    for text in ["", ":", "\r\n\r\n", "redis_version", "redis_version:", "role:master"] {
        assert!(Server::parse(text).is_err());
    }
}
