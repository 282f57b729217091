//! Carries one connection to its end, whatever that is.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::conditions::{Conditions, Side};
use super::link::Link;
use super::pump::pump;

/// What a connection is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orders {
    pub(super) conditions: Conditions,
    pub(super) end: Option<End>,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Cut,
    Reset,
    /// Towards this side, and the other is not told.
    HalfOpen(Side),
}

pub(super) async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    mut orders: watch::Receiver<Orders>,
    link: &Link,
) {
    // Delays are ours to make. It fails only if the connection is gone, as below.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = pump(from_client, to_server, Side::Server, orders.clone(), Some(link));
        let back = pump(from_server, to_client, Side::Client, orders.clone(), None);
        tokio::select! {
            ended = async { tokio::try_join!(there, back) } => ended.err().unwrap_or(End::Cut),
            end = ordered(&mut orders) => end,
        }
    };
    match end {
        End::Cut => {}
        // It reaches both ends when the streams are dropped.
        End::Reset => drop((client.set_zero_linger(), server.set_zero_linger())),
        End::HalfOpen(side) => {
            let (told, mut other) = match side {
                Side::Client => (client, server),
                Side::Server => (server, client),
            };
            drop(told);
            tokio::select! {
                () = vanish(&mut other) => {}
                // Whatever comes now ends it.
                _ = orders.changed() => {}
            }
            let _ = other.set_zero_linger();
        }
    }
}

async fn ordered(orders: &mut watch::Receiver<Orders>) -> End {
    match orders.wait_for(|orders| orders.end.is_some()).await.map(|orders| orders.end) {
        Ok(Some(end)) => end,
        // The proxy itself is gone.
        _ => End::Cut,
    }
}

/// Takes what a side sends until it ends the connection.
async fn vanish(stream: &mut TcpStream) {
    let mut buffer = vec![0; 16 * 1024];
    while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
}
