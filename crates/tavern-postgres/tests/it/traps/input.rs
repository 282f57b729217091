//! What `tavern.publish` takes is what the types of the contract take.

use tavern_backend::{EventName, MessageId, Scope, Topic};

use crate::stand::{Sql, Stand, moved, texts};

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

async fn is_taken(app: &Sql, argument: &str, text: &str, said: &str) -> bool {
    let others = if argument == "topic" { "data => ''" } else { "topic => 't', data => ''" };
    let call = format!("SELECT tavern.publish({argument} => {}, {others})", quoted(text));
    match app.batch_execute(&call).await {
        Ok(()) => true,
        Err(error) => {
            let words = error.as_db_error().unwrap().message();
            assert!(words.starts_with(said), "{text:?}: {words}");
            false
        }
    }
}

#[tokio::test]
async fn names_are_refused_as_everywhere() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    let app = stand.sql().await;
    let long = ["a".repeat(255), "a".repeat(256), "ü".repeat(127), "ü".repeat(128)];
    let mut texts = vec![
        "",
        "a",
        "a/b",
        "/a",
        "a/",
        "a//b",
        "/",
        "*",
        "**",
        "a/*",
        "*/a",
        "a/**/b",
        "a*",
        "a/b*c",
        "***",
        "a/***",
        "$sys",
        "$",
        "a/$b",
        "a b",
        " ",
        "a\nb",
        "a\r",
        "\n",
        "a\tb",
        "\u{1}",
        "\u{1f}",
        "\u{7f}",
        "\u{80}",
        "\u{85}",
        "\u{9f}",
        "\u{a0}",
        "\u{ad}",
        "\u{2028}",
        "日本/語",
        "🎉",
        "tavern-x",
        "tavern-",
        "tavern",
        "Tavern-x",
        "tavernX",
        "'",
        "\\",
        "%",
        "_",
        "a\\b",
        "\\*",
        "{}",
        "^$",
        "(/|$)",
    ];
    texts.extend(long.iter().map(String::as_str));
    for text in texts {
        let topic = Topic::new(text).is_ok_and(|topic| !topic.is_reserved());
        assert_eq!(is_taken(&app, "topic", text, "tavern: a topic").await, topic, "topic {text:?}");
        let scope = Scope::new(text).is_ok();
        assert_eq!(is_taken(&app, "scope", text, "tavern: a scope").await, scope, "scope {text:?}");
        let id = MessageId::new(text).is_ok();
        assert_eq!(is_taken(&app, "id", text, "tavern: an id").await, id, "id {text:?}");
        let event = EventName::new(text).is_ok();
        assert_eq!(
            is_taken(&app, "event", text, "tavern: an event").await,
            event,
            "event {text:?}"
        );
    }
    bus.close().await.unwrap();
}

#[tokio::test]
async fn what_is_missing_or_senseless_is_refused() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    let app = stand.sql().await;
    for (arguments, said) in [
        ("NULL, 'd'", "tavern: a topic"),
        ("'t', NULL", "tavern: data must not be NULL"),
        ("'t', 'd', ttl => 0", "tavern: a ttl"),
        ("'t', 'd', ttl => -1", "tavern: a ttl"),
        ("'t', 'd', namespace => NULL", "tavern: a namespace"),
        ("'t', 'd', namespace => ''", "tavern: a namespace"),
        ("'t', 'd', namespace => E'a\\nb'", "tavern: a namespace"),
        ("'t', 'd', namespace => repeat('n', 256)", "tavern: a namespace"),
    ] {
        let words = app.refused(&format!("SELECT tavern.publish({arguments})")).await;
        assert!(words.starts_with(said), "{arguments}: {words}");
    }
    // What may be NULL, and what is as long as can be.
    app.run("SELECT tavern.publish('t', '1', NULL, NULL, NULL, NULL)").await;
    app.run("SELECT tavern.publish('t', '2', ttl => 9223372036854775807)").await;
    app.run("SELECT tavern.publish('t', '')").await;
    // Whatever the application's strings mean.
    app.run("SET standard_conforming_strings = off; SELECT tavern.publish('t', '4')").await;
    moved(&bus, "4").await;
    assert_eq!(texts(&bus).await, ["1", "2", "", "4"]);
    bus.close().await.unwrap();
}
