//! A TCP proxy between a node and its engine that does to connections what networks do.
//!
//! It knows nothing of what goes through it, so that it serves the tests of any backend: let the
//! node connect to [`Proxy::port`], and hurt what it carries.
//!
//! | what happens | call |
//! |---|---|
//! | delay, throttle | [`Conditions::delayed`], [`Conditions::throttled`] |
//! | bytes wait, and arrive in the end | [`Conditions::held`] |
//! | black hole: the connection stays, bytes vanish | [`Conditions::black_hole`], [`Conditions::deaf`] |
//! | who ends a connection is heard late | [`Conditions::slow_close`] |
//! | cut: both ends see an end | [`Proxy::cut`], [`Link::cut`] |
//! | reset: both ends see an error | [`Proxy::reset`], [`Link::reset`] |
//! | half open: one end sees an end, the other is not told | [`Proxy::half_open`], [`Link::half_open`] |
//!
//! Conditions hold for all connections and those to come ([`Proxy::set`]), or for one
//! ([`Link::set`]), until others are set. **Nothing is corrupted**: what arrives is what was sent
//! up to some byte. A connection of which bytes vanished carries no later ones: it is reset when
//! its black hole ends.

mod carry;
mod conditions;
mod link;
mod pump;

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tavern_backend::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use carry::{End, Orders, carry};
pub use conditions::{Conditions, Flow, Pass, Side};
pub use link::Link;

/// Forwards connections to a port of this machine, and hurts them on request. It goes with its
/// connections.
///
/// ```
/// # use std::time::Duration;
/// # use tavern_testkit::proxy::{Conditions, Proxy};
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # use tokio::net::{TcpListener, TcpStream};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let server = TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = Proxy::to(server.local_addr()?.port()).await?;
/// let mut node = TcpStream::connect(("127.0.0.1", proxy.port())).await?;
/// let (mut engine, _) = server.accept().await?;
///
/// proxy.set(Conditions::delayed(Duration::from_millis(5)));
/// engine.write_all(b"later").await?;
/// let mut five = [0; 5];
/// node.read_exact(&mut five).await?;
///
/// proxy.cut();
/// assert_eq!(node.read(&mut five).await?, 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    /// Connections it has carried so far.
    carried: watch::Receiver<u64>,
    _tasks: Tasks,
}

#[derive(Debug)]
struct Shared {
    /// Where it leads now.
    to: AtomicU16,
    /// Guards what new connections are like, and the open ones, oldest first.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    conditions: Conditions,
    links: Vec<Link>,
}

impl Proxy {
    /// A proxy in front of this port.
    ///
    /// # Errors
    ///
    /// If there is no free port for its other end.
    pub async fn to(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let ours = listener.local_addr()?.port();
        let (count, carried) = watch::channel(0);
        let shared = Arc::new(Shared { to: AtomicU16::new(port), state: Mutex::default() });
        let tasks = Tasks::new();
        let (accepting, token) = (Arc::clone(&shared), tasks.token().clone());
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                tokio::select! {
                    // One that was gone before it was taken is no loss.
                    Ok((client, _)) = listener.accept() => {
                        open.spawn(join(Arc::clone(&accepting), client, count.clone()));
                    }
                    Some(_) = open.join_next() => {}
                    () = token.cancelled() => return,
                }
            }
        });
        Ok(Self { port: ours, shared, carried, _tasks: tasks })
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

    /// The connections it carries now, oldest first.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        self.shared.state().links.clone()
    }

    /// Lets all connections, and those to come, be like this from now on.
    pub fn set(&self, conditions: Conditions) {
        let mut state = self.shared.state();
        state.conditions = conditions;
        for link in &state.links {
            link.set(conditions);
        }
    }

    /// Ends all conditions. Connections of which bytes vanished, and those that are half open, are
    /// reset.
    pub fn heal(&self) {
        self.set(Conditions::default());
    }

    /// Leads to another port from now on, and cuts all connections that it carries now.
    pub fn turn_to(&self, port: u16) {
        self.shared.to.store(port, Ordering::Release);
        self.cut();
    }

    /// Ends all connections that it carries now: both ends are told.
    pub fn cut(&self) {
        self.end(End::Cut);
    }

    /// Resets all connections that it carries now: both ends see an error.
    pub fn reset(&self) {
        self.end(End::Reset);
    }

    /// Ends all connections that it carries now towards `side`. The other side is not told: what it
    /// sends vanishes until [`heal`](Self::heal), or it gives up.
    pub fn half_open(&self, side: Side) {
        self.end(End::HalfOpen(side));
    }

    fn end(&self, end: End) {
        for link in &self.shared.state().links {
            link.end(end);
        }
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries a connection from its beginning to its end.
async fn join(shared: Arc<Shared>, client: TcpStream, count: watch::Sender<u64>) {
    let (link, orders) = {
        let mut state = shared.state();
        let (link, orders) = Link::new(Orders { conditions: state.conditions, end: None });
        state.links.push(link.clone());
        (link, orders)
    };
    let gone = Gone { shared: &shared, link: &link };
    let to = ([127, 0, 0, 1], shared.to.load(Ordering::Acquire)).into();
    // If there is nobody, the other end sees a connection that ends at once.
    if let Ok(server) = TcpStream::connect::<std::net::SocketAddr>(to).await {
        count.send_modify(|carried| *carried += 1);
        carry(client, server, orders, &link).await;
    }
    drop(gone);
}

/// Takes a link off the list, however it ends.
struct Gone<'a> {
    shared: &'a Shared,
    link: &'a Link,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.shared.state().links.retain(|link| !link.is(self.link));
    }
}

#[cfg(test)]
mod tests;
