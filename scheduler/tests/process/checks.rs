//! A health check's command.

use std::time::Duration;

use scheduler::driver::Stop;

use crate::scene::{Scene, eventually, id, runs, shell};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_command_runs_beside_its_task_and_says_what_it_found() {
    let mut scene = Scene::new();
    let mut launch = shell("web", "echo ready; exec sleep 1000");
    launch.env.insert("PORT0".into(), "31000".into());
    scene.driver.start(launch);
    let handle = scene.running("web").await;
    scene.line("web", "stdout").await;

    let line = "echo $PORT0; pwd; echo bad >&2; exit 3";
    let answer = scene.driver.run_check(&id("web"), &handle, line, LONG).await.unwrap();

    assert_eq!(answer.code, 3);
    assert_eq!(
        answer.output,
        format!("31000\n{}\nbad\n", scene.folder("web").display())
    );

    let much = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done";
    let answer = scene.driver.run_check(&id("web"), &handle, much, LONG).await.unwrap();
    assert_eq!(answer.code, 0);
    assert!(answer.output.ends_with("line 1999\n") && answer.output.len() == 4096);

    let found = scene.driver.find().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        found.first().map(|found| &found.handle),
        Some(&handle),
        "a check is nobody's leader"
    );

    scene.stop("web", &handle, Stop::Force);
    scene.ended("web").await;
    assert!(scene.driver.run_check(&id("web"), &handle, "true", LONG).await.is_err());
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    let mut scene = Scene::new();
    let handle = scene.start("web", "echo ready; exec sleep 1000").await;
    scene.line("web", "stdout").await;

    // Long enough for it to be there, in any case short of its end.
    let line = "sleep 1000 & echo $! >checks-child; wait";
    let limit = Duration::from_millis(500);
    let error = scene
        .driver
        .run_check(&id("web"), &handle, line, limit)
        .await
        .unwrap_err();

    assert!(error.to_string().contains("500 ms"), "{error}");
    let child = scene.read("web", "checks-child");
    if !child.is_empty() {
        eventually("its child is ended", || (!runs(child.trim())).then_some(())).await;
    }
    scene.stop("web", &handle, Stop::Force);
    scene.ended("web").await;
}
