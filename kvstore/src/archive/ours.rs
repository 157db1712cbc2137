//! `state.bin` as we write it: a snapshot file.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::envelope::StateBin;
use super::{BadArchive, Format, Item, Tally, Visit};
use crate::state::SERVERS;
use crate::state::rows::Row;
use crate::state::staged::Kept;
use crate::store::snapshot::{BadSnapshot, Reader};

pub(super) use crate::store::snapshot::MAGIC;

/// Reads it to its end. Keys and sessions are what can be restored; the rest belongs to the cluster that it was of.
pub(super) fn read(file: &mut impl Read, visit: Visit<'_>) -> Result<StateBin, BadArchive> {
    let bad = |e: BadSnapshot| BadArchive::State(e.to_string());
    let mut reader = Reader::begin(Path::new("state.bin"), file).map_err(bad)?;
    let mut revision = None;
    for row in reader.by_ref() {
        let item = match row {
            Row::Counters(counters) => {
                revision = Some(counters.revision.0);
                continue;
            }
            // No backup has a say in who is a member.
            Row::Key(key, _) if key.as_str().starts_with(SERVERS) => continue,
            Row::Key(key, Some(entry)) => Item::Key(Kept::of(key, &entry)),
            Row::Session(id, Some(session)) => Item::Session(id, session.terms.clone()),
            _ => continue,
        };
        if let ControlFlow::Break(()) = visit(item) {
            return Err(BadArchive::Stopped);
        }
    }
    let kinds: BTreeMap<String, Tally> = reader
        .tally()
        .iter()
        .map(|(table, (count, bytes))| {
            let (count, bytes) = (*count, *bytes);
            (table.name().to_owned(), Tally { count, bytes })
        })
        .collect();
    let header = reader.finish().map_err(bad)?;
    if revision != Some(header.revision) {
        return Err(BadArchive::State(
            "state.bin is damaged: its revisions do not agree".into(),
        ));
    }
    Ok(StateBin {
        format: Format::Keyway {
            cluster: header.cluster_id,
        },
        revision: header.revision,
        kinds,
        keys: 0,
    })
}

impl Kept {
    fn of(key: kvapi::Key, entry: &Arc<crate::state::Entry>) -> Self {
        Self {
            key,
            value: entry.value.clone(),
            flags: entry.flags,
            lock_index: entry.lock_index,
            session: entry.session.clone(),
        }
    }
}
