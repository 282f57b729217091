//! Finding the server that writes, and connecting to it.

mod ask;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, TlsCertificates, Value, cmd,
};

use crate::config::{Credentials, RedisConfig, Topology};
use crate::failure::Failure;
use crate::names::Names;
use crate::server::Server;

type Result<T> = std::result::Result<T, Failure>;

/// Connects to servers as the configuration says.
#[derive(Debug)]
pub(crate) struct Connector {
    config: RedisConfig,
    certificates: Option<TlsCertificates>,
    meta: String,
    name: String,
    /// Which address is asked first: the one that knew the last time.
    first: AtomicUsize,
    /// Nodes of the cluster that were heard of. Guards the list only.
    heard_of: Mutex<Vec<Address>>,
}

/// Where a server is.
pub(crate) type Address = (String, u16);

impl Connector {
    /// Reads the certificates.
    pub(crate) fn new(
        config: &RedisConfig,
        names: &Names,
        node: &str,
    ) -> tavern_backend::Result<Self> {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| {
                tavern_backend::Error::config(format_args!(
                    "the certificate file `{}` cannot be read: {error}",
                    path.display()
                ))
            })
        };
        let certificates = match &config.tls {
            None => None,
            Some(tls) => Some(TlsCertificates {
                client_tls: match &tls.client {
                    None => None,
                    Some((cert, key)) => {
                        Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? })
                    }
                },
                root_cert: tls.ca.as_deref().map(read).transpose()?,
            }),
        };
        let name = format!("{}-{node}", config.client_name);
        let (first, heard_of) = (AtomicUsize::new(0), Mutex::default());
        Ok(Self { config: config.clone(), certificates, meta: names.meta(), name, first, heard_of })
    }

    /// The primary, and what it says of itself.
    pub(crate) async fn primary(&self) -> Result<(Address, Server)> {
        let many = self.in_turn().len() > 1;
        if many && self.config.timeout > HASTE {
            // One that is dead and says nothing is not waited for while others may answer.
            match self.seek(HASTE).await {
                Err(failure) if !failure.lasting => {}
                found => return found,
            }
        }
        self.seek(self.config.timeout).await
    }

    /// Asks one after the other where the primary is, and looks there. What one says may be long
    /// untrue, so the next is asked where it is.
    async fn seek(&self, patience: Duration) -> Result<(Address, Server)> {
        let (mut last, mut seen) = (None, Vec::new());
        for (turn, address) in self.in_turn() {
            let asked = tokio::time::timeout(patience, self.ask(&address)).await;
            let found = match asked {
                Ok(Ok(found)) if !seen.contains(&found) => found,
                Ok(Ok(_)) => continue,
                Ok(Err(failure)) => {
                    last = Some(failure);
                    continue;
                }
                Err(_) => {
                    last.get_or_insert_with(|| {
                        Failure::of_link(format!("{} does not answer in time", text(&address)))
                    });
                    continue;
                }
            };
            match self.look(&found).await {
                Ok(server) if server.loading => {
                    last = Some(Failure::of_link("the server is loading its data"));
                }
                Ok(server) if server.primary => {
                    self.first.store(turn, Ordering::Relaxed);
                    return Ok((found, server));
                }
                Ok(_) => {
                    last = Some(Failure::of_link(format!(
                        "{} is a replica; the address of the primary is needed, or of Sentinels",
                        text(&found)
                    )));
                }
                Err(failure) => last = Some(failure),
            }
            seen.push(found);
        }
        Err(last.unwrap_or_else(|| Failure::of_link("no server is known")))
    }

    async fn look(&self, address: &Address) -> Result<Server> {
        let mut conn = self.connect(address, None).await?;
        let server = Server::ask(&mut conn).await?;
        if server.cluster && self.config.topology != Topology::Cluster {
            return Err(Failure::lasting(
                "the server is a node of a cluster: say so (`?cluster=true` in the URL)",
            ));
        }
        Ok(server)
    }

    /// A connection to a server. `pushes` gets what the server sends unasked.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        pushes: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<MultiplexedConnection> {
        let database = i64::from(self.config.database);
        self.open(address, &self.config.credentials, database, pushes).await
    }

    async fn open(
        &self,
        (host, port): &Address,
        credentials: &Credentials,
        database: i64,
        pushes: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<MultiplexedConnection> {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name()
            .set_db(database);
        if let Some(username) = &credentials.username {
            info = info.set_username(username);
        }
        if let Some(password) = &credentials.password {
            info = info.set_password(password);
        }
        let address = match self.certificates {
            None => ConnectionAddr::Tcp(host.clone(), *port),
            Some(_) => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
        };
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(self.config.timeout);
        let info = address.into_connection_info()?.set_redis_settings(info).set_tcp_settings(tcp);
        let client = match &self.certificates {
            None => Client::open(info)?,
            Some(certificates) => Client::build_with_tls(info, certificates.clone())?,
        };
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.timeout))
            .set_response_timeout(Some(self.config.timeout))
            .set_pipeline_buffer_size(1024);
        if let Some(pushes) = pushes {
            config = config.set_push_sender(pushes);
        }
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut conn =
            connected.map_err(|error| Failure::from(error).connecting_to(host, *port))?;
        let command = cmd("CLIENT").arg("SETNAME").arg(&self.name).clone();
        match conn.send_packed_command(&command).await.and_then(Value::extract_error) {
            Err(error) if Failure::from(error.clone()).link => return Err(error.into()),
            // A Sentinel, or an ACL that does not let us: the name is a courtesy.
            _ => {}
        }
        Ok(conn)
    }
}

/// How long one of several is asked, at first.
const HASTE: Duration = Duration::from_secs(1);

fn text((host, port): &Address) -> String {
    format!("{host}:{port}")
}
