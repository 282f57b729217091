//! The code of the README and of `docs/`, compiled and run as documentation tests.
//!
//! The examples themselves lie beside this folder: `cargo run -p tavern-examples --example NAME`.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-a-backend.md")]
mod writing_a_backend {}
