use kvapi::{Key, Revision};

use super::*;
use crate::state::Entry;

fn row(name: &str, size: Option<usize>) -> Row {
    let entry = size.map(|size| {
        let value = vec![7; size].into();
        Entry {
            value,
            flags: 0,
            create: Revision(2),
            modify: Revision(2),
            lock_index: 0,
            session: None,
        }
        .into()
    });
    Row::Key(Key::new(name).unwrap(), entry)
}

fn pieces(tables: &Tables) -> usize {
    tables.db.scan_prefix([PIECES]).count()
}

#[test]
fn pieces_go_when_their_row_shrinks_or_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut tables = Tables::open(dir.path()).unwrap();
    let mark = Mark::of(&State::default(), None, StoredMembership::default());
    let mut write = |rows: [Row; 2]| {
        tables.write(rows.into_iter(), &mark).unwrap();
        pieces(&tables)
    };

    // A key that begins with another one has pieces of its own.
    assert_eq!(write([row("a", Some(200_000)), row("a\0", Some(100_000))]), 4 + 2);
    assert_eq!(write([row("a", Some(100_000)), row("b", Some(60_000))]), 2 + 2);
    assert_eq!(write([row("a", Some(10)), row("b", None)]), 2);
    assert_eq!(write([row("a", None), row("a\0", None)]), 0);
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

    let mut pass = Pass::begin(&tables.db, &mark(4)).unwrap();
    pass.apply().unwrap();

    assert!(matches!(tables.load(), Err(Unusable::CutInTwo)));
    tables.write(std::iter::empty(), &mark(4)).unwrap();
    assert_eq!(tables.load().unwrap().unwrap().0, mark(4));
}

#[test]
fn rows_that_do_not_add_up_to_the_mark_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut tables = Tables::open(dir.path()).unwrap();
    let state = State::default();
    let mark = Mark::of(&state, None, StoredMembership::default());
    tables.replace(&state, &mark).unwrap();

    tables.write(std::iter::once(row("a", Some(1))), &mark).unwrap();

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
