//! The doorbell between processes: one byte to every node's socket after a commit.
//!
//! It is a hint and may be lost; the poll behind it finds everything. Where the path is too long
//! for a socket's address (about 100 bytes), there is only the poll.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tavern_backend::NodeId;

/// This node's ear.
#[derive(Debug)]
pub(crate) struct Bell {
    socket: Option<UnixDatagram>,
    path: PathBuf,
}

impl Bell {
    pub(crate) fn hang(nodes: &Path, node: NodeId) -> Self {
        let path = nodes.join(node.to_string());
        let bind = || -> io::Result<UnixDatagram> {
            std::fs::create_dir_all(nodes)?;
            UnixDatagram::bind(&path)
        };
        let socket = bind()
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "no doorbell: this node polls only");
            })
            .ok();
        Self { socket, path }
    }

    /// Waits for a ring, at most `timeout`; returns whether it rang.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let Some(socket) = &self.socket else {
            std::thread::park_timeout(timeout);
            return false;
        };
        // An error is no ring, and the poll behind it looks at the file all the same. But one that
        // comes at once must not make the poll spin.
        let waited = socket.set_read_timeout(Some(timeout)).and_then(|()| socket.recv(&mut [0; 8]));
        match waited {
            Ok(_) => return true,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => std::thread::park_timeout(timeout),
        }
        false
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        if self.socket.is_some() {
            // If it stays, the first to ring it finds nobody there and removes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Who rings the others.
#[derive(Debug)]
pub(crate) struct Ringer {
    socket: Option<UnixDatagram>,
    nodes: PathBuf,
    peers: Vec<PathBuf>,
    /// The directory's time of change when it was listed, and when that was.
    listed: Option<(SystemTime, SystemTime)>,
}

/// A list that was made within this time of the directory's last change may miss what came next
/// in the same tick of the file system's clock.
const TICK: Duration = Duration::from_millis(20);

impl Ringer {
    pub(crate) fn new(nodes: PathBuf) -> Self {
        let socket = UnixDatagram::unbound()
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .inspect_err(|error| tracing::warn!(%error, "no doorbell: the other nodes poll only"))
            .ok();
        Self { socket, nodes, peers: Vec::new(), listed: None }
    }

    /// Rings at every node, and takes out the bells of those that were killed.
    pub(crate) fn ring(&mut self) {
        self.list();
        let Some(socket) = &self.socket else { return };
        self.peers.retain(|peer| match socket.send_to(&[1], peer) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // Another node may have removed it first.
                let _ = std::fs::remove_file(peer);
                false
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // A full queue holds rings enough; anything else is left to the poll.
            Ok(_) | Err(_) => true,
        });
    }

    fn list(&mut self) {
        let Ok(changed) = std::fs::metadata(&self.nodes).and_then(|meta| meta.modified()) else {
            self.peers.clear();
            return;
        };
        let fresh = self.listed.is_some_and(|(seen, at)| {
            seen == changed && at.duration_since(changed).is_ok_and(|passed| passed > TICK)
        });
        if fresh {
            return;
        }
        let now = SystemTime::now();
        let Ok(entries) = std::fs::read_dir(&self.nodes) else { return };
        self.peers = entries
            .filter_map(Result::ok)
            .filter(|entry| {
                entry.file_name().to_str().is_some_and(|name| name.parse::<NodeId>().is_ok())
            })
            .map(|entry| entry.path())
            .collect();
        self.listed = Some((changed, now));
    }
}
