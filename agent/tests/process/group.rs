//! What a program leaves in its process group, and what leaves it.

use nix::sys::signal::Signal;

use crate::scene::{Scene, group};

/// A process in the background that tells that it was asked to end, and the end of the program.
const ASKED: &str = "(trap 'echo asked >asked; exit' TERM; echo yes >ready; while :; do sleep 0.02; done) & \
    echo $$ >group; while [ ! -e ready ]; do sleep 0.01; done; ";

/// The same with one that minds no TERM.
const DEAF: &str = "(trap '' TERM; echo yes >ready; while :; do sleep 0.02; done) & \
    echo $$ >group; while [ ! -e ready ]; do sleep 0.01; done; ";

fn start(scene: &mut Scene, flags: &[&str], script: &str) {
    scene.write("a.hbs", "one");
    scene.start(
        &[
            &["run", "-t", "a.hbs:a", "--settle", "1ms"],
            flags,
            &["--", "sh", "-c", script],
        ]
        .concat(),
    );
}

fn left(scene: &Scene) -> Vec<String> {
    group(scene.read("group").trim())
}

#[test]
fn what_a_program_leaves_in_its_group_is_asked_to_end_before_the_agent_ends_with_its_code() {
    let mut scene = Scene::new();
    start(&mut scene, &["--kill-timeout", "1h"], &format!("{ASKED} exit 3"));
    assert_eq!(scene.exit_code(), 3);
    assert_eq!((left(&scene), scene.read("asked").as_str()), (vec![], "asked\n"));
}

#[test]
fn what_minds_no_request_is_killed_at_the_kill_timeout() {
    let mut scene = Scene::new();
    start(&mut scene, &["--kill-timeout", "100ms"], &format!("{DEAF} exit 3"));
    assert_eq!((scene.exit_code(), left(&scene)), (3, vec![]));
}

#[test]
fn a_stop_takes_grandchildren_along_even_if_the_program_ends_first() {
    let mut scene = Scene::new();
    let program = format!("{DEAF} trap 'exit 0' TERM; echo yes >runs; while :; do sleep 0.02; done");
    start(&mut scene, &["--kill-timeout", "100ms"], &program);
    scene.eventually("the program runs", |scene| scene.read("runs") == "yes\n");

    scene.signal(Signal::SIGTERM);

    assert_eq!((scene.exit_code(), left(&scene)), (0, vec![]));
}

#[test]
fn what_is_stopped_ends_too() {
    let mut scene = Scene::new();
    start(
        &mut scene,
        &["--kill-timeout", "1h"],
        "echo $$ >group; kill -STOP $$; exit 3",
    );
    scene.eventually("it is stopped", |scene| {
        left(scene).iter().any(|stat| stat.contains(") T "))
    });

    scene.signal(Signal::SIGTERM);

    assert_eq!((scene.exit_code(), left(&scene)), (143, vec![]));
}

#[test]
fn a_program_is_started_again_when_nobody_of_its_group_is_left() {
    let mut scene = Scene::new();
    // Whoever finds the one before still there fails for good.
    let program = "mkdir busy || exit 9; \
        (trap 'sleep 0.2; rmdir busy; exit' TERM; echo yes >ready; while :; do sleep 0.02; done) & \
        while [ ! -e ready ]; do sleep 0.01; done; rm ready; echo start >>starts; \
        [ $(wc -l <starts) = 3 ] && exit 0; exit 3";
    start(&mut scene, &["--restart", "on-failure"], program);
    assert_eq!((scene.exit_code(), scene.read("starts").lines().count()), (0, 3));
}

#[test]
fn a_program_that_forks_and_exits_ends_the_agent_and_what_has_left_its_group_is_its_own() {
    let mut scene = Scene::new();
    let program = "setsid sh -c 'echo $$ >daemon; exec sleep 60' & while [ ! -s daemon ]; do sleep 0.01; done; exit 4";
    start(&mut scene, &["--kill-timeout", "1h"], program);
    assert_eq!(scene.exit_code(), 4);
    assert_eq!(group(scene.read("daemon").trim()).len(), 1);
    scene.end_group("daemon");
}
