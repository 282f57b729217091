//! Replicas: one server follows another, and loses it.

use std::io;

use super::conn::RedisConn;
use super::server::RedisServer;
use crate::engine::deadline::Deadline;

impl RedisServer {
    /// Starts a server with the options of `primary` that replicates it, and waits until it has all
    /// that `primary` has now.
    ///
    /// # Errors
    ///
    /// If it does not start, or gets nothing.
    pub async fn replica_of(primary: &Self) -> io::Result<Self> {
        let replica = Self::start(primary.options().clone()).await?;
        replica.follow(primary).await?;
        replica.wait_synced().await?;
        Ok(replica)
    }

    /// Becomes a replica of `primary`, also after a start; waits for nothing.
    ///
    /// # Errors
    ///
    /// As [`cli`](Self::cli).
    pub async fn follow(&self, primary: &Self) -> io::Result<()> {
        self.replicaof("127.0.0.1", &primary.port().to_string()).await
    }

    /// Becomes a primary with what it has, also after a start.
    ///
    /// # Errors
    ///
    /// As [`cli`](Self::cli).
    pub async fn promote(&self) -> io::Result<()> {
        self.replicaof("NO", "ONE").await
    }

    async fn replicaof(&self, host: &str, port: &str) -> io::Result<()> {
        let mut conn = self.connect().await?;
        conn.call(&["REPLICAOF", host, port]).await?;
        conn.call(&["CONFIG", "REWRITE"]).await?;
        Ok(())
    }

    /// Waits until this replica has all that its primary has now.
    ///
    /// # Errors
    ///
    /// If it is no replica, or that takes too long.
    pub async fn wait_synced(&self) -> io::Result<()> {
        if self.info("role").await? != "slave" {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no replica"));
        }
        let addr = format!("127.0.0.1:{}", self.info("master_port").await?);
        let mut primary = RedisConn::connect(&addr, self.user()).await?;
        let wanted = primary.field("master_repl_offset").await?;
        let mut deadline = Deadline::new(format!("a replica to get to offset {wanted}"));
        loop {
            let link = self.info("master_link_status").await?;
            let offset = self.info("slave_repl_offset").await?;
            // The first sync ends at an offset, and before it there is none.
            if link == "up" && number(&offset) >= number(&wanted) {
                return Ok(());
            }
            deadline.saw(format!("offset {offset}, link {link}"));
            deadline.tick().await?;
        }
    }

    /// Lets this primary's replicas get nothing from now on. They stay its replicas, and keep
    /// asking it; what they have they keep. What is written afterwards is lost with a promotion.
    ///
    /// # Errors
    ///
    /// As [`cli`](Self::cli).
    pub async fn cut_replication(&self) -> io::Result<()> {
        let mut conn = self.connect().await?;
        let user = self.user().map_or("default", |(name, _)| name);
        conn.call(&["ACL", "SETUSER", user, "-psync", "-sync"]).await?;
        conn.call(&["CLIENT", "KILL", "TYPE", "replica"]).await?;
        Ok(())
    }

    /// Ends a [`cut_replication`](Self::cut_replication); waits for nothing.
    ///
    /// # Errors
    ///
    /// As [`cli`](Self::cli).
    pub async fn mend_replication(&self) -> io::Result<()> {
        let user = self.user().map_or("default", |(name, _)| name);
        // Not `sync`: a replica whose `psync` was refused a moment ago would get through with that,
        // and would count its offsets from nothing.
        self.cli(&["ACL", "SETUSER", user, "+psync"]).await.map(|_| ())
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or(-1)
}
