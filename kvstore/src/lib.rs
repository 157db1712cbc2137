//! Keyway's store: a replicated, revisioned key-value map with watches and history.
//!
//! ```text
//! request -> http -> Command -> batch -> one log entry (one fsync) -> store::machine
//!                                              state::apply -> Reply, Event, rows
//!                       watch::hub <- Event      view <- State      disk <- rows
//! ```
//!
//! | room | what is in it |
//! | --- | --- |
//! | [`command`], [`state`] | pure: what a log entry holds, and what it does to the map |
//! | [`store`], [`folder`] | log, state on disk, snapshots, recovery |
//! | [`archive`] | backups, in the envelope of Consul's |
//! | [`batch`], [`read`], [`node`] | group commit, shared read-index, and where all is wired |
//! | [`peer`], [`network`], [`cluster`] | the other servers: connections, Raft's messages, who is a member |
//! | `leadership`, `majority` | who leads, and whether anybody answers who does |
//! | `candidacy`, `contact` | when this server stands for election, and when it last heard of a leader |
//! | [`timers`], `expiry` | when sessions end that are not renewed, while this server leads |
//! | [`room`], `upkeep` | a disk that is nearly full; snapshots, and a log that stays short |
//! | [`view`], [`held`] | the state that readers see, and how long a slow one holds on to it |
//! | [`watch`] | who is told of what |
//! | `http`, [`server`](config) | the API, and the doors that it is served at |
//! | [`net`](chance), [`disk`], [`clock`], [`chance`] | the seams to the world; nothing else touches it |

pub mod archive;
pub mod batch;
mod candidacy;
pub mod chance;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod config;
mod contact;
pub mod disk;
mod expiry;
pub mod failpoint;
pub mod folder;
pub mod held;
pub mod http;
mod leadership;
mod majority;
pub mod members;
pub mod net;
pub mod network;
pub mod node;
pub mod peer;
pub mod raft;
pub mod read;
pub mod room;
pub mod server;
#[cfg(test)]
mod simulation;
pub mod state;
pub mod store;
pub mod timers;
mod upkeep;
pub mod view;
pub mod watch;
