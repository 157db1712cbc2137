use kvapi::Key;

use super::pass::sealed;
use super::*;
use crate::command::{Action, Command};

/// Puts values of these sizes, deletes what has none, and writes what that changes.
fn put(tables: &mut Tables, state: &mut State, values: &[(&str, Option<usize>)]) {
    let mut changed = Unwritten::default();
    for (name, size) in values {
        let key = Key::new(name).unwrap();
        let action = match size {
            Some(size) => Action::Put {
                key,
                value: vec![7; *size].into(),
                flags: 0,
                cas: None,
            },
            None => Action::Delete { key, cas: None },
        };
        let command = Command::from(action);
        for row in state.apply(1, &command).rows {
            changed.add(row.id(), tables.pages());
        }
    }
    tables.write(changed, state, &mark_of(state), &mut |_| {}).unwrap();
}

fn mark_of(state: &State) -> Mark {
    Mark::of(state, None, StoredMembership::default())
}

fn pieces_of(tables: &Tables, table: Table) -> usize {
    let all = tables.db.scan_prefix([PIECES]).keys();
    all.filter(|key| key.as_ref().unwrap()[3] == id_of(table)).count()
}

#[test]
fn pieces_go_when_their_row_shrinks_or_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut tables = Tables::open(dir.path()).unwrap();
    let mut state = State::default();
    let mut pieces = |values: [(&str, Option<usize>); 2]| {
        put(&mut tables, &mut state, &values);
        pieces_of(&tables, Table::Keys)
    };

    // A key that begins with another one has pieces of its own.
    assert_eq!(pieces([("a", Some(200_000)), ("a\0", Some(100_000))]), 4 + 2);
    assert_eq!(pieces([("a", Some(100_000)), ("b", Some(60_000))]), 2 + 2);
    assert_eq!(pieces([("a", Some(10)), ("b", None)]), 2);
    assert_eq!(pieces([("a", None), ("a\0", None)]), 0);
    assert_eq!(tables.load().unwrap(), Some((mark_of(&state), state)));
}

#[test]
fn what_is_written_change_by_change_is_read_as_the_state_that_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut tables = Tables::open(dir.path()).unwrap();
    let mut state = State::default();

    for round in 0..150 {
        put(&mut tables, &mut state, &[("a", Some(round * 700)), ("b", Some(round))]);
    }
    put(&mut tables, &mut state, &[("a", None)]);

    let pages = tables.pages().clone();
    assert_eq!(tables.load().unwrap(), Some((mark_of(&state), state)));
    assert_eq!(*tables.pages(), pages);
}

#[test]
fn a_pass_that_was_cut_in_two_is_not_taken_for_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut tables = Tables::open(dir.path()).unwrap();
    let state = State::default();
    let mark = |index| {
        let leader_id = openraft::CommittedLeaderId::new(1, 1);
        Mark::of(&state, Some(LogId { leader_id, index }), StoredMembership::default())
    };
    tables.replace(&state, &mark(3)).unwrap();
    assert_eq!(tables.load().unwrap(), Some((mark(3), state.clone())));

    let mut between = |_| {};
    let mut pass = Pass::begin(&tables.db, &mark(4), &mut between).unwrap();
    pass.apply().unwrap();

    assert!(matches!(tables.load(), Err(Unusable::CutInTwo)));
    tables
        .write(Unwritten::default(), &state, &mark(4), &mut |_| {})
        .unwrap();
    assert_eq!(tables.load().unwrap().unwrap().0, mark(4));
}

#[test]
fn rows_that_do_not_add_up_to_the_mark_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut tables = Tables::open(dir.path()).unwrap();
    let mut state = State::default();
    tables.replace(&state, &mark_of(&state)).unwrap();
    put(&mut tables, &mut state, &[("a", Some(1)), ("b", Some(1))]);
    let row = [&[id_of(Table::Keys)], &b"a"[..]].concat();

    tables.db.remove(row).unwrap();

    assert!(matches!(tables.load(), Err(Unusable::RowsMissing)));
}

#[test]
fn a_row_that_was_changed_or_moved_is_noticed() {
    let sealed = sealed(b"key", WHOLE, b"content");

    assert_eq!(unsealed(b"key", &sealed), Some((WHOLE, &b"content"[..])));
    assert_eq!(unsealed(b"kez", &sealed), None);
    assert_eq!(unsealed(b"key", &sealed[..4]), None);
    for at in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        assert_eq!(unsealed(b"key", &bad), None, "byte {at}");
    }
}
