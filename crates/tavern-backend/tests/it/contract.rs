//! Rows of the Go contract.
