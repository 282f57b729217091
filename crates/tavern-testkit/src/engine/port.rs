//! Ports that stay ours while an engine is down.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A loopback port for the life of an engine, also between its death and its next start.
///
/// It lies below the range that systems take ports of outgoing connections from, and a lock on a
/// file keeps the tests of other processes away. A cluster's bus takes the port 10,000 above, which
/// is leased with it.
#[derive(Debug)]
pub(super) struct PortLease {
    port: u16,
    // Released by the system when this is closed, however the process ends.
    _lock: File,
}

const FIRST: u16 = 10_000;
const BUS: u16 = 10_000;

impl PortLease {
    /// Takes a port that nobody listens on.
    ///
    /// # Errors
    ///
    /// If there is none, or the lock files cannot be written.
    pub(super) fn take() -> io::Result<Self> {
        let user = rustix::process::getuid().as_raw();
        let dir = std::env::temp_dir().join(format!("tavern-ports-{user}"));
        fs::create_dir_all(&dir)?;
        for _ in 0..1_000 {
            let port = fastrand::u16(FIRST..FIRST + BUS);
            let lock = File::create(dir.join(port.to_string()))?;
            if lock.try_lock().is_ok() && is_free(port) && is_free(port + BUS) {
                return Ok(Self { port, _lock: lock });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port from 10000 to 19999"))
    }

    pub(super) fn get(&self) -> u16 {
        self.port
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
