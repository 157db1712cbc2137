use std::collections::BTreeMap;

use bytes::Bytes;
use kvapi::{Key, Revision};
use proptest::prelude::*;

use super::*;
use crate::command::{Limits, Op, RequestId, Retain};
use crate::state::rows::Row;
use sessions::{Behavior, Terms};

mod agreement;
mod answers;
mod locks;
pub(crate) mod model;
mod past;
mod restores;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn command(action: Action) -> Command {
    Command::from(action)
}

fn put(name: &str, value: &str) -> Command {
    command(Action::Put {
        key: key(name),
        value: Bytes::copy_from_slice(value.as_bytes()),
        flags: 0,
        cas: None,
    })
}

fn delete(name: &str) -> Command {
    command(Action::Delete {
        key: key(name),
        cas: None,
    })
}

/// Applies commands and returns the state, with every event and row there was.
fn run(commands: &[Command]) -> (State, Vec<Arc<Event>>, Vec<Row>) {
    let mut state = State::default();
    let (mut events, mut rows) = (Vec::new(), Vec::new());
    for (at, command) in commands.iter().enumerate() {
        let applied = state.apply(at as u64, command);
        events.extend(applied.event);
        rows.extend(applied.rows);
    }
    (state, events, rows)
}

fn reload(state: &State) -> State {
    let rows = state
        .rows()
        .map(|row| Row::decode(row.table(), &row.key(), &row.content().unwrap()));
    State::load(rows).unwrap()
}

const KEYS: [&str; 6] = ["a", "a/b", "a/c", "b", "_keyway/agents/x", "_keyway/y"];

fn any_key() -> impl Strategy<Value = Key> {
    prop::sample::select(&KEYS[..]).prop_map(key)
}

fn any_index() -> impl Strategy<Value = u64> {
    0..12_u64
}

fn any_value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(&["", "1", "2", "a longer value"][..]).prop_map(|text| Bytes::from_static(text.as_bytes()))
}

fn any_id() -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(&["s0", "s1", "s2"][..]).prop_map(Arc::from)
}

/// Mostly a session that may be there, now and then in capitals; or one that never is, or none.
fn any_holder() -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(&["s0", "s0", "s1", "s1", "s2", "S0", "S1", "none", ""][..]).prop_map(Arc::from)
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let delays = [0, 1, 1_000_000, 3_000_000, 15_000_000_000, 120_000_000_000, -1];
    let behavior = prop::sample::select(&[Behavior::Release, Behavior::Delete][..]);
    let node = prop::sample::select(&["n", "m"][..]);
    (prop::sample::select(delays.to_vec()), behavior, node).prop_map(|(lock_delay, behavior, node)| Terms {
        name: "".into(),
        node: node.into(),
        lock_delay,
        behavior,
        ttl: "".into(),
        ttl_ms: 0,
        node_checks: vec![],
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (any_key(), any_value(), 0..2_u64).prop_map(|(key, value, flags)| Op::Set { key, value, flags }),
        (any_key(), any_value(), any_index()).prop_map(|(key, value, index)| Op::Cas {
            key,
            value,
            flags: 0,
            index
        }),
        any_key().prop_map(|key| Op::Get { key }),
        any_key().prop_map(|key| Op::Delete { key }),
        (any_key(), any_index()).prop_map(|(key, index)| Op::DeleteCas { key, index }),
        prop::sample::select(&["", "a", "a/", "_keyway/"][..]).prop_map(|p| Op::DeleteTree { prefix: p.into() }),
        any_key().prop_map(|key| Op::CheckNotExists { key }),
        (any_key(), any_holder()).prop_map(|(key, session)| Op::CheckSession { key, session }),
        (any_key(), any_value(), 0..2_u64, any_holder()).prop_map(|(key, value, flags, session)| Op::Lock {
            key,
            value,
            flags,
            session
        }),
        (any_key(), any_value(), 0..2_u64, any_holder()).prop_map(|(key, value, flags, session)| Op::Unlock {
            key,
            value,
            flags,
            session
        }),
        (any_key(), any_index()).prop_map(|(key, index)| Op::CheckIndex { key, index }),
        (any_key(), any_index()).prop_map(|(key, index)| Op::GetOrEmpty {
            key,
            flags: 7,
            index,
            session: None
        }),
        prop::sample::select(&["", "a", "a/", "_keyway/"][..]).prop_map(|p| Op::GetTree { prefix: p.into() }),
    ]
}

pub(crate) fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (any_key(), any_value(), 0..2_u64, prop::option::weighted(0.3, any_index()))
            .prop_map(|(key, value, flags, cas)| Action::Put { key, value, flags, cas }),
        3 => (any_key(), prop::option::weighted(0.3, any_index())).prop_map(|(key, cas)| Action::Delete { key, cas }),
        1 => prop::sample::select(&["", "a", "a/", "zz", "_keyway/"][..])
            .prop_map(|p| Action::DeletePrefix { prefix: p.into() }),
        3 => prop::collection::vec(any_op(), 0..5).prop_map(|ops| Action::Txn { ops }),
        1 => (1..40_u64).prop_map(|revision| Action::Compact { revision: Revision(revision) }),
        1 => (1..8_u64, 1..4_u64, 200..2_000_u64)
            .prop_map(|(revisions, versions, bytes)| Action::Keep(Limits { revisions, versions, bytes })),
        4 => (any_key(), any_value(), 0..2_u64, any_holder())
            .prop_map(|(key, value, flags, session)| Action::Acquire { key, value, flags, session }),
        2 => (any_key(), any_value(), 0..2_u64, any_holder())
            .prop_map(|(key, value, flags, session)| Action::Release { key, value, flags, session }),
        3 => (any_id(), any_terms()).prop_map(|(id, terms)| Action::CreateSession { id, terms }),
        2 => any_holder().prop_map(|id| Action::EndSession { id }),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    (any_action(), prop::option::weighted(0.3, 0..6_u8)).prop_map(|(action, request)| Command {
        request: request.map(|n| RequestId(n.to_string().into())),
        author: None,
        message: None,
        action,
    })
}

fn any_commands() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(any_command(), 0..60)
}

proptest! {
    /// What a watcher has to go by.
    #[test]
    fn the_events_alone_rebuild_the_map(commands in any_commands()) {
        let (state, events, _) = run(&commands);
        let mut map = BTreeMap::new();
        let mut revision = Revision(1);
        for event in events {
            prop_assert_eq!(event.revision, revision.next());
            revision = event.revision;
            for (key, entry) in &event.changes {
                map.insert(key.clone(), entry.clone());
            }
        }
        map.retain(|_, entry| entry.is_some());
        let now: BTreeMap<_, _> = state.entries.iter().map(|(key, entry)| (key.clone(), Some(Arc::clone(entry)))).collect();

        prop_assert_eq!(map, now);
        prop_assert_eq!(state.revision(), revision);
    }

    /// What the disk has to go by: the rows of each command, newest last, are the whole state.
    #[test]
    fn the_changed_rows_add_up_to_all_rows(commands in any_commands()) {
        let (state, _, changed) = run(&commands);
        let mut disk = BTreeMap::new();
        for row in changed {
            match row.content() {
                Some(content) => drop(disk.insert((row.table(), row.key()), content)),
                None => drop(disk.remove(&(row.table(), row.key()))),
            }
        }
        let whole: BTreeMap<_, _> = state.rows().map(|row| ((row.table(), row.key()), row.content().unwrap())).collect();

        if !commands.is_empty() {
            prop_assert_eq!(disk, whole);
        }
    }

    #[test]
    fn a_state_loaded_from_its_rows_is_the_same_and_goes_on_the_same(commands in any_commands(), more in any_commands()) {
        let (mut state, _, _) = run(&commands);
        let mut loaded = reload(&state);
        prop_assert_eq!(&loaded, &state);
        prop_assert_eq!(loaded.digest(), state.digest());

        for command in more {
            prop_assert_eq!(loaded.apply(100, &command), state.apply(100, &command));
        }
        prop_assert_eq!(loaded, state);
    }

    /// A blocked reader that holds the old index must be woken, and no index may go back.
    #[test]
    fn the_index_of_a_read_rises_whenever_its_answer_changes_and_never_falls(commands in any_commands()) {
        let mut state = State::default();
        let prefixes = ["", "a", "a/", "b", "zz", "_keyway/"];
        for command in commands {
            let old = state.clone();
            state.apply(0, &command);
            for prefix in prefixes {
                let list = |s: &State| s.range(prefix).map(|(k, e)| (k.clone(), Arc::clone(e))).collect::<Vec<_>>();
                let (before, after) = (old.index_of_prefix(prefix), state.index_of_prefix(prefix));
                prop_assert!(after >= before, "{prefix} fell from {before} to {after}");
                prop_assert!(list(&old) == list(&state) || after > before, "{prefix} changed at {before}");
            }
            for name in KEYS {
                let (before, after) = (old.index_of_key(name), state.index_of_key(name));
                prop_assert!(old.get(name) == state.get(name) || after > before, "{name} changed at {before}");
            }
        }
    }

    #[test]
    fn a_failed_transaction_changes_nothing(commands in any_commands(), ops in prop::collection::vec(any_op(), 0..6)) {
        let (mut state, _, _) = run(&commands);
        let before = state.clone();
        let applied = state.apply(0, &command(Action::Txn { ops }));

        if let Outcome::Failed(_) = applied.reply.outcome {
            prop_assert_eq!(applied.event, None);
            prop_assert_eq!(state.entries, before.entries);
            prop_assert_eq!(state.revision, before.revision);
        }
    }

    /// The whole of history.rs in one model: what the limits say, worked out from all versions
    /// there ever were.
    #[test]
    fn history_keeps_what_its_limits_say(commands in any_commands()) {
        let limits = Limits { revisions: 5, versions: 2, bytes: u64::MAX };
        let fixed: Vec<_> = std::iter::once(command(Action::Keep(limits)))
            .chain(commands.into_iter().filter(|c| !matches!(c.action, Action::Keep(_) | Action::Compact { .. })))
            .collect();
        let (state, events, _) = run(&fixed);
        let settings: Vec<_> = events
            .iter()
            .map(|e| (e.revision, e.changes.iter().filter(|(k, _)| !k.is_own()).cloned().collect::<Vec<_>>()))
            .filter(|(_, changes)| !changes.is_empty())
            .collect();
        let window = settings.len().saturating_sub(5);

        for name in KEYS.map(key) {
            let all: Vec<_> = settings
                .iter()
                .enumerate()
                .filter(|(_, (_, changes))| changes.iter().any(|(k, _)| *k == name))
                .map(|(n, (revision, _))| (n, *revision))
                .collect();
            let stood = all.iter().rev().find(|(n, _)| *n < window).filter(|(n, _)| {
                settings[*n].1.iter().any(|(k, version)| *k == name && version.is_some())
            });
            let expected: Vec<_> = all
                .iter()
                .rev()
                .enumerate()
                .filter(|(newer, (n, _))| *newer < 2 || *n >= window || stood.is_some_and(|(m, _)| m == n))
                .map(|(_, (_, revision))| *revision)
                .collect();
            let kept: Vec<_> = state.history().versions(&name).map(|(revision, _)| revision).collect();
            prop_assert_eq!(kept, expected, "{}", name);
        }
        let floor = state.history().floor();
        let since: Vec<_> = state.history().since(floor).unwrap().map(|e| (e.revision, e.changes)).collect();
        prop_assert_eq!(&since[..], &settings[window..]);
    }

    #[test]
    fn history_never_holds_more_bytes_than_allowed(commands in any_commands(), bytes in 150..1_500_u64) {
        let mut state = State::default();
        state.apply(0, &command(Action::Keep(Limits { revisions: 100, versions: 100, bytes })));
        for command in commands.iter().filter(|c| !matches!(c.action, Action::Keep(_))) {
            state.apply(0, command);
            let revisions = state.rows().filter(|row| matches!(row, Row::Record(..))).count();
            prop_assert!(state.history().bytes() <= bytes || revisions <= 1, "{} bytes", state.history().bytes());
        }
    }
}

#[test]
fn an_unchanged_write_takes_no_revision() {
    let (state, events, _) = run(&[put("a", "1"), put("a", "1"), delete("x")]);

    assert_eq!(state.revision(), Revision(2));
    assert_eq!(events.len(), 1);
}

#[test]
fn a_lost_swap_changes_nothing_and_says_so() {
    let (mut state, _, _) = run(&[put("a", "1")]);

    for cas in [0, 1, 3] {
        let action = Action::Put {
            key: key("a"),
            value: Bytes::new(),
            flags: 0,
            cas: Some(cas),
        };
        assert_eq!(state.apply(9, &command(action)).reply.outcome, Outcome::Done(false));
    }

    assert_eq!(state.get("a").unwrap().modify, Revision(2));
}

#[test]
fn a_write_asked_twice_happens_once_and_gets_the_first_answer() {
    let mut state = State::default();
    let action = Action::Put {
        key: key("a"),
        value: Bytes::from_static(b"1"),
        flags: 0,
        cas: Some(0),
    };
    let once = Command {
        request: Some(RequestId("r".into())),
        ..command(action)
    };

    let first = state.apply(0, &once).reply;
    state.apply(1, &put("a", "2"));
    let second = state.apply(requests::KEPT_MS, &once).reply;
    let too_late = state.apply(requests::KEPT_MS + 1, &once).reply;

    assert_eq!(first.outcome, Outcome::Done(true));
    assert_eq!(second, first);
    assert_eq!(
        too_late.outcome,
        Outcome::Done(false),
        "it is a new request after ten minutes"
    );
}

#[test]
fn a_request_id_answers_only_the_action_that_it_was_given_to() {
    let with = |id: &str, command: Command| Command {
        request: Some(RequestId(id.into())),
        ..command
    };
    let (mut state, _, _) = run(&[with("r", put("a", "1"))]);

    let reply = state.apply(9, &with("r", put("b", "1"))).reply;

    assert_eq!(reply.outcome, Outcome::RequestReused);
    assert!(state.get("b").is_none());
}

#[test]
fn in_a_transaction_a_key_deleted_and_set_again_is_new() {
    let (mut state, _, _) = run(&[put("a", "1")]);
    let ops = vec![
        Op::Delete { key: key("a") },
        Op::Set {
            key: key("a"),
            value: Bytes::from_static(b"1"),
            flags: 0,
        },
    ];

    state.apply(0, &command(Action::Txn { ops }));

    assert_eq!(state.get("a").unwrap().create, Revision(3));
}

#[test]
fn own_keys_survive_the_deletion_of_everything_and_move_no_root_index() {
    let (state, _, _) = run(&[
        put("a", "1"),
        put("_keyway/x", "1"),
        command(Action::DeletePrefix { prefix: String::new() }),
    ]);

    assert!(state.get("a").is_none() && state.get("_keyway/x").is_some());
    assert_eq!(state.index_of_prefix(""), Revision(4));
    let (state, _, _) = run(&[put("a", "1"), put("_keyway/x", "1")]);
    assert_eq!(state.index_of_prefix(""), Revision(2));
    assert_eq!(state.index_of_prefix("_keyway/"), Revision(3));
}

#[test]
fn time_never_runs_backwards() {
    let mut state = State::default();
    state.apply(50, &put("a", "1"));

    let event = state.apply(20, &put("a", "2")).event.unwrap();

    assert_eq!(event.at, 50);
}

#[test]
fn counters_from_before_there_were_sessions_read_as_those_of_a_store_without() {
    let (state, _, _) = run(&[put("a", "1")]);
    let row = state.rows().next().unwrap();
    let content = row.content().unwrap();
    // An array of nine, the last of them the index of the sessions.
    assert_eq!((content[0], content.last()), (0x99, Some(&1)));
    let older = [&[0x98], &content[1..content.len() - 1]].concat();

    assert_eq!(Row::decode(row.table(), &row.key(), &older).unwrap(), row);
}
