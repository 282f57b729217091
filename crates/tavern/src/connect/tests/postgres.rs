//! `postgres://` and `postgresql://`, as far as no server is needed.

use std::time::Duration;

use tavern_postgres::PostgresConfig;

use super::*;

fn config(url: &str) -> Result<PostgresConfig> {
    let (_, rest) = url.split_once(':').unwrap();
    let (place, query) = crate::connect::postgres::split(rest);
    crate::connect::postgres::config(place, Query::parse(query)?)
}

#[test]
fn the_place_is_passed_on_as_it_stands() {
    for (url, passed) in [
        ("postgres://localhost", "postgres://localhost"),
        ("postgresql://ann:p%40ss@[::1]:7000/db", "postgres://ann:p%40ss@[::1]:7000/db"),
        ("postgres://a,b:7/db?", "postgres://a,b:7/db"),
        ("postgres://%2Frun%2Fpg/db", "postgres://%2Frun%2Fpg/db"),
        ("postgres:///db?host=/run/pg&namespace=x", "postgres:///db?host=%2Frun%2Fpg"),
        ("postgres://ann:p?w@h/db?namespace=x", "postgres://ann:p?w@h/db"),
        ("postgres://ann:p?@h?passfile=/a@b", "postgres://ann:p?@h?passfile=%2Fa%40b"),
        ("postgres://h/db?application_name=a@b", "postgres://h/db?application_name=a%40b"),
        ("postgres://h?namespace=x", "postgres://h"),
    ] {
        assert_eq!(config(url).unwrap().url, passed, "{url}");
    }
}

#[test]
fn what_is_ours_is_taken_with_its_unit_and_the_rest_is_the_drivers() {
    let text = "postgres://h/db?sslmode=verify-full&namespace=shop%201&application_name=a%26b%3Dc\
                &listen=postgres%3A%2F%2Fann%3As3cret%40h%3A5433%2Fdb%3Fsslmode%3Drequire\
                &migrate=false&options=-c%20jit%3Doff&max_payload=9&dedup_window=600&lane_memory=900\
                &timeout=250&poll_interval=70&outbox_interval=20&sslrootcert=/c%20a.pem\
                &target_session_attrs=read-write";
    let config = config(text).unwrap();
    let mut theirs: Vec<_> =
        config.url.strip_prefix("postgres://h/db?").unwrap().split('&').collect();
    theirs.sort_unstable();
    let expected = [
        "application_name=a%26b%3Dc",
        "options=%2Dc%20jit%3Doff",
        "sslmode=verify%2Dfull",
        "sslrootcert=%2Fc%20a%2Epem",
        "target_session_attrs=read%2Dwrite",
    ];
    assert_eq!(theirs, expected);
    let listen = config.listen_url.as_deref();
    assert_eq!(listen, Some("postgres://ann:s3cret@h:5433/db?sslmode=require"));
    assert_eq!((config.namespace.as_str(), config.max_payload), ("shop 1", 9));
    assert!(!config.migrate && self::config("postgres://h").unwrap().migrate);
    assert_eq!(config.dedup_window, Duration::from_secs(600));
    assert_eq!(config.lane_memory, Duration::from_secs(900));
    assert_eq!(config.timeout, Duration::from_millis(250));
    assert_eq!(config.poll_interval, Duration::from_millis(70));
    assert_eq!(config.outbox_interval, Duration::from_millis(20));
}

#[tokio::test]
async fn what_is_wrong_is_said_and_no_secret() {
    for (url, said) in [
        ("postgres:host", "`//` and a host"),
        ("postgres:host=h password=hunter2", "`//` and a host"),
        ("postgres://ann:hunter2@h:x1/db", "cannot be read"),
        ("postgres://ann:hunter2%ZZ%FF@h:x1/db", "cannot be read"),
        ("postgres:///db?password=hunter2", "has no host"),
        ("postgres://ann:hunter2@h/db?db=1", "`db` is no parameter of `postgres:`"),
        ("postgresql://ann:hunter2@h/db?db=1", "it knows namespace, max_payload, listen, migrate"),
        ("postgres://ann:hunter2@h/db?sslrotcert=x", "sslmode, sslrootcert"),
        ("postgres://ann:hunter2@h/db?sslmode=on", "`verify-full`, not `on`"),
        ("postgres://ann:hunter2@h/db?sslcert=x", "only of use together"),
        ("postgres://ann:hunter2@h/db?durability=full", "`durability` is no parameter"),
        ("postgres://ann:hunter2@h/db?timeout=5s", "whole number of milliseconds"),
        ("postgres://ann:hunter2@h/db?dedup_window=10m", "whole number of seconds"),
        ("postgres://ann:hunter2@h/db?dedup_window=10", "five minutes"),
        ("postgres://ann:hunter2@h/db?poll_interval=1", "5 ms or more"),
        ("postgres://ann:hunter2@h/db?max_payload=0", "64 MiB"),
        ("postgres://ann:hunter2@h/db?migrate=no", "`true` or `false`"),
        ("postgres://ann:hunter2@h/db?listen=hunter2", "`listen` is a whole URL"),
        ("postgres://ann@h/db?listen=postgres%3A%2F%2Fa%3Ahunter2%40h%3Ax", "cannot be read"),
        ("postgres://ann:hun/ter2?x@h/db", "`…` is no parameter"),
        ("postgres://ann:hun@ter2@h/db", "percent-encoded"),
    ] {
        let error = refused(url).await;
        let leaks = error.contains("hunter2") || error.contains("ter2");
        assert!(error.contains(said) && !leaks, "{url}: {error}");
    }
}

#[test]
fn a_secret_is_not_in_what_is_printed() {
    for url in [
        "postgres://ann:hunter2@h/db",
        "postgres://ann@h/db?password=hunter2",
        "postgres://ann@h/db?listen=postgres%3A%2F%2Fann%3Ahunter2%40h%2Fdb",
    ] {
        let config = config(url).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
