//! The examples, run as real processes and used as their readers would use them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod axum_app;
mod htmx_page;
mod process;
mod readme;
mod two_nodes;
