//! The state and the plain model, side by side.

use std::collections::BTreeMap;

use super::model::{Held, Map, Model};
use super::*;

const PREFIXES: [&str; 7] = ["", "a", "a/", "b", "zz", "_key", "_keyway/"];

/// Commands with the leader's clock at each: mostly it moves a little, now and then by minutes, and
/// after a change of leaders it may be behind.
pub(crate) fn any_steps() -> impl Strategy<Value = Vec<(u64, Command)>> {
    let pause = prop_oneof![6 => 0..5_u64, 1 => Just(400_000_u64)];
    prop::collection::vec((pause, prop::bool::weighted(0.1), any_command()), 0..60).prop_map(|steps| {
        let mut now = 1_000_000;
        let stamped = steps.into_iter().map(|(pause, behind, command)| {
            now += pause;
            (if behind { now - 1000 } else { now }, command)
        });
        stamped.collect()
    })
}

/// So that only the number of revisions decides what is dropped.
fn without_bound_in_bytes(steps: &mut [(u64, Command)]) {
    for (_, command) in steps {
        if let Action::Keep(limits) = &mut command.action {
            limits.bytes = u64::MAX;
        }
    }
}

fn map_of(state: &State) -> Map {
    let all = state.range("").chain(state.range("_keyway/"));
    all.map(|(key, entry)| (key.as_str().to_owned(), Held::of(entry)))
        .collect()
}

fn changes_of(event: &Event) -> BTreeMap<String, Option<Held>> {
    let changes = event.changes.iter();
    changes
        .map(|(key, entry)| (key.as_str().to_owned(), entry.as_deref().map(Held::of)))
        .collect()
}

fn is_setting(key: &str) -> bool {
    !key.starts_with("_keyway/")
}

/// Whatever the history says of the past is what was, and it says all that it claims to keep.
fn history_agrees(state: &State, model: &Model) -> Result<(), TestCaseError> {
    let history = state.history();
    let floor = history.floor();
    prop_assert!(floor.0 >= model.floor());
    for since in 0..=model.revision() + 1 {
        let told = history.since(Revision(since));
        prop_assert_eq!(told.is_some(), since >= floor.0, "since {}", since);
        let told: Vec<_> = told
            .into_iter()
            .flatten()
            .map(|e| (e.revision.0, changes_of(&e)))
            .collect();
        if since >= floor.0 {
            let were: Vec<_> = (model.revisions(since, is_setting).into_iter())
                .map(|revision| (revision, model.changes(revision, is_setting)))
                .collect();
            prop_assert_eq!(told, were, "since {}", since);
        }
    }
    for name in KEYS.map(key) {
        for (revision, version) in history.versions(&name) {
            let was = model.changes(revision.0, |key| key == name.as_str());
            let told = BTreeMap::from([(name.as_str().to_owned(), version.as_deref().map(Held::of))]);
            prop_assert_eq!(told, was, "{} at {}", name, revision);
        }
    }
    Ok(())
}

/// The same sessions live, they hold the keys that say so and no others, and the same keys are shut.
fn sessions_agree(state: &State, model: &Model) -> Result<(), TestCaseError> {
    let lives = state.sessions().iter().map(|(id, session)| {
        let life = (session.terms.behavior, session.create.0);
        (id.to_string(), life)
    });
    let lives: BTreeMap<_, _> = lives.collect();
    let expected = model
        .sessions()
        .iter()
        .map(|(id, life)| (id.clone(), (life.behavior, life.create)));
    prop_assert_eq!(lives, expected.collect::<BTreeMap<_, _>>());
    prop_assert_eq!(state.sessions().index().0, model.index_of_sessions());
    for id in ["s0", "s1", "s2", "none"] {
        let held: Vec<&str> = state.sessions().held_by(id).map(Key::as_str).collect();
        let holds = |held: &&Held| held.session.as_ref().is_some_and(|holder| holder.to_lowercase() == id);
        let expected: Vec<&str> = (model.newest().iter().filter(|(_, held)| holds(held)))
            .map(|(name, _)| name.as_str())
            .collect();
        prop_assert!(expected.is_empty() || model.sessions().contains_key(id));
        prop_assert_eq!(held, expected, "{}", id);
    }
    for name in KEYS {
        let shut = state.sessions().delays().shuts(&key(name), state.at());
        prop_assert_eq!(shut, model.is_shut(name), "{}", name);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every verb, lost swaps, failed transactions, repeated requests, changed limits: the reply, the
    /// news and the whole map are the same after each command, and so is every index.
    #[test]
    fn the_state_is_what_the_plain_model_says_after_every_command(mut steps in any_steps()) {
        without_bound_in_bytes(&mut steps);
        let (mut state, mut model) = (State::default(), Model::default());
        for (at, command) in steps {
            let before = model.revision();
            let applied = state.apply(at, &command);
            prop_assert_eq!(applied.reply, model.apply(at, &command), "{:?}", command);

            prop_assert_eq!(state.revision().0, model.revision());
            prop_assert_eq!(&map_of(&state), model.newest());
            let news = applied.event.map(|event| (event.revision.0, changes_of(&event)));
            let expected = (model.revision() > before).then(|| (before + 1, model.changes(before + 1, |_| true)));
            prop_assert_eq!(news, expected);
            for prefix in PREFIXES {
                prop_assert_eq!(state.index_of_prefix(prefix).0, model.index_of_prefix(prefix), "{}", prefix);
            }
            for name in KEYS {
                prop_assert_eq!(state.index_of_key(name).0, model.index_of_key(name), "{}", name);
            }
            prop_assert_eq!(state.history().floor().0, model.floor());
            sessions_agree(&state, &model)?;
        }
        history_agrees(&state, &model)?;
    }

    /// The same when bytes are scarce: less is kept, and what is kept is true.
    #[test]
    fn what_the_history_keeps_is_what_was(steps in any_steps()) {
        let (mut state, mut model) = (State::default(), Model::default());
        for (at, command) in steps {
            state.apply(at, &command);
            model.apply(at, &command);
            history_agrees(&state, &model)?;
        }
    }
}
