//! What locks promise, whatever is done: looked for in the news alone, as a watcher would.

use super::*;
use crate::state::sessions::Changes;

/// Who locked a key, who gave it up, and what the count was.
#[derive(Debug, Clone, PartialEq)]
struct Hold {
    session: Option<Arc<str>>,
    lock_index: u64,
}

fn hold(state: &State, name: &str) -> Hold {
    let entry = state.get(name);
    Hold {
        session: entry.and_then(|entry| entry.session.clone()),
        lock_index: entry.map_or(0, |entry| entry.lock_index),
    }
}

fn create(id: &str, lock_delay: i64, behavior: Behavior) -> Command {
    let terms = Terms {
        name: "web".into(),
        node: "n".into(),
        lock_delay,
        behavior,
        ttl: "15.0s".into(),
        ttl_ms: 15_000,
        node_checks: vec!["serfHealth".into()],
    };
    command(Action::CreateSession { id: id.into(), terms })
}

fn acquire(name: &str, session: &str) -> Command {
    command(Action::Acquire {
        key: key(name),
        value: Bytes::from_static(b"1"),
        flags: 0,
        session: session.into(),
    })
}

fn end(id: &str) -> Command {
    command(Action::EndSession { id: id.into() })
}

const MILLI: i64 = 1_000_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// A key passes from one session to another only over nobody, in one command at most one change of
    /// hands; its count rises only with a new hold.
    #[test]
    fn no_key_is_locked_twice_without_being_free_between(steps in agreement::any_steps()) {
        let mut state = State::default();
        for (at, command) in steps {
            let before: Vec<Hold> = KEYS.iter().map(|name| hold(&state, name)).collect();
            let was_shut: Vec<bool> = KEYS
                .iter()
                .map(|name| state.sessions().delays().shuts(&key(name), state.at().max(at)))
                .collect();
            state.apply(at, &command);
            // A transaction may unlock and lock again, each operation for itself.
            let single = !matches!(command.action, Action::Txn { .. });
            for ((name, before), was_shut) in KEYS.iter().zip(before).zip(was_shut) {
                let now = hold(&state, name);
                if let (Some(a), Some(b)) = (&before.session, &now.session)
                    && single
                {
                    prop_assert_eq!(a, b, "{} changed hands", name);
                }
                if now.lock_index > before.lock_index && single {
                    prop_assert!(before.session.is_none() && now.session.is_some(), "{}", name);
                    prop_assert_eq!(now.lock_index, before.lock_index + 1);
                }
                if before.session.is_none() && now.session.is_some() {
                    prop_assert!(!was_shut, "{} was locked while it was shut", name);
                }
                if let Some(holder) = &now.session {
                    prop_assert!(state.sessions().get(holder).is_some(), "{} is held by nobody", name);
                }
            }
        }
    }

    /// The same commands with the same times give the same state, whether it was loaded from its rows
    /// at any moment or not.
    #[test]
    fn sessions_and_delays_survive_a_restart_at_any_moment(steps in agreement::any_steps(), cut in 0..60_usize) {
        let (mut state, mut other) = (State::default(), State::default());
        for (number, (at, command)) in steps.iter().enumerate() {
            if number == cut {
                other = reload(&other);
            }
            prop_assert_eq!(state.apply(*at, command), other.apply(*at, command));
        }
        prop_assert_eq!(state.digest(), other.digest());
        prop_assert_eq!(state, other);
    }
}

#[test]
fn the_end_of_a_session_frees_or_deletes_all_its_keys_in_one_revision() {
    for (behavior, kept) in [(Behavior::Release, true), (Behavior::Delete, false)] {
        let (mut state, _, _) = run(&[
            create("s", 0, behavior),
            acquire("a", "s"),
            acquire("b", "S"),
            put("c", "1"),
        ]);
        let before = state.revision();

        let ended = state.apply(9, &end("S"));

        let event = ended.event.unwrap();
        assert_eq!((event.revision, state.revision()), (before.next(), before.next()));
        let names: Vec<&str> = event.changes.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        for name in ["a", "b"] {
            let entry = state.get(name);
            assert_eq!(entry.is_some(), kept);
            if let Some(entry) = entry {
                assert_eq!((entry.session.as_deref(), entry.lock_index), (None, 1));
                assert_eq!(entry.modify, state.revision());
            }
        }
        assert!(state.get("c").is_some());
        assert!(state.sessions().is_empty() && state.sessions().delays().is_empty());
        // The history has it like any change.
        let versions: Vec<_> = state
            .history()
            .versions(&key("a"))
            .map(|(revision, _)| revision)
            .collect();
        assert_eq!(versions.first(), Some(&state.revision()));
    }
}

#[test]
fn a_lock_delay_ends_by_the_time_of_the_log_and_outlives_the_key() {
    for (lock_delay, ms) in [(2_000 * MILLI, 2_000), (1, 1), (MILLI, 1), (120_000 * MILLI, 60_000)] {
        let (mut state, _, _) = run(&[
            create("s", lock_delay, Behavior::Delete),
            create("t", 0, Behavior::Release),
            acquire("a", "s"),
        ]);
        state.apply(1_000, &end("s"));
        let locked = |state: &mut State, at: u64, session: &str| state.apply(at, &acquire("a", session)).reply.outcome;

        // Whoever asks, a write and a delete do not end it.
        state.apply(1_000, &put("a", "x"));
        state.apply(1_000, &delete("a"));
        for session in ["t", "none", ""] {
            assert_eq!(
                locked(&mut state, 1_000 + ms - 1, session),
                Outcome::Done(false),
                "{ms} {session}"
            );
        }
        let mut reloaded = reload(&state);
        for state in [&mut state, &mut reloaded] {
            assert_eq!(locked(state, 1_000 + ms - 1, "t"), Outcome::Done(false));
            // A leader whose clock is behind does not lengthen it for ever, nor shorten it.
            assert_eq!(locked(state, 5, "t"), Outcome::Done(false));
            assert_eq!(locked(state, 1_000 + ms, "t"), Outcome::Done(true));
            assert!(state.sessions().delays().is_empty());
        }
    }
}

#[test]
fn a_key_that_was_given_up_or_deleted_is_not_shut() {
    let (mut state, _, _) = run(&[
        create("s", 15_000 * MILLI, Behavior::Release),
        create("t", 0, Behavior::Release),
        acquire("a", "s"),
        acquire("b", "s"),
        delete("b"),
    ]);
    let release = Action::Release {
        key: key("a"),
        value: Bytes::new(),
        flags: 0,
        session: "s".into(),
    };
    assert_eq!(state.apply(9, &command(release)).reply.outcome, Outcome::Done(true));
    state.apply(9, &end("s"));

    for name in ["a", "b"] {
        assert_eq!(state.apply(9, &acquire(name, "t")).reply.outcome, Outcome::Done(true));
    }
    assert_eq!((hold(&state, "a").lock_index, hold(&state, "b").lock_index), (2, 1));
}

#[test]
fn a_session_that_is_asked_for_twice_with_one_request_id_is_created_once() {
    let mut state = State::default();
    let ask = |id: &str| Command {
        request: Some(RequestId("r".into())),
        ..create(id, 0, Behavior::Release)
    };

    let first = state.apply(1, &ask("one")).reply;
    let mut elsewhere = ask("two");
    if let Action::CreateSession { terms, .. } = &mut elsewhere.action {
        terms.node = "another".into();
    }
    let again = state.apply(2, &elsewhere).reply;

    assert_eq!(first.outcome, Outcome::Session("one".into()));
    assert_eq!(again, first);
    assert_eq!(state.sessions().len(), 1);
    let other = Command {
        request: Some(RequestId("r".into())),
        ..create("three", 1, Behavior::Release)
    };
    assert_eq!(state.apply(3, &other).reply.outcome, Outcome::RequestReused);
}

#[test]
fn what_two_states_differ_in_is_who_began_and_who_ended() {
    let (older, _, _) = run(&[create("a", 0, Behavior::Release), create("b", 0, Behavior::Release)]);
    let mut newer = older.clone();
    newer.apply(3, &end("a"));
    newer.apply(3, &create("c", 0, Behavior::Release));
    newer.apply(3, &end("b"));
    newer.apply(3, &create("b", 5, Behavior::Release));

    let Changes { begun, ended } = newer.sessions().changes_since(older.sessions());

    let ids = |ids: Vec<Arc<str>>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(ids(begun.into_iter().map(|(id, _)| id).collect()), ["b", "c"]);
    assert_eq!(ids(ended), ["a", "b"]);
    assert_eq!(newer.sessions().changes_since(newer.sessions()), Changes::default());
}
