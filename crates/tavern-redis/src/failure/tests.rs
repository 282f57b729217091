use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tavern_backend::Error;

use super::Failure;

/// An error as a server gives it, word first.
fn said(text: &str) -> Failure {
    let mut parser = redis::Parser::new();
    let answer =
        parser.parse_value(format!("-{text}\r\n").as_bytes()).and_then(Value::extract_error);
    answer.unwrap_err().into()
}

#[test]
fn what_a_server_refuses_was_not_done_and_says_what_to_do() {
    for (text, word, link) in [
        ("OOM command not allowed when used memory > 'maxmemory'.", "maxmemory", false),
        ("BUSY Redis is busy running a script.", "busy", false),
        ("LOADING Redis is loading the dataset in memory", "loading", true),
        ("READONLY You can't write against a read only replica.", "replica", true),
        ("MASTERDOWN Link with MASTER is down", "replica", true),
        ("MISCONF Redis is configured to save RDB snapshots", "persist", false),
        ("NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write", false),
        ("CLUSTERDOWN Hash slot not served", "cluster", false),
        ("MOVED 3999 127.0.0.1:6381", "slot", true),
        ("NOAUTH Authentication required.", "password", true),
    ] {
        let failure = said(text);
        assert!(failure.reason.contains(word), "{text}: {}", failure.reason);
        assert!(!failure.unknown && !failure.lasting, "{text}");
        assert_eq!(failure.link, link, "{text}");
        assert_eq!(failure.is_refusal(), !link, "{text}");
        let error = failure.to_write_error();
        assert!(matches!(error, Error::Unavailable { .. }), "{text}: {error:?}");
    }
    assert!(said("OOM command not allowed").is_full());
    assert!(!said("BUSY Redis is busy").is_full());
}

#[test]
fn a_right_that_is_missing_is_named() {
    let failure = said("NOPERM this user has no permissions to run the 'xadd' command");
    assert!(failure.reason.contains("ACL") && failure.reason.contains("'xadd'"));
    let failure = said("ERR The user executing the script can't run this command or subcommand");
    assert!(failure.reason.contains("ACL"), "{}", failure.reason);
    assert!(!failure.unknown, "nothing was done");
}

/// Redis 6 puts the word of a command inside of a script into a sentence.
#[test]
fn a_word_is_found_in_the_middle_of_a_sentence() {
    let text = "ERR Error running script (call to f_1): @user_script:9: -OOM command not allowed";
    assert!(said(text).reason.contains("maxmemory"));
    let text =
        "ERR Error running script (call to f_1): @user_script:9: WRONGTYPE Operation against";
    assert!(said(text).lasting);
    // A part of another word is none.
    assert!(!said("ERR ZOOMED in").reason.contains("maxmemory"));
}

#[test]
fn another_type_under_our_names_does_not_pass_by_itself() {
    let failure = said("WRONGTYPE Operation against a key holding the wrong kind of value");
    assert!(matches!(failure.to_write_error(), Error::Incompatible { .. }));
    assert!(failure.is_refusal());
    assert!(matches!(failure.into_error(), Error::Incompatible { .. }));
}

#[test]
fn a_connection_that_is_lost_leaves_the_outcome_unknown() {
    let io = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let failure = Failure::from(RedisError::from(io));
    assert!(failure.unknown && failure.link && !failure.is_refusal());
    assert!(matches!(failure.to_write_error(), Error::OutcomeUnknown { .. }));
    let io = std::io::Error::from(std::io::ErrorKind::TimedOut);
    let failure = Failure::from(RedisError::from(io));
    assert!(failure.reason.contains("in time"), "{}", failure.reason);
    // While connecting nothing was asked for yet.
    let failure = failure.connecting_to("redis.example", 6379);
    assert!(failure.reason.contains("redis.example:6379"));
    assert!(!failure.unknown && failure.link);
    // For what only looks it is as if nothing was done.
    assert!(matches!(failure.into_error(), Error::Unavailable { .. }));
}

#[test]
fn an_answer_nobody_expects_leaves_the_outcome_unknown() {
    let failure = said("ERR something new");
    assert!(failure.unknown, "it may come from behind the first write");
    assert!(failure.reason.contains("something new"));
    let kind = ErrorKind::Server(ServerErrorKind::NoScript);
    let failure = Failure::from(RedisError::from((kind, "no such script")));
    assert!(!failure.unknown, "nothing was run");
}

#[test]
fn refused_passwords_end_the_link_and_are_not_repeated() {
    let failure = said("WRONGPASS invalid username-password pair or user is disabled.");
    assert!(failure.link && failure.reason.contains("password"));
    let kind = ErrorKind::AuthenticationFailed;
    let failure = Failure::from(RedisError::from((kind, "Password authentication failed")));
    assert!(failure.link && !failure.unknown && failure.reason.contains("password"));
}

#[test]
fn closed_is_closed() {
    let failure = Failure::from(Error::Closed);
    assert!(matches!(failure.to_write_error(), Error::Closed));
    assert!(matches!(failure.into_error(), Error::Closed));
}
