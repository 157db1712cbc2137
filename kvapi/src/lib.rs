//! What goes over Keyway's wire, and the client that speaks it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`key`] | the names of settings, checked once and trusted after |
//! | [`duration`] | durations as Go writes them, which is how the API and our configuration write them |
//! | [`golang`] | how Go quotes a text and reads JSON, in whose words Consul speaks |
//! | [`types`] | **the wire contract**: entries, transactions, watch events, header names |
//! | [`address`] | where a server is: TCP or a unix socket |
//! | [`codes`] | the codes of failures, and what they mean |
//! | [`problem`] | what a person is told when something fails, and the exit codes |
//! | [`sse`] | server-sent events out of a stream of bytes |
//! | [`client`] | requests over several addresses; says `Unknown` when a write may have happened |
//! | [`cluster`] | who is in a cluster, and what a server says that joins it |
//! | [`limits`] | what a server takes at once |
//! | [`past`] | what the client reads of the past, and lists page by page |
//! | `transport`, [`connect`], [`Error`] | tries, addresses, connections; why there is no answer |
//! | `names`, `resolve` | host names: `/etc/hosts` and name servers, without the C library |
//! | [`backup`] | the whole state, saved and put back |
//! | [`lock`] | sessions, and the keys that they lock |
//! | [`watch`] | one stream of changes, resumed by revision over cuts |
//!
//! Nothing of ours is imported here: the store, the agent and the command all build on this crate.
#![warn(missing_docs)]

pub mod address;
pub mod backup;
pub mod client;
pub mod cluster;
pub mod codes;
pub mod connect;
pub mod duration;
mod error;
pub mod golang;
pub mod key;
pub mod limits;
pub mod lock;
mod names;
pub mod past;
pub mod problem;
mod resolve;
pub mod sse;
mod transport;
pub mod types;
pub mod watch;

pub use address::Address;
pub use client::{Client, Consistency, Error};
pub use key::Key;
pub use problem::Problem;
pub use types::{Entry, Revision};
