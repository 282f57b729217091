//! The configuration files of a Postgres.

use std::fmt::Write as _;
use std::path::Path;

use super::options::PostgresOptions;

/// Its settings, as a file that is read after its own.
pub(super) fn settings(
    options: &PostgresOptions,
    dir: &Path,
    port: u16,
    primary: Option<&str>,
) -> String {
    let mut settings = vec![
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", dir.join(super::server::SOCKETS).display().to_string()),
        // Shared memory that a killed server would leave behind.
        ("dynamic_shared_memory_type", "mmap".to_owned()),
        ("shared_buffers", "32MB".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
    ];
    if let Some(primary) = primary {
        settings.push(("primary_conninfo", primary.to_owned()));
    }
    if options.tls {
        settings.push(("ssl", "on".to_owned()));
        for (name, file) in [("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key")] {
            settings.push((name, dir.join(file).display().to_string()));
        }
    }
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let mut file = String::new();
    for (name, value) in settings.into_iter().chain(given) {
        // Writing to a string cannot fail.
        let _ = writeln!(file, "{name} = '{}'", value.replace('\'', "''"));
    }
    file
}

/// Who may come in.
pub(super) fn hba(options: &PostgresOptions) -> String {
    let method = options.auth.method();
    let mut lines = vec!["local all postgres trust", "local replication postgres trust"];
    lines.extend(options.hba.iter().map(String::as_str));
    let ours = ["local all all", "host all all 127.0.0.1/32", "host replication all 127.0.0.1/32"]
        .map(|line| format!("{line} {method}"));
    lines.extend(ours.iter().map(String::as_str));
    lines.join("\n") + "\n"
}
