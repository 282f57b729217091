//! What a test says by hand, word by word.

use std::io::ErrorKind;

use serde_json::{Value, json};
use tavern_testkit::engine::{NatsConn, NatsServer};
use tavern_testkit::wait::within;

use super::FLAVORS;

#[tokio::test]
async fn what_is_published_arrives_as_it_was() {
    for flavor in FLAVORS {
        let server = NatsServer::start(flavor).await.unwrap();
        let (mut from, mut to) = (server.connect().await.unwrap(), server.connect().await.unwrap());
        let first = to.subscribe("a.*").await.unwrap();
        let second = to.subscribe("a.>").await.unwrap();
        assert_ne!(first, second);
        to.unsubscribe(second).await.unwrap();
        let odd = b"\r\nMSG \0\xff".as_slice();
        from.publish("a.b", odd).await.unwrap();
        let headers = [("One", "1"), ("Two", "with: colon")];
        from.publish_with("a.c", Some("answers"), &headers, odd).await.unwrap();

        let plain = within("a message", to.next()).await.unwrap();
        assert_eq!((&*plain.subject, plain.subscription, plain.reply), ("a.b", first, None));
        assert_eq!((plain.headers.as_str(), &*plain.payload), ("", odd));
        let other = within("a message", to.next()).await.unwrap();
        assert_eq!((&*other.subject, other.reply.as_deref()), ("a.c", Some("answers")));
        assert_eq!((other.header("Two"), other.header("Three")), (Some("with: colon"), None));
        assert_eq!((other.status(), &*other.payload), (None, odd));
    }
}

#[tokio::test]
async fn a_request_gets_its_own_answer_and_loses_no_message() {
    for flavor in FLAVORS {
        let server = NatsServer::start(flavor).await.unwrap();
        let mut asks = server.connect().await.unwrap();
        let error = asks.request("nobody", "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{flavor:?}: {error}");

        let mut serves = server.connect().await.unwrap();
        serves.subscribe("double").await.unwrap();
        asks.subscribe("news").await.unwrap();
        let (answer, ()) = tokio::join!(asks.request("double", "21"), answer_twice(&mut serves));
        assert_eq!(answer.unwrap(), b"21 21", "{flavor:?}");
        let (answer, ()) = tokio::join!(asks.request("double", "7"), answer_twice(&mut serves));
        assert_eq!(answer.unwrap(), b"7 7", "{flavor:?}: not an old one");
        for said in ["21", "7"] {
            assert_eq!(asks.next().await.unwrap().payload, said.as_bytes(), "{flavor:?}");
        }
    }
}

/// Says what was asked as news, then answers, and answers again, which is one too many.
async fn answer_twice(serves: &mut NatsConn) {
    let asked = within("a request", serves.next()).await.unwrap();
    let (to, said) = (asked.reply.unwrap(), String::from_utf8(asked.payload).unwrap());
    serves.publish("news", &said).await.unwrap();
    for _ in 0..2 {
        serves.publish(&to, format!("{said} {said}")).await.unwrap();
    }
    serves.flush().await.unwrap();
}

#[tokio::test]
async fn jetstream_refuses_with_its_own_words() {
    for flavor in FLAVORS {
        let server = NatsServer::start(flavor).await.unwrap();
        let error = server.js("STREAM.INFO.S", Value::Null).await.unwrap_err().to_string();
        assert!(error.contains("stream not found"), "{flavor:?}: {error}");
        let mut conn = server.connect().await.unwrap();
        let config = json!({ "name": "S", "subjects": ["s.>"] });
        conn.js("STREAM.CREATE.S", config).await.unwrap();
        let headers = [("Nats-Msg-Id", "a")];
        let first = conn.store("s.a", &headers, "1").await.unwrap();
        assert_eq!((&first["seq"], &first["duplicate"]), (&json!(1), &Value::Null), "{flavor:?}");
        assert_eq!(conn.store("s.a", &headers, "1").await.unwrap()["duplicate"], true);
        let late = [("Nats-Expected-Last-Sequence", "7")];
        let error = conn.store("s.a", &late, "2").await.unwrap_err().to_string();
        assert!(error.contains("wrong last sequence"), "{flavor:?}: {error}");
    }
}

#[tokio::test]
async fn without_jetstream_nobody_answers_for_it() {
    for flavor in FLAVORS {
        let options = tavern_testkit::engine::NatsOptions::new(flavor).without_jetstream();
        let server = NatsServer::start(options).await.unwrap();
        let error = server.js("INFO", Value::Null).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{flavor:?}: {error}");
    }
}
