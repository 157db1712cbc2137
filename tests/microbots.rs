//! `keyway demo microbots`: many tiny servers behind a real HAProxy, rolled under load, and nothing left of them.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::containers::copy_static;
use crate::deploying::processes;
use crate::harness::{Containers, Docker, Exit, Home, Keyway, alone, holds, long};

/// The demo, with all its files in the test's folder.
fn microbots(home: &Home, instances: u32) -> Vec<String> {
    let folder = home.path("").display().to_string();
    let words = [
        "demo",
        "microbots",
        "--dir",
        &folder,
        "--instances",
        &instances.to_string(),
    ];
    words.map(str::to_owned).to_vec()
}

async fn nothing_is_left(home: &Home) -> anyhow::Result<()> {
    holds("no process is left", async || processes(home).is_empty()).await?;
    let left = std::fs::read_dir(home.path(""))?
        .flatten()
        .map(|entry| entry.file_name());
    let left: Vec<_> = left
        .filter(|name| name.to_string_lossy().starts_with("keyway-fleet-"))
        .collect();
    anyhow::ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// Case 72.
#[test]
fn they_are_deployed_and_rolled_behind_haproxy_and_no_request_fails() {
    alone(Duration::from_secs(600), async |home| {
        let instances = long(100, 1000);
        let mut words = microbots(home, instances);
        words.extend(["--once", "-o", "json"].map(str::to_owned));
        let words: Vec<_> = words.iter().map(String::as_str).collect();

        all_went_well(home, &words, instances).await?;
        nothing_is_left(home).await
    });
}

/// The figures say that no request failed, that floor and cap held, and that each has its agent.
async fn all_went_well(home: &Home, words: &[&str], instances: u32) -> anyhow::Result<()> {
    let figures: Value = Keyway::new(home).run(words).await?.expect(0)?.json()?;
    println!("{figures:#}");
    let number = |name: &str| figures[name].as_u64().unwrap_or_default();
    assert_eq!((number("instances"), number("failed")), (instances.into(), 0));
    assert!(number("requests") > 0 && number("looks") > 0, "{figures}");
    // By the API, and by the table of processes or the Engine's list.
    let fewest = number("floor")..=number("instances");
    for name in ["fewest_healthy", "fewest_there"] {
        assert!(fewest.contains(&number(name)), "{name}: {figures}");
    }
    let most = number("instances")..=number("cap");
    for name in ["most_told", "most_there"] {
        assert!(most.contains(&number(name)), "{name}: {figures}");
    }
    assert_eq!(figures["used"]["agents"].as_u64(), Some(instances.into()), "{figures}");
    Ok(())
}

/// An image that has this program and nothing else.
pub(crate) const IMAGE: &str = "microbots:1";

/// Builds it.
pub(crate) async fn build(home: &Home, docker: &Docker) -> anyhow::Result<()> {
    copy_static(home, "keyway", "image")?;
    home.write("image/Dockerfile", "FROM scratch\nCOPY keyway /\n")?;
    let folder = home.path("image").display().to_string();
    docker.run(home, &["build", "-q", "-t", IMAGE, &folder]).await.map(drop)
}

#[test]
fn they_are_containers_if_they_are_to_be_and_none_is_left() {
    alone(Duration::from_secs(1200), async |home| {
        let Some(docker) = Docker::with_network(home, Containers::End).await? else {
            return Ok(());
        };
        build(home, &docker).await?;
        let stranger = [
            "run",
            "-d",
            "--name",
            "stranger",
            "--network",
            "none",
            IMAGE,
            "/keyway",
            "dev",
        ];
        docker.run(home, &stranger).await?;
        let instances = long(5, 100);
        let mut words = microbots(home, instances);
        let socket = home.path("docker.sock").display().to_string();
        let more = ["--image", IMAGE, "--docker-socket", &socket, "--once", "-o", "json"];
        words.extend(more.map(str::to_owned));
        let words: Vec<_> = words.iter().map(String::as_str).collect();

        all_went_well(home, &words, instances).await?;

        let left = docker.run(home, &["ps", "-a", "--format", "{{.Names}}"]).await?;
        assert_eq!(left, "stranger");
        nothing_is_left(home).await?;
        docker.end(home).await
    });
}

#[test]
fn progress_is_shown_and_ctrl_c_in_the_middle_leaves_nothing() {
    alone(Duration::from_secs(120), async |home| {
        let words = microbots(home, 10);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut terminal = Keyway::new(home).on_a_terminal(&words)?;
        terminal.until("10 of 10 healthy")?;
        terminal.until("Another version rolls")?;
        terminal.until("░")?;

        terminal.signal(Signal::SIGINT)?;
        let (exit, shown) = terminal.exit()?;

        assert_eq!(exit, Exit::Code(130), "{shown}");
        nothing_is_left(home).await
    });
}
