//! What is different on disk: which rows, not what is in them.
//!
//! When it is written, the newest state says what is in them; so what a later write overtakes is
//! never written at all, and no value is held here.

use std::collections::{BTreeSet, HashSet};

use super::pages::{Pages, Start};
use crate::state::rows::{Row, RowId};

/// What a row weighs beside its key and value, in bytes.
pub(super) const OVERHEAD: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    rows: HashSet<RowId>,
    pages: BTreeSet<Start>,
}

impl Unwritten {
    /// A row has changed. `pages` are those on disk.
    pub(super) fn add(&mut self, row: RowId, pages: &Pages) {
        match row {
            // What is in no page yet goes into one when the pages are extended.
            RowId::Version(revision, key) => self.pages.extend(pages.page_of(&(revision, key)).cloned()),
            // It goes along with its versions.
            RowId::Record(_) => {}
            RowId::Counters
            | RowId::Key(_)
            | RowId::Tombstone(_)
            | RowId::Session(_)
            | RowId::Request(_)
            | RowId::Delay(_)
            | RowId::Staged(_) => {
                self.rows.insert(row);
            }
        }
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        (self.rows.len() + self.pages.len()) * OVERHEAD
    }

    /// The rows, in the order of their tables and keys, and the pages that have lost something.
    pub(super) fn into_parts(self) -> (Vec<RowId>, BTreeSet<Start>) {
        let mut rows: Vec<RowId> = self.rows.into_iter().collect();
        rows.sort_unstable();
        (rows, self.pages)
    }
}

/// About how much memory a change holds on to until it is written: its place here, and the old
/// value, if the state that is being written still has it. That is about as long as the new one.
pub(super) fn weight(row: &Row) -> usize {
    OVERHEAD
        + match row {
            Row::Key(key, now) => key.as_str().len() + now.as_ref().map_or(0, |entry| entry.value.len()),
            Row::Request(id, answer) => id.0.len() + answer.as_ref().map_or(0, |answer| answer.reply.weight()),
            Row::Staged(_, part) => part.as_ref().map_or(0, |part| part.piece.weight()),
            Row::Session(id, now) => id.len() + now.as_ref().map_or(0, |session| session.terms.weight()),
            Row::Counters(_) | Row::Version(..) | Row::Record(..) | Row::Tombstone(..) | Row::Delay(..) => 0,
        }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kvapi::{Key, Revision};

    use super::*;
    use crate::command::{Action, Outcome, Reply, RequestId};
    use crate::state::Entry;
    use crate::state::requests::Remembered;

    #[test]
    fn a_change_weighs_what_it_holds_on_to() {
        let key = || Key::new("k".repeat(500)).unwrap();
        let entry = |bytes| {
            Arc::new(Entry {
                value: vec![0; bytes].into(),
                flags: 0,
                create: Revision(2),
                modify: Revision(2),
                lock_index: 0,
                session: None,
            })
        };
        let reply = Reply {
            revision: Revision(2),
            outcome: Outcome::Shown(vec![(key(), entry(10_000)); 3]),
        };
        let answer = Remembered {
            order: 1,
            at: 1,
            action: Action::Delete { key: key(), cas: None }.fingerprint(),
            reply,
        };
        let answered = Row::Request(RequestId("r".into()), Some(Arc::new(answer)));

        assert!(weight(&answered) > 31_500, "{}", weight(&answered));
        assert_eq!(weight(&Row::Tombstone(key(), None)), OVERHEAD);
        assert_eq!(weight(&Row::Key(key(), Some(entry(7)))), OVERHEAD + 507);
    }

    #[test]
    fn a_row_that_changes_again_and_again_is_one_row_and_a_version_that_never_was_on_disk_none() {
        let mut unwritten = Unwritten::default();
        let key = Key::new("a").unwrap();

        for revision in 2..100 {
            unwritten.add(RowId::Key(key.clone()), &Pages::default());
            unwritten.add(RowId::Version(Revision(revision), key.clone()), &Pages::default());
            unwritten.add(RowId::Record(Revision(revision)), &Pages::default());
        }

        let (rows, pages) = unwritten.into_parts();
        assert_eq!((rows, pages.len()), (vec![RowId::Key(key)], 0));
    }
}
