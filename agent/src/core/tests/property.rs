//! What holds whatever happens.

use kvapi::types::{Change, Revision, WatchEvent};
use proptest::prelude::*;

use super::world::{CHILD, World};
use crate::core::Event;

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<(usize, u8)>),
    Pass(u64),
    Cut,
    Mend,
    Die(u8),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0usize..4, 0u8..5), 1..4).prop_map(Step::Put),
        4 => (0u64..150).prop_map(Step::Pass),
        1 => Just(Step::Cut),
        2 => Just(Step::Mend),
        1 => (0u8..3).prop_map(Step::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens: files are of one revision, no reload comes without a changed file, and
    /// once all is quiet the files show the store as it is, or a set that was refused.
    #[test]
    fn files_are_never_torn_and_follow_the_store(
        steps in prop::collection::vec(step(), 0..40),
        restart in any::<bool>(),
        end in any::<bool>(),
    ) {
        const KEYS: [&str; 4] = ["k/0", "k/1", "k/2", "rev"];
        let config = if restart { "[exec]\ncommand = [\"x\"]\n" } else { CHILD };
        let mut world = World::new(config, &[
            "{{key \"rev\" default=\"0\"}}|{{key \"k/0\" default=\"-\"}}",
            "{{key \"rev\" default=\"0\"}}|{{#each (tree \"k\")}}{{value}}{{/each}}",
            "{{key \"k/1\"}}|{{key \"rev\" default=\"0\"}}",
        ]);
        world.check = |files| !files[&0].ends_with("|4");
        world.reload = |files| !files[&2].starts_with("3|");
        world.on(Event::Tick);
        let steps = steps.into_iter().chain(end.then_some(Step::Stop));
        for step in steps {
            if world.ended.is_some() {
                break;
            }
            match step {
                Step::Put(values) => {
                    let rev = (world.revision + 1).to_string();
                    let texts: Vec<String> = values.iter().map(|(_, v)| v.to_string()).collect();
                    let mut all: Vec<(&str, Option<&str>)> = values.iter().zip(&texts)
                        .filter(|((k, _), _)| *k < 3)
                        .map(|((k, v), text)| (KEYS[*k], (*v > 0).then_some(text.as_str()))).collect();
                    all.push(("rev", Some(&rev)));
                    world.put(&all);
                }
                Step::Pass(millis) => world.pass(millis),
                Step::Cut => { world.linked = false; world.on(Event::Lost { reason: "cut".into() }); }
                Step::Mend => if !world.linked {
                    world.linked = true;
                    world.on(Event::Connected { cluster: "c".into() });
                    let changes = vec![];
                    let change = Change { revision: Revision(world.revision), at: 0, author: None, message: None, changes };
                    world.on(Event::Stream(WatchEvent::Change(change)));
                }
                Step::Die(code) => if world.child { world.exit(code); }
                Step::Stop => world.on(Event::Stop),
            }
            if let (Some(a), Some(b), Some(c)) = (world.files.get(&0), world.files.get(&1), world.files.get(&2)) {
                let rev = a.split('|').next();
                prop_assert_eq!(rev, b.split('|').next());
                prop_assert_eq!(rev, c.split('|').nth(1));
            }
            prop_assert!(world.count("reload") <= 2 * world.count("promote"));
        }
        if end && world.ended.is_none() {
            if world.child {
                world.exit(0);
            }
            prop_assert!(world.ended.is_some());
        }
        if world.ended.is_none() {
            world.linked = true;
            world.on(Event::Connected { cluster: "c".into() });
            let rev = (world.revision + 1).to_string();
            world.put(&[("k/0", Some("1")), ("k/1", Some("1")), ("rev", Some(&rev))]);
            for _ in 0..8 {
                world.pass(100);
                // Whatever was asked to stop, stops.
                if world.child && world.stopping {
                    world.exit(0);
                }
            }
            prop_assert_eq!(&world.files[&2], &format!("1|{rev}"));
            prop_assert!(world.child);
        }
    }
}
