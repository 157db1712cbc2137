//! An entry as `-o json` shows it: the documented form, to which fields are only ever added.

use bytes::Bytes;
use kvapi::types::Change;
use kvapi::{Entry, Revision};
use serde::Serialize;

use crate::value::encode_base64;

/// A value as JSON can carry it.
#[derive(Debug, Serialize)]
pub(super) struct Value {
    value: String,
    /// `utf-8` if `value` is the text itself, else `base64`.
    encoding: &'static str,
}

impl From<&Bytes> for Value {
    fn from(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self {
                value: text.to_owned(),
                encoding: "utf-8",
            },
            Err(_) => Self {
                value: encode_base64(bytes),
                encoding: "base64",
            },
        }
    }
}

/// See the module.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    key: &'a str,
    #[serde(flatten)]
    value: Value,
    flags: u64,
    create_revision: Revision,
    mod_revision: Revision,
    lock_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
}

impl<'a> From<&'a Entry> for Shown<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            key: &entry.key,
            value: (&entry.value).into(),
            flags: entry.flags,
            create_revision: entry.create_index,
            mod_revision: entry.modify_index,
            lock_index: entry.lock_index,
            session: entry.session.as_deref(),
        }
    }
}

/// One revision and its changes.
pub(super) fn change_json(change: &Change) -> serde_json::Value {
    let changes: Vec<serde_json::Value> = change
        .changes
        .iter()
        .map(|one| match &one.entry {
            Some(entry) => serde_json::json!({"op": "put", "entry": Shown::from(entry)}),
            None => serde_json::json!({"op": "delete", "key": one.key}),
        })
        .collect();
    let mut shown = serde_json::json!({
        "event": "change",
        "revision": change.revision,
        "time": time(change.at),
        "author": change.author,
        "author_is_claim": change.author.as_ref().map(|_| true),
        "message": change.message,
        "changes": changes,
    });
    if change.omitted > 0 {
        shown["omitted"] = change.omitted.into();
    }
    shown
}

/// Milliseconds since 1970 as RFC 3339 in UTC.
pub(super) fn time(at_ms: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(at_ms));
    time.map_or_else(
        || at_ms.to_string(),
        |time| humantime::format_rfc3339_millis(time).to_string(),
    )
}

/// A value on one line: text that has no line break as it is, anything else escaped.
pub(super) fn on_one_line(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("base64:{}", encode_base64(value)),
    }
}

/// A key, an author or a message on one line: anybody may have written them, and a terminal obeys what it reads.
pub(super) fn plain(text: &str) -> String {
    on_one_line(text.as_bytes())
}

/// Who wrote something, for a person, and that nobody has checked it: an author is what a client said.
pub(super) fn author(change: &Change) -> Option<String> {
    let author = change.author.as_deref()?;
    Some(format!("{} (claimed)", plain(author)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &'static [u8]) -> serde_json::Value {
        let entry = Entry {
            lock_index: 0,
            key: "a".into(),
            flags: 7,
            value: Bytes::from_static(value),
            session: None,
            create_index: Revision(2),
            modify_index: Revision(3),
        };
        serde_json::to_value(Shown::from(&entry)).unwrap()
    }

    #[test]
    fn an_entry_is_one_flat_object_and_says_how_its_value_is_encoded() {
        assert_eq!(
            json(b"x"),
            serde_json::json!({
                "key": "a", "value": "x", "encoding": "utf-8", "flags": 7,
                "create_revision": 2, "mod_revision": 3, "lock_index": 0
            })
        );
        assert_eq!(json(b"\xff")["value"], "/w==");
        assert_eq!(json(b"\xff")["encoding"], "base64");
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(1_500), "1970-01-01T00:00:01.500Z");
    }

    #[test]
    fn what_would_break_a_line_is_escaped() {
        assert_eq!(on_one_line(b"a b"), "a b");
        assert_eq!(on_one_line(b"a\nb"), "\"a\\nb\"");
        assert_eq!(on_one_line(b"\xff"), "base64:/w==");
    }
}
