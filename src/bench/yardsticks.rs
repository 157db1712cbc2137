//! What this machine can do at best, measured in the same run.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use kvapi::Problem;
use kvapi::problem::exit;

use super::load::{Load, Measured, histogram, note};
use super::report::{Line, Report};
use crate::spawned::Spawned;

/// How long the disk is measured.
const DISK: Duration = Duration::from_secs(1);

/// What is written before each sync: about a log entry with a few writes in it.
const BLOCK: [u8; 4096] = [0x5a; 4096];

/// fdatasync after an append, one after another, below `dir`.
pub(super) async fn disk(report: &mut Report, dir: &Path) -> Result<(), Problem> {
    let dir = dir.to_owned();
    let measured = tokio::task::spawn_blocking(move || sync_again_and_again(&dir))
        .await
        .map_err(|e| Problem::new(exit::BUG, format!("measure the disk: {e}")))??;
    let line = Line::new("yardstick: fdatasync of 4 KiB").measured(1, &measured);
    report.add(line);
    Ok(())
}

fn sync_again_and_again(dir: &Path) -> Result<Measured, Problem> {
    let failed =
        |e: std::io::Error| Problem::new(exit::UNAVAILABLE, format!("measure the disk of {}: {e}", dir.display()));
    let mut file: File = tempfile::tempfile_in(dir).map_err(failed)?;
    let mut latency = histogram()?;
    let start = Instant::now();
    while start.elapsed() < DISK {
        let began = Instant::now();
        file.write_all(&BLOCK).and_then(|()| file.sync_data()).map_err(failed)?;
        note(&mut latency, began.elapsed());
    }
    Ok(Measured {
        rate: latency.len() as f64 / start.elapsed().as_secs_f64(),
        latency,
    })
}

/// An empty handler behind the server's accept loop, in a process of its own as the server is.
pub(super) async fn empty_handler(
    report: &mut Report,
    clients: usize,
    duration: Duration,
    body: Bytes,
) -> Result<(), Problem> {
    let spawned = Spawned::start(["bench", "empty"].map(Into::into).to_vec()).await?;
    let method = if body.is_empty() { Method::GET } else { Method::PUT };
    let load = Load {
        address: spawned.address.clone(),
        method,
        path: |_, _| "/".into(),
        query: "",
        body,
        clients,
        duration,
    };
    let measured = load.run().await;
    spawned.stop().await;
    report.add(Line::new("yardstick: empty handler").measured(clients, &measured?));
    Ok(())
}
