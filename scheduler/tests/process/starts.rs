//! What a task is given at its start.

use std::collections::BTreeMap;

use scheduler::app::Command;
use scheduler::driver::{AgentUse, End, Stop};

use crate::scene::{Scene, id, pid, shell};

#[tokio::test]
async fn a_task_has_its_folder_its_environment_and_nothing_else() {
    let mut scene = Scene::new();
    let mut launch = shell("web", "");
    // No shell: it would add variables, and drop what it takes for no name.
    launch.command = Some(Command::Args(["env", "-0"].map(str::to_owned).into()));
    launch.env = BTreeMap::from([("my.var-x".to_owned(), "two\nlines".to_owned())]);
    scene.driver.start(launch);
    let handle = scene.running("web").await;
    assert_eq!(scene.ended("web").await, End::Exited(0));

    let text = scene.read("web", "stdout");
    let is: BTreeMap<&str, &str> = text
        .split_terminator('\0')
        .filter_map(|line| line.split_once('='))
        .collect();
    let folder = scene.folder("web").display().to_string();
    let path = std::env::var("PATH").unwrap();
    let leader = pid(&handle);
    let wanted = BTreeMap::from([
        ("HOME", folder.as_str()),
        ("KEYWAY_TASK", "web"),
        ("KEYWAY_TASK_DIR", &folder),
        ("KEYWAY_TASK_PID", &leader),
        ("MESOS_SANDBOX", &folder),
        ("PATH", &path),
        ("my.var-x", "two\nlines"),
    ]);
    assert_eq!(is, wanted);
}

#[tokio::test]
async fn a_task_leads_a_session_of_its_own_and_has_no_input() {
    let mut scene = Scene::new();
    let line = "pwd; cat; echo $$; cut -d' ' -f5,6 /proc/$$/stat; echo wrong >&2";
    let handle = scene.start("web", line).await;
    assert_eq!(scene.ended("web").await, End::Exited(0));

    let leader = pid(&handle);
    let folder = scene.folder("web").display().to_string();
    assert_eq!(
        scene.read("web", "stdout"),
        format!("{folder}\n{leader}\n{leader} {leader}\n")
    );
    assert_eq!(scene.read("web", "stderr"), "wrong\n");
}

#[tokio::test]
async fn a_task_runs_as_the_user_that_it_names() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can become somebody else: left out");
        return;
    }
    let mut scene = Scene::new();
    std::fs::set_permissions(scene.home(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut launch = shell("web", "id -u; id -G; touch mine");
    launch.user = Some("65534:4711".to_owned());
    scene.driver.start(launch);
    scene.running("web").await;
    assert_eq!(
        scene.ended("web").await,
        End::Exited(0),
        "{}",
        scene.read("web", "stderr")
    );
    assert_eq!(scene.read("web", "stdout"), "65534\n4711\n");
}

#[tokio::test]
async fn an_agent_is_the_leader_and_passes_on_what_it_is_asked() {
    let mut scene = Scene::new();
    std::fs::File::create(scene.home().join("app.hbs")).unwrap();
    let template = format!("{}:app.conf", scene.home().join("app.hbs").display());
    let mut launch = shell(
        "web",
        "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.05; done",
    );
    launch.agent = Some(AgentUse {
        flags: vec!["--template".to_owned(), template],
        files: Vec::new(),
        needed: true,
    });
    scene.driver.start(launch);
    let handle = scene.running("web").await;
    scene.line("web", "stdout").await;
    assert!(
        scene.folder("web").join("app.conf").exists(),
        "rendered before the program starts"
    );

    scene.stop("web", &handle, Stop::Ask);

    assert_eq!(scene.ended("web").await, End::Exited(5));
    assert_eq!(scene.read("web", "stdout"), "ready\nasked\n");
}

#[tokio::test]
async fn hundreds_of_tasks_start_and_end_and_none_is_lost() {
    let mut scene = Scene::new();
    let count = 200;
    for n in 0..count {
        scene
            .driver
            .start(shell(&format!("web.instance-{n}._app.1"), &format!("exit {}", n % 100)));
    }
    let (mut running, mut ended) = (0, BTreeMap::new());
    while ended.len() < count {
        match scene.told().await {
            scheduler::driver::Told::Running { .. } => running += 1,
            scheduler::driver::Told::Ended { task, end, .. } => assert_eq!(ended.insert(task, end), None),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(running, count);
    for n in 0..count {
        let task = id(&format!("web.instance-{n}._app.1"));
        assert_eq!(ended.get(&task), Some(&End::Exited(i32::try_from(n % 100).unwrap())));
    }
}
