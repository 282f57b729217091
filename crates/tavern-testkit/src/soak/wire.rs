//! A wire between hubs and their server, to be cut.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tavern_backend::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections to a port of this machine until they are cut. It goes with its connections.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    /// Where it leads now.
    to: Arc<AtomicU16>,
    /// How often it was cut. Each connection watches it.
    cuts: watch::Sender<u64>,
    /// Connections it has carried so far.
    carried: watch::Receiver<u64>,
    _tasks: Tasks,
}

impl Wire {
    /// A wire to this port.
    ///
    /// # Errors
    ///
    /// If there is no free port for its other end.
    pub async fn to(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let ours = listener.local_addr()?.port();
        let (count, carried) = watch::channel(0);
        let cuts = watch::Sender::new(0);
        let tasks = Tasks::new();
        let (watched, token) = (cuts.clone(), tasks.token().clone());
        let to = Arc::new(AtomicU16::new(port));
        let target = Arc::clone(&to);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                tokio::select! {
                    // One that was gone before it was taken is no loss.
                    Ok((client, _)) = listener.accept() => {
                        let to = ([127, 0, 0, 1], target.load(Ordering::Acquire)).into();
                        open.spawn(carry(client, to, watched.subscribe(), count.clone()));
                    }
                    Some(_) = open.join_next() => {}
                    () = token.cancelled() => return,
                }
            }
        });
        Ok(Self { port: ours, to, cuts, carried, _tasks: tasks })
    }

    /// Where it begins.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections it has carried so far.
    #[must_use]
    pub fn carried(&self) -> u64 {
        *self.carried.borrow()
    }

    /// Leads to another port from now on, and cuts all connections that it carries now.
    pub fn turn_to(&self, port: u16) {
        self.to.store(port, Ordering::Release);
        self.cut();
    }

    /// Cuts all connections that it carries now.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(
    mut client: TcpStream,
    to: SocketAddr,
    mut cuts: watch::Receiver<u64>,
    count: watch::Sender<u64>,
) {
    // The other end sees a connection that ends at once.
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    count.send_modify(|carried| *carried += 1);
    tokio::select! {
        // However it ends, both ends are closed.
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        // An error: the wire itself is gone.
        _ = cuts.changed() => {}
    }
}
