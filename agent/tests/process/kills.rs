//! Ends at a bad moment, and what is left then.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::scene::{Scene, group};

#[test]
fn a_stop_during_a_check_ends_the_check_and_leaves_nothing_behind() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    scene.start(&["once", "-t", "t:out", "--check", "echo $$ > pid; sleep 60 & wait"]);
    scene.eventually("the check", |scene| scene.read("pid").ends_with('\n'));
    let check = scene.read("pid").trim().to_owned();

    scene.signal(Signal::SIGTERM);

    assert_eq!(scene.exit_code(), 143);
    scene.eventually("the end of the check", |_| group(&check).is_empty());
    assert_eq!(scene.leftovers(), Vec::<String>::new());
}

#[test]
fn a_kill_between_promotion_and_apply_loses_no_reload() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    let command = "command=if [ -e hold ]; then echo $$ > held; sleep 60; fi; cat out >> seen";
    scene.start(&["run", "-t", "t:out", "--settle", "1ms", "--on-change", command]);
    scene.eventually("the first", |scene| scene.read("seen") == "one");
    scene.write("hold", "");
    scene.write("t", "two");
    scene.eventually("the command", |scene| scene.read("held").ends_with('\n'));
    scene.signal(Signal::SIGKILL);
    scene.exit_code();
    scene.end_group("held");
    fs::remove_file(scene.path("hold")).unwrap();
    assert_eq!(
        (scene.read("out").as_str(), scene.read("seen").as_str()),
        ("two", "one")
    );

    scene.start(&["run", "-t", "t:out", "--settle", "1ms", "--on-change", command]);

    scene.eventually("the lost reload", |scene| scene.read("seen") == "onetwo");
}

#[test]
fn what_a_kill_during_a_check_leaves_is_cleared_at_the_next_start() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    scene.start(&["once", "-t", "t:out", "--check", "echo $$ > pid; sleep 60 & wait"]);
    scene.eventually("the check", |scene| scene.read("pid").ends_with('\n'));
    scene.signal(Signal::SIGKILL);
    scene.exit_code();
    assert_eq!(scene.leftovers().len(), 2, "the new file and the copies");
    scene.end_group("pid");

    scene.start(&["once", "-t", "t:out"]);

    assert_eq!((scene.exit_code(), scene.read("out").as_str()), (0, "one"));
    assert_eq!(scene.leftovers(), Vec::<String>::new());
}

#[test]
fn a_second_agent_for_the_same_files_is_turned_away() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    scene.start(&["run", "-t", "t:out"]);
    scene.eventually("the file", |scene| scene.read("out") == "one");

    let mut second = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
    let second = second.current_dir(scene.dir.path()).args(["once", "-t", "t:out"]);
    let told = second.output().unwrap();

    assert_eq!(told.status.code(), Some(125));
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("another agent runs with the state folder"), "{told}");
}

/// The folders with notes of agents.
fn notes(scene: &Scene) -> usize {
    let names = fs::read_dir(scene.dir.path()).unwrap().flatten();
    names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(".keyway-agent-"))
        .count()
}

#[test]
fn a_start_with_another_list_of_files_completes_and_owes_what_the_old_one_left() {
    let mut scene = Scene::new();
    fs::create_dir(scene.path("p")).unwrap();
    scene.write("p/p.hbs", "one");
    for (name, of) in [("t", "{{> p}}"), ("u", "new")] {
        scene.write(name, of);
    }
    let told = ["--on-change", "command=cat a b >>seen", "--partials", "p"];
    let two = [&["once", "-t", "t:a", "-t", "t:b"][..], &told].concat();
    scene.start(&two);
    assert_eq!(scene.exit_code(), 0, "{}", scene.read("log"));
    scene.write("p/p.hbs", "two");
    scene.start_with(&two, &[("KEYWAY_AGENT_FAILPOINT", "step:2")]);
    assert_eq!(scene.ended_by(), Some(9));
    assert_eq!((scene.read("a"), scene.read("b")), ("two".into(), "one".into()));

    // The new one cannot even be rendered.
    scene.write("u", "{{key \"absent\"}}");
    let three = [&["run", "-t", "u:c", "-t", "t:a", "-t", "t:b"][..], &told].concat();
    scene.start(&three);
    scene.eventually("what was left is taken over", |scene| {
        scene.read("b") == "two" && notes(scene) == 1
    });
    scene.signal(Signal::SIGTERM);
    scene.exit_code();
    scene.write("u", "new");
    scene.start(&[&["once"], &three[1..]].concat());

    assert_eq!(scene.exit_code(), 0, "{}", scene.read("log"));
    assert_eq!(scene.read("seen").lines().last(), Some("oneonetwotwo"));
    assert_eq!(scene.read("c"), "new");
}

#[test]
fn a_file_of_another_agent_is_refused_and_taken_over_when_that_is_gone() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    scene.start(&["run", "-t", "t:a", "-t", "t:b"]);
    scene.eventually("the first", |scene| scene.read("b") == "one");
    let first = scene.agent.take().unwrap();

    scene.start(&["once", "-t", "t:b"]);
    assert_eq!(scene.exit_code(), 125);
    let log = scene.read("log");
    assert!(
        log.contains("/b is written by another agent") && log.contains("stop it"),
        "{log}"
    );
    scene.start(&["once", "-t", "t:c"]);
    assert_eq!(
        scene.exit_code(),
        0,
        "another file beside them is free: {}",
        scene.read("log")
    );

    scene.agent = Some(first);
    scene.signal(Signal::SIGTERM);
    scene.exit_code();
    scene.start(&["once", "-t", "t:b"]);
    assert_eq!(scene.exit_code(), 0, "{}", scene.read("log"));
    assert_eq!(notes(&scene), 2, "those of b and of c");
}
