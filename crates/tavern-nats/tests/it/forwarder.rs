//! A wire between a node and a server that can stop carrying without being cut, or be cut.

use std::net::SocketAddr;

use tavern_backend::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Which ways it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ways {
    Both,
    /// What is asked arrives, no answer does.
    There,
    None,
}

/// What it does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Does {
    ways: Ways,
    /// How often it was cut.
    cuts: u64,
}

/// Forwards connections to a port. While it is stopped it takes new ones and carries nothing, as a
/// firewall does that has forgotten about them.
#[derive(Debug)]
pub(crate) struct Forwarder {
    does: watch::Sender<Does>,
    /// Connections it has taken.
    taken: watch::Receiver<u64>,
    port: u16,
    _tasks: Tasks,
}

impl Forwarder {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = listener.local_addr().unwrap().port();
        let (does, watched) = watch::channel(Does { ways: Ways::Both, cuts: 0 });
        let (count, taken) = watch::channel(0);
        let tasks = Tasks::new();
        let token = tasks.token().clone();
        tasks.spawn(async move {
            // Its connections live as long as it does.
            let mut open = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    client = listener.accept() => {
                        let client = client.unwrap().0;
                        count.send_modify(|count| *count += 1);
                        open.spawn(serve(client, ([127, 0, 0, 1], port).into(), watched.clone()));
                    }
                    () = token.cancelled() => return,
                }
            }
        });
        Self { does, taken, port: ours, _tasks: tasks }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn stop(&self) {
        self.does.send_modify(|does| does.ways = Ways::None);
    }

    /// Carries no answers any more.
    pub(crate) fn mute(&self) {
        self.does.send_modify(|does| does.ways = Ways::There);
    }

    pub(crate) fn go_on(&self) {
        self.does.send_modify(|does| does.ways = Ways::Both);
    }

    /// Ends all connections; it takes new ones. What it held back is lost.
    pub(crate) fn cut(&self) {
        self.does.send_modify(|does| does.cuts += 1);
    }

    /// How many connections it was asked for.
    pub(crate) fn taken(&self) -> u64 {
        *self.taken.borrow()
    }
}

async fn serve(client: TcpStream, to: SocketAddr, mut does: watch::Receiver<Does>) {
    let cuts = does.borrow().cuts;
    let Ok(server) = TcpStream::connect(to).await else { return };
    let ((client_in, client_out), (server_in, server_out)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = carry(client_in, server_out, does.clone(), |does| does.ways != Ways::None) => {}
        () = carry(server_in, client_out, does.clone(), |does| does.ways == Ways::Both) => {}
        _ = does.wait_for(|does| does.cuts != cuts) => {}
    }
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin + Send,
    mut to: impl AsyncWriteExt + Unpin + Send,
    mut does: watch::Receiver<Does>,
    open: impl Fn(&Does) -> bool + Send + Sync,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        if does.wait_for(&open).await.is_err() {
            return;
        }
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => {
                // What was read when it stopped waits, too.
                if does.wait_for(&open).await.is_err() || to.write_all(&buffer[..n]).await.is_err()
                {
                    return;
                }
            }
        }
    }
}
