//! The random 64-bit ids of the contract, and their text.

use std::fmt;
use std::str::FromStr;

use crate::Invalid;

/// The 32 digits of Crockford's base 32, lower case (<https://www.crockford.com/base32.html>).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Digits that hold 64 bits.
const WIDTH: usize = 13;

macro_rules! number {
    ($(#[$meta:meta])* $name:ident, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(u64);

        impl $name {
            /// From its number, as an engine stores it.
            #[must_use]
            pub const fn from_u64(number: u64) -> Self {
                Self(number)
            }

            /// The number to store.
            #[must_use]
            pub const fn to_u64(self) -> u64 {
                self.0
            }

            /// A new one, from the system's source of randomness.
            ///
            /// # Errors
            ///
            /// [`Error::Unavailable`](crate::Error::Unavailable) where the system has no randomness
            /// to give.
            pub fn random() -> crate::Result<Self> {
                random_u64().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_base32(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                parse_base32(text).map(Self).ok_or_else(|| {
                    Invalid::new($what, "13 digits of lower-case Crockford base 32 are expected")
                })
            }
        }
    };
}

number! {
    /// One uninterrupted life of a log: a random 64-bit id, opened inside an append.
    ///
    /// Two positions of different epochs cannot be compared; [`Lineage`](crate::Lineage) tells how
    /// one epoch grew out of another. Displays as 13 digits of lower-case Crockford base 32.
    Epoch, "epoch"
}

number! {
    /// One process's membership of a namespace: a random id, new at every start.
    #[derive(PartialOrd, Ord)]
    NodeId, "node id"
}

/// A random number, from the system's source of randomness.
pub(crate) fn random_u64() -> crate::Result<u64> {
    getrandom::u64().map_err(|e| {
        crate::Error::unavailable(format_args!("the system's source of randomness failed: {e}"))
    })
}

fn write_base32(number: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use std::fmt::Write;
    for digit in (0..WIDTH).rev() {
        let index = usize::try_from((number >> (5 * digit)) & 31).unwrap_or(0);
        f.write_char(char::from(DIGITS[index]))?;
    }
    Ok(())
}

fn parse_base32(text: &str) -> Option<u64> {
    if text.len() != WIDTH {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, byte| {
        let digit = DIGITS.iter().position(|d| *d == byte)?;
        // 13 digits hold 65 bits: a first digit over `f` would not fit.
        number.checked_mul(32)?.checked_add(u64::try_from(digit).ok()?)
    })
}
