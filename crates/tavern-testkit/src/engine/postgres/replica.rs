//! Replicas: one server follows another, and loses it.

use std::fs;
use std::io;
use std::path::Path;

use super::data;
use super::owner::Owner;
use super::programs::Programs;
use super::server::{DATA, PostgresServer, configure};
use super::template::run;
use crate::engine::deadline::Deadline;

/// Who has this file in its data directory follows another.
const SIGNAL: &str = "standby.signal";

impl PostgresServer {
    /// Starts a server with the options of `primary` that replicates it, and waits until it has all
    /// that `primary` has now. It may be read.
    ///
    /// # Errors
    ///
    /// If it does not start, or gets nothing.
    pub async fn replica_of(primary: &Self) -> io::Result<Self> {
        let replica = Self::start_from(primary.options().clone(), Some(primary.door())).await?;
        replica.wait_synced(primary).await?;
        Ok(replica)
    }

    /// Throws away all that it has, be it running or not, and becomes a replica of `primary`; waits
    /// until it has all that `primary` has now.
    ///
    /// # Errors
    ///
    /// If it does not start, or gets nothing.
    pub async fn become_replica_of(&self, primary: &Self) -> io::Result<()> {
        self.kill().await?;
        let (programs, owner) = (self.programs.clone(), self.owner);
        let (options, port) = (self.options().clone(), self.port());
        let (dir, door) = (self.dir().to_owned(), primary.door());
        let work = move || {
            data::clear(&dir.join(DATA))?;
            copy(&programs, &door, &dir, owner)?;
            configure(&options, &dir, port, Some(&door))
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??;
        self.start_again().await?;
        self.wait_synced(primary).await
    }

    /// Whether it follows another.
    ///
    /// # Errors
    ///
    /// As [`psql`](Self::psql).
    pub async fn is_replica(&self) -> io::Result<bool> {
        Ok(self.psql("SELECT pg_is_in_recovery()").await? == "t")
    }

    /// Waits until this replica shows all that `primary` has now.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub async fn wait_synced(&self, primary: &Self) -> io::Result<()> {
        let wanted = primary.psql("SELECT pg_current_wal_flush_lsn()").await?;
        let mut deadline = Deadline::new(format!("a replica to get to {wanted}"));
        loop {
            let shown = format!(
                "SELECT coalesce(pg_last_wal_replay_lsn() >= '{wanted}', false),
                    pg_last_wal_replay_lsn()"
            );
            let shown = self.psql(&shown).await?;
            if shown.starts_with('t') {
                return Ok(());
            }
            deadline.saw(shown);
            deadline.tick().await?;
        }
    }

    /// Lets this replica get nothing from now on; what it has it keeps. What its primary commits
    /// afterwards is lost with a promotion.
    ///
    /// # Errors
    ///
    /// As [`psql`](Self::psql).
    pub async fn cut_replication(&self) -> io::Result<()> {
        self.psql("ALTER SYSTEM SET primary_conninfo = ''; SELECT pg_reload_conf()").await?;
        let mut deadline = Deadline::new("a replica to leave its primary");
        while self.psql("SELECT count(*) FROM pg_stat_wal_receiver").await? != "0" {
            deadline.saw("a receiver");
            deadline.tick().await?;
        }
        Ok(())
    }

    /// Ends a [`cut_replication`](Self::cut_replication); waits for nothing.
    ///
    /// # Errors
    ///
    /// As [`psql`](Self::psql).
    pub async fn mend_replication(&self) -> io::Result<()> {
        self.psql("ALTER SYSTEM RESET primary_conninfo; SELECT pg_reload_conf()").await.map(|_| ())
    }

    /// Lets this replica show nothing new from now on, although it gets it: it lags. A promotion
    /// loses nothing by this.
    ///
    /// # Errors
    ///
    /// As [`psql`](Self::psql).
    pub async fn pause_replay(&self) -> io::Result<()> {
        self.psql("SELECT pg_wal_replay_pause()").await.map(|_| ())
    }

    /// Ends a [`pause_replay`](Self::pause_replay).
    ///
    /// # Errors
    ///
    /// As [`psql`](Self::psql).
    pub async fn resume_replay(&self) -> io::Result<()> {
        self.psql("SELECT pg_wal_replay_resume()").await.map(|_| ())
    }

    /// Becomes a primary with what it has, which is when this returns.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub async fn promote(&self) -> io::Result<()> {
        let promoted = self.psql("SELECT pg_promote(true, 15)").await?;
        if promoted != "t" {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a replica is not promoted"));
        }
        // Who is made from it later follows it.
        self.mend_replication().await
    }
}

/// Makes the data directory in `dir` a copy of what the server at `primary` has.
///
/// # Errors
///
/// If that server is not there.
pub(super) fn copy(programs: &Programs, primary: &str, dir: &Path, owner: Owner) -> io::Result<()> {
    let mut command = owner.command(&programs.get("pg_basebackup")?);
    command.args(["-X", "stream", "-c", "fast", "--no-sync", "-d", primary, "-D"]);
    command.arg(dir.join(DATA)).current_dir(dir);
    run(&mut command)?;
    let signal = dir.join(DATA).join(SIGNAL);
    fs::write(&signal, "")?;
    owner.give(&signal)
}
