//! A key as a backup keeps it: all but its indexes, which are those of the cluster that it was of.

use std::sync::Arc;

use bytes::Bytes;
use kvapi::Key;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub key: Key,
    pub value: Bytes,
    pub flags: u64,
    pub lock_index: u64,
    /// The session that holds its lock.
    pub session: Option<Arc<str>>,
}
