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
        folder: home.clone().into(),
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
    // With agents: one ends while nobody is there, one by a signal, one behind the next scheduler's start.
    for (task, line) in [
        ("early", "echo ready; until [ -e end ]; do sleep 0.05; done; exit 7"),
        (
            "late",
            "echo ready; until [ -e end ]; do sleep 0.05; done; echo last words; exit 3",
        ),
        (
            "shot",
            "echo ready; until [ -e end ]; do sleep 0.05; done; kill -USR1 $$; sleep 1000",
        ),
    ] {
        let mut launch = crate::scene::shell(task, line);
        let template = Path::new(&home).join("app.hbs");
        std::fs::File::create(&template).unwrap();
        launch.agent = Some(scheduler::driver::AgentUse {
            flags: vec!["--template".to_owned(), format!("{}:app.conf", template.display())],
            files: Vec::new(),
            needed: true,
        });
        driver.start(launch);
    }
    std::future::pending().await
}

#[tokio::test]
async fn what_a_killed_scheduler_has_started_is_found_followed_and_stopped() {
    let mut scene = Scene::new();
    let mut first = scheduler(scene.home());
    scene.line("web", "stdout").await;
    let left = scene.line("short", "child").await;
    for task in WITH_AGENTS {
        scene.line(task, "stdout").await;
    }
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

    let agent = leader(&scene.folder("early").display().to_string());
    end_of(&scene, "early");
    eventually("the end of its agent", || (!runs(&agent.to_string())).then_some(())).await;

    let found = scene.driver.find().await.unwrap();

    let [early, late, gone, shot, web] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (early.task.clone(), early.ended.clone()),
        (id("early"), Some(End::Exited(7)))
    );
    for (task, end) in [(late, End::Exited(3)), (shot, End::Signalled(10))] {
        assert_eq!(task.ended, None, "{task:?}");
        scene.driver.adopt(task.task.clone(), &task.handle);
        end_of(&scene, &task.task.0);
        assert_eq!(scene.ended(&task.task.0).await, end);
    }
    assert_eq!(scene.read("late", "stdout"), "ready\nlast words\n");
    for task in [early, late, shot] {
        scene.driver.forget(&task.task, &task.handle);
    }
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
        let left = std::fs::read_dir(scene.home().join("tasks")).unwrap();
        (left.count() == 0).then_some(())
    })
    .await;
    assert_eq!(scene.driver.find().await.unwrap(), []);
}

/// The tasks that have agents, and end when they are told to.
const WITH_AGENTS: [&str; 3] = ["early", "late", "shot"];

fn end_of(scene: &Scene, task: &str) {
    std::fs::File::create(scene.folder(task).join("end")).unwrap();
}

/// The process that says of itself that it leads, or that was launched as an agent and has founded a session.
fn leader(folder: &str) -> i32 {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let read = |pid: i32, what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let is = |pid: &i32| {
        let environment = read(*pid, "environ");
        let has = |line: String| environment.split('\0').any(|have| have == line);
        let launched = read(*pid, "cmdline").starts_with("keyway-launch\0--stay\0");
        let founded = || {
            let pid = rustix::process::Pid::from_raw(*pid).unwrap();
            rustix::process::getsid(Some(pid)) == Ok(pid)
        };
        has(format!("KEYWAY_TASK_DIR={folder}")) && (has(format!("KEYWAY_TASK_PID={pid}")) || launched && founded())
    };
    pids.find(is).unwrap()
}
