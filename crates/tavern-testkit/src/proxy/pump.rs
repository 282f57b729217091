//! One way of a connection: a reader, what is on its way, and a writer.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant};

use super::carry::{End, Orders};
use super::conditions::{Flow, Pass, Side};
use super::link::Link;

/// Pieces on their way; who sends more has to wait.
const PIECES: usize = 64;
const PIECE: usize = 16 * 1024;

/// Carries what comes from one side `towards` the other until it ends.
///
/// # Errors
///
/// How the whole connection ends because of this way.
pub(super) async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    towards: Side,
    orders: watch::Receiver<Orders>,
    link: Option<&Link>,
) -> Result<(), End> {
    let (on_way, mut arriving) = mpsc::channel::<(Instant, Bytes)>(PIECES);
    let lost = AtomicBool::new(false);
    let mut near = Valve { orders: orders.clone(), towards, lost: &lost };
    let mut far = Valve { orders, towards, lost: &lost };
    let reading = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            near.open().await?;
            let read = tokio::select! {
                read = from.read(&mut buffer) => read,
                // Nothing is read while it waits, and nothing is lost by asking again.
                () = near.changed() => continue,
            };
            let Some(bytes) = read.ok().map(|n| &buffer[..n]) else {
                near.broken().await?;
                return Ok(());
            };
            let flow = near.flow();
            if flow.pass == Pass::Vanishing {
                near.lost.store(true, Relaxed);
                if bytes.is_empty() {
                    return near.broken().await;
                }
                continue;
            }
            if bytes.is_empty() {
                return Ok(());
            }
            if let Some(link) = link {
                link.hear(bytes);
            }
            let piece = (Instant::now() + flow.delay, Bytes::copy_from_slice(bytes));
            if on_way.send(piece).await.is_err() {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = arriving.recv().await {
            tokio::time::sleep_until(due).await;
            far.write(&mut to, bytes).await?;
        }
        far.open().await?;
        if far.flow().pass == Pass::Vanishing {
            return far.broken().await;
        }
        tokio::time::sleep(far.late_end()).await;
        // It fails only if that side is gone.
        let _ = to.shutdown().await;
        Ok(())
    };
    tokio::try_join!(reading, writing).map(drop)
}

/// What lets bytes through, or not.
struct Valve<'a> {
    orders: watch::Receiver<Orders>,
    towards: Side,
    /// Whether bytes vanished here.
    lost: &'a AtomicBool,
}

impl Valve<'_> {
    fn flow(&self) -> Flow {
        *self.orders.borrow().conditions.towards(self.towards)
    }

    fn late_end(&self) -> Duration {
        self.orders.borrow().conditions.late_end
    }

    /// Returns when something else is ordered; never when nobody can order any more, as the end of
    /// the connection is then another's to see.
    async fn changed(&mut self) {
        if self.orders.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits while bytes are held.
    ///
    /// # Errors
    ///
    /// If bytes have vanished and none would now: what follows would be something else than was sent.
    async fn open(&mut self) -> Result<(), End> {
        loop {
            let pass = self.orders.borrow_and_update().conditions.towards(self.towards).pass;
            match pass {
                Pass::Vanishing => return Ok(()),
                _ if self.lost.load(Relaxed) => return Err(End::Reset),
                Pass::Through => return Ok(()),
                Pass::Held => self.changed().await,
            }
        }
    }

    /// One side broke the connection. The other hears of it, unless that vanishes, too.
    async fn broken(&mut self) -> Result<(), End> {
        loop {
            self.open().await?;
            if self.flow().pass != Pass::Vanishing {
                tokio::time::sleep(self.late_end()).await;
                return Err(End::Reset);
            }
            self.lost.store(true, Relaxed);
            self.changed().await;
        }
    }

    async fn write(&mut self, to: &mut WriteHalf<'_>, mut bytes: Bytes) -> Result<(), End> {
        while !bytes.is_empty() {
            self.open().await?;
            let flow = self.flow();
            if flow.pass == Pass::Vanishing {
                self.lost.store(true, Relaxed);
                return Ok(());
            }
            let most = flow.rate.map_or(bytes.len(), |rate| slice(rate).min(bytes.len()));
            let part = bytes.split_to(most);
            if to.write_all(&part).await.is_err() {
                return self.broken().await;
            }
            if let Some(rate) = flow.rate {
                let seconds = f64::from(u32::try_from(most).unwrap_or(u32::MAX)) / f64::from(rate);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
        }
        Ok(())
    }
}

/// What goes through at once at this rate: a fiftieth of a second's.
fn slice(rate: u32) -> usize {
    usize::try_from(rate / 50).unwrap_or(1).max(1)
}
