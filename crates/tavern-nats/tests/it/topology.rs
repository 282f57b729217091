//! Servers that are several: three that share the log.

mod clustered;
mod crowd;
mod faults;
mod links;
mod suite;
