//! The pause by chance, and the probe.

use super::*;
use crate::core::state::Standing;

fn ready(config: &str) -> World {
    let mut world = World::new(&format!("{config}\n{CHILD}"), &["{{key \"a\"}}"]);
    world.put(&[("a", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.log.clear();
    world
}

#[test]
fn the_program_is_told_after_its_share_of_the_pause_and_what_changes_meanwhile_waits() {
    let mut world = ready("splay = \"10s\"");
    world.core.draw(0.5);

    world.put(&[("a", Some("2"))]);
    world.put(&[("a", Some("3"))]);
    world.pass(4_999);
    assert_eq!(
        (world.log.as_slice(), world.files[&0].as_str()),
        (["render {0}", "promote"].map(String::from).as_slice(), "2")
    );

    world.pass(1);
    assert_eq!(world.count("reload"), 1);
    world.pass(100);
    assert_eq!((world.count("promote"), world.files[&0].as_str()), (2, "3"));
}

#[test]
fn an_end_is_not_put_off_by_the_pause() {
    let mut world = ready("splay = \"10s\"");
    world.core.draw(1.0);
    world.put(&[("a", Some("2"))]);

    world.on(Event::Stop(Signal::SIGTERM));
    world.exit(0);

    assert_eq!((world.ended, world.count("reload")), (Some(0), 0));
    assert_eq!(world.core.deadline(), None);
}

#[test]
fn what_is_not_confirmed_is_put_back_and_the_old_files_are_applied_again() {
    let mut world = ready("confirm.command = \"true\"");
    world.probe = |files| files[&0] != "2";

    world.put(&[("a", Some("2"))]);

    assert_eq!(
        (world.count("reload"), world.count("probe"), world.files[&0].as_str()),
        (2, 1, "1")
    );
    world.pass(100);
    world.put(&[("a", Some("3"))]);
    assert_eq!((world.count("reload"), world.files[&0].as_str()), (3, "3"));
    // Confirmed is confirmed: nothing settles behind it.
    world.put(&[("a", Some("4"))]);
    world.on(Event::Tick);
    assert_eq!(world.files[&0], "4");
}

#[test]
fn a_file_in_place_tells_its_own_revision_while_the_program_is_not_told_of_it() {
    let mut world = ready("splay = \"10s\"");
    world.core.draw(1.0);
    world.put(&[("a", Some("2"))]);

    let state = world.core.state();
    let file = &state.templates[0];
    assert_eq!(file.revisions.map(|of| of.settings.0), Some(world.revision));
    assert_eq!(
        (file.text.as_deref(), &file.standing),
        (Some("2"), &Standing::NotApplied(None))
    );
    let (waits_for, _) = state.waiting.unwrap();
    assert!(waits_for.contains("splay"), "{waits_for}");
}
