//! Variables that come from keys.

use super::world::World;
use super::*;
use crate::environment::variables;

const ENV: &str = "on_change = \"signal=HUP\"\n[exec]\ncommand = [\"x\"]\n[exec.env]\nprefix = [\"e\"]\n";

fn running(config: &str, texts: &[&str]) -> World {
    let mut world = World::new(config, texts);
    world.put(&[("e/A", Some("1")), ("f", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.log.clear();
    world
}

/// What a program that is started now is given.
fn given(world: &World) -> String {
    let text = world.core.environment().unwrap_or_default();
    let all: Vec<String> = variables(&text)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    all.join(" ")
}

#[test]
fn a_variable_that_changes_starts_the_program_again_and_a_file_alone_does_not() {
    let mut world = running(ENV, &["{{key \"f\"}}"]);
    assert_eq!((world.child, given(&world).as_str()), (true, "A=1"));
    world.put(&[("f", Some("2"))]);
    assert_eq!((world.count("reload"), world.count("SIGTERM")), (1, 0));
    world.pass(100);
    world.put(&[("e/A", Some("1")), ("stranger", Some("1"))]);
    assert_eq!(world.count("SIGTERM"), 0, "the same value is no change");

    world.put(&[("e/A", Some("2")), ("e/B", Some("3")), ("f", Some("3"))]);

    assert_eq!(
        (world.count("SIGTERM"), world.count("reload")),
        (1, 1),
        "one restart for both"
    );
    world.exit(143);
    assert_eq!(
        (world.child, given(&world).as_str(), world.files[&0].as_str()),
        (true, "A=2 B=3", "3")
    );
    world.pass(100);
    world.put(&[("e/B", None)]);
    world.exit(143);
    assert_eq!(given(&world), "A=2");
}

#[test]
fn without_a_restart_the_next_start_has_the_new_variables() {
    let mut world = running(&format!("{ENV}on_change = \"none\"\n"), &["{{key \"f\"}}"]);
    world.put(&[("e/A", Some("2"))]);
    assert_eq!(
        (world.count("SIGTERM"), world.count("reload"), world.count("promote")),
        (0, 0, 0)
    );
    assert_eq!(given(&world), "A=2");
}

#[test]
fn no_template_is_needed_and_a_bad_name_holds_everything_until_it_is_mended() {
    let mut world = running(ENV, &[]);
    assert_eq!((world.child, given(&world).as_str()), (true, "A=1"));
    world.put(&[("e/b-c", Some("2")), ("e/A", Some("2"))]);
    assert_eq!((world.count("SIGTERM"), given(&world).as_str()), (0, "A=1"));
    world.put(&[("e/b-c", None)]);
    world.exit(143);
    assert_eq!((world.child, given(&world).as_str()), (true, "A=2"));
}

#[test]
fn a_program_that_dies_of_its_variables_gets_the_old_ones_back() {
    let mut world = running(ENV, &["{{key \"f\"}}"]);
    world.put(&[("e/A", Some("bad")), ("f", Some("bad"))]);
    world.exit(143);
    assert_eq!(given(&world), "A=bad");
    world.exit(1);
    assert_eq!(
        (world.child, given(&world).as_str(), world.files[&0].as_str()),
        (true, "A=1", "1")
    );
}

#[test]
fn what_was_read_again_keeps_the_variables_and_a_new_folder_is_a_change() {
    let mut world = running(ENV, &["{{key \"f\"}}"]);
    world.put(&[("g/C", Some("1"))]);
    world.on(Event::Loaded(super::world::program(ENV, &["{{key \"f\"}}"])));
    assert_eq!((world.count("SIGTERM"), given(&world).as_str()), (0, "A=1"));

    let wider = ENV.replace("\"e\"", "\"e\", \"g\"");
    world.on(Event::Loaded(super::world::program(&wider, &["{{key \"f\"}}"])));
    assert_eq!(world.count("SIGTERM"), 1);
    world.exit(143);
    assert_eq!(given(&world), "A=1 C=1");
}
