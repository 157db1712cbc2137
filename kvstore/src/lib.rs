//! Keyway's store: a replicated, revisioned key-value map with watches and history.

pub mod command;
pub mod state;
pub mod chance;
pub mod clock;
pub mod view;
pub mod watch;
