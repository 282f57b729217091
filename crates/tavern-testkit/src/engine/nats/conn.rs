//! Talking to a NATS as a test does, word by word.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::message::NatsMessage;

/// A server that takes longer than this hangs, or somebody paused it.
const ANSWER: Duration = Duration::from_secs(10);

/// Who comes in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Login<'a> {
    Nobody,
    Token(&'a str),
    User(&'a str, &'a str),
}

/// One connection to a NATS.
pub struct NatsConn {
    stream: BufReader<Box<dyn Stream>>,
    info: Value,
    subscriptions: u64,
    /// Where answers come, once one was asked for.
    pub(super) inbox: Option<(u64, String)>,
    pub(super) requests: u64,
    /// What came while an answer was waited for.
    pub(super) early: VecDeque<NatsMessage>,
}

impl fmt::Debug for NatsConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConn").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Plain or encrypted.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// What the server says.
#[derive(Debug)]
pub(super) enum Said {
    Message(NatsMessage),
    Pong,
    Else,
}

impl NatsConn {
    pub(super) async fn connect(
        addr: &str,
        login: Login<'_>,
        tls: Option<TlsConnector>,
    ) -> io::Result<Self> {
        let mut plain = answer("a connection", TcpStream::connect(addr)).await?;
        plain.set_nodelay(true)?;
        // Plain in any case, and the last that is if there is TLS.
        let info = answer("INFO", info(&mut plain)).await?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(plain),
            Some(tls) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                Box::new(answer("TLS", tls.connect(name, plain)).await?)
            }
        };
        let stream = BufReader::new(stream);
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
        let mut stream = answer("a connection", TcpStream::connect(addr)).await?;
        answer("INFO", info(&mut stream)).await
    }

    /// What the server said of itself last, as far as was read.
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
        self.stream.write_all(text).await?;
        self.stream.flush().await
    }

    pub(super) async fn read(&mut self) -> io::Result<Said> {
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
            ["INFO", ..] => {
                self.info = parse(&line)?;
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

/// Read byte by byte: what follows may be encrypted, and is not to be taken with it.
async fn info(stream: &mut TcpStream) -> io::Result<Value> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await?);
    }
    parse(&String::from_utf8_lossy(&line))
}

fn parse(line: &str) -> io::Result<Value> {
    Ok(serde_json::from_str(line.strip_prefix("INFO ").ok_or_else(|| odd(line))?)?)
}

async fn line(stream: &mut BufReader<Box<dyn Stream>>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up"));
    }
    Ok(line.trim_end().to_owned())
}

pub(super) fn odd(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not what a NATS says: {line}"))
}

pub(super) async fn answer<T>(
    what: &str,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in time: {what}"));
    timeout(ANSWER, future).await.map_err(late)?
}
