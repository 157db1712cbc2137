//! The agent as a program, over real processes. What changes is a template's file, so no store is
//! needed; the end-to-end tests have the rest.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes only functions marked as tests for tests"
)]

mod child;
mod confirm;
mod disks;
mod files;
mod forms;
mod group;
mod hostile;
mod init;
mod kills;
mod places;
mod points;
mod reactions;
mod render;
mod scene;
mod signals;
mod sources;
mod terminal;
