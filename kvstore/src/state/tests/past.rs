//! Reads at a revision against the plainest model: the whole map of every revision.

use super::*;
use crate::state::past::Unreadable;

type Map = BTreeMap<Key, Arc<Entry>>;

/// The states after each command, and the map at every revision from 1 on.
fn all_maps(commands: &[Command]) -> (State, Vec<Map>) {
    let mut state = State::default();
    let mut maps = vec![Map::new(), Map::new()];
    for command in commands {
        if state.apply(0, command).event.is_some() {
            let map = state
                .entries
                .iter()
                .map(|(key, entry)| (key.clone(), Arc::clone(entry)));
            maps.push(map.collect());
        }
    }
    (state, maps)
}

const PREFIXES: [&str; 6] = ["", "a", "a/", "b", "zz", "_keyway/"];

/// Every read of every revision: equal to the model, or refused with good reason.
fn check(state: &State, maps: &[Map]) -> Result<(), TestCaseError> {
    for (n, map) in maps.iter().enumerate().skip(1) {
        let revision = Revision(n as u64);
        for name in KEYS.map(key) {
            match state.get_at(&name, revision) {
                Ok(entry) => prop_assert_eq!(entry, map.get(&name), "{} at {}", name, revision),
                Err(Unreadable::Gone { oldest }) => {
                    prop_assert!(oldest > revision, "{name} at {revision}: {oldest}");
                    let then = state.get_at(&name, oldest);
                    prop_assert_eq!(then, Ok(maps[usize::try_from(oldest.0).unwrap()].get(&name)));
                    prop_assert!(name.is_own() || revision < state.history().oldest());
                }
                Err(ahead) => prop_assert!(false, "{ahead:?}"),
            }
        }
        for prefix in PREFIXES {
            let model: Vec<_> = map
                .iter()
                .filter(|(k, _)| kvapi::key::shows(prefix, k.as_str()))
                .collect();
            match state.readable(prefix, revision) {
                Ok(()) => {
                    let list: Vec<_> = state.walk(prefix, Bound::Unbounded, Some(revision)).collect();
                    prop_assert_eq!(&list, &model, "{} at {}", prefix, revision);
                    prop_assert_eq!(state.count(prefix, Some(revision)), model.len());
                    for (at, (key, _)) in model.iter().enumerate() {
                        let after = state.walk(prefix, Bound::Excluded(key.as_str()), Some(revision));
                        prop_assert_eq!(after.collect::<Vec<_>>(), model[at + 1..].to_vec());
                    }
                }
                Err(Unreadable::Gone { oldest }) => {
                    prop_assert!(oldest > revision && state.readable(prefix, oldest).is_ok());
                    prop_assert!(is_own(prefix) || revision < state.history().oldest());
                }
                Err(ahead) => prop_assert!(false, "{ahead:?}"),
            }
        }
    }
    let ahead = state.revision().next();
    let newest = state.revision();
    prop_assert_eq!(state.readable("", ahead), Err(Unreadable::Ahead { newest }));
    prop_assert_eq!(state.get_at(&key("a"), ahead), Err(Unreadable::Ahead { newest }));
    Ok(())
}

proptest! {
    #[test]
    fn every_revision_reads_as_it_was_or_is_refused(commands in any_commands()) {
        let (state, maps) = all_maps(&commands);
        check(&state, &maps)?;
        check(&reload(&state), &maps)?;
    }

    /// The bytes press, so that versions go whatever else would keep them.
    #[test]
    fn under_the_limit_of_bytes_no_answer_is_wrong(commands in any_commands(), bytes in 100..1_500_u64) {
        let keep = Action::Keep(Limits { revisions: 20, versions: 3, bytes });
        let fixed: Vec<_> = std::iter::once(command(keep))
            .chain(commands.into_iter().filter(|c| !matches!(c.action, Action::Keep(_))))
            .collect();
        let (state, maps) = all_maps(&fixed);
        check(&state, &maps)?;
    }

    #[test]
    fn without_pressure_every_revision_of_the_window_can_be_read(commands in any_commands(), revisions in 1..20_u64) {
        let keep = Action::Keep(Limits { revisions, versions: 1, bytes: u64::MAX });
        let fixed: Vec<_> = std::iter::once(command(keep))
            .chain(commands.into_iter().filter(|c| !matches!(c.action, Action::Keep(_))))
            .collect();
        let (state, _) = all_maps(&fixed);
        for revision in state.history().floor().0..=state.revision().0 {
            prop_assert_eq!(state.readable("", Revision(revision)), Ok(()));
        }
    }

    #[test]
    fn what_is_compacted_is_gone_and_its_revision_can_be_read(commands in any_commands(), revision in 1..40_u64) {
        let (mut state, _) = all_maps(&commands);
        let revision = Revision(revision.min(state.revision().0));
        let readable = state.readable("", revision);
        state.apply(0, &command(Action::Compact { revision }));

        prop_assert!(state.history().floor() >= revision);
        prop_assert_eq!(state.readable("", revision), readable);
        for name in KEYS.map(key) {
            let old = state.history().versions(&name).filter(|(at, _)| *at <= revision).count();
            prop_assert!(old <= 1, "{name}: {old} versions");
        }
    }
}

#[test]
fn a_value_that_stood_when_the_window_began_is_kept_for_reads_within_it() {
    let keep = Action::Keep(Limits {
        revisions: 3,
        versions: 1,
        bytes: u64::MAX,
    });
    let mut commands = vec![command(keep), put("a", "first"), put("b", "1")];
    commands.extend(["x", "y", "z"].map(|value| put("a", value)));
    let (state, maps) = all_maps(&commands);

    let at = |revision| {
        state
            .get_at(&key("a"), Revision(revision))
            .unwrap()
            .unwrap()
            .value
            .clone()
    };
    assert_eq!(state.history().floor(), Revision(3));
    assert_eq!([at(3), at(4)], ["first", "x"]);
    assert_eq!(maps.len(), 7);
}

#[test]
fn a_key_deleted_and_set_in_one_transaction_was_there_before() {
    let keep = Action::Keep(Limits {
        revisions: 100,
        versions: 1,
        bytes: 400,
    });
    let again = vec![
        Op::Delete { key: key("a") },
        Op::Set {
            key: key("a"),
            value: Bytes::from_static(b"2"),
            flags: 0,
        },
    ];
    let (state, _) = all_maps(&[
        command(keep),
        put("a", "1"),
        put("b", "1"),
        command(Action::Txn { ops: again }),
        put("b", "2"),
    ]);

    assert!(
        state
            .history()
            .versions(&key("a"))
            .all(|(revision, _)| revision > Revision(2))
    );
    assert!(
        state.get_at(&key("a"), Revision(3)).is_err(),
        "it was there, and its value is gone"
    );
    assert_eq!(state.get_at(&key("a"), Revision(4)).unwrap().unwrap().value, "2");
}
