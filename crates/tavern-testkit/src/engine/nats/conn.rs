//! Talking to a NATS as a test does, word by word.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that takes longer than this hangs, or somebody paused it.
const ANSWER: Duration = Duration::from_secs(10);

/// Who comes in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Login<'a> {
    Nobody,
    Token(&'a str),
    User(&'a str, &'a str),
}

/// A message that a NATS delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsMessage {
    /// Where it was published.
    pub subject: String,
    /// The subscription that it came by: as [`NatsConn::subscribe`] returned it.
    pub subscription: u64,
    /// Where an answer is expected, if one is.
    pub reply: Option<String>,
    /// `NATS/1.0`, perhaps a status, and the headers, one a line; empty if there are none.
    pub headers: String,
    /// What it says.
    pub payload: Vec<u8>,
}

impl NatsMessage {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.lines().filter_map(|line| line.split_once(':'));
        pairs.map(|(key, value)| (key, value.trim())).find(|pair| pair.0 == name).map(|pair| pair.1)
    }

    /// The status in its headers, such as `503` where nobody listens.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let first = self.headers.lines().next()?;
        first.strip_prefix("NATS/1.0")?.split_whitespace().next()?.parse().ok()
    }
}

/// One connection to a NATS.
#[derive(Debug)]
pub struct NatsConn {
    stream: BufReader<TcpStream>,
    info: Value,
    subscriptions: u64,
    /// Where answers come, once one was asked for.
    inbox: Option<(u64, String)>,
    requests: u64,
    /// What came while an answer was waited for.
    early: VecDeque<NatsMessage>,
}

/// What the server says.
enum Said {
    Message(NatsMessage),
    Pong,
    Else,
}

impl NatsConn {
    pub(super) async fn connect(addr: &str, login: Login<'_>) -> io::Result<Self> {
        let mut stream = BufReader::new(answer("a connection", TcpStream::connect(addr)).await?);
        stream.get_ref().set_nodelay(true)?;
        let info = answer("INFO", info(&mut stream)).await?;
        let mut conn = Self {
            stream,
            info,
            subscriptions: 0,
            inbox: None,
            requests: 0,
            early: VecDeque::new(),
        };
        let mut hello = json!({
            "verbose": false, "pedantic": false, "lang": "testkit", "version": "0", "protocol": 1,
            "headers": true, "no_responders": true, "name": "testkit",
        });
        match login {
            Login::Nobody => {}
            Login::Token(token) => hello["auth_token"] = token.into(),
            Login::User(name, word) => {
                hello["user"] = name.into();
                hello["pass"] = word.into();
            }
        }
        conn.send(format!("CONNECT {hello}\r\n").as_bytes()).await?;
        conn.flush().await?;
        Ok(conn)
    }

    /// What the server at `addr` says of itself before anybody came in.
    pub(super) async fn info_of(addr: &str) -> io::Result<Value> {
        let stream = answer("a connection", TcpStream::connect(addr)).await?;
        answer("INFO", info(&mut BufReader::new(stream))).await
    }

    /// What the server said of itself at the beginning.
    #[must_use]
    pub fn info(&self) -> &Value {
        &self.info
    }

    /// Waits until the server has done all that was said before.
    ///
    /// # Errors
    ///
    /// What the server complains about, as it wrote it; the connection's end; no answer within ten
    /// seconds.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: half a message may be read.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.send(b"PING\r\n").await?;
        answer("PONG", async {
            loop {
                match self.read().await? {
                    Said::Pong => return Ok(()),
                    Said::Message(message) => self.early.push_back(message),
                    Said::Else => {}
                }
            }
        })
        .await
    }

    /// Subscribes, and waits until the server has it. Returns the number of the subscription.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    pub async fn subscribe(&mut self, subject: &str) -> io::Result<u64> {
        self.subscriptions += 1;
        self.send(format!("SUB {subject} {}\r\n", self.subscriptions).as_bytes()).await?;
        self.flush().await?;
        Ok(self.subscriptions)
    }

    /// Ends a subscription.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    pub async fn unsubscribe(&mut self, subscription: u64) -> io::Result<()> {
        self.send(format!("UNSUB {subscription}\r\n").as_bytes()).await?;
        self.flush().await
    }

    /// Publishes, and waits for nothing.
    ///
    /// # Errors
    ///
    /// The connection's end.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: half a message may be sent.
    pub async fn publish(&mut self, subject: &str, payload: impl AsRef<[u8]>) -> io::Result<()> {
        self.publish_with(subject, None, &[], payload.as_ref()).await
    }

    /// Publishes with headers and with the subject where an answer is expected.
    ///
    /// # Errors
    ///
    /// The connection's end.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: half a message may be sent.
    pub async fn publish_with(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) -> io::Result<()> {
        let to = reply.map(|reply| format!("{subject} {reply}"));
        let to = to.as_deref().unwrap_or(subject);
        let text = if headers.is_empty() {
            format!("PUB {to} {}\r\n", payload.len())
        } else {
            let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
            let block = format!("NATS/1.0\r\n{}\r\n", lines.collect::<String>());
            format!("HPUB {to} {} {}\r\n{block}", block.len(), block.len() + payload.len())
        };
        self.send(&[text.as_bytes(), payload, b"\r\n"].concat()).await
    }

    /// Publishes, and waits for one answer. An answer with a status, such as 503 where nobody
    /// listens, is an error.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    pub async fn request(
        &mut self,
        subject: &str,
        payload: impl AsRef<[u8]>,
    ) -> io::Result<Vec<u8>> {
        self.request_with(subject, &[], payload.as_ref()).await
    }

    /// As [`request`](Self::request), with headers.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    pub async fn request_with(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) -> io::Result<Vec<u8>> {
        if self.inbox.is_none() {
            let prefix = format!("_INBOX.testkit-{:016x}", fastrand::u64(..));
            let subscription = self.subscribe(&format!("{prefix}.*")).await?;
            self.inbox = Some((subscription, prefix));
        }
        let Some((subscription, prefix)) = self.inbox.clone() else { return Err(odd("no inbox")) };
        self.requests += 1;
        let to = format!("{prefix}.{}", self.requests);
        self.publish_with(subject, Some(&to), headers, payload).await?;
        let message = answer(subject, async {
            loop {
                match self.read().await? {
                    Said::Message(message) if message.subject == to => return Ok(message),
                    // The answer to an earlier request, which nobody waits for any more.
                    Said::Message(message) if message.subscription == subscription => {}
                    Said::Message(message) => self.early.push_back(message),
                    Said::Pong | Said::Else => {}
                }
            }
        })
        .await?;
        match message.status() {
            Some(503) => Err(io::Error::new(io::ErrorKind::NotFound, no_responders(subject))),
            Some(status) => Err(io::Error::other(format!("{subject}: status {status}"))),
            None => Ok(message.payload),
        }
    }

    /// Asks JetStream: `subject` is what follows `$JS.API.`, such as `STREAM.INFO.orders`.
    ///
    /// # Errors
    ///
    /// An answer that is an error, as the server wrote it; else as [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    #[expect(clippy::needless_pass_by_value, reason = "so that a test can say `json!({…})`")]
    pub async fn js(&mut self, subject: &str, body: Value) -> io::Result<Value> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let bytes = self.request(&format!("$JS.API.{subject}"), body).await?;
        checked(serde_json::from_slice(&bytes)?)
    }

    /// Publishes to a stream and waits for its acknowledgement.
    ///
    /// # Errors
    ///
    /// A refusal, as the server wrote it; else as [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    pub async fn store(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: impl AsRef<[u8]>,
    ) -> io::Result<Value> {
        let bytes = self.request_with(subject, headers, payload.as_ref()).await?;
        checked(serde_json::from_slice(&bytes)?)
    }

    /// The next message of a subscription, however long it takes.
    ///
    /// # Errors
    ///
    /// What the server complains about, as it wrote it; the connection's end, as
    /// [`io::ErrorKind::UnexpectedEof`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: half a message may be read.
    pub async fn next(&mut self) -> io::Result<NatsMessage> {
        if let Some(message) = self.early.pop_front() {
            return Ok(message);
        }
        loop {
            if let Said::Message(message) = self.read().await? {
                return Ok(message);
            }
        }
    }

    /// Says `text` as it is.
    ///
    /// # Errors
    ///
    /// The connection's end.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: half of it may be sent.
    pub async fn send(&mut self, text: &[u8]) -> io::Result<()> {
        self.stream.write_all(text).await
    }

    async fn read(&mut self) -> io::Result<Said> {
        let line = line(&mut self.stream).await?;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (subject, sid, reply, head, total) = match words[..] {
            ["MSG", subject, sid, total] => (subject, sid, None, "0", total),
            ["MSG", subject, sid, reply, total] => (subject, sid, Some(reply), "0", total),
            ["HMSG", subject, sid, head, total] => (subject, sid, None, head, total),
            ["HMSG", subject, sid, reply, head, total] => (subject, sid, Some(reply), head, total),
            ["PONG"] => return Ok(Said::Pong),
            ["PING"] => {
                self.send(b"PONG\r\n").await?;
                return Ok(Said::Else);
            }
            ["-ERR", ..] => return Err(io::Error::other(line)),
            _ => return Ok(Said::Else),
        };
        let number = |word: &str| word.parse::<usize>().map_err(|_| odd(&line));
        let (head, total) = (number(head)?, number(total)?);
        let mut payload = vec![0; total + 2];
        self.stream.read_exact(&mut payload).await?;
        payload.truncate(total);
        let body = payload.split_off(head.min(total));
        Ok(Said::Message(NatsMessage {
            subject: subject.to_owned(),
            subscription: sid.parse().map_err(|_| odd(&line))?,
            reply: reply.map(str::to_owned),
            headers: String::from_utf8_lossy(&payload).trim_end().to_owned(),
            payload: body,
        }))
    }
}

async fn info(stream: &mut BufReader<TcpStream>) -> io::Result<Value> {
    let line = line(stream).await?;
    let text = line.strip_prefix("INFO ").ok_or_else(|| odd(&line))?;
    Ok(serde_json::from_str(text)?)
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up"));
    }
    Ok(line.trim_end().to_owned())
}

fn checked(value: Value) -> io::Result<Value> {
    match value.get("error") {
        Some(error) if !error.is_null() => Err(io::Error::other(error.to_string())),
        _ => Ok(value),
    }
}

fn no_responders(subject: &str) -> String {
    format!("nobody listens on {subject}")
}

fn odd(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not what a NATS says: {line}"))
}

async fn answer<T>(what: &str, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in time: {what}"));
    timeout(ANSWER, future).await.map_err(late)?
}
