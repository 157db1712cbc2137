//! Servers among themselves: HTTP/2 over connections that are kept open.
//!
//! ```text
//! network (openraft) ┐                                        ┌ raft: append, vote, snapshot
//! batch, read ───────┼─► links ──── one connection ────► door ┼ batch, read, expiry
//! cluster ───────────┘            a peer and a purpose        └ cluster
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`hello`] | who speaks to whom, said with every request; pure |
//! | [`ask`] | **the contract of peers**: what one asks of another, and is told |
//! | [`links`] | connections to the others, and where they are |
//! | [`door`] | requests of the others, checked and answered |
//! | [`transfer`] | snapshots on their way, resumed where they broke off |
//!
//! Three connections lead to each peer: one for Raft's own messages, one for snapshots, and one for what is
//! asked, so that neither a long snapshot nor a large write holds up a heartbeat. Nothing is queued for a
//! peer that is slow: openraft keeps one request on its way and reads the next from the log.

pub mod ask;
pub mod door;
pub mod hello;
pub mod links;
pub mod transfer;

/// Paths of the requests.
pub(crate) mod path {
    pub(crate) const APPEND: &str = "/peer/append";
    pub(crate) const VOTE: &str = "/peer/vote";
    pub(crate) const SNAPSHOT: &str = "/peer/snapshot";
    pub(crate) const ASK: &str = "/peer/ask";
}

/// How much of one request, and of all requests of a connection, may be on its way unread.
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 16 << 20;

/// How often a connection is tried that is silent, and how long it may stay so: then it is given up, and
/// a half-open one is not trusted for longer than that.
pub(crate) const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_millis(500);
pub(crate) const KEEP_ALIVE_LIMIT: std::time::Duration = std::time::Duration::from_millis(1500);

/// What goes over the wire, as bytes: MessagePack.
pub(crate) fn encode(value: &impl serde::Serialize) -> bytes::Bytes {
    rmp_serde::to_vec(value)
        .expect("what peers say has a MessagePack form")
        .into()
}

/// The reverse of [`encode`].
pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|e| format!("it cannot be read: {e}"))
}
