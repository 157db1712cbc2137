//! How large an answer may be, how long it is remembered, and what is left of it.

use super::*;
use crate::state::draft::{SHOWN_BYTES, SHOWN_ENTRIES};

fn with(id: &str, ops: Vec<Op>) -> Command {
    Command {
        request: Some(RequestId(id.into())),
        ..command(Action::Txn { ops })
    }
}

fn set(name: &str) -> Op {
    Op::Set {
        key: key(name),
        value: Bytes::from_static(b"1"),
        flags: 0,
    }
}

fn get(name: &str) -> Op {
    Op::Get { key: key(name) }
}

fn tree(prefix: &str) -> Op {
    Op::GetTree { prefix: prefix.into() }
}

/// Keys `a/0` and on, with values as long as that, which take memory once.
fn store(keys: usize, length: usize) -> State {
    let mut state = State::default();
    let value = Bytes::from(vec![b'x'; length]);
    for n in 0..keys {
        let value = value.clone();
        let key = key(&format!("a/{n}"));
        state.apply(
            0,
            &command(Action::Put {
                key,
                value,
                flags: 0,
                cas: None,
            }),
        );
    }
    state
}

#[test]
fn a_transaction_that_would_show_too_much_changes_nothing_and_names_the_operation() {
    let most = SHOWN_BYTES >> 20;
    for (mut state, fits, trees) in [
        (store(most - 1, 1 << 20), 1, 1000),
        (store(1000, 1), SHOWN_ENTRIES / 1000, 1000),
    ] {
        let all = vec![tree("a/"); fits];
        let shown = state.clone().apply(0, &command(Action::Txn { ops: all })).reply.outcome;
        assert!(matches!(shown, Outcome::Shown(entries) if entries.len() == fits * state.len()));

        let before = state.clone();
        let ops = std::iter::once(set("b"))
            .chain(vec![tree("a/"); trees])
            .chain([get("nowhere")]);
        let applied = state.apply(0, &command(Action::Txn { ops: ops.collect() }));

        // What comes behind it is not tried any more.
        let what = "the answer is too large: a transaction shows at most 32 MiB and 65536 entries; \
                    show less, or read the tree as a list: GET /v1/kv/PREFIX?recurse";
        let failed = Outcome::Failed(vec![(1 + fits, what.to_owned())]);
        assert_eq!((applied.reply.outcome, applied.event), (failed, None));
        assert_eq!(state, before);
    }
}

#[test]
fn of_an_answer_too_large_to_be_remembered_it_is_known_that_it_was_given() {
    let mut state = store(2, requests::REMEMBERED_BYTES);
    let absent = |n| Op::CheckNotExists {
        key: key(&format!("a/0{}", "x".repeat(n))),
    };
    let fails: Vec<Op> = (0..300).map(|n| absent(7000 + n)).collect();
    for op in &fails {
        let Op::CheckNotExists { key } = op else { unreachable!() };
        state.apply(0, &put(key.as_str(), ""));
    }
    let (done, failed) = (with("d", vec![set("b"), get("a/0")]), with("f", fails));
    let shown = state.apply(0, &done).reply;
    let refused = state.apply(0, &failed).reply;
    assert!(matches!(shown.outcome, Outcome::Shown(ref entries) if entries.len() == 2));
    assert!(matches!(refused.outcome, Outcome::Failed(ref all) if all.len() == 300));
    state.apply(0, &put("b", "2"));

    for mut state in [reload(&state), state] {
        for (again, reply, done) in [(&done, &shown, true), (&failed, &refused, false)] {
            let said = state.apply(1, again).reply;
            assert_eq!(said.revision, reply.revision);
            assert_eq!(said.outcome, Outcome::Forgotten { done });
        }
        assert_eq!(state.get("b").unwrap().value, "2");
    }
}

#[test]
fn answers_are_forgotten_when_together_they_take_too_much_memory() {
    let mut state = store(1, requests::REMEMBERED_BYTES - 1000);
    let all = 0..=requests::KEPT_BYTES / requests::REMEMBERED_BYTES + 1;
    for id in all.clone() {
        state.apply(0, &with(&id.to_string(), vec![get("a/0")]));
    }
    state.apply(0, &put("b", "1"));

    let known = all.map(|id| {
        let look_up = |id: usize| {
            state.requests().look_up(&RequestId(id.to_string().into()), || {
                with(&id.to_string(), vec![get("a/0")]).action.fingerprint()
            })
        };
        matches!(
            look_up(id),
            requests::Known::Answered(Reply {
                outcome: Outcome::Shown(_),
                ..
            })
        )
    });
    let known: Vec<bool> = known.collect();
    assert_eq!(known.iter().filter(|known| !**known).count(), 2);
    assert!(!known[0] && !known[1]);
}

#[test]
fn what_is_changed_about_the_history_leaves_the_rest_as_it_is() {
    let commands: Vec<_> = (0..40).map(|n| put(["a", "b"][n % 2], &n.to_string())).collect();
    let (state, _, _) = run(&commands);
    let retain = |retain| command(Action::Retain(retain));
    let (mut one, mut two) = (state.clone(), state);

    one.apply(
        0,
        &retain(Retain {
            revisions: Some(9),
            ..Retain::default()
        }),
    );
    one.apply(
        0,
        &retain(Retain {
            versions: Some(3),
            compact_to: Some(Revision(38)),
            ..Retain::default()
        }),
    );

    let limits = Limits {
        revisions: 9,
        versions: 3,
        ..Limits::default()
    };
    two.apply(0, &command(Action::Keep(limits)));
    two.apply(0, &command(Action::Compact { revision: Revision(38) }));
    assert_eq!(one, two);
    assert_eq!((one.history().limits(), one.history().floor()), (limits, Revision(38)));
}
