//! Taking the scripts' answers apart.

use bytes::Bytes;
use redis::Value;
use tavern_backend::{Epoch, Fork};

use crate::failure::Failure;
use crate::number::FAR;

/// The elements of an answer, one after the other. What is missing or of another kind is a failure:
/// the scripts are ours, so somebody else answers.
#[derive(Debug)]
pub(crate) struct Reply(std::vec::IntoIter<Value>);

type Result<T> = std::result::Result<T, Failure>;

impl Reply {
    pub(crate) fn new(value: Value) -> Result<Self> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(strange()),
        }
    }

    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn skip(&mut self) {
        self.0.next();
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes.into()),
            Some(Value::SimpleString(text)) => Ok(text.into()),
            _ => Err(strange()),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| strange())
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        match self.0.next() {
            Some(Value::Int(number)) => u64::try_from(number).map_err(|_| strange()),
            Some(Value::BulkString(text)) => parse(&text),
            Some(Value::Double(number)) if number >= 0.0 => {
                format!("{number:.0}").parse().map_err(|_| strange())
            }
            _ => Err(strange()),
        }
    }

    pub(crate) fn epoch(&mut self) -> Result<Epoch> {
        self.text()?.parse().map_err(|_| strange())
    }

    pub(crate) fn list(&mut self) -> Result<Self> {
        self.0.next().map_or_else(|| Err(strange()), Self::new)
    }
}

pub(crate) fn strange() -> Failure {
    Failure::lasting("the keys of the namespace hold something that this version does not know")
}

fn parse(text: &[u8]) -> Result<u64> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(strange)
}

/// An entry's id in a stream: its seq, and when it was appended.
pub(crate) fn entry_id(id: &[u8]) -> Result<(u64, i64)> {
    let text = std::str::from_utf8(id).map_err(|_| strange())?;
    let (seq, at) = text.split_once('-').ok_or_else(strange)?;
    let seq = seq.parse().ok().filter(|seq| (1..=FAR).contains(seq)).ok_or_else(strange)?;
    Ok((seq, at.parse().map_err(|_| strange())?))
}

/// The forks as the metadata holds them: `parent:at:lost;`, newest first.
pub(crate) fn forks(text: &str) -> Result<Vec<Fork>> {
    let fork = |text: &str| {
        let mut parts = text.split(':');
        let parent = parts.next()?.parse().ok()?;
        let at = parts.next()?.parse().ok()?;
        Some(Fork { parent, at, lost_through: parts.next()?.parse().ok()? })
    };
    text.split_terminator(';').map(|text| fork(text).ok_or_else(strange)).collect()
}

#[cfg(test)]
mod tests;
