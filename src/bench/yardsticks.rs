//! What this machine can do at best, measured in the same run.

use std::fs::File;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Method;
use kvapi::Problem;
use kvapi::problem::exit;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;

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
        addresses: vec![spawned.address.clone()],
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

/// The bytes of one event, written by one thread to each of `count` connections that are read as
/// watchers read theirs: what news to all of them costs at least, whoever tells it.
pub(super) async fn sockets(report: &mut Report, count: usize, bytes: usize, rounds: usize) -> Result<(), Problem> {
    let failed = |e: std::io::Error| Problem::new(exit::UNAVAILABLE, format!("measure {count} connections: {e}"));
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (read, all_read) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let mut readers = JoinSet::new();
    let mut written: Vec<TcpStream> = Vec::with_capacity(count);
    for _ in 0..count {
        let client = tokio::net::TcpStream::connect(address).await.map_err(failed)?;
        let (server, _) = listener.accept().map_err(failed)?;
        server.set_nodelay(true).map_err(failed)?;
        written.push(server);
        let (read, all_read) = (Arc::clone(&read), Arc::clone(&all_read));
        readers.spawn(async move {
            let mut client = client;
            let mut event = vec![0; bytes];
            while client.read_exact(&mut event).await.is_ok() {
                if (read.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(count) {
                    all_read.notify_one();
                }
            }
        });
    }
    let mut last: Histogram<u64> = histogram()?;
    for _ in 0..rounds {
        let event = vec![0x5a; bytes];
        let told = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            for connection in &mut written {
                connection.write_all(&event)?;
            }
            Ok((written, start.elapsed()))
        });
        let told = told
            .await
            .map_err(|e| Problem::new(exit::BUG, format!("a thread broke: {e}")))?;
        let (connections, took) = told.map_err(failed)?;
        written = connections;
        note(&mut last, took);
        all_read.notified().await;
    }
    let line = Line::new("yardstick: one thread writes as much").with("watchers", count);
    report.add(line.latency("last_", &last));
    Ok(())
}
