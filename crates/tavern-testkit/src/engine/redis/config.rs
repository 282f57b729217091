//! The configuration file of a Redis.

use std::path::Path;

use super::options::RedisOptions;

/// Its name, in the server's directory.
pub(super) const NAME: &str = "redis.conf";

/// The user that the testkit itself is, where users are asked for.
pub(super) const OURSELVES: (&str, &str) = ("testkit", "only-for-tests");

/// The file that a server starts with. A file and no arguments: so that the server can write down
/// whose replica it became, as `CONFIG REWRITE` and Sentinel do, and is that at its next start.
pub(super) fn file(options: &RedisOptions, dir: &Path, port: u16, tls: Option<u16>) -> String {
    let mut lines = vec![
        format!("port {port}"),
        "bind 127.0.0.1".to_owned(),
        format!("dir {}", dir.display()),
        "save \"\"".to_owned(),
        format!("appendonly {}", if options.appendonly { "yes" } else { "no" }),
        "appendfsync always".to_owned(),
        // A replica's first sync waits for company otherwise, five seconds.
        "repl-diskless-sync-delay 0".to_owned(),
    ];
    if !options.users.is_empty() {
        let (name, password) = OURSELVES;
        lines.push("user default off".to_owned());
        lines.push(format!("masteruser {name}"));
        lines.push(format!("masterauth {password}"));
        let given = options.users.iter().map(|(name, password)| (&**name, &**password));
        let users = given.chain([OURSELVES]);
        lines.extend(users.map(|(name, word)| format!("user {name} on >{word} ~* &* +@all")));
    }
    if let Some(port) = tls {
        lines.push(format!("tls-port {port}"));
        lines.push("tls-auth-clients no".to_owned());
        for (key, name) in [("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")] {
            lines.push(format!("tls-{key}-file {}", dir.join(name).display()));
        }
    }
    lines.extend_from_slice(&options.config);
    lines.join("\n") + "\n"
}
