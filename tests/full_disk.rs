//! A disk that is full or nearly: writes are refused, reads go on, nothing acknowledged is lost.

use std::time::Duration;

use anyhow::Context as _;
use kvapi::client::WriteOptions;
use kvapi::{Consistency, Error};

use crate::harness::{Disk, Exit, Options, Record, Server, alone, eventually_within};

/// What a slow disk may take that is full as well.
const PATIENCE: Duration = Duration::from_secs(60);

async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    eventually_within(PATIENCE, what, look).await
}

async fn holds(what: &str, mut condition: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    eventually(what, async || condition().await.then_some(())).await
}

/// A server on a small disk, whose mark is 16 MiB.
fn small(disk: &Disk) -> Options {
    Options {
        data: Some(disk.dir.join("data")),
        flags: ["--min-free", "16MiB", "--snapshot-every", "200"]
            .map(Into::into)
            .into(),
        ..Options::default()
    }
}

/// What a put is answered once it is refused.
async fn refused(server: &Server) -> anyhow::Result<String> {
    eventually("a put is refused", async || {
        let put = server.client().put("more", "1", &WriteOptions::default()).await;
        match put {
            Err(Error::Refused { status, text }) if status == 507 => Some(text),
            _ => None,
        }
    })
    .await
}

async fn reads_go_on(server: &Server) -> anyhow::Result<()> {
    for consistency in [Consistency::Default, Consistency::Stale] {
        let found = server.client().get("a", consistency).await?.value.context("a")?;
        anyhow::ensure!(&*found.value == b"1");
    }
    Ok(())
}

async fn ready(server: &Server) -> anyhow::Result<(u16, String)> {
    let reply = server.request("GET", "/readyz", &[]).await?;
    Ok((reply.status.as_u16(), String::from_utf8_lossy(&reply.body).into_owned()))
}

#[test]
fn below_the_mark_writes_are_refused_and_reads_and_deletes_go_on_until_there_is_room() {
    alone(Duration::from_secs(120), async |home| {
        let disk = Disk::new(home, "small", 96)?;
        let mut server = Server::with(home, small(&disk)).await?;
        server.put("a", "1").await?;
        server.put("b", "1").await?;
        holds("a reserve", async || disk.dir.join("data/ballast").exists()).await?;

        disk.fill(12 << 20)?;
        let said = refused(&server).await?;
        assert!(
            said.starts_with("the disk of the data folder is nearly full (")
                && said.ends_with(" MiB free, writes need 18 MiB); make room: reads go on"),
            "{said}"
        );
        reads_go_on(&server).await?;
        let (status, text) = ready(&server).await?;
        assert!(
            status == 503 && text.contains("not ready: disk: the disk"),
            "{status} {text}"
        );
        assert!(server.client().delete("b", &WriteOptions::default()).await?);
        let told = |server: &Server, words: &str| server.program.log().matches(words).count();
        assert_eq!(told(&server, "only deletes are taken"), 1);
        let kv = server.keyway(home).run(&["kv", "put", "more", "1"]).await?.expect(6)?;
        assert!(kv.err.contains("nearly full"), "{}", kv.err);

        // The reserve is given up before it is too late, and a start needs no more.
        disk.fill(1 << 20)?;
        holds("the reserve is given up", async || {
            !disk.dir.join("data/ballast").exists()
        })
        .await?;
        server.program.kill().await?;
        server.restart_with(home, small(&disk)).await?;
        reads_go_on(&server).await?;
        refused(&server).await?;

        disk.make_room()?;
        holds("a put is taken again", async || server.put("more", "1").await.is_ok()).await?;
        assert_eq!(ready(&server).await?.0, 200);
        assert!(told(&server, "writes are taken") >= 1);
        holds("a new reserve", async || disk.dir.join("data/ballast").exists()).await?;
        assert_eq!(server.stop().await?, Exit::Code(0));
        Ok(())
    });
}

/// Nothing is lost, and nothing is taken.
async fn full(server: &Server, record: &mut Record) -> anyhow::Result<()> {
    reads_go_on(server).await?;
    record.check(server).await?;
    refused(server).await.map(drop)
}

/// Filled to the last byte by somebody else while it is written, with snapshots and compaction.
/// The server may refuse, and it may end: what was acknowledged is there.
#[test]
fn a_disk_filled_to_the_last_byte_takes_nothing_that_was_acknowledged() {
    alone(Duration::from_secs(240), async |home| {
        let disk = Disk::new(home, "small", 128)?;
        let mut server = Server::with(home, small(&disk)).await?;
        server.put("a", "1").await?;
        let mut record = Record::new(8, 4_000);
        for round in 0..3 {
            let running = record.run(&server);
            let enough = running.acknowledged() + 300;
            holds("writes", async || running.acknowledged() >= enough).await?;
            disk.fill(0)?;
            let ended = eventually("the server refuses, or ends", async || match server.program.ended() {
                Some(exit) => Some(Some(exit)),
                None if running.refused() > 100 => Some(None),
                None => None,
            })
            .await?;
            record = running.end().await?;
            match ended {
                Some(exit) => {
                    assert_eq!(exit, Exit::Code(8), "round {round}");
                    assert!(
                        server.program.log().contains("cannot write"),
                        "{}",
                        server.program.log()
                    );
                }
                None => {
                    reads_go_on(&server).await?;
                    server.program.kill().await?;
                }
            }

            // Once more to the last byte: the reserve may have been given up before, and then a start may end for want of
            // room, too, with the reason.
            disk.fill(0)?;
            match server.restart_with(home, small(&disk)).await {
                Ok(()) => match full(&server, &mut record).await {
                    Ok(()) => disk.make_room()?,
                    // It may end for want of room after its start as well.
                    Err(error) => {
                        let exit = server.program.exit().await;
                        let exit = exit.with_context(|| format!("round {round}, full: {error:#}"))?;
                        assert_eq!(exit, Exit::Code(8), "round {round}, full: {error:#}");
                        assert!(server.program.log().contains("cannot write"), "{error:#}");
                        disk.make_room()?;
                        server.restart_with(home, small(&disk)).await?;
                    }
                },
                Err(error) => {
                    let why = format!("{error:#}");
                    anyhow::ensure!(
                        why.contains("cannot write"),
                        "round {round}, a start on a full disk: {why}"
                    );
                    disk.make_room()?;
                    server.restart_with(home, small(&disk)).await?;
                }
            }
            holds("a put is taken again", async || server.put("more", "1").await.is_ok()).await?;
            record
                .check(&server)
                .await
                .with_context(|| format!("round {round}, with room"))?;
        }
        assert!(record.has_compacted(), "nothing was compacted");
        Ok(())
    });
}

/// Without a mark the server runs into the end of the disk by itself.
#[test]
fn a_server_that_fills_its_disk_to_the_last_byte_ends_with_the_reason_and_loses_nothing() {
    alone(Duration::from_secs(240), async |home| {
        // When there is room, there is enough to make the state anew beside the log and its snapshots.
        let disk = Disk::new(home, "small", 192)?;
        disk.fill(48 << 20)?;
        let without_mark = |disk: &Disk| Options {
            flags: ["--min-free", "0", "--snapshot-every", "200"].map(Into::into).into(),
            ..small(disk)
        };
        let mut server = Server::with(home, without_mark(&disk)).await?;
        let running = Record::new(8, 60_000).run(&server);

        let exit = server.program.exit().await?;

        assert_eq!(exit, Exit::Code(8));
        let said = server.program.log();
        assert!(
            said.contains("the server cannot go on: cannot write") && said.contains("start"),
            "{said}"
        );
        let mut record = running.end().await?;
        // Nothing is asked of a start on it, but that it harms nothing.
        let mut program = Server::spawn(home, "again", &without_mark(&disk))?;
        eventually("a start while it is full", async || {
            program
                .ended()
                .map(drop)
                .or_else(|| program.output().contains("ready").then_some(()))
        })
        .await?;
        drop(program);

        disk.make_room()?;
        server.restart_with(home, without_mark(&disk)).await?;
        record.check(&server).await?;
        assert!(record.has_compacted(), "nothing was compacted");
        server.put("more", "1").await
    });
}
