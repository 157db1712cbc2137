//! Lists as JSON, in pieces: entries, or names cut behind a separator. A list knows how far it is;
//! what it writes, piece after piece, is to the byte what it would be as a whole.

use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kvapi::{Key, Revision};

use super::json;
use super::slice::Slice;
use crate::state::{Entry, State};

/// A value longer than this goes into pieces of its own. A multiple of 3, so that each part is
/// whole base64.
const LONG_VALUE: usize = 12 << 10;

/// What a list is of.
#[derive(Debug, Clone)]
pub(super) enum Of {
    Entries,
    /// Each up to and with the first separator behind the prefix.
    Names {
        separator: Vec<u8>,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct List {
    of: Of,
    prefix: String,
    slice: Slice,
    pretty: bool,
    /// The last key that was looked at.
    cursor: Option<String>,
    /// The last name that was written.
    last: Option<String>,
    written: usize,
    long: Option<Long>,
    ended: bool,
}

/// What is left of an entry with a long value.
#[derive(Debug)]
struct Long {
    value: Bytes,
    /// What follows the value.
    tail: Vec<u8>,
}

impl List {
    pub(super) fn new(of: Of, prefix: &str, slice: &Slice, pretty: bool) -> Self {
        Self {
            of,
            prefix: prefix.to_owned(),
            slice: slice.clone(),
            pretty,
            cursor: None,
            last: None,
            written: 0,
            long: None,
            ended: false,
        }
    }

    /// Whether the end is written.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// How many have been begun.
    pub(super) const fn written(&self) -> usize {
        self.written
    }

    /// The revision that the list is of, if it is not that of the state.
    pub(super) const fn revision(&self) -> Option<Revision> {
        self.slice.revision
    }

    /// From now on it is the list as it was at this revision, whatever state it is written from.
    pub(super) const fn pin(&mut self, revision: Revision) {
        self.slice.revision = Some(revision);
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Writes on until `out` has `size` bytes, and little more, or the list is at its end.
    pub(super) fn fill(&mut self, state: &State, size: usize, out: &mut Vec<u8>) {
        if !self.finish_long(size, out) {
            return;
        }
        let prefix = self.prefix.clone();
        let from = self.cursor.clone().or_else(|| self.slice.start_after.clone());
        let from = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut looked: Option<&Key> = None;
        for (key, entry) in state.walk(&prefix, from, self.slice.revision) {
            if out.len() >= size {
                self.stop_behind(looked);
                return;
            }
            let Some(name) = self.next_name(key, self.last.as_deref()) else {
                looked = Some(key);
                continue;
            };
            if self.slice.limit == Some(self.written) {
                break;
            }
            looked = Some(key);
            out.extend_from_slice(match (self.written, self.pretty) {
                (0, false) => b"[",
                (0, true) => b"[\n",
                (_, false) => b",",
                (_, true) => b",\n",
            });
            self.written += 1;
            match name {
                Some(name) => {
                    out.extend_from_slice(self.item(&json::write(&[&name], self.pretty)));
                    self.last = Some(name);
                }
                None => self.begin_entry(key, entry, out),
            }
            if !self.finish_long(size, out) {
                self.stop_behind(looked);
                return;
            }
        }
        self.stop_behind(looked);
        self.ended = true;
        out.extend_from_slice(match (self.written, self.pretty) {
            (0, false) => b"[]",
            (0, true) => b"[]\n",
            (_, false) => b"]",
            (_, true) => b"\n]\n",
        });
    }

    /// Whether the limit leaves something out.
    pub(super) fn more(&self, state: &State) -> bool {
        let Some(limit) = self.slice.limit else {
            return false;
        };
        let (mut written, mut last) = (self.written, self.last.clone());
        let from = self.cursor.as_deref().or(self.slice.start_after.as_deref());
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, _) in state.walk(&self.prefix, from, self.slice.revision) {
            let Some(name) = self.next_name(key, last.as_deref()) else {
                continue;
            };
            if written == limit {
                return true;
            }
            written += 1;
            last = name;
        }
        false
    }

    fn stop_behind(&mut self, looked: Option<&Key>) {
        if let Some(key) = looked {
            self.cursor = Some(key.as_str().to_owned());
        }
    }

    /// The name to write for a key, `Some(None)` if it is the entry, `None` if nothing.
    #[expect(clippy::option_option, reason = "a list of entries has no names")]
    fn next_name(&self, key: &Key, last: Option<&str>) -> Option<Option<String>> {
        let Of::Names { separator } = &self.of else {
            return Some(None);
        };
        let name = cut(key.as_str(), self.prefix.len(), separator);
        // Sorted, so those cut alike stand together; those of the page before may go on here.
        let known = last == Some(&*name) || self.slice.start_after.as_ref() == Some(&name);
        (!known).then_some(Some(name))
    }

    /// What stands in a list of one, without the list.
    fn item<'a>(&self, list: &'a [u8]) -> &'a [u8] {
        if self.pretty {
            &list[2..list.len() - 3]
        } else {
            &list[1..list.len() - 1]
        }
    }

    fn begin_entry(&mut self, key: &Key, entry: &Entry, out: &mut Vec<u8>) {
        let mut wire = entry.to_wire(key.as_str());
        if wire.value.len() <= LONG_VALUE {
            out.extend_from_slice(self.item(&json::write(&[wire], self.pretty)));
            return;
        }
        // Within a text the quotes would be escaped: this stands there once.
        let field: &[u8] = if self.pretty { b"\"Value\": " } else { b"\"Value\":" };
        let value = std::mem::take(&mut wire.value);
        let text = json::write(&[wire], self.pretty);
        let text = self.item(&text);
        let at = text.windows(field.len()).position(|part| part == field);
        let (head, tail) = text.split_at(at.expect("an entry has a value") + field.len());
        out.extend_from_slice(head);
        out.push(b'"');
        self.long = Some(Long {
            value,
            tail: [b"\"", tail.strip_prefix(b"null").unwrap_or(tail)].concat(),
        });
    }

    /// Writes what is left of a long value. `false` if it was more than fits.
    fn finish_long(&mut self, size: usize, out: &mut Vec<u8>) -> bool {
        while let Some(long) = &mut self.long {
            if out.len() >= size {
                return false;
            }
            let part = long.value.split_to(long.value.len().min(LONG_VALUE));
            out.extend_from_slice(STANDARD.encode(&part).as_bytes());
            if long.value.is_empty() {
                out.append(&mut long.tail);
                self.long = None;
            }
        }
        true
    }
}

/// The key up to and with the first separator behind the prefix. It cuts bytes, as Consul does.
fn cut(key: &str, prefix_len: usize, separator: &[u8]) -> String {
    let rest = &key.as_bytes()[prefix_len..];
    let at = if separator.is_empty() {
        None
    } else {
        rest.windows(separator.len()).position(|part| part == separator)
    };
    match at {
        Some(at) => String::from_utf8_lossy(&key.as_bytes()[..prefix_len + at + separator.len()]).into_owned(),
        None => key.to_owned(),
    }
}

#[cfg(test)]
mod tests;
