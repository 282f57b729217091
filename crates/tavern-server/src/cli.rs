//! The command line.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use tavern::http::AllowedOrigin;

use crate::span::Span;

/// Live delivery: publish on any process; every browser on every process gets it, in order, once,
/// and resumes on any process, or is told exactly what it missed.
#[derive(Debug, Parser)]
#[command(name = "tavern", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(ServeArgs),
    Publish(PublishArgs),
    Subscribe(SubscribeArgs),
    Demo(DemoArgs),
}

/// Run a hub. Started twice in one directory, on two ports, it is a cluster.
///
/// Each option may also be given in the environment, or in the configuration file; the command line
/// wins over the environment, the environment over the file.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, env = "TAVERN_LISTEN", value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Where the log is: sqlite:PATH, redis://HOST:PORT, nats://HOST:PORT, postgres://HOST:PORT/DATABASE, or memory: for this process alone [default: sqlite:tavern.db]
    #[arg(long, env = "TAVERN_BACKEND", value_name = "URL", hide_env_values = true)]
    pub(crate) backend: Option<String>,
    /// The log's namespace [default: default]
    #[arg(long, env = "TAVERN_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Configuration file; if it is named, it must exist [default: tavern.toml]
    #[arg(long, env = "TAVERN_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Serve everybody who reaches the address, without authorization, also beyond this machine
    #[arg(long, env = "TAVERN_ANONYMOUS", value_name = "BOOL", num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub(crate) anonymous: Option<bool>,
    /// Origin whose pages may read and publish, `*` for all; may be repeated
    #[arg(
        long = "allow-origin",
        env = "TAVERN_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub(crate) allow_origins: Option<Vec<AllowedOrigin>>,
    /// What a message accepted by SQLite survives: `full` a power cut, `normal` the end of any process
    #[arg(long, env = "TAVERN_DURABILITY", value_name = "LEVEL")]
    pub(crate) durability: Option<Durability>,
    /// What to log: a level, or directives such as `info,tavern_broker=debug` [default: info]
    #[arg(long, env = "TAVERN_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Longest silence on a stream [default: 15s]
    #[arg(long, env = "TAVERN_HEARTBEAT", value_name = "TIME")]
    pub(crate) heartbeat: Option<Span>,
    /// How long clients wait before they come back; up to as much again is added at random [default: 1s]
    #[arg(long, env = "TAVERN_RETRY", value_name = "TIME")]
    pub(crate) retry: Option<Span>,
    /// Most streams open at once [default: what the limit of open files allows]
    #[arg(long, env = "TAVERN_MAX_STREAMS", value_name = "N")]
    pub(crate) max_streams: Option<usize>,
    /// Most streams that begin in a second; who comes beyond that is told when to come back [default: no limit]
    #[arg(long, env = "TAVERN_ADMIT_RATE", value_name = "N")]
    pub(crate) admit_rate: Option<NonZeroU32>,
    /// Most streams that begin at once after a quiet time [default: as many as in a second]
    #[arg(long, env = "TAVERN_ADMIT_BURST", value_name = "N")]
    pub(crate) admit_burst: Option<NonZeroU32>,
    /// Most topics of one stream [default: 64]
    #[arg(long, env = "TAVERN_MAX_TOPICS", value_name = "N")]
    pub(crate) max_topics: Option<usize>,
    /// Most bytes in the body of one POST /publish [default: 16777216]
    #[arg(long, env = "TAVERN_MAX_BODY", value_name = "BYTES")]
    pub(crate) max_body: Option<usize>,
    /// Most messages in one POST /publish [default: 10000]
    #[arg(long, env = "TAVERN_MAX_MESSAGES", value_name = "N")]
    pub(crate) max_messages: Option<usize>,
    /// Most bytes of frames kept in memory [default: 268435456]
    #[arg(long, env = "TAVERN_RING_BYTES", value_name = "BYTES")]
    pub(crate) ring_bytes: Option<usize>,
    /// How long SIGTERM and SIGINT wait for connections to end [default: 10s]
    #[arg(long, env = "TAVERN_SHUTDOWN_TIMEOUT", value_name = "TIME")]
    pub(crate) shutdown_timeout: Option<Span>,
    /// End, as by SIGTERM, when standard input ends: for who starts a hub as its child
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

/// What an accepted message survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    Full,
    Normal,
}

/// Where a hub listens.
#[derive(Debug, Clone, Args)]
pub(crate) struct HubUrl {
    /// Address of the hub
    #[arg(
        long,
        env = "TAVERN_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        hide_env_values = true
    )]
    pub(crate) url: String,
}

/// Publish one message and print what became of it.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Topic to publish to
    pub(crate) topic: String,
    /// The data; `-`, or nothing, reads it from standard input
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) hub: HubUrl,
    /// Event name; without it a browser sees a `message`
    #[arg(long, value_name = "NAME")]
    pub(crate) event: Option<String>,
    /// Your own id: a second message with it, in this topic and scope, is a duplicate
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Who may see it: only subscribers of this scope
    #[arg(long)]
    pub(crate) scope: Option<String>,
    /// How long it is worth delivering, like `30s`
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<Span>,
}

/// Follow topics and print what arrives; reconnects by itself and goes on where it was cut.
#[derive(Debug, Args)]
pub(crate) struct SubscribeArgs {
    /// Topics to follow; `*` stands for one segment, `**` for any number
    #[arg(required = true, value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
    #[command(flatten)]
    pub(crate) hub: HubUrl,
    /// The scope to follow as
    #[arg(long)]
    pub(crate) scope: Option<String>,
    /// Continue behind this id, which an earlier stream printed
    #[arg(long, value_name = "ID")]
    pub(crate) last_event_id: Option<String>,
    /// Print one JSON object a line, with id and event name, control events too
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show it: two nodes as two processes on one file, one of them killed, nothing lost.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End after it, with exit code 0 if all was as it must be and 1 if not
    #[arg(long)]
    pub(crate) once: bool,
}
