//! The testkit's own side of TLS.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::engine::program;

/// Writes `client.pem` and `client.key` into `dir`, signed by the authority that
/// [`certificate`](crate::engine::certificate) left there.
///
/// # Errors
///
/// If there is no `openssl`, or it fails.
pub(super) fn write_client(dir: &Path) -> io::Result<()> {
    let openssl = program::find("openssl", "the Debian package openssl")?;
    fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n")?;
    for step in [REQUEST, SIGN] {
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

const REQUEST: &str = "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes
    -subj /CN=testkit-client -keyout client.key -out client.csr";
const SIGN: &str = "x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9
    -extfile client.ext -out client.pem";

/// Trusts the authority in `dir`, and shows the client's certificate if there is one.
///
/// # Errors
///
/// If the files are not what they should be.
pub(super) fn connector(dir: &Path) -> io::Result<TlsConnector> {
    let certificate =
        |name| CertificateDer::from_pem_file(dir.join(name)).map_err(io::Error::other);
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")?).map_err(io::Error::other)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let builder = builder.with_root_certificates(roots);
    let config = if dir.join("client.pem").exists() {
        let key = PrivateKeyDer::from_pem_file(dir.join("client.key")).map_err(io::Error::other)?;
        let chain = vec![certificate("client.pem")?];
        builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
    } else {
        builder.with_no_client_auth()
    };
    Ok(TlsConnector::from(Arc::new(config)))
}
