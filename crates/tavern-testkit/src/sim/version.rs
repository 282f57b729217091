//! Two versions of the software over one log: what the newer one writes, and what the older can read.

use bytes::{BufMut, Bytes, BytesMut};
use tavern_backend::wire::{self, DecodeError};
use tavern_backend::{Lane, Record};

/// How an entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As this version writes.
    Usual,
    /// In the next format, with a field that may be ignored: every version reads it.
    Newer,
    /// With a field that must not be ignored: only the newer version reads it.
    Critical,
    /// In a format that is framed in another way: of it the older version cannot even tell the lane.
    Reframed,
}

/// What is stored of `record`.
pub(super) fn encode(record: &Record, form: Form) -> Bytes {
    let usual = wire::encode(record);
    let mut bytes = BytesMut::with_capacity(usual.len() + 4);
    match form {
        Form::Usual => return usual,
        Form::Newer | Form::Critical => {
            bytes.put_u8(wire::READS);
            bytes.put_slice(&usual[1..]);
            // An even tag may be ignored, an odd one not.
            bytes.put_slice(&[if form == Form::Newer { 14 } else { 15 }, 1, 7]);
        }
        Form::Reframed => {
            bytes.put_u8(200);
            bytes.put_slice(&usual[1..]);
        }
    }
    bytes.freeze()
}

/// What a node of the older version makes of it; where it cannot read it, the lane if it can tell.
pub(super) fn decode(bytes: &Bytes) -> Result<Record, (DecodeError, Option<Lane>)> {
    wire::decode(bytes.clone()).map_err(|error| (error, wire::lane(bytes)))
}
