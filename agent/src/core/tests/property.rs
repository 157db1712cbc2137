//! What holds whatever happens.

use std::collections::BTreeMap;

use kvapi::types::{Change, Revision, WatchEvent};
use nix::sys::signal::Signal;
use proptest::prelude::*;

use super::world::{CHILD, World};
use crate::core::Event;

const KEYS: [&str; 3] = ["k/0", "k/1", "k/2"];

const TEMPLATES: [&str; 3] = [
    "{{key \"k/0\" default=\"-\"}}",
    "{{#each (tree \"k\")}}{{value}}{{/each}}",
    "{{key \"k/1\"}}",
];

/// What the files show at one state of the store; `None` if a key is missing.
fn expected(store: &BTreeMap<String, String>) -> Option<[String; 3]> {
    Some([
        store.get("k/0").cloned().unwrap_or_else(|| "-".into()),
        store.values().cloned().collect(),
        store.get("k/1")?.clone(),
    ])
}

#[derive(Debug, Clone)]
enum Step {
    /// One transaction: values of keys, 0 to delete.
    Put(Vec<(usize, u8)>),
    Pass(u64),
    Cut,
    Mend,
    Die(u8),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0usize..3, 0u8..5), 1..4).prop_map(Step::Put),
        4 => (0u64..150).prop_map(Step::Pass),
        1 => Just(Step::Cut),
        2 => Just(Step::Mend),
        1 => (0u8..3).prop_map(Step::Die),
    ]
}

/// A world, and every state that its store has been in.
struct Run {
    world: World,
    states: Vec<BTreeMap<String, String>>,
}

impl Run {
    fn put(&mut self, values: &[(usize, u8)]) {
        let texts: BTreeMap<&str, String> = values
            .iter()
            .map(|(key, value)| (KEYS[*key], value.to_string()))
            .collect();
        let mut state = self.states.last().cloned().unwrap_or_default();
        let mut changes = Vec::new();
        for (key, text) in &texts {
            let value = (text != "0").then_some(text.as_str());
            match value {
                Some(text) => state.insert((*key).into(), text.to_owned()),
                None => state.remove(*key),
            };
            changes.push((*key, value));
        }
        self.states.push(state);
        self.world.put(&changes);
    }

    fn mend(&mut self) {
        if self.world.linked {
            return;
        }
        self.world.linked = true;
        self.world.on(Event::Connected { cluster: "c".into() });
        // The first of what was missed.
        let change = Change {
            revision: Revision(self.world.revision),
            at: 0,
            author: None,
            message: None,
            changes: vec![],
            omitted: 0,
        };
        self.world.on(Event::Stream(WatchEvent::Change(change)));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Put(values) => self.put(&values),
            Step::Pass(millis) => self.world.pass(millis),
            Step::Cut => {
                self.world.linked = false;
                self.world.on(Event::Lost {
                    reason: "cut".into(),
                    everywhere: true,
                });
            }
            Step::Mend => self.mend(),
            Step::Die(code) if self.world.child => self.world.exit(code),
            Step::Die(_) => {}
            Step::Stop => self.world.on(Event::Stop(Signal::SIGTERM)),
        }
    }

    fn files(&self) -> Option<[String; 3]> {
        let file = |id| self.world.files.get(&id).cloned();
        Some([file(0)?, file(1)?, file(2)?])
    }

    /// Whether the files are those of one state of the store.
    fn whole(&self) -> bool {
        self.files()
            .is_none_or(|files| self.states.iter().any(|state| expected(state).as_ref() == Some(&files)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The files are those of one revision at any moment, no reload comes without a changed file,
    /// and once all is well they follow the store. A stop ends in an exit. A pause and a probe change
    /// nothing of that.
    #[test]
    fn files_are_never_torn_and_follow_the_store(
        steps in prop::collection::vec(step(), 0..40),
        restart in any::<bool>(),
        end in any::<bool>(),
        share in 0.0f64..1.0,
        confirm in any::<bool>(),
    ) {
        let config = if restart { "[exec]\ncommand = [\"x\"]\n" } else { CHILD };
        let asked = if confirm { "confirm.command = \"asked\"\n" } else { "" };
        let config = format!("splay = \"200ms\"\n{asked}{config}");
        let mut run = Run { world: World::new(&config, &TEMPLATES), states: vec![BTreeMap::new()] };
        run.world.core.draw(share);
        run.world.probe = |files| files[&0] != "2";
        run.world.check = |files| files[&0] != "4";
        run.world.reload = |files| files[&2] != "3";
        run.world.on(Event::Tick);

        for step in steps.into_iter().chain(end.then_some(Step::Stop)) {
            if run.world.ended.is_none() {
                run.take(step);
            }
            prop_assert!(run.whole(), "torn: {:?}", run.files());
            prop_assert!(run.world.count("reload") <= 2 * run.world.count("promote"));
        }

        if end && run.world.ended.is_none() {
            if run.world.child {
                run.world.exit(0);
            }
            prop_assert!(run.world.ended.is_some());
        }
        if run.world.ended.is_none() {
            run.mend();
            run.put(&[(0, 1), (1, 1), (2, 1)]);
            for _ in 0..12 {
                run.world.pass(100);
                // Whatever was asked to stop, stops.
                if run.world.child && run.world.stopping {
                    run.world.exit(0);
                }
            }
            prop_assert_eq!(run.files(), run.states.last().and_then(expected));
            prop_assert!(run.world.child);
        }
    }
}
