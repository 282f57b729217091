//! What lies between a node and the server, and does not tell either what becomes of the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tavern_backend::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A port that leads to others.
pub(crate) struct Relay {
    pub(crate) port: u16,
    /// Connections with a lower number carry nothing any more.
    hushed: watch::Sender<u64>,
    taken: Arc<AtomicU64>,
    _tasks: Tasks,
}

impl Relay {
    /// Each connection goes where its number, from 0, says.
    pub(crate) async fn start(to: impl Fn(u64) -> u16 + Send + 'static) -> Self {
        Self::with_pause(to, Duration::ZERO).await
    }

    /// The same, waiting for so long behind each 16 KiB of an answer.
    pub(crate) async fn with_pause(
        to: impl Fn(u64) -> u16 + Send + 'static,
        pause: Duration,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hushed, taken) = (watch::Sender::new(0), Arc::<AtomicU64>::default());
        let (tasks, mut carriers) = (Tasks::new(), JoinSet::new());
        let (seen, count, token) = (hushed.clone(), Arc::clone(&taken), tasks.token().clone());
        tasks.spawn(async move {
            loop {
                let client = tokio::select! {
                    Ok((client, _)) = listener.accept() => client,
                    Some(_) = carriers.join_next() => continue,
                    () = token.cancelled() => return,
                };
                let number = count.fetch_add(1, Ordering::Relaxed);
                let Ok(server) = narrow(to(number)).await else { continue };
                let ((asks, hears), (answers, heard)) = (client.into_split(), server.into_split());
                carriers.spawn(carry(asks, heard, number, seen.subscribe(), Duration::ZERO));
                carriers.spawn(carry(answers, hears, number, seen.subscribe(), pause));
            }
        });
        Self { port, hushed, taken, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The connections that are there stay, and carry nothing any more.
    pub(crate) fn hush(&self) {
        self.hushed.send_replace(self.taken.load(Ordering::Relaxed));
    }
}

/// A connection that holds little on its way: who sends much has to wait for who takes it.
async fn narrow(port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(32 << 10)?;
    socket.connect(([127, 0, 0, 1], port).into()).await
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut hushed: watch::Receiver<u64>,
    pause: Duration,
) {
    let carrying = async {
        let mut some = vec![0; 16 << 10];
        loop {
            let n = from.read(&mut some).await?;
            if n == 0 {
                return io::Result::Ok(());
            }
            to.write_all(&some[..n]).await?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    };
    let hushed_now = async {
        // An error: the relay is gone, and this with it.
        drop(hushed.wait_for(|hushed| *hushed > number).await);
    };
    tokio::select! {
        // Both ends are told.
        _ = carrying => {}
        () = hushed_now => std::future::pending().await,
    }
}
