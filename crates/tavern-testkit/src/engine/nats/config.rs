//! The configuration file of a NATS.

use std::path::Path;

use super::options::{NatsAuth, NatsOptions, NatsTls, NatsUser};

/// Its name, in the server's directory.
pub(super) const NAME: &str = "nats.conf";

/// Where JetStream keeps what it has, in the server's directory.
pub(super) const STORE: &str = "store";

/// The user that the testkit itself is, where users are asked for.
pub(super) const OURSELVES: (&str, &str) = ("testkit", "only-for-tests");

/// The file that a server starts with.
pub(super) fn file(options: &NatsOptions, dir: &Path, name: &str, port: u16, http: u16) -> String {
    let mut lines = vec![
        format!("server_name: {name:?}"),
        format!("listen: \"127.0.0.1:{port}\""),
        format!("http: \"127.0.0.1:{http}\""),
    ];
    if options.jetstream {
        let max = options.max_store.map(|bytes| format!(", max_file_store: {bytes}"));
        let store = dir.join(STORE);
        lines.push(format!("jetstream {{ store_dir: {store:?}{} }}", max.unwrap_or_default()));
    }
    if let Some(bytes) = options.max_payload {
        lines.push(format!("max_payload: {bytes}"));
        // It may not be less than the largest message.
        lines.push(format!("max_pending: {}", u64::from(bytes).max(64 << 20)));
    }
    if let Some(grace) = options.lame_duck_grace {
        lines.push(format!("lame_duck_grace_period: \"{}ms\"", grace.as_millis()));
    }
    if options.tls != NatsTls::No {
        let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|name| dir.join(name));
        let verify = options.tls == NatsTls::Mutual;
        let files = format!("cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}");
        lines.push(format!("tls {{ {files}, verify: {verify} }}"));
    }
    match &options.auth {
        NatsAuth::None => {}
        NatsAuth::Token(token) => lines.push(format!("authorization {{ token: {token:?} }}")),
        NatsAuth::Users(users) => {
            let ourselves = NatsUser::new(OURSELVES.0, OURSELVES.1);
            let users: Vec<String> =
                users.iter().chain([&ourselves]).map(NatsUser::entry).collect();
            lines.push(format!("authorization {{ users: [{}] }}", users.join(", ")));
        }
        NatsAuth::Raw(text, _) => lines.push(text.clone()),
    }
    lines.extend_from_slice(&options.config);
    lines.join("\n") + "\n"
}
