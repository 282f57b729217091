//! Credentials files: an operator's server, accounts and users as signed texts.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tavern_backend::Error;
use tavern_nats::Credentials;
use tavern_testkit::engine::{NatsAuth, NatsFlavor, NatsOptions};

use super::{all_works, as_who, refused, whole};
use crate::stand::{Stand, on_both};

on_both! {
    a_credentials_file_is_shown,
}

/// A signed text, as `nsc` makes it.
fn jwt(issuer: &KeyPair, subject: &KeyPair, expires: Option<u64>, nats: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut claims = json!({
        "jti": "of-this-test",
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": "testkit",
        "nats": nats,
    });
    if let Some(expires) = expires {
        claims["exp"] = expires.into();
    }
    let text =
        format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

fn account(operator: &KeyPair, account: &KeyPair, storage: i64) -> String {
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": -1,
        "consumer": -1,
    });
    let nats = json!({ "limits": limits, "type": "account", "version": 2 });
    jwt(operator, account, None, &nats)
}

fn user(account: &KeyPair, user: &KeyPair, expires: Option<u64>) -> String {
    let nats = json!({
        "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
    });
    jwt(account, user, expires, &nats)
}

/// As `nsc generate creds` writes it.
fn file(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         NKEY Seed printed below can be used to sign and prove identity.\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

async fn a_credentials_file_is_shown(flavor: NatsFlavor) {
    let operator = KeyPair::new_operator();
    let [ours, system, foreign] = [(); 3].map(|()| KeyPair::new_account());
    let nats = json!({ "type": "operator", "version": 2 });
    let text = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n{}: {}\n{}: {}\n}}",
        jwt(&operator, &operator, None, &nats),
        system.public_key(),
        ours.public_key(),
        account(&operator, &ours, -1),
        system.public_key(),
        account(&operator, &system, 0),
    );
    let auth = NatsAuth::Raw(text, None);
    let stand = Stand::start_with(NatsOptions::new(flavor).with_auth(auth)).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.creds");
    let with_file = |path: PathBuf| as_who(&stand, Credentials::File(path));
    let node = with_file(path.clone());

    let pair = KeyPair::new_user();
    let seed = pair.seed().unwrap();
    let good = file(&user(&ours, &pair, None), &seed);
    // One that is written only now, renewed before the next connect: the file is read each time.
    std::fs::write(&path, file(&user(&ours, &pair, Some(1_700_000_001)), &seed)).unwrap();
    let said = refused(&node).await;
    assert!(said.contains("refuses the credentials") && !said.contains(&seed), "{said}");
    std::fs::write(&path, &good).unwrap();
    all_works(&node).await;

    // Of an account that the operator does not know; of ours, but another's seed.
    std::fs::write(&path, file(&user(&foreign, &pair, None), &seed)).unwrap();
    let said = refused(&node).await;
    assert!(said.contains("refuses the credentials") && !said.contains(&seed), "{said}");
    let other = KeyPair::new_user().seed().unwrap();
    std::fs::write(&path, file(&user(&ours, &pair, None), &other)).unwrap();
    let said = refused(&node).await;
    assert!(said.contains("refuses the credentials") && !said.contains(&other), "{said}");

    // What is no such file, or none at all, says so.
    let cases = [
        (Some(good.replace("USER NKEY SEED", "SOMETHING")), "USER NKEY SEED"),
        (Some(seed.clone()), "NATS USER JWT"),
        (Some(good.replace(&seed, "SUBROKEN")), "node.creds"),
        (None, "node.creds"),
    ];
    for (text, expected) in cases {
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = node.open().await.unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        let said = whole(&error);
        assert!(said.contains(expected) && said.contains("node.creds"), "{expected}: {said}");
        assert!(!said.contains(&seed) && !said.contains("SUBROKEN"), "{said}");
    }
}
