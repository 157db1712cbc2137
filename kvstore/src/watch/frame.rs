//! Watch events as server-sent events.
//!
//! One event is one frame: `id:` is the revision, `event:` the name, `data:` one line of JSON.
//! The types are [`kvapi::types`]; a reader is [`kvapi::sse`].

use bytes::Bytes;
use kvapi::types::{Compacted, End, Progress};
use kvapi::{Key, Revision};
use serde::Serialize;

use crate::state::{Entry, Event};

/// A comment: says that the connection lives, and nothing else.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// `change`: what a revision changed, as far as `shows` lets through.
#[must_use]
pub fn change(event: &Event, shows: impl Fn(&str) -> bool) -> Bytes {
    frame("change", Some(event.revision), &event.to_wire(shows))
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

/// One entry of a snapshot.
pub fn snapshot_entry(out: &mut Vec<u8>, key: &Key, entry: &Entry) {
    write_json(out, &entry.to_wire(key.as_str()));
}

/// The end of `snapshot`.
pub const SNAPSHOT_END: &[u8] = b"]}\n\n";

fn frame(name: &str, id: Option<Revision>, data: &impl Serialize) -> Bytes {
    let mut out = Vec::with_capacity(256);
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    write_json(&mut out, data);
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// JSON escapes line ends, so the data is always one line.
fn write_json(out: &mut Vec<u8>, data: &impl Serialize) {
    serde_json::to_writer(out, data).expect("our own types have text keys, and a Vec takes all bytes");
}

#[cfg(test)]
mod tests {
    use kvapi::sse::Parser;
    use kvapi::types::WatchEvent;

    use super::*;
    use crate::watch::ring::tests::event;

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
        let (key, entry) = &event.changes[0];
        let mut out = snapshot_start(Revision(7));
        snapshot_entry(&mut out, key, entry.as_ref().unwrap());
        out.extend_from_slice(SNAPSHOT_END);

        let events = Parser::default().push(&out);

        let parsed = WatchEvent::parse(&events[0].name, &events[0].data).unwrap().unwrap();
        let WatchEvent::Snapshot(snapshot) = parsed else {
            panic!("{parsed:?}")
        };
        assert_eq!((snapshot.revision, snapshot.entries.len()), (Revision(7), 1));
    }
}
