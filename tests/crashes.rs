//! What was acknowledged outlives kill -9 and power cuts: whole, and at revisions that never go back.

use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use rand::RngExt as _;

use crate::harness::{Disk, Home, Options, Record, Server, alone, holds, long};

const WRITERS: usize = 8;

/// Snapshots, checkpoints and purges come often, so that they are hit.
fn busy() -> Options {
    Options {
        flags: vec![
            "--snapshot-every".into(),
            "100".into(),
            "--min-free".into(),
            "1MiB".into(),
        ],
        ..Options::default()
    }
}

#[test]
fn every_acknowledged_write_outlives_kill_9_whole() {
    alone(Duration::from_secs(600), async |home| {
        let mut server = Server::with(home, busy()).await?;
        let mut record = Record::new(WRITERS, 20);
        for round in 1..=long(10, 50) {
            let running = record.run(&server);
            let enough = rand::rng().random_range(20..400);
            holds("writes", async || running.acknowledged() >= enough).await?;
            server.program.kill().await?;
            record = running.end().await?;

            server.restart_with(home, busy()).await?;
            record
                .check(&server)
                .await
                .with_context(|| format!("after kill {round}"))?;
        }
        anyhow::ensure!(record.has_compacted(), "nothing was compacted");
        anyhow::ensure!(
            server.data.join("snapshots").read_dir()?.count() >= 2,
            "no snapshots came about"
        );
        Ok(())
    });
}

#[test]
fn every_acknowledged_write_outlives_a_power_cut_whole() {
    alone(Duration::from_secs(600), async |home| {
        let mut disk = Disk::new(home, "disk0", 192)?;
        if !disk.can_be_cut() {
            return Ok(());
        }
        let mut record = Record::new(WRITERS, 2_000);
        for round in 1..=long(3, 10) {
            let mut server = start(home, &disk).await?;
            record
                .check(&server)
                .await
                .with_context(|| format!("after power cut {}", round - 1))?;
            let running = record.run(&server);
            let enough = rand::rng().random_range(50..1_000);
            holds("writes", async || running.acknowledged() >= enough).await?;

            server.program.signal(Signal::SIGSTOP)?;
            let cut = disk.after_power_cut(home, &format!("disk{round}"))?;
            server.program.kill().await?;
            record = running.end().await?;
            disk = cut;
        }
        let server = start(home, &disk).await?;
        record.check(&server).await.context("after the last power cut")?;
        anyhow::ensure!(record.has_compacted(), "nothing was compacted");
        Ok(())
    });
}

async fn start(home: &Home, disk: &Disk) -> anyhow::Result<Server> {
    Server::with(
        home,
        Options {
            data: Some(disk.dir.join("data")),
            ..busy()
        },
    )
    .await
}
