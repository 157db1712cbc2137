//! How tasks are stopped, and what is left of them: nothing.

use scheduler::driver::{AgentUse, End, Handle, Stop};

use crate::scene::{Scene, id, pid, runs, shell};

/// Ignores what asks it to stop, with a child that does as well, and a grandchild in a process group of its own.
const STUBBORN: &str = "trap '' TERM\n\
    (set -m; sleep 1000 & echo $! >grandchild; wait) &\n\
    sleep 1000 & echo $! >child\n\
    echo ready\n\
    while :; do sleep 1000; done";

#[tokio::test]
async fn case_49_what_does_not_end_when_asked_is_ended_with_all_that_it_started() {
    let mut scene = Scene::new();
    let handle = scene.start("web", STUBBORN).await;
    scene.line("web", "stdout").await;
    let (child, grandchild) = (scene.line("web", "child").await, scene.line("web", "grandchild").await);

    scene.stop("web", &handle, Stop::Ask);
    scene.stop("web", &handle, Stop::Force);

    assert_eq!(scene.ended("web").await, End::Signalled(9));
    assert!(!runs(&pid(&handle)) && !runs(&child) && !runs(&grandchild));
}

#[tokio::test]
async fn an_agent_that_is_killed_takes_its_program_with_it() {
    let mut scene = Scene::new();
    std::fs::File::create(scene.home().join("app.hbs")).unwrap();
    let template = format!("{}:app.conf", scene.home().join("app.hbs").display());
    let mut launch = shell("web", "echo $$; exec sleep 1000");
    launch.agent = Some(AgentUse {
        flags: vec!["--template".to_owned(), template],
        files: Vec::new(),
        needed: true,
    });
    scene.driver.start(launch);
    let handle = scene.running("web").await;
    let program = scene.line("web", "stdout").await;
    assert_ne!(program, pid(&handle));

    scene.stop("web", &handle, Stop::Force);

    assert_eq!(scene.ended("web").await, End::Signalled(9));
    assert!(!runs(&program));
}

#[tokio::test]
async fn an_end_is_told_when_nothing_is_left_running() {
    let mut scene = Scene::new();
    scene.start("web", "sleep 1000 & echo $! >child; exit 4").await;
    assert_eq!(scene.ended("web").await, End::Exited(4));
    assert!(!runs(scene.read("web", "child").trim()));
}

#[tokio::test]
async fn all_of_a_group_are_asked() {
    let mut scene = Scene::new();
    let line = "(trap 'echo child; exit' TERM; echo ready >child; while :; do sleep 0.05; done) &\n\
                trap 'wait; echo leader; exit 0' TERM; echo ready >leader; while :; do sleep 0.05; done";
    let handle = scene.start("web", line).await;
    scene.line("web", "child").await;
    scene.line("web", "leader").await;
    scene.stop("web", &handle, Stop::Ask);
    assert_eq!(scene.ended("web").await, End::Exited(0));
    assert_eq!(scene.read("web", "stdout"), "child\nleader\n");
}

#[tokio::test]
async fn a_pid_that_somebody_else_has_now_is_not_signalled() {
    let mut scene = Scene::new();
    let handle = scene.start("web", "echo ready; exec sleep 1000").await;
    scene.line("web", "stdout").await;
    let Handle::Process { pid, started } = handle else {
        panic!("{handle:?}")
    };
    // As a scheduler sees it that was told of the one before.
    scene.again();
    let other = Handle::Process {
        pid,
        started: started - 1,
    };
    scene.stop("web", &other, Stop::Force);
    scene.stop("web", &other, Stop::Ask);
    // What is asked for is done in order: the last has been done when this one is.
    scene.driver.adopt(id("gone"), &other);
    assert_eq!(scene.ended("gone").await, End::Gone);
    assert!(runs(&pid.to_string()));

    scene.driver.adopt(id("web"), &Handle::Process { pid, started });
    scene.stop("web", &Handle::Process { pid, started }, Stop::Force);
    assert_eq!(scene.ended("web").await, End::Gone);
    assert!(!runs(&pid.to_string()));
}
