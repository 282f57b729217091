//! What was ever appended: what the oracle knows and no node does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Epoch, Lane, LogTime, Origin, Position};

/// All entries there ever were, and the epochs they were appended in.
#[derive(Debug, Default)]
pub(super) struct Archive {
    pub(super) births: Vec<Birth>,
    /// In the order they were opened.
    pub(super) epochs: Vec<Opened>,
}

/// An entry as it was appended.
#[derive(Debug, Clone)]
pub(super) struct Birth {
    pub(super) position: Position,
    pub(super) lane: Lane,
    pub(super) text: Arc<str>,
    pub(super) origin: Origin,
    pub(super) expires: Option<LogTime>,
    /// When it was appended, in the time of the simulation.
    pub(super) at: Duration,
    /// When retention removed it.
    pub(super) removed: Option<Duration>,
    /// When the log lost it.
    pub(super) lost: Option<Duration>,
    /// Written so that nodes of the older version cannot read it.
    pub(super) newer: bool,
}

/// An epoch: its parent is the one before it in the list, which it shares everything with up to
/// `at`; or nothing at all, where the log was replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub(super) epoch: Epoch,
    pub(super) at: Option<u64>,
}

/// What the log of each epoch has where, for who looks back.
#[derive(Debug)]
pub(super) struct Views {
    epochs: Vec<Opened>,
    /// By epoch: which birth lies at a seq.
    views: Vec<BTreeMap<u64, usize>>,
}

impl Archive {
    pub(super) fn views(&self) -> Views {
        let mut views: Vec<BTreeMap<u64, usize>> = Vec::new();
        for opened in &self.epochs {
            let shared = match (opened.at, views.last()) {
                (Some(at), Some(parent)) => parent.range(..=at).map(|(s, b)| (*s, *b)).collect(),
                _ => BTreeMap::new(),
            };
            views.push(shared);
            let Some(view) = views.last_mut() else { continue };
            for (n, birth) in self.births.iter().enumerate() {
                if birth.position.epoch == opened.epoch {
                    view.insert(birth.position.seq, n);
                }
            }
        }
        Views { epochs: self.epochs.clone(), views }
    }
}

impl Views {
    /// The number of an epoch, oldest first.
    pub(super) fn number(&self, epoch: Epoch) -> Option<usize> {
        self.epochs.iter().position(|opened| opened.epoch == epoch)
    }

    /// The birth that lies at `position`.
    pub(super) fn find(&self, position: Position) -> Option<usize> {
        self.views.get(self.number(position.epoch)?)?.get(&position.seq).copied()
    }

    /// The last seq that `older` shares with `newer`; `None` if the log was replaced in between.
    pub(super) fn shared(&self, older: usize, newer: usize) -> Option<u64> {
        let forks = self.epochs.get(older + 1..=newer)?;
        forks.iter().try_fold(u64::MAX, |least, opened| Some(least.min(opened.at?)))
    }

    /// What `epoch` has in `after + 1 ..= to`.
    pub(super) fn range(&self, epoch: usize, after: u64, to: u64) -> Vec<usize> {
        let view = self.views.get(epoch).filter(|_| after < to);
        view.into_iter().flat_map(|view| view.range(after + 1..=to)).map(|(_, n)| *n).collect()
    }

    /// What the newest epoch has.
    pub(super) fn newest(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.views.last().into_iter().flatten().map(|(seq, n)| (*seq, *n))
    }
}
