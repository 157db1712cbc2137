//! Tasks as plain processes: real ones, with our own launcher and agent. `keyway-agent` has to be built:
//! `cargo build --workspace --bins`.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes only functions marked as tests for tests"
)]

mod adopting;
mod checks;
mod ends;
mod fetch;
mod limits;
mod logs;
mod refusals;
mod scene;
mod starts;
