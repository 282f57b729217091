use std::time::Duration;

use clap::Parser;
use tavern::backend::{Keep, Topic};

use super::*;
use crate::cli::{Cli, Command};

fn args(flags: &[&str]) -> ServeArgs {
    let cli = Cli::try_parse_from(["tavern", "serve"].iter().chain(flags)).unwrap();
    let Command::Serve(args) = cli.command else { unreachable!("it was `serve`") };
    args
}

fn settings(flags: &[&str], file: &str) -> Settings {
    Settings::new(args(flags), File::parse(file).unwrap()).unwrap()
}

#[test]
fn without_anything_it_is_the_documented_defaults() {
    let settings = settings(&[], "");
    assert_eq!(settings.listen, "127.0.0.1:8080");
    assert_eq!(settings.backend, "sqlite:tavern.db");
    assert_eq!(settings.namespace, None);
    assert!(!settings.anonymous);
    assert_eq!(settings.http.sse.heartbeat, Duration::from_secs(15));
}

#[test]
fn the_file_is_read_and_a_flag_wins_over_it() {
    let file = "listen = '127.0.0.1:1'\nbackend = 'memory:'\nanonymous = true\nheartbeat = '3s'\n\
                allow_origins = ['https://a.example']\nmax_topics = 3";
    let from_file = settings(&[], file);
    assert_eq!(from_file.listen, "127.0.0.1:1");
    assert_eq!(from_file.backend, "memory:");
    assert!(from_file.anonymous);
    assert_eq!(from_file.http.sse.heartbeat, Duration::from_secs(3));
    assert_eq!(from_file.http.allow_origins, ["https://a.example".parse().unwrap()]);
    assert_eq!(from_file.http.max_topics, 3);

    let flags = [
        "--listen=127.0.0.1:2",
        "--anonymous=false",
        "--heartbeat=4s",
        "--allow-origin=https://b.example,https://c.example",
        "--max-topics=4",
    ];
    let flagged = settings(&flags, file);
    assert_eq!(flagged.listen, "127.0.0.1:2");
    assert_eq!(flagged.backend, "memory:");
    assert!(!flagged.anonymous);
    assert_eq!(flagged.http.sse.heartbeat, Duration::from_secs(4));
    assert_eq!(flagged.http.allow_origins.len(), 2);
    assert_eq!(flagged.http.max_topics, 4);
}

#[test]
fn streams_begin_at_a_rate_if_one_is_set() {
    assert_eq!(settings(&[], "").http.admit, None);
    let count = |n| std::num::NonZeroU32::new(n).unwrap();
    let file = "admit_rate = 100\nadmit_burst = 300";
    let rate = AdmitRate::per_second(count(100));
    assert_eq!(settings(&["--admit-rate=100"], "").http.admit, Some(rate));
    assert_eq!(settings(&[], file).http.admit, Some(rate.with_burst(count(300))));
    let flags = ["--admit-rate=7", "--admit-burst=8"];
    let flagged = AdmitRate::per_second(count(7)).with_burst(count(8));
    assert_eq!(settings(&flags, file).http.admit, Some(flagged));
}

#[test]
fn anonymous_needs_no_value() {
    assert!(settings(&["--anonymous"], "anonymous = false").anonymous);
}

#[test]
fn retention_rules_come_from_the_file_first_match_first() {
    let file = "[[retention]]\ntopics = 'live/**'\nkeep = 0\n\
                [[retention]]\ntopics = '**'\nkeep = 7\nage = '1h'";
    let retention = settings(&[], file).retention.unwrap();
    let of = |topic: &str| retention.of(&Topic::new(topic).unwrap());
    assert!(of("live/a").is_live());
    assert_eq!(of("orders"), Keep::new(7, Duration::from_secs(3600)));
    assert!(settings(&[], "").retention.is_none());
}

#[track_caller]
fn check_refused(file: &str, words: &str) {
    let parsed = File::parse(file);
    let error = match parsed {
        Err(error) => error,
        Ok(file) => Settings::new(args(&[]), file).unwrap_err().to_string(),
    };
    assert!(error.contains(words), "{error:?} should say {words:?}");
}

#[test]
fn a_mistake_in_the_file_is_named() {
    check_refused("lisen = 'a'", "unknown field `lisen`");
    check_refused("[[retention]]\ntopics = 'a//b'\nkeep = 1", "a segment between slashes is empty");
    check_refused("[[retention]]\ntopics = 'a'\nkeeps = 1", "unknown field `keeps`");
    check_refused("[[retention]]\ntopics = 'a'", "missing field `keep`");
    check_refused("heartbeat = 'soon'", "write it like `500ms`");
    check_refused("durability = 'some'", "unknown variant `some`");
    check_refused("allow_origins = ['app.example']", "is not an origin");
    check_refused("admit_burst = 5", "without `admit_rate`");
    check_refused("admit_rate = 0", "nonzero");
    check_refused("apply_retention = true", "no `[[retention]]` rules");
}
