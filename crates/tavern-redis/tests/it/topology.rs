//! Servers that are several: clusters, and pairs under Sentinels.

mod cluster;
mod clustered;
mod guarded;
mod sentinel;
mod suite;
