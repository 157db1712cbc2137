//! The child's process group outlives the child.

use super::world::{CHILD, World};
use super::*;

fn running(config: &str) -> World {
    let mut world = World::new(
        &format!("{CHILD}kill_timeout = \"1s\"\n{config}"),
        &["{{key \"a\" default=\"\"}}"],
    );
    world.on(Event::Tick);
    world.pass(100);
    world.leaves = true;
    world.log.clear();
    world
}

#[test]
fn what_a_child_leaves_in_its_group_is_asked_killed_and_waited_for_before_the_end() {
    let mut world = running("");
    world.exit(7);
    assert_eq!((world.log.as_slice(), world.ended), (&["SIGTERM".to_owned()][..], None));
    world.put(&[("a", Some("x"))]);
    assert_eq!(
        (world.count("render"), world.count("start")),
        (0, 0),
        "the end is decided"
    );
    world.pass(999);
    assert_eq!(world.count("SIGKILL"), 0);
    world.pass(1);
    assert_eq!((world.count("SIGKILL"), world.ended), (1, None));
    world.on(Event::Swept);
    assert_eq!(world.ended, Some(7));
}

#[test]
fn a_group_that_does_not_even_mind_a_kill_holds_up_nobody_for_long() {
    let mut world = running("");
    world.exit(7);
    world.pass(1000);
    world.pass(1999);
    assert_eq!(world.ended, None);
    world.pass(1);
    assert_eq!(world.ended, Some(7));
}

#[test]
fn a_stop_that_the_child_follows_and_its_group_does_not_kills_the_group_in_time_or_at_the_second_stop() {
    for second in [false, true] {
        let mut world = running("");
        world.on(Event::Stop(Signal::SIGTERM));
        world.pass(600);
        world.exit(0);
        assert_eq!((world.count("SIGTERM"), world.ended), (1, None));
        if second {
            world.on(Event::Stop(Signal::SIGTERM));
        } else {
            world.pass(399);
            assert_eq!(world.count("SIGKILL"), 0);
            world.pass(1);
        }
        assert_eq!((world.count("SIGKILL"), world.ended), (1, None));
        world.on(Event::Swept);
        assert_eq!(world.ended, Some(0));
    }
}

#[test]
fn a_child_is_started_again_only_when_its_group_is_gone() {
    let mut world = running("restart = \"always\"\n");
    world.exit(1);
    world.pass(200);
    assert_eq!((world.count("SIGTERM"), world.child), (1, false));
    world.on(Event::Swept);
    assert!(world.child);

    let mut world = World::new("[exec]\ncommand = [\"x\"]\n", &["{{key \"a\" default=\"\"}}"]);
    world.on(Event::Tick);
    world.pass(100);
    world.leaves = true;
    world.put(&[("a", Some("x"))]);
    world.exit(143);
    assert_eq!((world.count("start"), world.child), (1, false));
    world.on(Event::Swept);
    assert_eq!((world.count("start"), world.child, world.ended), (2, true, None));
}
