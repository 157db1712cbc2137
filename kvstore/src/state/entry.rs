//! What is stored: a key's current entry, its past versions, and the news of a revision.

use std::sync::Arc;

use bytes::Bytes;
use kvapi::{Key, Revision};
use serde::{Deserialize, Serialize};

/// What is stored under a key now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub value: Bytes,
    pub flags: u64,
    pub create: Revision,
    pub modify: Revision,
    /// Consul's LockIndex, with its quirk: an ordinary write sets it to 0.
    pub lock_index: u64,
    /// The session that holds the key's lock.
    pub session: Option<Arc<str>>,
}

impl Entry {
    /// The entry as it goes over the wire.
    #[must_use]
    pub fn to_wire(&self, key: &str) -> kvapi::Entry {
        kvapi::Entry {
            lock_index: self.lock_index,
            key: key.to_owned(),
            flags: self.flags,
            value: self.value.clone(),
            session: self.session.as_deref().map(str::to_owned),
            create_index: self.create,
            modify_index: self.modify,
        }
    }
}

/// Everything that one revision changed. The only news there is: watchers, history and replicas
/// all live on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub revision: Revision,
    /// The entry's time, milliseconds since 1970.
    pub at: u64,
    pub author: Option<Arc<str>>,
    pub message: Option<Arc<str>>,
    /// What is there now, in byte order of the keys; `None` where something was deleted.
    pub changes: Vec<(Key, Option<Arc<Entry>>)>,
}

impl Event {
    /// The event as it goes over the wire, with those keys that `shows` lets through.
    #[must_use]
    pub fn to_wire(&self, shows: impl Fn(&str) -> bool) -> kvapi::types::Change {
        kvapi::types::Change {
            revision: self.revision,
            at: self.at,
            author: self.author.as_deref().map(str::to_owned),
            message: self.message.as_deref().map(str::to_owned),
            changes: self
                .changes
                .iter()
                .filter(|(key, _)| shows(key.as_str()))
                .map(|(key, entry)| kvapi::types::KeyChange {
                    key: key.as_str().to_owned(),
                    entry: entry.as_ref().map(|entry| entry.to_wire(key.as_str())),
                })
                .collect(),
            omitted: 0,
        }
    }
}
