//! A start while the store is away.

use kvapi::types::{Snapshot, WatchEvent};

use super::world::{CHILD, World, program};
use super::*;

const TEXTS: &[&str] = &["{{key \"a\"}}", "{{#if (keyExists \"a\")}}{{key \"b\"}}{{/if}}"];

fn config(more: &str) -> String {
    format!("cache_dir = \"/c\"\n{more}\n{CHILD}")
}

/// A run that has gone well, and an agent started after it: the store is away, all files are gone.
fn again(more: &str) -> World {
    let mut world = World::new(&config(more), TEXTS);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    assert!(world.child && world.cache.is_some());
    world.pass(100);
    World {
        store: world.store,
        revision: world.revision,
        cache: world.cache,
        linked: false,
        ..World::new(&config(more), TEXTS)
    }
}

#[test]
fn the_files_are_there_at_once_and_are_rendered_once_more_when_the_store_is_back() {
    let mut world = again("");
    world.on(Event::Tick);
    assert!(world.child, "{:?}", world.log);
    assert_eq!((world.files[&0].as_str(), world.files[&1].as_str()), ("1", "1"));
    world.pass(100);
    world.put(&[("a", Some("2"))]);
    world.put(&[("b", Some("3"))]);
    world.log.clear();

    world.linked = true;
    world.answer();

    assert_eq!(world.log, ["watch", "render {0, 1}", "promote", "reload"]);
    assert_eq!((world.files[&0].as_str(), world.files[&1].as_str()), ("2", "3"));
}

#[test]
fn what_was_begun_with_is_not_kept_as_if_it_were_new() {
    let mut world = again("");
    let mut kept = 0;
    let mut queue = vec![Event::Tick];
    while let Some(event) = queue.pop() {
        for action in world.core.on(event, world.now) {
            kept += usize::from(matches!(action, Action::Keep(_)));
            queue.extend(world.perform(action));
        }
    }
    assert!(world.child && !world.core.kept_is_current());
    assert_eq!(kept, 0, "its age would be forgotten");
}

#[test]
fn a_cache_of_another_cluster_or_of_before_the_files_is_not_used() {
    for (cluster, floor, unapplied, used) in [
        ("c", 1, false, true),
        ("other", 1, false, false),
        ("c", 9, false, false),
        // What is in place was never applied: what was is better.
        ("c", 9, true, true),
    ] {
        let mut world = again("");
        let view = View::above(cluster.into(), Revisions::both(Revision(floor)));
        world.core = Core::new(program(&config(""), TEXTS), view, unapplied.then(Vec::new));
        world.on(Event::Tick);
        assert_eq!(world.child, used, "{cluster} {floor} {unapplied}");
        if used && floor > 1 {
            // And still nothing lower than what was seen is taken from the store.
            let snapshot = Snapshot {
                revision: Revision(floor - 1),
                entries: Vec::new(),
            };
            world.on(Event::Connected { cluster: "c".into() });
            world.on(Event::Stream(WatchEvent::Snapshot(snapshot)));
            assert!(world.core.stream.refusal().is_some());
            assert_eq!(world.files[&0], "1");
        }
    }
}

#[test]
fn a_store_that_says_nothing_is_not_waited_for_long() {
    let mut world = again("");
    world.linked = true;
    // Nothing comes back from the watch.
    let silent = |world: &mut World, event| {
        let mut queue = vec![event];
        while let Some(event) = queue.pop() {
            for action in world.core.on(event, world.now) {
                if !matches!(action, Action::Watch(_)) {
                    queue.extend(world.perform(action));
                }
            }
        }
    };
    silent(&mut world, Event::Tick);
    assert!(!world.child);
    let at = world.core.deadline().expect("it wants to be asked again");
    assert!(at > world.now);

    world.now = at;
    silent(&mut world, Event::Tick);

    assert!(world.child && world.files[&0] == "1");
}

#[test]
fn a_key_that_was_not_kept_is_waited_for() {
    let mut world = again("");
    let texts = &["{{key \"a\"}}", "{{key \"new\" default=\"-\"}}"];
    world.core = Core::new(program(&config(""), texts), View::default(), None);
    world.on(Event::Tick);
    assert!(!world.child && world.files.is_empty());

    world.linked = true;
    world.answer();
    assert_eq!((world.files[&0].as_str(), world.files[&1].as_str()), ("1", "-"));
}

#[test]
fn retry_for_bounds_the_wait_before_the_first_set_and_no_outage_after_it() {
    let mut world = World::new("retry_for = \"5s\"\n[exec]\ncommand = [\"x\"]\n", TEXTS);
    world.linked = false;
    world.on(Event::Tick);
    world.pass(4900);
    assert_eq!(world.ended, None);
    world.pass(100);
    assert_eq!(world.ended, Some(exit::UNAVAILABLE));

    let mut world = again("retry_for = \"5s\"");
    world.on(Event::Tick);
    world.pass(3_600_000);
    assert_eq!(
        (world.ended, world.child),
        (None, true),
        "the cache has put them in place"
    );

    let mut world = again("retry_for = \"1s\"");
    world.cache = None;
    world.on(Event::Tick);
    world.pass(1000);
    assert_eq!(world.ended, Some(exit::UNAVAILABLE));

    let mut world = World::new("retry_for = \"0\"\n[exec]\ncommand = [\"x\"]\n", TEXTS);
    world.linked = false;
    world.on(Event::Tick);
    world.pass(3_600_000);
    assert_eq!(world.ended, None);
}

#[test]
fn a_program_without_templates_starts_at_once_and_is_kept_as_others_are() {
    let mut world = World::new(CHILD, &[]);
    world.on(Event::Tick);
    assert!(world.child && world.files.is_empty());

    world.pass(1000);

    assert_eq!(world.count("start"), 1);
}
