//! A cluster: several servers that share the streams.

use std::io;

use futures_util::future::try_join_all;
use serde_json::Value;

use super::life::is_taken;
use super::options::NatsOptions;
use super::rewind::Paused;
use super::server::NatsServer;
use crate::engine::port::PortLease;

/// A cluster of real servers, `n0`, `n1` and so on.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
    // Those where the servers meet, for as long as the cluster lives.
    _routes: Vec<PortLease>,
}

impl NatsCluster {
    /// Starts so many servers, and waits until they have a leader and each has what it has.
    ///
    /// # Errors
    ///
    /// If one does not start, or they do not come together.
    pub async fn start(options: impl Into<NatsOptions>, count: usize) -> io::Result<Self> {
        let options = options.into();
        let mut tries = 0..5;
        loop {
            let cluster = Self::spawn(&options, count)?;
            match try_join_all(cluster.servers.iter().map(NatsServer::is_up)).await {
                // Somebody who asks for no lease was faster.
                Err(error) if is_taken(&error) && tries.next().is_some() => continue,
                Err(error) => return Err(error),
                Ok(_) => {}
            }
            cluster.wait_ready().await?;
            return Ok(cluster);
        }
    }

    fn spawn(options: &NatsOptions, count: usize) -> io::Result<Self> {
        let lease = |_| PortLease::take();
        let routes = (0..count).map(lease).collect::<io::Result<Vec<_>>>()?;
        // A name of its own, so that no server takes another cluster's for one of these.
        let name = format!("tavern-{:016x}", fastrand::u64(..));
        let urls = routes.iter().map(|port| format!("\"nats://127.0.0.1:{}\"", port.get()));
        let urls = urls.collect::<Vec<_>>().join(", ");
        let servers = routes.iter().enumerate().map(|(n, port)| {
            let listen = format!("listen: \"127.0.0.1:{}\"", port.get());
            let text = format!("cluster {{ name: {name:?}, {listen}, routes: [{urls}] }}");
            let options = options.clone().with_config(text);
            NatsServer::spawn(options, format!("n{n}"), Some(name.clone()))
        });
        Ok(Self { servers: servers.collect::<io::Result<_>>()?, _routes: routes })
    }

    /// Its servers.
    #[must_use]
    pub fn servers(&self) -> &[NatsServer] {
        &self.servers
    }

    /// One of its servers.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    #[must_use]
    pub fn server(&self, index: usize) -> &NatsServer {
        &self.servers[index]
    }

    /// The ports of its servers.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(NatsServer::port).collect()
    }

    /// The URLs of its servers, as [`NatsServer::url`].
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// Asks JetStream, by way of any server that runs, as [`NatsServer::js`].
    ///
    /// # Errors
    ///
    /// As [`NatsServer::js`]; if no server runs.
    pub async fn js(&self, subject: &str, body: Value) -> io::Result<Value> {
        let server = self.servers.iter().find(|server| server.is_running());
        server.ok_or_else(none_runs)?.js(subject, body).await
    }

    /// kill -9 of a server.
    ///
    /// # Errors
    ///
    /// If it does not die.
    pub async fn kill(&self, index: usize) -> io::Result<()> {
        self.server(index).kill().await
    }

    /// Starts a server where it was, and waits until it has what the others have. To start one
    /// while most of the others are down, which has nobody to agree with:
    /// [`NatsServer::start_again`].
    ///
    /// # Errors
    ///
    /// If it runs, does not start, or gets nothing.
    pub async fn start_again(&self, index: usize) -> io::Result<()> {
        self.server(index).start_again().await?;
        self.wait_ready().await
    }

    /// kill -9 of the server that leads this stream; waits until another does. Returns the dead
    /// one and the new leader.
    ///
    /// # Errors
    ///
    /// If the stream has no leader, or gets no new one.
    pub async fn kill_leader(&self, stream: &str) -> io::Result<(usize, usize)> {
        let old = self.stream_leader(stream).await?;
        self.kill(old).await?;
        Ok((old, self.leader_of(Some(stream), Some(old)).await?))
    }

    /// Asks the server that leads this stream to let another do it, and waits until one does.
    /// Returns the old leader and the new one.
    ///
    /// # Errors
    ///
    /// If the stream has no leader, or gets no new one.
    pub async fn step_down(&self, stream: &str) -> io::Result<(usize, usize)> {
        let old = self.stream_leader(stream).await?;
        self.js(&format!("STREAM.LEADER.STEPDOWN.{stream}"), Value::Null).await?;
        Ok((old, self.leader_of(Some(stream), Some(old)).await?))
    }

    /// Puts all that the servers have aside as it is at one moment, for [`rewind`](Self::rewind).
    /// Clients stay connected: the servers stand still meanwhile, no longer than the copies take.
    ///
    /// # Errors
    ///
    /// If it cannot be copied.
    pub async fn checkpoint(&self) -> io::Result<()> {
        // All of them before the first copy: one moment.
        let paused = self.servers.iter().map(Paused::new);
        let _paused = paused.collect::<io::Result<Vec<_>>>()?;
        try_join_all(self.servers.iter().map(NatsServer::copy_store)).await.map(|_| ())
    }

    /// kill -9 of all, then starts them with what they had at the last
    /// [`checkpoint`](Self::checkpoint), and waits until they are one again: what was written since
    /// is lost.
    ///
    /// # Errors
    ///
    /// If there was none, or they do not come together.
    pub async fn rewind(&self) -> io::Result<()> {
        try_join_all(self.servers.iter().map(NatsServer::kill)).await?;
        try_join_all(self.servers.iter().map(NatsServer::put_back)).await?;
        try_join_all(self.servers.iter().map(NatsServer::start_again)).await?;
        self.wait_ready().await
    }
}

fn none_runs() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "no server of the cluster runs")
}
