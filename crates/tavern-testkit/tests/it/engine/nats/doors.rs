//! Who is let in.

use std::io;

use nkeys::KeyPair;
use serde_json::{Value, json};
use tavern_testkit::engine::{NatsAuth, NatsOptions, NatsServer, NatsTls, NatsUser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::FLAVORS;

/// What a stranger hears who comes in with these fields of `CONNECT`, without TLS.
async fn heard(server: &NatsServer, fields: &str) -> String {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let hello = format!("CONNECT {{\"verbose\":false{fields}}}\r\nPING\r\n");
    stream.write_all(hello.as_bytes()).await.unwrap();
    hear(&mut stream).await
}

async fn hear(stream: &mut TcpStream) -> String {
    let mut heard = String::new();
    while !heard.contains("-ERR") && !heard.contains("PONG") {
        let mut bytes = [0; 4_096];
        let read: io::Result<usize> = stream.read(&mut bytes).await;
        match read {
            Ok(0) | Err(_) => break,
            Ok(count) => heard.push_str(&String::from_utf8_lossy(&bytes[..count])),
        }
    }
    heard
}

async fn is_in(server: &NatsServer, fields: &str) -> bool {
    heard(server, fields).await.contains("PONG")
}

#[tokio::test]
async fn a_token_is_asked_for() {
    for flavor in FLAVORS {
        let auth = NatsAuth::Token("open".to_owned());
        let server = NatsServer::start(NatsOptions::new(flavor).with_auth(auth)).await.unwrap();
        assert_eq!(server.url(), format!("nats://open@{}", server.addr()));
        assert!(!is_in(&server, "").await, "{flavor:?}");
        assert!(!is_in(&server, r#","auth_token":"close""#).await, "{flavor:?}");
        assert!(is_in(&server, r#","auth_token":"open""#).await, "{flavor:?}");
        server.connect().await.unwrap().flush().await.unwrap();
    }
}

#[tokio::test]
async fn users_may_do_what_they_are_allowed() {
    for flavor in FLAVORS {
        let anna = NatsUser::new("anna", "secret").with_permissions("{ publish: [\"a.>\"] }");
        let auth = NatsAuth::Users(vec![anna]);
        let server = NatsServer::start(NatsOptions::new(flavor).with_auth(auth)).await.unwrap();
        assert_eq!(server.url(), format!("nats://anna:secret@{}", server.addr()));
        assert!(!is_in(&server, "").await, "{flavor:?}");
        assert!(!is_in(&server, r#","user":"anna","pass":"wrong""#).await, "{flavor:?}");
        let mut conn = server.connect_as("anna", "secret").await.unwrap();
        conn.publish("a.b", "").await.unwrap();
        conn.flush().await.unwrap();
        conn.publish("b", "").await.unwrap();
        let error = conn.flush().await.unwrap_err().to_string();
        assert!(error.contains("Permissions Violation"), "{flavor:?}: {error}");
        // The testkit itself may do everything.
        let mut ours = server.connect().await.unwrap();
        ours.publish("b", "").await.unwrap();
        ours.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_key_is_asked_to_sign() {
    for flavor in FLAVORS {
        let [key, other] = [(); 2].map(|()| KeyPair::new_user());
        let auth = NatsAuth::Users(vec![NatsUser::with_key(key.public_key())]);
        let server = NatsServer::start(NatsOptions::new(flavor).with_auth(auth)).await.unwrap();
        assert_eq!(server.url(), format!("nats://{}", server.addr()));
        assert!(!is_in(&server, "").await, "{flavor:?}");
        assert!(signs_in(&server, &key, &key).await, "{flavor:?}");
        assert!(!signs_in(&server, &key, &other).await, "{flavor:?}: the signature of another");
        assert!(!signs_in(&server, &other, &other).await, "{flavor:?}: another key");
        server.connect().await.unwrap().flush().await.unwrap();
    }
}

/// Whether the server lets in who has `key` after `signer` has signed.
async fn signs_in(server: &NatsServer, key: &KeyPair, signer: &KeyPair) -> bool {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let mut bytes = [0; 4_096];
    let count = stream.read(&mut bytes).await.unwrap();
    let info: Value = serde_json::from_slice(&bytes["INFO ".len()..count]).unwrap();
    let signature = signer.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap();
    let hello = json!({ "verbose": false, "nkey": key.public_key(), "sig": base64(&signature) });
    stream.write_all(format!("CONNECT {hello}\r\nPING\r\n").as_bytes()).await.unwrap();
    hear(&mut stream).await.contains("PONG")
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1)).collect();
    let letter = |six: &[u8]| {
        let number = (0..6).fold(0, |sum, n| sum << 1 | usize::from(six.get(n) == Some(&1)));
        char::from(LETTERS[number])
    };
    bits.chunks(6).map(letter).collect()
}

#[tokio::test]
async fn a_text_says_who_is_let_in() {
    for flavor in FLAVORS {
        let text =
            r#"accounts { A: { jetstream: enabled, users: [{ user: "a", password: "b" }] } }"#;
        for user in [None, Some(("a".to_owned(), "b".to_owned()))] {
            let auth = NatsAuth::Raw(text.to_owned(), user.clone());
            let server = NatsServer::start(NatsOptions::new(flavor).with_auth(auth)).await.unwrap();
            assert_eq!(server.connect().await.is_ok(), user.is_some(), "{flavor:?}");
            assert!(is_in(&server, r#","user":"a","pass":"b""#).await, "{flavor:?}");
        }
    }
}

#[tokio::test]
async fn tls_is_asked_for() {
    for flavor in FLAVORS {
        for tls in [NatsTls::Server, NatsTls::Mutual] {
            let auth = NatsAuth::Users(vec![NatsUser::new("anna", "secret")]);
            let options = NatsOptions::new(flavor).with_tls(tls).with_auth(auth);
            let server = NatsServer::start(options).await.unwrap();
            assert_eq!(server.url(), format!("tls://anna:secret@{}", server.addr()));
            assert!(
                !is_in(&server, r#","user":"anna","pass":"secret""#).await,
                "{flavor:?} {tls:?}"
            );
            let mut conn = server.connect().await.unwrap();
            assert_eq!(conn.info()["tls_required"], true, "{flavor:?} {tls:?}");
            conn.js("INFO", Value::Null).await.unwrap();
            server.connect_as("anna", "wrong").await.unwrap_err();

            // Without the client's certificate.
            let (certificate, key) = server.client_files();
            if tls == NatsTls::Mutual {
                std::fs::rename(&certificate, certificate.with_extension("away")).unwrap();
                server.connect().await.unwrap_err();
                assert!(key.is_file());
            }
            // By another authority than the server's.
            std::fs::rename(server.dir().join("server.pem"), server.dir().join("ca.pem")).unwrap();
            server.connect().await.unwrap_err();
        }
    }
}
