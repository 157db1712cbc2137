use std::collections::BTreeMap;

use bytes::Bytes;
use kvapi::types::KeyChange;
use proptest::prelude::*;

use super::*;

fn entry(name: &str, value: &str, revision: u64) -> Entry {
    Entry {
        lock_index: 0,
        key: name.into(),
        flags: 0,
        value: Bytes::copy_from_slice(value.as_bytes()),
        session: None,
        create_index: Revision(revision),
        modify_index: Revision(revision),
    }
}

fn scope(prefix: &str) -> Scope {
    Scope {
        keys: BTreeSet::new(),
        prefixes: [prefix.to_owned()].into(),
    }
}

fn change(revision: u64, touched: &[(String, Option<String>)]) -> Change {
    Change {
        revision: Revision(revision),
        at: 0,
        author: None,
        message: None,
        changes: touched
            .iter()
            .map(|(name, value)| KeyChange {
                key: name.clone(),
                entry: value.as_ref().map(|value| entry(name, value, revision)),
            })
            .collect(),
        omitted: 0,
    }
}

#[test]
fn what_is_not_watched_is_outside_and_not_absent() {
    let mut view = View::default();
    assert_eq!(view.get("a"), Found::Outside);

    view.replace(
        Snapshot {
            revision: Revision(4),
            entries: vec![],
        },
        scope("a"),
    )
    .unwrap();

    assert_eq!(view.get("a"), Found::Absent);
    assert_eq!(view.get("b"), Found::Outside);
    assert!(view.range("b").is_none() && view.range("").is_none() && view.range("a/").is_some());
}

#[test]
fn a_lower_revision_and_another_cluster_are_refused() {
    let mut view = View::above("one".into(), Revisions::both(Revision(9)));

    assert!(matches!(view.meet("two"), Err(Refusal::AnotherCluster { .. })));
    assert_eq!(view.meet("one"), Ok(()));
    assert_eq!(
        view.replace(
            Snapshot {
                revision: Revision(8),
                entries: vec![]
            },
            scope("")
        ),
        Err(Refusal::Lower {
            seen: Revision(9),
            offered: Revision(8)
        })
    );
    assert_eq!(view.apply(change(9, &[("a".into(), Some("x".into()))])), Ok(vec![]));
    assert_eq!(view.get("a"), Found::Outside);
}

#[test]
fn a_revision_that_is_shown_again_with_other_entries_is_refused() {
    let mut view = View::default();
    let shown = |revision, entries| Snapshot {
        revision: Revision(revision),
        entries,
    };
    let good = vec![entry("a", "1", 3)];
    view.replace(shown(4, good), scope("a")).unwrap();

    let blank = view.replace(shown(4, vec![]), scope(""));
    assert_eq!(blank, Err(Refusal::Contradiction { revision: Revision(4) }));
    let newer = view.replace(shown(5, vec![entry("a", "2", 6)]), scope(""));
    assert_eq!(newer, Err(Refusal::Contradiction { revision: Revision(5) }));
    assert!(matches!(view.get("a"), Found::Entry(entry) if &*entry.value == b"1"));

    let wider = vec![entry("a", "1", 3), entry("b", "1", 4)];
    assert_eq!(view.replace(shown(4, wider), scope("")), Ok(vec!["b".into()]));
}

#[test]
fn keyways_own_keys_need_to_be_asked_for() {
    let view = View::fixed([("_keyway/services/web/1".to_owned(), vec![]), ("a".to_owned(), vec![])]);
    let all = |prefix: &str| view.range(prefix).into_iter().flatten().count();
    assert_eq!((all(""), all("_keyway/services/")), (1, 1));
    assert_eq!(
        (Cut::of("_keyway/services/web/1"), Cut::of("a")),
        (Cut::Live, Cut::Settings)
    );
}

#[test]
fn a_server_that_does_not_name_its_cluster_is_refused() {
    let mut view = View::default();
    assert!(view.meet("").is_err(), "nobody is followed yet either");
    view.meet("ours").unwrap();

    let refusal = view.meet("").unwrap_err();

    assert!(refusal.to_string().contains("does not say which cluster"), "{refusal}");
    view.meet("ours").unwrap();
}

proptest! {
    /// A resumed stream and a fresh snapshot lead to the same view.
    #[test]
    fn changes_and_a_later_snapshot_agree(
        changes in prop::collection::vec(prop::collection::vec(("[ab]/[a-d]", prop::option::of("[a-z]{0,2}")), 1..4), 0..20),
        cut in 0usize..20,
    ) {
        let scope = scope("");
        let mut followed = View::default();
        followed.replace(Snapshot { revision: Revision(1), entries: vec![] }, scope.clone()).unwrap();
        let mut late = View::default();
        for (n, touched) in changes.iter().enumerate() {
            followed.apply(change(n as u64 + 2, touched)).unwrap();
            if n == cut {
                let entries = followed.range("").unwrap().cloned().collect();
                late.replace(Snapshot { revision: Revision(n as u64 + 2), entries }, scope.clone()).unwrap();
            } else if n > cut {
                late.apply(change(n as u64 + 2, touched)).unwrap();
            }
        }
        if changes.len() > cut {
            prop_assert_eq!(late, followed);
        }
    }

    /// The keys that a snapshot reports are exactly those that differ.
    #[test]
    fn a_snapshot_reports_what_differs(
        before in prop::collection::btree_map("[a-d]", "[x-y]", 0..4),
        after in prop::collection::btree_map("[a-d]", "[x-y]", 0..4),
    ) {
        let entries = |map: &BTreeMap<String, String>| map.iter().map(|(k, v)| entry(k, v, 1)).collect::<Vec<_>>();
        let mut view = View::default();
        view.replace(Snapshot { revision: Revision(1), entries: entries(&before) }, scope("")).unwrap();

        let mut told = view.replace(Snapshot { revision: Revision(2), entries: entries(&after) }, scope("")).unwrap();

        told.sort();
        let differ: Vec<String> = ["a", "b", "c", "d"].map(String::from).into_iter()
            .filter(|k| before.get(k) != after.get(k)).collect();
        prop_assert_eq!(told, differ);
    }
}
