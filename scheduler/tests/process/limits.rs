//! What a task may use, on a machine that lets us limit it.

use std::path::PathBuf;

use scheduler::driver::{End, Stop};

use crate::scene::{Scene, id, runs, shell};

/// Whether a task of this scene is in a control group of ours.
fn is_limited(scene: &Scene, task: &str) -> bool {
    let limited = scene.read(task, "groups").contains("/keyway-");
    if !limited {
        eprintln!("this machine lets us make no control groups: left out");
    }
    limited
}

#[tokio::test]
async fn a_task_that_uses_up_its_memory_is_ended_and_it_is_said_why() {
    let mut scene = Scene::new();
    let line = "cat /proc/self/cgroup >groups\n\
                head -c 200000000 /dev/zero | tail -n 1 >/dev/null; exit $?";
    let mut launch = shell("web", line);
    launch.resources.mem = 32.0;
    scene.driver.start(launch);
    scene.running("web").await;
    let end = scene.ended("web").await;
    if is_limited(&scene, "web") {
        assert_eq!(end, End::OutOfMemory);
    }
}

#[tokio::test]
async fn the_groups_of_tasks_go_with_them() {
    let mut scene = Scene::new();
    let line = "cat /proc/self/cgroup >groups; echo ready; exec sleep 1000";
    let first = scene.start("first", line).await;
    let second = scene.start("second", line).await;
    for task in ["first", "second"] {
        scene.line(task, "stdout").await;
    }
    if !is_limited(&scene, "first") {
        return;
    }
    let folders = folders(&scene, "first");
    assert!(!folders.is_empty());
    scene.stop("first", &first, Stop::Force);
    scene.ended("first").await;
    for folder in &folders {
        assert!(!folder.join("first").exists(), "{}", folder.display());
        assert!(folder.join("second").exists(), "{}", folder.display());
    }
    scene.again();
    let left = scene.driver.find().await.unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
    scene.driver.adopt(id("second"), &second);
    scene.stop("second", &second, Stop::Force);
    scene.ended("second").await;
    for folder in &folders {
        assert!(!folder.exists(), "{}", folder.display());
    }
}

/// Where the groups of all tasks of a scene are.
fn folders(scene: &Scene, task: &str) -> Vec<PathBuf> {
    let groups = scene.read(task, "groups");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let of = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controller, group) = rest.split_once(':')?;
        let folder = group.strip_suffix(&format!("/{task}"))?;
        let has = |options: &str| controller.is_empty() || options.split(',').any(|one| one == controller);
        let mounted = mounts.lines().find_map(|mount| {
            let words: Vec<&str> = mount.split(' ').collect();
            (words.get(2)?.starts_with("cgroup") && has(words.get(3)?)).then(|| words.get(1).copied())?
        })?;
        Some(PathBuf::from(format!("{mounted}{folder}")))
    };
    groups
        .lines()
        .filter(|line| line.contains("/keyway-"))
        .filter_map(of)
        .collect()
}

#[tokio::test]
async fn what_left_the_session_is_of_the_task_all_the_same() {
    let mut scene = Scene::new();
    let line = "cat /proc/self/cgroup >groups; setsid sleep 1000 & echo $! >daemon; echo ready; wait";
    let handle = scene.start("web", line).await;
    scene.line("web", "stdout").await;
    let daemon = scene.line("web", "daemon").await;
    scene.stop("web", &handle, Stop::Force);
    scene.ended("web").await;
    if is_limited(&scene, "web") {
        assert!(!runs(&daemon));
        let groups = scene.read("web", "groups");
        assert!(
            groups
                .lines()
                .any(|line| line.contains("/keyway-") && line.ends_with("/web")),
            "{groups}"
        );
    }
}
