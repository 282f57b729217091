//! A connection that speaks RESP2, and nothing more: what tests say to an engine must not depend
//! on the client under test.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What a Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A number.
    Int(i64),
    /// A string, of bytes or a status.
    Text(Vec<u8>),
    /// An error among the items of an array. Alone it is an [`io::Error`].
    Error(String),
    /// Several.
    Items(Vec<Self>),
}

impl Reply {
    /// The text of a string or a number, and nothing for the rest.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Int(number) => number.to_string(),
            Self::Error(text) => text.clone(),
            Self::Nil | Self::Items(_) => String::new(),
        }
    }

    /// The number, also of a string that is one.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        self.text().parse().ok()
    }

    /// The items of an array, and none for the rest.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Self::Items(items) = self { items } else { &[] }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }
}

/// As `redis-cli` does without a terminal: items one a line.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, item) in self.items().iter().enumerate() {
            let line = if n == 0 { "" } else { "\n" };
            write!(f, "{line}{item}")?;
        }
        f.write_str(&self.text())
    }
}

/// One connection to a Redis.
#[derive(Debug)]
pub struct RedisConn {
    stream: BufReader<TcpStream>,
}

impl RedisConn {
    pub(super) async fn connect(addr: &str, user: Option<(&str, &str)>) -> io::Result<Self> {
        let stream = answer("a connection", TcpStream::connect(addr)).await?;
        stream.set_nodelay(true)?;
        let mut conn = Self { stream: BufReader::new(stream) };
        if let Some((name, password)) = user {
            conn.call(&["AUTH", name, password]).await?;
        }
        Ok(conn)
    }

    /// Says a command and waits for its answer.
    ///
    /// # Errors
    ///
    /// An answer that is an error, as the server wrote it; the connection's end; no answer within
    /// ten seconds.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: the answer would be taken for the next command's.
    pub async fn call(&mut self, command: &[&str]) -> io::Result<Reply> {
        self.send(command).await?;
        match answer(command.first().unwrap_or(&""), self.receive()).await? {
            Reply::Error(text) => Err(io::Error::other(text)),
            reply => Ok(reply),
        }
    }

    /// A field of `INFO`, empty if there is none of that name.
    pub(super) async fn field(&mut self, name: &str) -> io::Result<String> {
        let info = self.call(&["INFO"]).await?.text();
        let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
        Ok(pairs.find(|pair| pair.0 == name).map(|pair| pair.1.to_owned()).unwrap_or_default())
    }

    /// Says a command and does not wait.
    ///
    /// # Errors
    ///
    /// The connection's end.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: half a command may be sent.
    pub async fn send(&mut self, command: &[&str]) -> io::Result<()> {
        let mut text = format!("*{}\r\n", command.len());
        for word in command {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.write_all(text.as_bytes()).await
    }

    /// The next answer or pushed message, however long it takes; errors as [`Reply::Error`].
    ///
    /// # Errors
    ///
    /// The connection's end, as [`io::ErrorKind::UnexpectedEof`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: half an answer may be read.
    pub async fn receive(&mut self) -> io::Result<Reply> {
        self.read().await
    }

    fn read(&mut self) -> Pin<Box<dyn Future<Output = io::Result<Reply>> + Send + '_>> {
        Box::pin(async move {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up"));
            }
            let line = line.trim_end();
            let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
            Ok(match kind {
                "+" => Reply::Text(rest.as_bytes().to_vec()),
                "-" => Reply::Error(rest.to_owned()),
                ":" => Reply::Int(rest.parse().map_err(|_| strange(line))?),
                "$" | "*" if rest == "-1" => Reply::Nil,
                "$" => {
                    let length: usize = rest.parse().map_err(|_| strange(line))?;
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes).await?;
                    bytes.truncate(length);
                    Reply::Text(bytes)
                }
                "*" => {
                    let count: usize = rest.parse().map_err(|_| strange(line))?;
                    let mut items = Vec::new();
                    for _ in 0..count {
                        items.push(self.read().await?);
                    }
                    Reply::Items(items)
                }
                _ => return Err(strange(line)),
            })
        })
    }
}

fn strange(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not an answer in RESP2: {line}"))
}

async fn answer<T>(what: &str, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in time: {what}"));
    timeout(ANSWER, future).await.map_err(late)?
}
