//! What cannot be started, and why.

use std::net::TcpListener;

use scheduler::app::{Protocol, Volume, VolumeFrom};
use scheduler::driver::{End, Launch, PortUse, Refusal, Told};

use crate::scene::{Scene, id, shell};

async fn refusal(scene: &mut Scene, launch: Launch) -> Refusal {
    scene.driver.start(launch);
    match scene.told().await {
        Told::Refused { task, refusal } => {
            assert_eq!(task, id("web"));
            refusal
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let mut scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut launch = shell("web", "true");
    launch.ports.push(PortUse {
        host: Some(port),
        inside: port,
        protocol: Protocol::UdpTcp,
    });
    assert_eq!(refusal(&mut scene, launch.clone()).await, Refusal::PortTaken(port));
    drop(listener);
    scene.driver.start(launch);
    scene.running("web").await;
}

#[tokio::test]
async fn what_a_process_cannot_have_is_said() {
    let mut scene = Scene::new();
    let mut without = shell("web", "true");
    without.command = None;
    let mut stranger = shell("web", "true");
    stranger.user = Some("no-such-user".to_owned());
    let mut volume = shell("web", "true");
    volume.volumes.push(Volume {
        container_path: "/data".to_owned(),
        from: VolumeFrom::Host("/srv".to_owned()),
        read_only: true,
    });
    for (launch, why) in [
        (without, "needs `cmd` or `args`"),
        (stranger, "no user `no-such-user`"),
        (volume, "the volume /data"),
    ] {
        let refusal = refusal(&mut scene, launch).await.to_string();
        assert!(refusal.contains(why), "{refusal}");
        assert!(!scene.folder("web").exists());
    }
}

#[tokio::test]
async fn a_task_is_started_once() {
    let mut scene = Scene::new();
    scene.start("web", "exit 0").await;
    assert_eq!(scene.ended("web").await, End::Exited(0));
    let refusal = refusal(&mut scene, shell("web", "exit 0")).await.to_string();
    assert_eq!(refusal, "it has been started before");
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_with_127_and_says_why() {
    let mut scene = Scene::new();
    let mut launch = shell("web", "");
    launch.command = Some(scheduler::app::Command::Args(vec!["/no/such/program".to_owned()]));
    scene.driver.start(launch);
    scene.running("web").await;
    assert_eq!(scene.ended("web").await, End::Exited(127));
    assert!(scene.read("web", "stderr").contains("cannot start `/no/such/program`"));
}
