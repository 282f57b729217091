//! Finding the server that writes, and connecting to it.

use std::sync::Arc;

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
        Ok(Self { config: config.clone(), certificates, meta: names.meta(), name })
    }

    /// The primary, and what it says of itself.
    pub(crate) async fn primary(&self) -> Result<(Address, Server)> {
        let mut last = None;
        for address in self.candidates().await? {
            match self.look(&address).await {
                Ok(server) if server.loading => {
                    last = Some(Failure::of_link("the server is loading its data"));
                }
                Ok(server) if server.primary => return Ok((address, server)),
                Ok(_) => {
                    last = Some(Failure::of_link(format!(
                        "{}:{} is a replica; the address of the primary is needed, or of Sentinels",
                        address.0, address.1
                    )));
                }
                Err(failure) => last = Some(failure),
            }
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

    /// Where the primary may be, the likeliest first.
    async fn candidates(&self) -> Result<Vec<Address>> {
        match self.config.topology {
            Topology::Single => Ok(self.config.addresses.clone()),
            Topology::Sentinel => {
                self.ask_around(Self::ask_sentinel).await.map(|found| vec![found])
            }
            Topology::Cluster => self.ask_around(Self::ask_cluster).await.map(|found| vec![found]),
        }
    }

    /// Asks one address after the other until one knows.
    async fn ask_around<'a, F, A>(&'a self, ask: F) -> Result<Address>
    where
        F: Fn(&'a Self, &'a Address) -> A,
        A: Future<Output = Result<Address>>,
    {
        let mut last = None;
        for address in &self.config.addresses {
            match ask(self, address).await {
                Ok(found) => return Ok(found),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| Failure::of_link("no server is known")))
    }

    async fn ask_sentinel(&self, sentinel: &Address) -> Result<Address> {
        let master = self.config.sentinel_master.as_deref().unwrap_or_default();
        let credentials = &self.config.sentinel_credentials;
        let mut conn = self.open(sentinel, credentials, 0, None).await?;
        let command = cmd("SENTINEL").arg("get-master-addr-by-name").arg(master).clone();
        match conn.send_packed_command(&command).await?.extract_error()? {
            Value::Array(parts) => {
                let mut reply = crate::reply::Reply::new(Value::Array(parts))?;
                Ok((reply.text()?, port(reply.number()?)?))
            }
            Value::Nil => {
                Err(Failure::of_link(format!("the Sentinels know no primary `{master}`")))
            }
            _ => Err(crate::reply::strange()),
        }
    }

    /// Which node of the cluster has the slot of the namespace.
    async fn ask_cluster(&self, node: &Address) -> Result<Address> {
        let mut conn = self.connect(node, None).await?;
        // Any command for a key of the slot: who does not have it says who does.
        let command = cmd("HGET").arg(&self.meta).arg("schema").clone();
        let answer = conn.send_packed_command(&command).await.and_then(Value::extract_error);
        match answer {
            Ok(_) => Ok(node.clone()),
            Err(error) => match error.redirect_node() {
                None => Err(error.into()),
                Some((to, _)) => {
                    let (host, port) = to.rsplit_once(':').ok_or_else(crate::reply::strange)?;
                    // Without a host it is the one that was asked.
                    let host = if host.is_empty() { node.0.as_str() } else { host };
                    let port = port.parse().map_err(|_| crate::reply::strange())?;
                    Ok((host.trim_matches(['[', ']']).to_owned(), port))
                }
            },
        }
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

fn port(number: u64) -> Result<u16> {
    u16::try_from(number).map_err(|_| crate::reply::strange())
}
