//! An operator with one account of users, as `nsc` makes them: keys that vouch for keys, in JWTs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

pub(super) struct Operator {
    operator: KeyPair,
    system: KeyPair,
    account: KeyPair,
    user: KeyPair,
}

impl Operator {
    pub(super) fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            system: KeyPair::new_account(),
            account: KeyPair::new_account(),
            user: KeyPair::new_user(),
        }
    }

    /// What a server needs to know of it.
    pub(super) fn config(&self) -> String {
        let nats = json!({ "type": "operator", "version": 2 });
        let operator = token(&self.operator, &self.operator, &nats);
        let (system, account) = (self.system.public_key(), self.account.public_key());
        let system_token = self.account(&self.system, &json!({}));
        let account_token =
            self.account(&self.account, &json!({ "mem_storage": -1, "disk_storage": -1 }));
        format!(
            "operator: {operator}\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload: {{ {system}: {system_token}, {account}: {account_token} }}"
        )
    }

    fn account(&self, pair: &KeyPair, jetstream: &Value) -> String {
        let mut limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1, "streams": -1, "consumer": -1,
        });
        let storage = jetstream.as_object().unwrap().clone();
        limits.as_object_mut().unwrap().extend(storage);
        let nats = json!({ "type": "account", "version": 2, "limits": limits });
        token(&self.operator, pair, &nats)
    }

    /// The credentials file of its user.
    pub(super) fn credentials(&self) -> String {
        let nats = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let jwt = token(&self.account, &self.user, &nats);
        let seed = self.user.seed().unwrap();
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// What `issuer` says of `subject`, signed.
fn token(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let (iss, sub) = (issuer.public_key(), subject.public_key());
    let claims = json!({ "jti": sub, "iat": 1, "iss": iss, "sub": sub, "name": "x", "nats": nats });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&head), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
