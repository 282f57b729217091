//! Certificates for engines that serve TLS.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::program;

/// Writes `ca.pem`, `server.pem` and `server.key` into `dir`: an authority of its own, and what it
/// signed for `127.0.0.1` and `localhost`.
///
/// # Errors
///
/// If there is no `openssl`, or it fails.
pub(super) fn write(dir: &Path) -> io::Result<()> {
    let openssl = program::find("openssl", "the Debian package openssl")?;
    fs::write(dir.join("names"), NAMES)?;
    for step in [AUTHORITY, REQUEST, SIGN] {
        let mut command = Command::new(&openssl);
        command.args(step.split_whitespace()).current_dir(dir).stdin(Stdio::null());
        let output = command.output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(io::Error::other(format!("openssl {step}: {text}")));
        }
    }
    Ok(())
}

// The server's is not the authority's own, which clients would refuse.
const AUTHORITY: &str = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9
    -subj /CN=testkit-authority -keyout ca.key -out ca.pem";
const REQUEST: &str = "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes
    -subj /CN=localhost -keyout server.key -out server.csr";
const SIGN: &str = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9
    -extfile names -out server.pem";
const NAMES: &str =
    "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=critical,CA:FALSE\n";
