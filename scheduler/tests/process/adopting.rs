//! A scheduler dies, and another one goes on.

use std::path::Path;
use std::process::{Command, Stdio};

use scheduler::driver::{End, Handle, Stop};

use crate::scene::{Scene, eventually, id, pid, runs};

const FOLDER: &str = "KEYWAY_TEST_FOLDER";

/// Starts this test's own program as a scheduler that starts a task and goes on until it is killed.
fn scheduler(home: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "adopting::the_scheduler_that_is_killed"])
        .env(FOLDER, home)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A part of another test, as a process of its own; by itself it is nothing.
#[tokio::test]
async fn the_scheduler_that_is_killed() {
    let Ok(home) = std::env::var(FOLDER) else { return };
    let (sender, _told) = tokio::sync::mpsc::unbounded_channel();
    let settings = scheduler::driver::Settings {
        folder: home.into(),
        program: crate::scene::program(),
        agent: Vec::new(),
        store: None,
        docker: None,
    };
    let driver = scheduler::driver::Driver::new(settings, sender).unwrap();
    driver.start(crate::scene::shell(
        "web",
        "sleep 1000 & echo $! >child; echo ready; wait",
    ));
    driver.start(crate::scene::shell(
        "short",
        "sleep 1000 & echo $! >child; exec sleep 1000",
    ));
    std::future::pending().await
}

#[tokio::test]
async fn what_a_killed_scheduler_has_started_is_found_followed_and_stopped() {
    let mut scene = Scene::new();
    let mut first = scheduler(scene.home());
    scene.line("web", "stdout").await;
    let left = scene.line("short", "child").await;
    first.kill().unwrap();
    first.wait().unwrap();
    let folder = scene.folder("short").display().to_string();
    // One of the two ends while nobody is there.
    let short = leader(&folder);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(short).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually("its end", || (!runs(&short.to_string())).then_some(())).await;

    let found = scene.driver.find().await.unwrap();

    let [gone, web] = &found[..] else { panic!("{found:?}") };
    assert_eq!((gone.task.clone(), gone.ended.clone()), (id("short"), Some(End::Gone)));
    assert!(!runs(&left), "what it left is ended");
    assert_eq!((web.task.clone(), web.ended.clone()), (id("web"), None));
    assert_eq!(web.handle, {
        let pid = leader(&scene.folder("web").display().to_string());
        let Handle::Process { started, .. } = web.handle else {
            panic!()
        };
        Handle::Process { pid, started }
    });
    let child = scene.line("web", "child").await;
    scene.driver.adopt(web.task.clone(), &web.handle);
    scene.stop("web", &web.handle, Stop::Ask);
    assert_eq!(scene.ended("web").await, End::Gone);
    assert!(!runs(&pid(&web.handle)) && !runs(&child));

    scene.driver.forget(&id("web"), &web.handle);
    scene.driver.forget(&id("short"), &gone.handle);
    eventually("nothing is found any more", || {
        (!scene.folder("web").exists() && !scene.folder("short").exists()).then_some(())
    })
    .await;
    assert_eq!(scene.driver.find().await.unwrap(), []);
}

/// The process that says of itself that it leads.
fn leader(folder: &str) -> i32 {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is = |pid: &i32| {
        let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has = |line: String| environment.split('\0').any(|have| have == line);
        has(format!("KEYWAY_TASK_DIR={folder}")) && has(format!("KEYWAY_TASK_PID={pid}"))
    };
    pids.find(is).unwrap()
}
