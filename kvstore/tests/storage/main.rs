//! The store on disk, as openraft uses it: real files, real restarts, damage and kills.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

/// Folders checked offline: what a check says, a start does.
mod check;
/// A store in a temporary folder, and commands for it.
mod harness;
/// The log against a model, with restarts in between.
mod log;
/// Restarts, damage and kills: the state is what the log says, or the start is refused.
mod recovery;
/// Snapshots: taken, torn, carried to another server.
mod snapshots;
/// openraft's own suite for storage.
mod suite;
