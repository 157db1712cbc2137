//! Files that a task is given.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use scheduler::app::Fetch;
use scheduler::driver::{End, Refusal, Told};

use crate::scene::{Scene, id, shell};

fn fetch(uri: &str) -> Fetch {
    Fetch {
        uri: uri.to_owned(),
        extract: true,
        executable: false,
        cache: false,
        dest_path: None,
    }
}

/// A server that has an archive at `/app.tgz`, leads to it from `/moved/app.tgz`, and has nothing else. How often it was asked.
fn server(archive: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut piece) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
            }
            count.fetch_add(1, Ordering::Relaxed);
            let text = String::from_utf8(request).unwrap();
            let (head, body): (&str, &[u8]) = match text.split(' ').nth(1) {
                Some("/app.tgz") => ("200 OK", &archive),
                Some("/moved/app.tgz") => ("302 Found\r\nlocation: /app.tgz", b""),
                _ => ("404 Not Found", b""),
            };
            let head = format!(
                "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        }
    });
    (address, asked)
}

/// `app/run`, a script, packed.
fn archive(scene: &Scene) -> Vec<u8> {
    let folder = scene.home().join("made");
    std::fs::create_dir_all(folder.join("app")).unwrap();
    let mut script = std::fs::File::create(folder.join("app/run")).unwrap();
    script.write_all(b"echo unpacked\n").unwrap();
    let made = Command::new("tar")
        .args(["-czf", "app.tgz", "app"])
        .current_dir(&folder)
        .status();
    assert!(made.unwrap().success());
    std::fs::read(folder.join("app.tgz")).unwrap()
}

#[tokio::test]
async fn what_an_app_fetches_is_there_when_it_starts() {
    let mut scene = Scene::new();
    let (address, asked) = server(archive(&scene));
    let file = scene.home().join("made/program");
    let mut program = std::fs::File::create(&file).unwrap();
    program.write_all(b"#!/bin/sh\necho \"$0 runs\"\n").unwrap();
    drop(program);
    for task in ["one", "two"] {
        let mut launch = shell(task, "sh app/run && exec bin/it");
        launch.fetch = vec![
            Fetch {
                cache: true,
                ..fetch(&format!("http://{address}/moved/app.tgz"))
            },
            Fetch {
                executable: true,
                dest_path: Some("bin/it".to_owned()),
                ..fetch(&format!("file://{}", file.display()))
            },
        ];
        scene.driver.start(launch);
        scene.running(task).await;
        assert_eq!(
            scene.ended(task).await,
            End::Exited(0),
            "{}",
            scene.read(task, "stderr")
        );
        assert_eq!(scene.read(task, "stdout"), "unpacked\nbin/it runs\n");
    }
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "one is led on, and the other has what was kept"
    );
}

#[tokio::test]
async fn a_start_that_waits_for_a_server_that_is_silent_is_called_off() {
    let mut scene = Scene::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut launch = shell("web", "echo started");
    launch.fetch = vec![fetch(&format!("http://{address}/file"))];
    scene.driver.start(launch);
    let (stream, _) = tokio::task::spawn_blocking(move || silent.accept())
        .await
        .unwrap()
        .unwrap();

    scene.driver.call_off(&id("web"));

    match scene.told().await {
        Told::Refused { task, refusal } => assert_eq!((task, refusal), (id("web"), Refusal::CalledOff)),
        other => panic!("{other:?}"),
    }
    drop(stream);
    assert!(!scene.folder("web").exists());
    assert_eq!(std::fs::read_dir(scene.home().join("fetching")).unwrap().count(), 0);
    scene.start("other", "exec sleep 1000").await;
}

#[tokio::test]
async fn what_cannot_be_fetched_starts_nothing_and_leaves_nothing() {
    let mut scene = Scene::new();
    let (address, _asked) = server(Vec::new());
    let missing = format!("http://{address}/missing");
    let broken = format!("http://{address}/app.tgz");
    for (uri, why) in [
        (missing.as_str(), "it answered 404"),
        (&broken, "it cannot be unpacked"),
        ("/nowhere/file", "No such file"),
    ] {
        let mut launch = shell("web", "echo started");
        launch.fetch = vec![fetch(uri)];
        scene.driver.start(launch);
        match scene.told().await {
            Told::Refused { task, refusal } => {
                assert_eq!(task, id("web"));
                let told = refusal.to_string();
                assert!(
                    told.starts_with(&format!("{uri} cannot be fetched: ")) && told.contains(why),
                    "{told}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!scene.folder("web").exists());
    assert_eq!(std::fs::read_dir(scene.home().join("fetching")).unwrap().count(), 0);
}
