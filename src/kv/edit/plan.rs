//! From what was there, what was typed and what is there now to the operations that make it so. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kvapi::types::TxnOp;
use kvapi::{Entry, Revision};

use agent::document::Item;

/// What a key holds, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) value: Bytes,
    pub(super) flags: u64,
    pub(super) since: Revision,
}

/// Keys and what they hold.
pub(super) type Tree = BTreeMap<String, Held>;

/// The tree of these entries.
pub(super) fn tree(entries: &[Entry]) -> Tree {
    let held = |entry: &Entry| Held {
        value: entry.value.clone(),
        flags: entry.flags,
        since: entry.modify_index,
    };
    entries.iter().map(|entry| (entry.key.clone(), held(entry))).collect()
}

/// One key that is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: String,
    /// What it holds now.
    pub(super) now: Option<Held>,
    /// What it is to hold: value and flags.
    pub(super) to: Option<(Bytes, u64)>,
    /// Whether somebody else has changed it since what was typed began.
    pub(super) is_overruled: bool,
}

/// What is to be done, in byte order of the keys.
///
/// Only what differs between `base` and `edited` is somebody's wish. What others have changed meanwhile and
/// nobody touched here stays as they made it.
pub(super) fn plan(base: &Tree, edited: &[Item], now: &Tree) -> Vec<Change> {
    let edited: BTreeMap<&str, (&Bytes, u64)> = edited
        .iter()
        .map(|item| (item.key.as_str(), (&item.value, item.flags)))
        .collect();
    let keys: BTreeSet<&str> = base.keys().map(String::as_str).chain(edited.keys().copied()).collect();
    let changes = keys.into_iter().filter_map(|key| {
        let wanted = edited.get(key).copied();
        let (base, now) = (base.get(key), now.get(key));
        if wanted == content(base) || wanted == content(now) {
            return None;
        }
        Some(Change {
            key: key.to_owned(),
            now: now.cloned(),
            to: wanted.map(|(value, flags)| (value.clone(), flags)),
            is_overruled: content(base) != content(now),
        })
    });
    changes.collect()
}

fn content(held: Option<&Held>) -> Option<(&Bytes, u64)> {
    held.map(|held| (&held.value, held.flags))
}

/// The operations: each only if the key is still as it was looked at.
pub(super) fn operations(changes: &[Change]) -> Vec<TxnOp> {
    let operation = |change: &Change| {
        let index = change.now.as_ref().map_or(0, |held| held.since.0);
        match &change.to {
            Some((value, flags)) => TxnOp {
                value: value.clone(),
                flags: *flags,
                index,
                ..TxnOp::new("cas", &change.key)
            },
            None => TxnOp {
                index,
                ..TxnOp::new("delete-cas", &change.key)
            },
        }
    };
    changes.iter().map(operation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent::document::{As, read, write};
    use proptest::prelude::*;

    fn items(tree: &Tree) -> Vec<Item> {
        tree.iter()
            .map(|(key, held)| Item {
                key: key.clone(),
                value: held.value.clone(),
                flags: held.flags,
            })
            .collect()
    }

    /// What a store that checks each operation makes of it, or nothing if one does not hold.
    fn carried_out(tree: &Tree, ops: &[TxnOp]) -> Option<Tree> {
        let mut after = tree.clone();
        for op in ops {
            let index = tree.get(&op.key).map_or(0, |held| held.since.0);
            if op.index != index {
                return None;
            }
            match op.verb.as_str() {
                "cas" => after.insert(
                    op.key.clone(),
                    Held {
                        value: op.value.clone(),
                        flags: op.flags,
                        since: Revision(99),
                    },
                ),
                "delete-cas" => after.remove(&op.key),
                verb => panic!("{verb}"),
            };
        }
        Some(after)
    }

    prop_compose! {
        fn any_held()(value in prop_oneof!["[ab]{0,2}".prop_map(String::into_bytes), any::<Vec<u8>>()],
                      flags in prop_oneof![3 => Just(0), 1 => Just(7_u64)],
                      since in 2_u64..6) -> Held {
            Held { value: value.into(), flags, since: Revision(since) }
        }
    }

    fn any_tree() -> impl Strategy<Value = Tree> {
        proptest::collection::btree_map("[ab$](/[ab]){0,2}", any_held(), 0..6)
    }

    proptest! {
        #[test]
        fn without_others_the_store_becomes_what_was_typed(base in any_tree(), typed in any_tree()) {
            let ops = operations(&plan(&base, &items(&typed), &base));

            let after = carried_out(&base, &ops).expect("every operation holds");

            prop_assert_eq!(items(&after), items(&typed));
        }

        #[test]
        fn what_nobody_touched_stays_as_others_made_it(base in any_tree(), typed in any_tree(), now in any_tree()) {
            let changes = plan(&base, &items(&typed), &now);
            let after = carried_out(&now, &operations(&changes)).expect("every operation holds");

            let keys: BTreeSet<&String> = base.keys().chain(typed.keys()).chain(now.keys()).collect();
            for key in keys {
                let [base, typed, now, after] = [&base, &typed, &now, &after].map(|tree| content(tree.get(key)));
                prop_assert_eq!(after, if typed == base { now } else { typed }, "{}", key);
            }
            prop_assert!(changes.iter().all(|change| change.is_overruled == (
                content(base.get(&change.key)) != content(now.get(&change.key)))));
        }

        #[test]
        fn a_document_that_nobody_changed_changes_nothing(base in any_tree(), now in any_tree()) {
            for form in [As::Json, As::Yaml, As::Toml] {
                let text = write(&items(&base), form).unwrap();
                prop_assert_eq!(plan(&base, &read(&text, form).unwrap(), &now), vec![]);
            }
        }
    }
}
