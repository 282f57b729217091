//! What the append script publishes: payloads of topics, live messages, and the spine.
//!
//! ```text
//! payloads  E epoch time (seq length record)*
//! live      L node counter record
//! spine     S epoch time first count lanes (length name)* number*
//!
//! epoch, node: 13 characters · time, seq, counter, first: 8 bytes · length of a record, count: 4
//! lanes, length of a name, number: 2 · all big-endian · records: as in `tavern_backend::wire`
//! ```
//!
//! The spine says in which lane each seq from `first` lies: the number of a lane, for each of `count`.

use bytes::{Buf, Bytes};
use tavern_backend::{Epoch, Lane, LogTime, NodeId, Origin};

use crate::names::parse_lane;
use crate::number::FAR;

/// A message of the script.
#[derive(Debug)]
pub(crate) enum Push {
    Payloads { epoch: Epoch, time: LogTime, records: Vec<(u64, Bytes)> },
    Live { origin: Origin, record: Bytes },
    Spine(Spine),
}

/// Which lanes the seqs of a batch lie in.
#[derive(Debug)]
pub(crate) struct Spine {
    pub(crate) epoch: Epoch,
    pub(crate) first: u64,
    /// The lanes of the batch. `None` is a name this version cannot read.
    pub(crate) lanes: Vec<(Bytes, Option<Lane>)>,
    /// For each seq from `first` on, which of the lanes.
    pub(crate) numbers: Vec<u16>,
}

impl Spine {
    /// The last seq it speaks of.
    pub(crate) fn last(&self) -> u64 {
        self.first + crate::number::count(self.numbers.len()) - 1
    }

    /// Each seq with the number of its lane.
    pub(crate) fn seqs(&self) -> impl Iterator<Item = (u64, u16)> {
        (self.first..).zip(self.numbers.iter().copied())
    }
}

/// Takes a push apart; `None` if it is none that this version knows.
pub(crate) fn parse(mut push: Bytes) -> Option<Push> {
    let kind = push.try_get_u8().ok()?;
    let id = take(&mut push, 13)?;
    let id = std::str::from_utf8(&id).ok()?;
    match kind {
        b'E' => {
            let (epoch, time) = (id.parse().ok()?, time(&mut push)?);
            let mut records = Vec::new();
            while push.has_remaining() {
                let seq = seq(&mut push)?;
                let length = usize::try_from(push.try_get_u32().ok()?).ok()?;
                records.push((seq, take(&mut push, length)?));
            }
            Some(Push::Payloads { epoch, time, records })
        }
        b'L' => {
            let node: NodeId = id.parse().ok()?;
            let counter = push.try_get_u64().ok()?;
            Some(Push::Live { origin: Origin { node, counter }, record: push })
        }
        b'S' => {
            let epoch = id.parse().ok()?;
            time(&mut push)?;
            let first = seq(&mut push)?;
            let count = push.try_get_u32().ok()?;
            let lanes = push.try_get_u16().ok()?;
            let lanes = (0..lanes)
                .map(|_| {
                    let length = push.try_get_u16().ok()?;
                    let name = take(&mut push, usize::from(length))?;
                    let lane = parse_lane(&name);
                    Some((name, lane))
                })
                .collect::<Option<Vec<_>>>()?;
            let numbers = (0..count)
                .map(|_| push.try_get_u16().ok().filter(|n| usize::from(*n) < lanes.len()))
                .collect::<Option<Vec<_>>>()?;
            let sound = !numbers.is_empty() && !push.has_remaining();
            sound.then_some(Push::Spine(Spine { epoch, first, lanes, numbers }))
        }
        _ => None,
    }
}

fn take(push: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= push.len()).then(|| push.split_to(length))
}

/// A seq, as far as the scripts can count.
fn seq(push: &mut Bytes) -> Option<u64> {
    push.try_get_u64().ok().filter(|seq| (1..=FAR).contains(seq))
}

fn time(push: &mut Bytes) -> Option<LogTime> {
    let millis = push.try_get_u64().ok()?;
    Some(LogTime::from_millis(i64::try_from(millis).ok()?))
}

#[cfg(test)]
mod tests;
