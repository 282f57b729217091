//! Where a database is: the usual URLs and `key=value` pairs, with what the driver leaves out of
//! them: `sslmode` up to `verify-full`, certificates, and the password file.

mod passfile;
mod split;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tavern_backend::{Error, Result};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What of a server's certificate is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    /// Nothing: whoever is in between can read along.
    No,
    /// Who signed it.
    Authority,
    /// And that it is for this host.
    Full,
}

/// Where a database is and how to get there.
#[derive(Clone)]
pub(crate) struct Dsn {
    pub(crate) config: Config,
    verify: Verify,
    root: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
    passfile: Option<PathBuf>,
}

impl std::fmt::Debug for Dsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dsn").field(&self.location()).finish()
    }
}

impl Dsn {
    /// Reads a URL, or `key=value` pairs.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        let (rest, ours) = if is_url { split::url(text)? } else { split::pairs(text)? };
        // The driver's error may quote what it could not read, and that may be the password.
        let mut config: Config = rest.parse().map_err(|_| {
            Error::config(
                "the database's address cannot be read: `postgres://user:password@host:5432/database`, \
                 with what is not a letter or a digit percent-encoded, is expected",
            )
        })?;
        let take = |key: &str| ours.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.clone());
        // As `libpq` has it: whoever names the system's authorities means them.
        let of_system = take("sslrootcert").is_some_and(|root| root == "system");
        let usual = if of_system { "verify-full" } else { "prefer" };
        let mode = take("sslmode").unwrap_or_else(|| usual.to_owned());
        if of_system && mode != "verify-full" {
            return Err(Error::config(format!(
                "sslrootcert=system goes with sslmode=verify-full only, not with `{mode}`, which \
                 would take anybody's certificate"
            )));
        }
        let (ssl, verify) = match mode.as_str() {
            "disable" => (SslMode::Disable, Verify::No),
            "allow" | "prefer" => (SslMode::Prefer, Verify::No),
            // As `libpq` does: with an authority it is checked.
            "require" if take("sslrootcert").is_some() => (SslMode::Require, Verify::Authority),
            "require" => (SslMode::Require, Verify::No),
            "verify-ca" => (SslMode::Require, Verify::Authority),
            "verify-full" => (SslMode::Require, Verify::Full),
            other => {
                return Err(Error::config(format!(
                    "sslmode is `disable`, `prefer`, `require`, `verify-ca` or `verify-full`, not \
                     `{other}`"
                )));
            }
        };
        config.ssl_mode(ssl);
        let client = match (take("sslcert"), take("sslkey")) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            _ => return Err(Error::config("`sslcert` and `sslkey` are only of use together")),
        };
        if config.get_hosts().is_empty() {
            return Err(Error::config("the database's address has no host"));
        }
        if config.get_user().is_none() {
            let user = std::env::var("PGUSER").or_else(|_| std::env::var("USER"));
            config.user(user.unwrap_or_else(|_| "postgres".to_owned()));
        }
        vigilant(&mut config);
        let root = take("sslrootcert").filter(|root| root != "system").map(PathBuf::from);
        Ok(Self { config, verify, root, client, passfile: take("passfile").map(PathBuf::from) })
    }

    /// Where it is, without secrets.
    pub(crate) fn location(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate().map(|(at, host)| {
            let port = ports.get(at).or_else(|| ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(host) if host.contains(':') => format!("[{host}]:{port}"),
                Host::Tcp(host) => format!("{host}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let user = self.config.get_user().unwrap_or_default();
        format!("postgres://{hosts}/{}", self.config.get_dbname().unwrap_or(user))
    }

    /// The driver's configurations to try, in this order, with a password from the file if the address
    /// has none; and why that file is of no use, if it is not. A password is for one host.
    pub(crate) fn ways(&self) -> Vec<(Config, Option<String>)> {
        if self.config.get_password().is_some() {
            return vec![(self.config.clone(), None)];
        }
        let hosts = 0..self.config.get_hosts().len();
        let mut alone = hosts.map(|at| self.host(at)).collect::<Vec<_>>();
        let mut useless = None;
        for config in &mut alone {
            match passfile::password(self.passfile.as_deref(), config) {
                Ok(Some(password)) => drop(config.password(password)),
                Ok(None) => {}
                Err(why) => useless = Some(why),
            }
        }
        let same = |(one, other): (&Config, &Config)| one.get_password() == other.get_password();
        if alone.iter().zip(alone.iter().skip(1)).all(same) {
            let mut all = self.config.clone();
            if let Some(password) = alone.first().and_then(Config::get_password) {
                all.password(password);
            }
            return vec![(all, useless)];
        }
        alone.into_iter().map(|config| (config, useless.clone())).collect()
    }

    /// The driver's configuration for one of the hosts.
    fn host(&self, at: usize) -> Config {
        let all = &self.config;
        let mut one = Config::new();
        match all.get_hosts().get(at) {
            Some(Host::Tcp(host)) => drop(one.host(host)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(addr) = all.get_hostaddrs().get(at) {
            one.hostaddr(*addr);
        }
        if let Some(port) = all.get_ports().get(at).or_else(|| all.get_ports().first()) {
            one.port(*port);
        }
        let set = [
            (all.get_user(), Config::user as fn(&mut Config, String) -> &mut Config),
            (all.get_dbname(), Config::dbname),
            (all.get_options(), Config::options),
            (all.get_application_name(), Config::application_name),
        ];
        for (value, set) in set {
            if let Some(value) = value {
                set(&mut one, value.to_owned());
            }
        }
        let times = [
            (all.get_connect_timeout().copied(), Config::connect_timeout as SetTime),
            (all.get_tcp_user_timeout().copied(), Config::tcp_user_timeout),
            (Some(all.get_keepalives_idle()), Config::keepalives_idle),
            (all.get_keepalives_interval(), Config::keepalives_interval),
        ];
        for (value, set) in times {
            if let Some(value) = value {
                set(&mut one, value);
            }
        }
        if let Some(retries) = all.get_keepalives_retries() {
            one.keepalives_retries(retries);
        }
        one.keepalives(all.get_keepalives())
            .ssl_mode(all.get_ssl_mode())
            .ssl_negotiation(all.get_ssl_negotiation())
            .target_session_attrs(all.get_target_session_attrs())
            .channel_binding(all.get_channel_binding())
            .load_balance_hosts(all.get_load_balance_hosts());
        one
    }

    /// TLS as `sslmode` asks for it. The files are read anew each time.
    pub(crate) fn tls(&self) -> Result<MakeRustlsConnect> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::config(format!("TLS cannot be set up: {error}")))?;
        let verifier: Arc<dyn ServerCertVerifier> = match self.verify {
            Verify::No => Arc::new(Anybody { provider, signed: None }),
            verify => {
                let roots = Arc::new(self.roots()?);
                let inner =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                        .build()
                        .map_err(|error| Error::config(format!("sslrootcert: {error}")))?;
                match verify {
                    Verify::Full => inner,
                    _ => Arc::new(Anybody { provider, signed: Some(inner) }),
                }
            }
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates(cert)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| Error::config(format!("{}: {error}", key.display())))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| Error::config(format!("sslcert: {error}")))?
            }
        };
        Ok(MakeRustlsConnect::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let certificates = match &self.root {
            Some(path) => certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        for certificate in certificates {
            // The system may have some that are not understood; a file of one's own should not.
            if let Err(error) = roots.add(certificate)
                && let Some(path) = &self.root
            {
                return Err(Error::config(format!("{}: {error}", path.display())));
            }
        }
        if roots.is_empty() {
            return Err(Error::config(
                "there is no authority to trust: name one with `sslrootcert`",
            ));
        }
        Ok(roots)
    }
}

type SetTime = fn(&mut Config, Duration) -> &mut Config;

/// What is cut in silence is noticed, where the address does not say otherwise.
fn vigilant(config: &mut Config) {
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(Duration::from_secs(15));
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(Duration::from_secs(5));
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(3);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(30));
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |error| Error::config(format!("{}: {error}", path.display()));
    CertificateDer::pem_file_iter(path).map_err(bad)?.map(|cert| cert.map_err(bad)).collect()
}

/// Takes a certificate for whatever host, if it is signed as it should, where that is asked.
#[derive(Debug)]
struct Anybody {
    provider: Arc<rustls::crypto::CryptoProvider>,
    signed: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(signed) = &self.signed else { return Ok(ServerCertVerified::assertion()) };
        match signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
