//! Restores: the keys and sessions of one store in another.

use super::agreement::any_steps;
use super::*;
use crate::state::staged::{KEPT_MS, Kept, Piece};

fn after(steps: &[(u64, Command)]) -> State {
    let mut state = State::default();
    for (at, command) in steps {
        state.apply(*at, command);
    }
    state
}

/// What a backup of a state has, in pieces of so many keys.
fn pieces(state: &State, of: usize) -> Vec<Piece> {
    let kept = state.entries.iter().map(|(key, entry)| Kept {
        key: key.clone(),
        value: entry.value.clone(),
        flags: entry.flags,
        lock_index: entry.lock_index,
        session: entry.session.clone(),
    });
    let kept: Vec<Kept> = kept.collect();
    let keys = kept.chunks(of).map(|keys| Piece {
        keys: keys.to_vec(),
        sessions: Vec::new(),
    });
    let sessions = state.sessions.iter();
    let sessions = Piece {
        keys: Vec::new(),
        sessions: sessions
            .map(|(id, session)| (Arc::clone(id), session.terms.clone()))
            .collect(),
    };
    keys.chain([sessions]).collect()
}

fn stage(restore: &str, part: u64, piece: &Piece) -> Command {
    command(Action::Stage {
        restore: restore.into(),
        part,
        piece: Arc::new(piece.clone()),
    })
}

fn last(restore: &str, parts: usize, newest: Revision) -> Command {
    command(Action::Restore {
        restore: restore.into(),
        parts: parts as u64,
        newest,
    })
}

/// All commands of a restore of `from`.
fn commands(from: &State) -> Vec<Command> {
    let pieces = pieces(from, 3);
    let staged = (0..).zip(&pieces).map(|(part, piece)| stage("r", part, piece));
    staged.chain([last("r", pieces.len(), from.revision())]).collect()
}

/// Keys without their indexes, and sessions without theirs: all that a backup is of.
fn content(state: &State) -> Vec<Piece> {
    pieces(state, usize::MAX)
}

fn restored(into: &State, from: &State) -> (State, Applied) {
    let mut state = into.clone();
    let commands = commands(from);
    let mut applied = None;
    for command in &commands {
        applied = Some(state.apply(into.at(), command));
    }
    (state, applied.unwrap())
}

proptest! {
    #[test]
    fn a_store_that_was_restored_is_the_one_that_was_saved_and_nothing_goes_back(
        here in any_steps(), there in any_steps(),
    ) {
        let (before, from) = (after(&here), after(&there));

        let (state, applied) = restored(&before, &from);

        prop_assert_eq!(content(&state), content(&from));
        prop_assert!(applied.replaced && applied.reply.revision == state.revision());
        prop_assert!(state.revision() > before.revision() && state.revision() > from.revision());
        prop_assert!(state.staged.is_empty());
        prop_assert_eq!(state.history.limits(), before.history.limits());
        for (key, entry) in &state.entries {
            prop_assert!(entry.create <= entry.modify && entry.modify <= state.revision());
            match before.get(key.as_str()) {
                Some(old) if old == entry => {}
                _ => prop_assert_eq!(entry.modify, state.revision()),
            }
        }
        for key in before.entries.keys().chain(state.entries.keys()) {
            prop_assert!(state.index_of_key(key.as_str()) >= before.index_of_key(key.as_str()));
        }
        for prefix in ["", "a", "a/", "b", "_keyway/"] {
            prop_assert!(state.index_of_prefix(prefix) >= before.index_of_prefix(prefix), "{}", prefix);
        }
        for (id, session) in state.sessions.iter() {
            prop_assert!(session.create <= state.revision());
            prop_assert!(state.sessions.held_by(id).all(|key| state.entries[key].session.is_some()));
        }
        // The past that could be read still can be.
        for revision in (before.history.oldest().0..=before.revision().0).map(Revision) {
            if state.readable("", revision).is_ok() {
                let then = |state: &State| state.walk("", std::ops::Bound::Unbounded, Some(revision))
                    .map(|(key, entry)| (key.clone(), Arc::clone(entry))).collect::<Vec<_>>();
                prop_assert_eq!(then(&state), then(&before), "at {}", revision);
            }
        }
        // Again is another revision, and nothing else.
        let (again, _) = restored(&state, &state);
        prop_assert_eq!(&again.entries, &state.entries);
        prop_assert_eq!(again.revision(), state.revision().next());
    }

    #[test]
    fn every_replica_comes_to_the_same_and_so_does_the_disk(here in any_steps(), there in any_steps(), cut in 0..9_usize) {
        let (mut one, from) = (after(&here), after(&there));
        let mut rows: std::collections::BTreeMap<_, Row> = one.rows().map(|row| (row.id(), row)).collect();
        let commands = commands(&from);
        let cut = cut.min(commands.len());
        let mut two = one.clone();
        for (number, command) in commands.iter().enumerate() {
            if number == cut {
                // A replica that takes a snapshot over in the middle.
                two = reload(&one);
                prop_assert_eq!(two.digest(), one.digest());
            }
            let applied = one.apply(5_000_000, command);
            prop_assert_eq!(&applied.reply, &two.apply(5_000_000, command).reply);
            for row in applied.rows {
                match row.content() {
                    Some(_) => drop(rows.insert(row.id(), row)),
                    None => drop(rows.remove(&row.id())),
                }
            }
        }
        prop_assert_eq!(one.digest(), two.digest());
        prop_assert_eq!(reload(&one).digest(), one.digest());
        let written: Vec<Row> = rows.into_values().collect();
        let mut all: Vec<Row> = one.rows().collect();
        all.sort_by_key(Row::id);
        prop_assert_eq!(written, all);
    }
}

fn state_with(keys: &[(&str, &str)]) -> State {
    let commands: Vec<Command> = keys.iter().map(|(key, value)| put(key, value)).collect();
    run(&commands).0
}

#[test]
fn what_is_the_same_keeps_its_indexes_and_what_is_not_gets_the_new_one() {
    let before = state_with(&[("gone", "1"), ("other", "1"), ("same", "1")]);
    let from = state_with(&[
        ("new", "1"),
        ("other", "2"),
        ("same", "1"),
        ("x", "1"),
        ("x", "2"),
        ("x", "3"),
    ]);

    let (state, _) = restored(&before, &from);

    assert_eq!(
        (before.revision(), from.revision(), state.revision()),
        (Revision(4), Revision(7), Revision(8))
    );
    let indexes = |key: &str| state.get(key).map(|entry| (entry.create.0, entry.modify.0));
    assert_eq!(indexes("same"), Some((4, 4)));
    assert_eq!(indexes("other"), Some((3, 8)));
    assert_eq!(indexes("new"), Some((8, 8)));
    assert_eq!((indexes("gone"), state.index_of_key("gone")), (None, Revision(8)));
    assert_eq!(state.get_at(&key("gone"), Revision(4)).unwrap().unwrap().value, "1");
    let told: Vec<_> = state.history().since(Revision(4)).unwrap().collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].revision, Revision(8));
}

#[test]
fn nobody_sees_a_part_and_none_stays_that_is_not_the_newest_restores() {
    let before = state_with(&[("a", "1")]);
    let from = state_with(&[("a", "2"), ("b", "2")]);
    let parts = pieces(&from, 1);
    let mut state = before.clone();
    let stage_all = |state: &mut State, restore: &str, at: u64| {
        let staged = (0..)
            .zip(&parts)
            .map(|(part, piece)| state.apply(at, &stage(restore, part, piece)));
        staged.last().unwrap().reply.outcome
    };
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(why) if why.contains("begin again"));

    assert_eq!(stage_all(&mut state, "one", 10), Outcome::Done(true));
    assert_eq!(state.without_staged(), before.without_staged().tap_at(10));
    let missing = state.apply(10, &last("one", parts.len() + 1, Revision(9)));
    assert!(refused(&missing.reply.outcome) && !missing.replaced);
    assert!(refused(
        &state.apply(10, &last("two", parts.len(), Revision(9))).reply.outcome
    ));
    assert!(refused(&state.apply(10, &stage("two", 1, &parts[1])).reply.outcome));

    state.apply(10, &stage("two", 0, &parts[0]));
    assert_eq!(state.staged().len(), 1);
    assert!(refused(&state.apply(10, &stage("one", 1, &parts[1])).reply.outcome));
    assert!(refused(
        &state.apply(10, &last("one", parts.len(), Revision(9))).reply.outcome
    ));

    stage_all(&mut state, "three", 20);
    state.apply(20 + KEPT_MS, &put("c", "1"));
    assert!(!state.staged().is_empty());
    state.apply(21 + KEPT_MS, &put("c", "2"));
    assert!(state.staged().is_empty());
    assert_eq!(state.get("a").unwrap().value, "1");
}

impl State {
    fn tap_at(mut self, at: u64) -> Self {
        self.at = at;
        self
    }
}

#[test]
fn a_part_that_comes_twice_is_there_once_and_a_restore_asked_twice_happens_once() {
    let from = state_with(&[("a", "2")]);
    let parts = pieces(&from, 1);
    let mut state = state_with(&[("a", "1")]);
    for (part, piece) in [(0, &parts[0]), (0, &parts[0]), (1, &parts[1]), (0, &parts[0])] {
        assert_eq!(
            state.apply(1, &stage("r", part, piece)).reply.outcome,
            Outcome::Done(true)
        );
    }
    let once = Command {
        request: Some(RequestId("q".into())),
        ..last("r", 2, from.revision())
    };

    let first = state.apply(1, &once);
    let second = state.apply(1, &once);

    assert_eq!(first.reply, second.reply);
    assert!(first.replaced && !second.replaced);
    assert_eq!(state.revision(), first.reply.revision);
}

#[test]
fn keys_of_ended_sessions_are_shut_for_their_delay_and_what_servers_keep_of_each_other_stays() {
    let session = |id: &str| {
        let terms = Terms {
            name: id.into(),
            node: "n".into(),
            lock_delay: 15_000_000_000,
            behavior: Behavior::Release,
            ttl: "".into(),
            ttl_ms: 0,
            node_checks: Vec::new(),
        };
        command(Action::CreateSession { id: id.into(), terms })
    };
    let lock = |name: &str, id: &str| {
        command(Action::Acquire {
            key: key(name),
            value: Bytes::new(),
            flags: 0,
            session: id.into(),
        })
    };
    let (before, ..) = run(&[
        session("here"),
        session("both"),
        lock("l", "here"),
        lock("k", "both"),
        put("_keyway/servers/1", "us"),
    ]);
    let (from, ..) = run(&[
        session("there"),
        session("both"),
        lock("l", "there"),
        lock("k", "both"),
        put("_keyway/servers/1", "them"),
        put("_keyway/x", "1"),
    ]);

    let (mut state, _) = restored(&before, &from);

    let ids: Vec<&str> = state.sessions().iter().map(|(id, _)| &**id).collect();
    assert_eq!(ids, ["both", "there"]);
    assert_eq!(state.get("l").unwrap().session.as_deref(), Some("there"));
    assert_eq!(state.get("k"), before.get("k"));
    assert_eq!(state.sessions().get("both").unwrap().1.create, Revision(3));
    assert_eq!(state.get("_keyway/servers/1").unwrap().value, "us");
    assert!(state.get("_keyway/x").is_some());
    state.apply(before.at(), &command(Action::EndSession { id: "there".into() }));
    let again = state.apply(before.at() + 14_999, &lock("l", "both"));
    assert_eq!(again.reply.outcome, Outcome::Done(false));
    let later = state.apply(before.at() + 15_000, &lock("l", "both"));
    assert_eq!(later.reply.outcome, Outcome::Done(true));
}

#[test]
fn what_the_servers_keep_of_each_other_is_not_deleted_with_what_lies_around_it() {
    let mut state = State::default();
    for key in ["_keyway/servers/1", "_keyway/agents/x"] {
        state.apply(1, &put(key, "v"));
    }

    state.apply(
        2,
        &command(Action::DeletePrefix {
            prefix: "_keyway/".into(),
        }),
    );

    assert!(state.get("_keyway/servers/1").is_some() && state.get("_keyway/agents/x").is_none());
}
