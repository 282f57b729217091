//! The scripts, and how they are called: by their hash, loaded where the server does not have them.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, Script, ServerErrorKind, Value};

use crate::failure::Failure;

macro_rules! scripts {
    ($($name:ident = $file:literal)*) => {
        $(pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(
                include_str!("lua/primary.lua"),
                include_str!(concat!("lua/", $file)),
            )));)*
    };
}

scripts! {
    APPEND = "append.lua"
    OPEN = "open.lua"
    RULES = "rules.lua"
    HEAD = "head.lua"
    INDEX = "index.lua"
    LANES = "lanes.lua"
    SWEEP = "sweep.lua"
    FORGET = "forget.lua"
    FIND = "find.lua"
}

/// A call with its keys and arguments.
#[derive(Debug)]
pub(crate) struct Call {
    script: &'static Script,
    keys: Vec<Vec<u8>>,
    args: Vec<Arg>,
}

/// An argument: large ones are not copied before they are written to the connection.
#[derive(Debug)]
enum Arg {
    Text(Vec<u8>),
    Bytes(bytes::Bytes),
}

impl Call {
    pub(crate) fn new(script: &'static Script) -> Self {
        Self { script, keys: Vec::new(), args: Vec::new() }
    }

    pub(crate) fn key(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        self.keys.push(key.into());
        self
    }

    pub(crate) fn arg(&mut self, arg: impl Into<Vec<u8>>) -> &mut Self {
        self.args.push(Arg::Text(arg.into()));
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.arg(number.to_string())
    }

    pub(crate) fn bytes(&mut self, bytes: bytes::Bytes) -> &mut Self {
        self.args.push(Arg::Bytes(bytes));
        self
    }

    fn command(&self) -> redis::Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.script.get_hash()).arg(self.keys.len());
        for key in &self.keys {
            command.arg(&key[..]);
        }
        for arg in &self.args {
            match arg {
                Arg::Text(text) => command.arg(&text[..]),
                Arg::Bytes(bytes) => command.arg(&bytes[..]),
            };
        }
        command
    }

    /// Calls the script. One that the server does not have did nothing: it is loaded, and called again.
    pub(crate) async fn run(&self, conn: &mut MultiplexedConnection) -> Result<Value, Failure> {
        let command = self.command();
        let answer = match conn.send_packed_command(&command).await.and_then(Value::extract_error) {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.script.load_async(conn).await?;
                conn.send_packed_command(&command).await.and_then(Value::extract_error)?
            }
            answer => answer?,
        };
        match &answer {
            Value::Array(words) if *words == [Value::BulkString(b"replica".to_vec())] => {
                Err(Failure::of_link("the server was made a replica: what it holds may be old"))
            }
            _ => Ok(answer),
        }
    }
}
