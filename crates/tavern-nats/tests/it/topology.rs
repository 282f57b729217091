//! Servers that are several: three that share the log.

mod alone;
mod clustered;
mod crowd;
mod faults;
mod links;
mod suite;
