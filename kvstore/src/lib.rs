//! Keyway's store: a replicated, revisioned key-value map with watches and history.

pub mod command;
pub mod state;
