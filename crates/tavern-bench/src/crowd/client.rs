//! One client of the crowd.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Cursor, Position};
use tavern_sse::{Block, Item};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::history::{History, Wanted};
use super::wire::Answer;
use crate::run::Result;

/// Clients of one source address: far fewer than it has ports.
const OF_ONE_ADDRESS: usize = 5_000;
/// Read at once.
const BUFFER: usize = 32 << 10;

/// How a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// For the first time.
    Fresh,
    /// With the cursor that it had.
    Back,
}

#[derive(Debug)]
pub(super) struct Client {
    hub: SocketAddr,
    from: SocketAddr,
    request: String,
    wanted: Wanted,
    fate: Fate,
    messages: usize,
    last: Option<Position>,
}

/// A client that has all it was to get.
#[derive(Debug)]
pub(super) struct Held(TcpStream);

impl Client {
    pub(super) fn new(
        hub: SocketAddr,
        n: usize,
        history: &Arc<History>,
        fate: Fate,
    ) -> Result<Self> {
        let wanted = history.wanted(n)?;
        let topics: Vec<_> = wanted.topics.iter().map(|topic| format!("topic={topic}")).collect();
        let mut request = format!(
            "GET /events?{} HTTP/1.1\r\nhost: hub\r\naccept: text/event-stream\r\n",
            topics.join("&")
        );
        if fate == Fate::Back {
            request += &format!("last-event-id: {}\r\n", wanted.cursor);
        }
        request += "\r\n";
        let address = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + n / OF_ONE_ADDRESS)?);
        let from = SocketAddrV4::new(address, 0).into();
        Ok(Self { hub, from, request, wanted, fate, messages: 0, last: None })
    }

    /// Comes, and gets what it is to get: how many messages that were.
    pub(super) async fn run(mut self) -> Result<(usize, Held)> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(self.from)?;
        let mut stream = socket.connect(self.hub).await?;
        stream.set_nodelay(true)?;
        stream.write_all(self.request.as_bytes()).await?;
        let mut answer = Answer::default();
        let mut complete = false;
        while !complete {
            stream.readable().await?;
            // Not held while it waits: there are thousands.
            let mut buffer = [0; BUFFER];
            match stream.try_read(&mut buffer) {
                Ok(0) => return Err("cut off".into()),
                Ok(read) => answer.feed(&buffer[..read], |item| {
                    if let Item::Block(block) = item {
                        complete |= self.take(&block)?;
                    }
                    Ok(())
                })?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((self.messages, Held(stream)))
    }

    /// Takes a block. Returns whether it is the last one that was waited for.
    fn take(&mut self, block: &Block) -> Result<bool> {
        if let Some(id) = &block.id {
            let position = Cursor::from_str(id)?.0;
            if self.last.is_some_and(|last| position.seq <= last.seq && block.event.is_none()) {
                return Err(format!("{position} came behind {:?}", self.last).into());
            }
            self.last = Some(position);
        }
        let data = block.data.as_deref().unwrap_or_default();
        match (block.event.as_deref(), self.fate) {
            (None, Fate::Back) => self.message(data).map(|()| false),
            (Some("tavern-cursor"), Fate::Fresh) => Ok(true),
            (Some("tavern-cursor"), Fate::Back) => Ok(false),
            (Some("tavern-reconnected"), Fate::Back) => {
                let missing = self.wanted.numbers.iter().any(|(_, next, all)| next < all);
                let complete = data.contains("\"complete\":true");
                let told = format!("\"replayDelivered\":{},", self.messages);
                if missing || !complete || !data.contains(&told) {
                    return Err(format!(
                        "not complete after {} messages: {:?}, told {data}",
                        self.messages, self.wanted
                    )
                    .into());
                }
                Ok(true)
            }
            // It was kept waiting, and is told so.
            (Some("tavern-degraded" | "tavern-recovered"), _) => Ok(false),
            (event, fate) => Err(format!("{event:?} for a {fate:?} client: {data}").into()),
        }
    }

    /// A message: the next one of its topic.
    fn message(&mut self, data: &str) -> Result<()> {
        let mut words = data.split(' ').map(str::parse::<usize>);
        let (Some(Ok(topic)), Some(Ok(number))) = (words.next(), words.next()) else {
            return Err(format!("not of this log: {data}").into());
        };
        let of_topic = self.wanted.numbers.iter_mut().find(|(wanted, ..)| *wanted == topic);
        match of_topic {
            Some((_, next, _)) if *next == number => *next += 1,
            other => return Err(format!("message {number} of {topic}, not {other:?}").into()),
        }
        self.messages += 1;
        Ok(())
    }
}

impl Held {
    /// Keeps the connection until the hub ends it.
    pub(super) async fn hold(self) {
        loop {
            let mut buffer = [0; 256];
            let waits = match self.0.try_read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => false,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => true,
                Err(_) => return,
            };
            if waits && self.0.readable().await.is_err() {
                return;
            }
        }
    }
}

/// How long to wait before a hub is asked again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);
