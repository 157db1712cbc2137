//! The wire contract: what travels between a server and its clients.
//!
//! Names and forms of entries and transactions are Consul's; watch events are ours and follow
//! the same spelling. Fields may be added, never removed or given another meaning.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Headers of ours and of Consul's that both sides name.
pub mod header {
    /// Revision of an answer; Consul's index.
    pub const INDEX: &str = "x-consul-index";
    /// Whether the server knows a leader: `true` or `false`.
    pub const KNOWN_LEADER: &str = "x-consul-knownleader";
    /// Milliseconds since the server heard of its leader.
    pub const LAST_CONTACT: &str = "x-consul-lastcontact";
    /// Token of the request.
    pub const TOKEN: &str = "x-consul-token";
    /// Id of the cluster that answers.
    pub const CLUSTER: &str = "x-keyway-cluster";
    /// Id of a write: the same id is carried out once.
    pub const REQUEST: &str = "x-keyway-request";
    /// Who writes, as the client claims.
    pub const AUTHOR: &str = "x-keyway-author";
    /// Why it is written, for the history. Percent-encoded UTF-8.
    pub const MESSAGE: &str = "x-keyway-message";
    /// `unknown` on an error means that the write may have happened. On the 410 of a repeated write
    /// it is `done` or `failed`.
    pub const OUTCOME: &str = "x-keyway-outcome";
    /// Revision that a write took or found, or that a read of the past or a page is of.
    pub const REVISION: &str = "x-keyway-revision";
    /// The oldest revision at which everything can still be read.
    pub const OLDEST: &str = "x-keyway-oldest";
    /// `true` on a page of a list that has more behind it.
    pub const MORE: &str = "x-keyway-more";
    /// Where a reconnecting watch left off.
    pub const LAST_EVENT_ID: &str = "last-event-id";
}

/// The longest value that is taken over `/v1/kv`, in bytes (Consul's `kv_max_value_size`).
pub const MAX_VALUE_BYTES: usize = 524_288;

/// A point in the store's life. The first change takes revision 2; an empty store shows 1,
/// because Consul's clients take 0 for "do not block".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// That of a store without a change: the first change takes the next one.
    pub const EMPTY: Self = Self(1);

    /// The revision that the next change takes.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key and what is stored under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    /// How often the key was locked; see Consul's quirk in docs/consul.md.
    #[serde(default)]
    pub lock_index: u64,
    /// The key.
    pub key: String,
    /// Opaque to the store.
    #[serde(default)]
    pub flags: u64,
    /// The value; empty and absent are the same, and `null` on the wire.
    #[serde(default, with = "base64_or_null")]
    pub value: Bytes,
    /// Who holds the key's lock, if anyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Revision in which the key came to be.
    pub create_index: Revision,
    /// Revision in which it changed last.
    pub modify_index: Revision,
}

/// One operation of a transaction, as `PUT /v1/txn` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TxnOp {
    /// `set`, `cas`, `get`, `delete-tree` ...
    pub verb: String,
    /// Key or prefix.
    pub key: String,
    /// Value for the verbs that write.
    #[serde(default, with = "base64_or_null", skip_serializing_if = "Bytes::is_empty")]
    pub value: Bytes,
    /// Flags for the verbs that write.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flags: u64,
    /// Expected revision, for `cas`, `delete-cas`, `check-index`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub index: u64,
    /// Session, for `lock`, `unlock`, `check-session`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
}

impl TxnOp {
    /// An operation with nothing but a verb and a key.
    #[must_use]
    pub fn new(verb: &str, key: impl Into<String>) -> Self {
        Self {
            verb: verb.into(),
            key: key.into(),
            value: Bytes::new(),
            flags: 0,
            index: 0,
            session: String::new(),
        }
    }

    /// `set` of a value.
    #[must_use]
    pub fn set(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self {
            value: value.into(),
            ..Self::new("set", key)
        }
    }
}

/// Why one operation of a transaction failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TxnError {
    /// Which operation, from 0.
    pub op_index: usize,
    /// The reason.
    pub what: String,
}

/// All that matched a watch, at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Snapshot {
    /// The revision that the entries are of.
    pub revision: Revision,
    /// The entries, in byte order of their keys.
    pub entries: Vec<Entry>,
}

/// Everything of one revision that matches a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Change {
    /// The revision.
    pub revision: Revision,
    /// When the leader took the write: milliseconds since 1970.
    pub at: u64,
    /// Who wrote it, as the client claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What changed, in byte order of the keys.
    pub changes: Vec<KeyChange>,
    /// How many changes of a history are not told, because no answer holds them all: then `changes`
    /// is empty. Never in a watch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
}

/// What happened to one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyChange {
    /// The key.
    pub key: String,
    /// What is there now; `None` if it was deleted.
    pub entry: Option<Entry>,
}

/// How much of the past a store keeps: `GET /v1/history`, and the answer to `PUT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryInfo {
    /// The newest revision.
    pub revision: Revision,
    /// The oldest revision at which everything can still be read.
    pub oldest: Revision,
    /// Keys and values kept, in bytes.
    pub bytes: u64,
    /// How much may be kept.
    pub limits: HistoryLimits,
}

/// How much history is kept, on every server alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryLimits {
    /// All versions of this many of the newest revisions.
    pub revisions: u64,
    /// And this many of the newest versions of each key.
    pub versions: u64,
    /// And never more than this, keys and values together.
    pub bytes: u64,
}

/// The body of `PUT /v1/history`. What is left out stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct HistoryChange {
    /// See [`HistoryLimits::revisions`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions: Option<u64>,
    /// See [`HistoryLimits::versions`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<u64>,
    /// See [`HistoryLimits::bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Forget what stands before this revision; it can be read itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact_to: Option<Revision>,
}

/// One event of `GET /v1/watch`. The SSE event name is the variant's, in lower case; the data
/// is the variant's content as JSON; `id` is the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// Forget what you had; this is all there is.
    Snapshot(Snapshot),
    /// The next revision that touches what is watched.
    Change(Change),
    /// Nothing that is watched has changed up to this revision.
    Progress(Progress),
    /// What was asked for is no longer kept; a snapshot follows.
    Compacted(Compacted),
    /// The stream ends, and why. Reconnect to go on.
    End(End),
}

/// See [`WatchEvent::Progress`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Progress {
    /// The revision up to which the stream is complete.
    pub revision: Revision,
}

/// See [`WatchEvent::Compacted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Compacted {
    /// The revision that was to be resumed from.
    pub since: Revision,
    /// The oldest revision from which a watch can still resume.
    pub oldest: Revision,
}

/// See [`WatchEvent::End`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct End {
    /// For a person.
    pub reason: String,
}

impl WatchEvent {
    /// Reads one event; an unknown name is `Ok(None)`, so that events may be added.
    pub fn parse(name: &str, data: &str) -> Result<Option<Self>, serde_json::Error> {
        Ok(Some(match name {
            "snapshot" => Self::Snapshot(serde_json::from_str(data)?),
            "change" => Self::Change(serde_json::from_str(data)?),
            "progress" => Self::Progress(serde_json::from_str(data)?),
            "compacted" => Self::Compacted(serde_json::from_str(data)?),
            "end" => Self::End(serde_json::from_str(data)?),
            _ => return Ok(None),
        }))
    }
}

/// What a watch asks for; the body of `POST /v1/watch`, or its query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct WatchRequest {
    /// Exact keys.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Prefixes, by bytes; `""` is everything but Keyway's own keys.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Go on after this revision instead of starting with a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Revision>,
}

impl WatchRequest {
    /// Whether the watch shows this key.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        self.keys.iter().any(|k| k == key) || self.prefixes.iter().any(|prefix| crate::key::shows(prefix, key))
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

mod base64_or_null {
    use super::*;

    pub(super) fn serialize<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_empty() {
            return serializer.serialize_none();
        }
        serializer.serialize_str(&STANDARD.encode(value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        text.map_or(Ok(Bytes::new()), |text| {
            STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_written_as_consul_writes_it() {
        let entry = Entry {
            lock_index: 0,
            key: "a".into(),
            flags: u64::MAX,
            value: Bytes::from_static(b"1"),
            session: None,
            create_index: Revision(2),
            modify_index: Revision(3),
        };

        let text = serde_json::to_string(&entry).unwrap();

        assert_eq!(
            text,
            r#"{"LockIndex":0,"Key":"a","Flags":18446744073709551615,"Value":"MQ==","CreateIndex":2,"ModifyIndex":3}"#
        );
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
    }

    #[test]
    fn an_unknown_event_is_passed_over() {
        assert_eq!(WatchEvent::parse("later", "{}").unwrap(), None);
        assert!(WatchEvent::parse("end", "not json").is_err());
    }
}
