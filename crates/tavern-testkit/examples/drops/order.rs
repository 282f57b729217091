//! What is to be tried.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tavern_testkit::drops::{Drops, Outcome};

use crate::{Failure, others, ours};

/// All that is asked for.
pub(crate) struct Order {
    /// The program `tavern`.
    pub(crate) tavern: PathBuf,
    /// Where the servers to compare with are: `comparison`.
    pub(crate) comparison: PathBuf,
    pub(crate) drops: Drops,
    pub(crate) trials: Vec<Trial>,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) of: Of,
    /// What stands between the nodes.
    pub(crate) store: &'static str,
    pub(crate) nodes: usize,
    pub(crate) moves: bool,
}

/// Whose servers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Tavern,
    SocketIo,
    Nchan,
    Socketioxide,
}

const fn trial(of: Of, store: &'static str, nodes: usize, moves: bool) -> Trial {
    Trial { of, store, nodes, moves }
}

/// All of them. Clients move where nodes share what they have; others are tried at rest, too.
const TRIALS: [Trial; 13] = [
    trial(Of::Tavern, "sqlite", 2, true),
    trial(Of::Tavern, "redis", 2, true),
    trial(Of::Tavern, "nats", 2, true),
    trial(Of::Tavern, "postgres", 2, true),
    trial(Of::SocketIo, "redis streams", 2, true),
    trial(Of::SocketIo, "redis streams", 2, false),
    trial(Of::SocketIo, "memory", 1, false),
    trial(Of::Nchan, "redis", 2, true),
    trial(Of::Nchan, "redis", 2, false),
    trial(Of::Nchan, "memory", 1, false),
    trial(Of::Socketioxide, "redis", 2, true),
    trial(Of::Socketioxide, "redis", 2, false),
    trial(Of::Socketioxide, "memory", 1, false),
];

impl Trial {
    pub(crate) fn is_ours(self) -> bool {
        self.of == Of::Tavern
    }

    /// Runs it.
    pub(crate) async fn run(self, order: &Order) -> Result<Outcome, Failure> {
        let drops = Drops { moves: self.moves, ..order.drops.clone() };
        match self.of {
            Of::Tavern => ours::run(self, &drops, &order.tavern).await,
            _ => others::run(self, &drops, &order.comparison).await,
        }
    }

    fn is_asked_for_by(self, word: &str) -> bool {
        match word {
            "all" => true,
            "tavern" => self.is_ours(),
            "socket.io" => self.of == Of::SocketIo,
            "nchan" => self.of == Of::Nchan,
            "socketioxide" => self.of == Of::Socketioxide,
            backend => self.is_ours() && self.store == backend,
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Of::Tavern => "tavern",
            Of::SocketIo => "socket.io",
            Of::Nchan => "nchan",
            Of::Socketioxide => "socketioxide",
        };
        let moves = match (self.nodes, self.moves) {
            (1, _) => "one node",
            (_, true) => "moving",
            (_, false) => "staying",
        };
        write!(f, "{of}, {}, {moves}", self.store)
    }
}

impl Order {
    /// Reads the words after the program's name.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let tavern = words.next().ok_or("which program is tavern?")?.into();
        let asked = words.next().unwrap_or_else(|| "tavern".to_owned());
        let trials = TRIALS.into_iter().filter(|trial| trial.is_asked_for_by(&asked));
        let trials = trials.collect::<Vec<_>>();
        if trials.is_empty() {
            return Err(format!(
                "'{asked}' is none of sqlite, redis, nats, postgres, tavern, socket.io, nchan, \
                 socketioxide, all"
            ));
        }
        let mut drops = Drops::default();
        while let Some(option) = words.next() {
            let value = words.next().and_then(|word| word.parse::<u32>().ok());
            let value = value.ok_or_else(|| format!("{option} wants a number"))?;
            let seconds = Duration::from_secs(value.into());
            let count = usize::try_from(value).map_err(|error| error.to_string())?;
            match option.as_str() {
                "--clients" => drops.clients = count,
                "--seconds" => drops.length = seconds,
                "--cut" => drops.cut = seconds,
                "--cuts" => drops.cuts = count,
                "--seed" => drops.seed = value.into(),
                _ => return Err(format!("there is no {option}")),
            }
        }
        drops.cuts().map_err(|error| error.to_string())?;
        let comparison = std::env::current_dir().unwrap_or_default().join("comparison");
        Ok(Self { tavern, comparison, drops, trials })
    }
}
