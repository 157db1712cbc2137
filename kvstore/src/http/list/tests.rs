use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::command::{Action, Command};

#[test]
fn names_are_cut_behind_the_first_separator_after_the_prefix() {
    for (key, prefix, separator, name) in [
        ("foo/bar/zip/zam", "foo/bar/", "/", "foo/bar/zip/"),
        ("foo/bar/baz", "foo/bar/", "/", "foo/bar/baz"),
        ("foo/bar", "", "ba", "foo/ba"),
        ("foo", "", "", "foo"),
        ("foo", "foo", "/", "foo"),
    ] {
        assert_eq!(cut(key, prefix.len(), separator.as_bytes()), name);
    }
}
fn put(key: &str, value: Vec<u8>) -> Command {
    Command {
        request: None,
        author: None,
        message: None,
        action: Action::Put {
            key: Key::new(key).unwrap(),
            value: Bytes::from(value),
            flags: 7,
            cas: None,
        },
    }
}

/// The list as a whole, by way of what a client would read; and whether there is more.
fn whole(state: &State, of: &Of, prefix: &str, slice: &Slice, pretty: bool) -> (Vec<u8>, bool) {
    let start = slice.start_after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let walk = state.walk(prefix, start, slice.revision);
    let limit = slice.limit.unwrap_or(usize::MAX);
    match of {
        Of::Entries => {
            let all: Vec<_> = walk.map(|(key, entry)| entry.to_wire(key.as_str())).collect();
            let page = &all[..all.len().min(limit)];
            (json::write(&page, pretty), all.len() > limit)
        }
        Of::Names { separator } => {
            let mut all: Vec<_> = walk
                .map(|(key, _)| cut(key.as_str(), prefix.len(), separator))
                .collect();
            all.dedup();
            all.retain(|name| slice.start_after.as_ref() != Some(name));
            let page = &all[..all.len().min(limit)];
            (json::write(&page, pretty), all.len() > limit)
        }
    }
}

/// What a list writes in pieces of a size, from one state and then from another.
fn in_pieces(mut list: List, first: &State, then: &State, size: usize) -> (Vec<Vec<u8>>, bool) {
    let mut pieces = vec![Vec::new()];
    list.fill(first, size, &mut pieces[0]);
    let more = list.more(first);
    list.pin(list.revision().unwrap_or_else(|| first.revision()));
    while !list.ended() {
        let mut piece = Vec::new();
        list.fill(then, size, &mut piece);
        assert!(!piece.is_empty());
        pieces.push(piece);
    }
    (pieces, more)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_pieces_make_up_the_whole_even_if_the_state_has_moved_on(
        keys in prop::collection::vec("[ab/&<\"é]{1,4}", 0..40),
        later in prop::collection::vec("[ab/&<\"é]{1,4}", 0..20),
        values in prop::collection::vec(prop_oneof![0..4_usize, 0..60_usize, 12_286..12_292_usize, 30_000..40_000_usize], 40),
        prefix in "[ab/]{0,2}",
        after in prop::option::of("[ab/]{0,2}"),
        limit in prop::option::of(1..30_usize),
        separator in "[/b]{0,1}",
        (names, pretty, back) in any::<(bool, bool, bool)>(),
        size in 1..20_000_usize,
    ) {
        let mut state = State::default();
        for (key, length) in keys.iter().zip(&values) {
            state.apply(0, &put(key, vec![b'v'; *length]));
        }
        let of = if names {
            Of::Names { separator: separator.into_bytes() }
        } else {
            Of::Entries
        };
        let slice = Slice {
            revision: (back && state.revision().0 > 3).then(|| Revision(state.revision().0 - 2)),
            limit,
            start_after: after.map(|after| format!("{prefix}{after}")).filter(|after| !after.is_empty()),
            count: false,
        };
        let (expected, more) = whole(&state, &of, &prefix, &slice, pretty);
        let mut moved = state.clone();
        for key in &later {
            moved.apply(0, &put(key, b"later".to_vec()));
        }

        for then in [&state, &moved] {
            let list = List::new(of.clone(), &prefix, &slice, pretty);
            let (pieces, said) = in_pieces(list, &state, then, size);

            prop_assert_eq!(String::from_utf8(pieces.concat()), String::from_utf8(expected.clone()));
            prop_assert_eq!(said, more);
            // A long value is no reason for a long piece.
            prop_assert!(pieces.iter().all(|piece| piece.len() < size + 18_000));
        }
    }
}

#[test]
fn a_key_that_looks_like_a_field_does_no_harm() {
    let mut state = State::default();
    let value = vec![b'v'; LONG_VALUE + 1];
    state.apply(0, &put("\"Value\":null,\"Value\": null", value));
    let slice = Slice::default();
    for pretty in [false, true] {
        let list = List::new(Of::Entries, "", &slice, pretty);
        let (pieces, _) = in_pieces(list, &state, &state, 1000);
        assert_eq!(pieces.concat(), whole(&state, &Of::Entries, "", &slice, pretty).0);
    }
}
