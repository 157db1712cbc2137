//! Watch events as server-sent events.
//!
//! One event is one frame: `id:` is the revision, `event:` the name, `data:` one line of JSON.
//! The types are [`kvapi::types`]; a reader is [`kvapi::sse`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kvapi::types::{Change, Compacted, End, Progress};
use kvapi::{Key, Revision};
use serde::Serialize;

use crate::state::{Entry, Event};

/// A value longer than this is written in parts. A multiple of 3, so that each part is whole base64.
const LONG_VALUE: usize = 12 << 10;

/// A comment: says that the connection lives, and nothing else.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// `change`: what a revision changed, as far as `shows` lets through.
#[must_use]
pub fn change(event: &Event, shows: impl Fn(&str) -> bool) -> Bytes {
    frame("change", Some(event.revision), &event.to_wire(shows))
}

/// The beginning of `change`; what changed follows, and [`CHANGE_END`].
pub fn change_start(out: &mut Vec<u8>, revision: Revision, at: u64, author: Option<&str>, message: Option<&str>) {
    let change = Change {
        revision,
        at,
        author: author.map(str::to_owned),
        message: message.map(str::to_owned),
        changes: Vec::new(),
        omitted: 0,
    };
    begin(out, "change", Some(revision));
    write_json(out, &change);
    out.truncate(out.len() - b"]}".len());
}

/// The end of `change`.
pub const CHANGE_END: &[u8] = b"]}\n\n";

/// What happened to one key, from an `offset` in its value on, as [`entry`].
pub fn key_change(out: &mut Vec<u8>, key: &Key, now: Option<&Entry>, offset: usize, size: usize) -> Option<usize> {
    if offset == 0 {
        out.extend_from_slice(b"{\"Key\":");
        write_json(out, key.as_str());
        out.extend_from_slice(b",\"Entry\":");
    }
    let more = match now {
        Some(now) => entry(out, key, now, offset, size),
        None => {
            out.extend_from_slice(b"null");
            None
        }
    };
    if more.is_none() {
        out.push(b'}');
    }
    more
}

/// `progress`: nothing that is watched has changed up to this revision.
#[must_use]
pub fn progress(revision: Revision) -> Bytes {
    frame("progress", Some(revision), &Progress { revision })
}

/// `compacted`: what was to be resumed from is gone; a snapshot follows. It has no id: a reader
/// that is cut off now has to resume from where it was.
#[must_use]
pub fn compacted(since: Revision, oldest: Revision) -> Bytes {
    frame("compacted", None, &Compacted { since, oldest })
}

/// `end`: the stream ends, and why.
#[must_use]
pub fn end(reason: &str) -> Bytes {
    frame(
        "end",
        None,
        &End {
            reason: reason.to_owned(),
        },
    )
}

/// The beginning of `snapshot`; entries follow, and [`SNAPSHOT_END`].
#[must_use]
pub fn snapshot_start(revision: Revision) -> Vec<u8> {
    format!("id: {revision}\nevent: snapshot\ndata: {{\"Revision\":{revision},\"Entries\":[").into_bytes()
}

/// An entry, from an `offset` in its value on, until `out` has `size` bytes and little more. Where it is to
/// go on; `None` once it is written.
pub fn entry(out: &mut Vec<u8>, key: &Key, entry: &Entry, offset: usize, size: usize) -> Option<usize> {
    const EMPTY: &[u8] = b"\"Value\":null";
    let mut wire = entry.to_wire(key.as_str());
    if wire.value.len() <= LONG_VALUE {
        write_json(out, &wire);
        return None;
    }
    wire.value = Bytes::new();
    let mut text = Vec::with_capacity(256);
    write_json(&mut text, &wire);
    // Within a text the quotes would be escaped: this stands there once.
    let at = text.windows(EMPTY.len()).position(|part| part == EMPTY);
    let at = at.expect("an entry has a value");
    if offset == 0 {
        out.extend_from_slice(&text[..at + EMPTY.len() - b"null".len()]);
        out.push(b'"');
    }
    let mut rest = &entry.value[offset..];
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(rest.len().min(LONG_VALUE));
        out.extend_from_slice(STANDARD.encode(part).as_bytes());
        rest = behind;
        if !rest.is_empty() && out.len() >= size {
            return Some(entry.value.len() - rest.len());
        }
    }
    out.push(b'"');
    out.extend_from_slice(&text[at + EMPTY.len()..]);
    None
}

/// The end of `snapshot`.
pub const SNAPSHOT_END: &[u8] = b"]}\n\n";

fn frame(name: &str, id: Option<Revision>, data: &impl Serialize) -> Bytes {
    let mut out = Vec::with_capacity(256);
    begin(&mut out, name, id);
    write_json(&mut out, data);
    out.extend_from_slice(b"\n\n");
    out.into()
}

fn begin(out: &mut Vec<u8>, name: &str, id: Option<Revision>) {
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
}

/// JSON escapes line ends, so the data is always one line.
fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, data: &T) {
    serde_json::to_writer(out, data).expect("our own types have text keys, and a Vec takes all bytes");
}

#[cfg(test)]
mod tests {
    use kvapi::sse::Parser;
    use kvapi::types::WatchEvent;

    use super::*;
    use crate::watch::ring::tests::event;

    #[test]
    fn a_long_value_in_parts_is_to_the_byte_what_it_is_as_a_whole() {
        for length in [0, 1, LONG_VALUE, LONG_VALUE + 1, 5 * LONG_VALUE - 1, 5 * LONG_VALUE] {
            let mut there = Entry::clone(event(7, &["a"]).changes[0].1.as_ref().unwrap());
            there.value = (0..length).map(|n| n as u8).collect();
            let key = Key::new("\"Value\":null").unwrap();
            let whole = serde_json::to_vec(&there.to_wire(key.as_str())).unwrap();

            let (mut out, mut offset) = (Vec::new(), Some(0));
            while let Some(from) = offset {
                let before = out.len();
                offset = entry(&mut out, &key, &there, from, before + 1);
                assert!(out.len() > before && out.len() - before < 2 * LONG_VALUE);
            }

            assert!(out == whole, "{length}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let event = event(7, &["a", "b\nc"]);
        let frames = [
            change(&event, |key| key == "b\nc"),
            KEEP_ALIVE,
            progress(Revision(9)),
            compacted(Revision(2), Revision(5)),
            end("over"),
        ];

        let events = Parser::default().push(&frames.concat());

        let ids: Vec<_> = events.iter().map(|event| event.id.as_deref()).collect();
        assert_eq!(ids, [Some("7"), Some("9"), None, None]);
        let parsed = WatchEvent::parse(&events[0].name, &events[0].data).unwrap().unwrap();
        let WatchEvent::Change(change) = parsed else {
            panic!("{parsed:?}")
        };
        assert_eq!(change.changes.len(), 1);
        assert_eq!(change.changes[0].key, "b\nc");
    }

    #[test]
    fn a_snapshot_in_pieces_reads_back() {
        let event = event(7, &["a"]);
        let (key, there) = &event.changes[0];
        let mut out = snapshot_start(Revision(7));
        assert_eq!(entry(&mut out, key, there.as_ref().unwrap(), 0, 1), None);
        out.extend_from_slice(SNAPSHOT_END);

        let events = Parser::default().push(&out);

        let parsed = WatchEvent::parse(&events[0].name, &events[0].data).unwrap().unwrap();
        let WatchEvent::Snapshot(snapshot) = parsed else {
            panic!("{parsed:?}")
        };
        assert_eq!((snapshot.revision, snapshot.entries.len()), (Revision(7), 1));
    }
}
