//! What a task wrote.

use bytes::Bytes;
use scheduler::driver::Stop;
use tokio::sync::mpsc::Receiver;

use crate::scene::{Scene, eventually, id};

async fn all(mut lines: Receiver<Bytes>) -> String {
    let mut text = Vec::new();
    while let Some(bytes) = lines.recv().await {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn what_a_task_writes_is_seen_while_it_writes_and_until_its_end() {
    let mut scene = Scene::new();
    let line = "echo one; echo two; echo bad >&2; echo ready >state\n\
                while [ ! -e go ]; do sleep 0.02; done; echo three; printf four";
    let handle = scene.start("web", line).await;
    scene.line("web", "state").await;
    let now = scene.driver.logs(&id("web"), Some(&handle), 1, false).await.unwrap();
    assert_eq!(all(now).await, "two\nbad\n");

    let mut lines = scene.driver.logs(&id("web"), Some(&handle), 10, true).await.unwrap();
    assert_eq!(lines.recv().await.unwrap(), "one\ntwo\nbad\n");
    std::fs::File::create(scene.folder("web").join("go")).unwrap();
    assert_eq!(all(lines).await, "three\nfour");
    scene.ended("web").await;
}

#[tokio::test]
async fn what_a_task_wrote_is_kept_when_its_folder_is_gone() {
    let mut scene = Scene::new();
    let name = "web.instance-1._app.1";
    let handle = scene.start(name, "echo why it ended; exec sleep 1000").await;
    scene.line(name, "stdout").await;
    scene.stop(name, &handle, Stop::Force);
    scene.ended(name).await;

    scene.driver.forget(&id(name), &handle);

    eventually("its folder is gone", || (!scene.folder(name).exists()).then_some(())).await;
    let kept = scene.driver.logs(&id(name), Some(&handle), 10, true).await.unwrap();
    assert_eq!(all(kept).await, "why it ended\n");
}
