//! The framing: varints, and fields of tag, length and value.

use bytes::{BufMut, BytesMut};

use super::DecodeError;

/// One field of a record.
pub(super) struct Field<'a> {
    pub(super) tag: u64,
    pub(super) value: &'a [u8],
    /// Where the value begins in the record.
    pub(super) at: usize,
}

/// The fields of a record, in order; ends after the first error.
pub(super) struct Fields<'a> {
    len: usize,
    rest: &'a [u8],
    last: Option<u64>,
}

impl<'a> Fields<'a> {
    /// The fields behind the format byte of `record`.
    pub(super) fn new(record: &'a [u8]) -> Self {
        let rest = record.get(1..).unwrap_or_default();
        Self { len: record.len(), rest, last: None }
    }

    fn field(&mut self) -> Result<Field<'a>, DecodeError> {
        let (tag, rest) = read_varint(self.rest)?;
        if self.last.is_some_and(|last| tag <= last) || tag == 0 {
            return Err(DecodeError::Malformed { reason: "tags must rise, from 1" });
        }
        self.last = Some(tag);
        let (length, rest) = read_varint(rest)?;
        let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
        let (value, after) = rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = after;
        Ok(Field { tag, value, at: self.len - rest.len() })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, DecodeError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// The bytes a field takes.
pub(super) fn field_len(tag: u64, value: usize) -> usize {
    varint_len(tag) + varint_len(u64::try_from(value).unwrap_or(u64::MAX)) + value
}

pub(super) fn put_field(out: &mut BytesMut, tag: u64, value: &[u8]) {
    put_varint(out, tag);
    put_varint(out, u64::try_from(value.len()).unwrap_or(u64::MAX));
    out.put_slice(value);
}

/// The bytes a varint takes: one for every seven bits, at least one.
pub(super) fn varint_len(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

pub(super) fn put_varint(out: &mut BytesMut, mut number: u64) {
    while number > 0x7f {
        out.put_u8(0x80 | low_bits(number));
        number >>= 7;
    }
    out.put_u8(low_bits(number));
}

fn low_bits(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

/// Reads a varint and returns it with what follows.
pub(super) fn read_varint(bytes: &[u8]) -> Result<(u64, &[u8]), DecodeError> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            break;
        }
        number |= bits << (7 * index);
        if byte & 0x80 == 0 {
            if *byte == 0 && index > 0 {
                return Err(DecodeError::Malformed { reason: "a number has a leading zero" });
            }
            return Ok((number, &bytes[index + 1..]));
        }
    }
    if bytes.len() < 10 {
        return Err(DecodeError::Truncated);
    }
    Err(DecodeError::Malformed { reason: "a number is over 64 bits" })
}
