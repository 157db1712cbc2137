//! `keyway demo microbots`: many tiny servers behind a real HAProxy, rolled under load, and nothing left of them.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::deploying::processes;
use crate::harness::{Exit, Home, Keyway, alone, holds, long};

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

#[test]
fn they_are_deployed_and_rolled_behind_haproxy_and_no_request_fails() {
    alone(Duration::from_secs(600), async |home| {
        let instances = long(100, 1000);
        let mut words = microbots(home, instances);
        words.extend(["--once", "-o", "json"].map(str::to_owned));
        let words: Vec<_> = words.iter().map(String::as_str).collect();

        let figures: Value = Keyway::new(home).run(&words).await?.expect(0)?.json()?;

        println!("{figures:#}");
        let number = |name: &str| figures[name].as_u64().unwrap_or_default();
        assert_eq!((number("instances"), number("failed")), (instances.into(), 0));
        assert!(number("requests") > 0 && number("looks") > 0, "{figures}");
        assert!(number("fewest_healthy") >= number("floor"), "{figures}");
        let there = number("instances")..=number("cap");
        assert!(there.contains(&number("most_there")), "{figures}");
        assert_eq!(figures["used"]["agents"].as_u64(), Some(instances.into()), "{figures}");
        nothing_is_left(home).await
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
