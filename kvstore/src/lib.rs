//! Keyway's store: a replicated, revisioned key-value map with watches and history.

pub mod command;
pub mod state;
pub mod chance;
pub mod clock;
pub mod view;
pub mod watch;
pub mod disk;
pub mod failpoint;
pub mod folder;
pub mod raft;
pub mod store;
