//! Tavern.
