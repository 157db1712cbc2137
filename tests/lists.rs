//! Long lists go out in pieces: many slow readers take little memory, hold up nobody, and get what
//! was there when they asked.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use flate2::read::GzDecoder;
use kvapi::Address;
use kvapi::client::WriteOptions;
use kvapi::types::{Entry, HistoryChange, TxnOp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{Server, alone, holds, long};

const MIB: u64 = 1 << 20;

/// As many sets as Consul takes in one transaction.
const OPS: usize = 128;

fn value(n: usize, round: &str) -> Vec<u8> {
    format!("{n} {round} ").bytes().cycle().take(256).collect()
}

/// Sets keys `0..count`.
pub(crate) async fn write_all(server: &Server, count: usize, round: &'static str) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let client = server.client_within(Duration::from_secs(60));
        tasks.spawn(async move {
            for start in (task * OPS..count).step_by(4 * OPS) {
                let ops: Vec<TxnOp> = (start..count.min(start + OPS))
                    .map(|n| TxnOp::set(format!("many/{n:07}"), value(n, round)))
                    .collect();
                let done = client.txn(&ops, &WriteOptions::default()).await?;
                ensure!(done.is_ok(), "{done:?}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

/// Memory stands still when so many looks in a row, this far apart, find the same: what has not moved
/// for two seconds has no condition that could be waited for.
const LOOKS: usize = 40;
const LOOK: Duration = Duration::from_millis(50);

/// The memory of a server once it has written to its disk what it still had to, and has given back what
/// it needed for that: what it has in memory stands still.
async fn settled(server: &Server) -> anyhow::Result<u64> {
    let still = async {
        let (mut memory, mut looks) = (server.program.memory()?, 0);
        while looks < LOOKS {
            tokio::time::sleep(LOOK).await;
            let now = server.program.memory()?;
            let written = server.metric("keyway_state_unwritten_bytes").await? == 0;
            looks = if written && now.abs_diff(memory) < MIB / 4 {
                looks + 1
            } else {
                0
            };
            memory = now;
        }
        anyhow::Ok(memory)
    };
    timeout(Duration::from_secs(300), still)
        .await
        .context("the state on disk does not follow")?
}

/// A client in the middle of the list.
pub(crate) struct Reader {
    stream: TcpStream,
    got: Vec<u8>,
    gzip: bool,
}

impl Reader {
    /// Asks for the list, and reads its head and a little more.
    pub(crate) async fn begin(server: &Server, gzip: bool) -> anyhow::Result<Self> {
        let Address::Tcp(authority) = &server.address else {
            anyhow::bail!("{} is not a TCP address", server.address);
        };
        let socket = TcpSocket::new_v4()?;
        // So that the system takes little for those who do not read.
        socket.set_recv_buffer_size(64 << 10)?;
        let mut stream = socket.connect(authority.parse()?).await?;
        let accept = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        let request =
            format!("GET /v1/kv/many/?recurse HTTP/1.1\r\nHost: localhost\r\n{accept}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reader = Self {
            stream,
            got: Vec::new(),
            gzip,
        };
        timeout(Duration::from_secs(60), reader.take(4096))
            .await
            .context("the head does not come")??;
        let head = String::from_utf8_lossy(&reader.got).into_owned();
        ensure!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        ensure!(head.contains("Content-Encoding: gzip") == gzip, "{head}");
        Ok(reader)
    }

    /// Reads what is there, up to so many bytes.
    pub(crate) async fn take(&mut self, most: usize) -> anyhow::Result<()> {
        let mut some = vec![0; most];
        let read = self.stream.read(&mut some).await?;
        ensure!(read > 0, "the connection was closed");
        self.got.extend_from_slice(&some[..read]);
        Ok(())
    }

    /// Reads on to the end. An error if the connection was cut before the last chunk.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Vec<Entry>> {
        timeout(Duration::from_secs(300), self.stream.read_to_end(&mut self.got))
            .await
            .context("the list does not end")??;
        let at = self.got.windows(4).position(|part| part == b"\r\n\r\n");
        let (mut chunks, mut body) = (&self.got[at.context("no head")? + 4..], Vec::new());
        loop {
            let end = chunks.windows(2).position(|part| part == b"\r\n");
            let end = end.context("the list was cut off")?;
            let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end])?, 16)?;
            let chunk = chunks.get(end + 2..end + 2 + length).context("the list was cut off")?;
            if length == 0 {
                break;
            }
            body.extend_from_slice(chunk);
            chunks = chunks.get(end + 2 + length + 2..).unwrap_or_default();
        }
        if self.gzip {
            let mut plain = Vec::new();
            GzDecoder::new(&*body).read_to_end(&mut plain)?;
            body = plain;
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

/// Every key, with what was written in its round.
pub(crate) fn check(entries: &[Entry], count: usize, round: impl Fn(usize) -> &'static str) -> anyhow::Result<()> {
    ensure!(entries.len() == count, "{} keys of {count}", entries.len());
    for (n, entry) in entries.iter().enumerate() {
        ensure!(
            entry.key == format!("many/{n:07}") && entry.value == value(n, round(n)),
            "{n}: {entry:?}"
        );
    }
    Ok(())
}

#[test]
fn slow_readers_of_a_long_list_take_little_memory_and_get_it_as_it_was() {
    alone(
        long(Duration::from_secs(240), Duration::from_secs(1800)),
        async |home| {
            let (keys, readers) = (long(100_000, 1_000_000), long(20, 100));
            let mut server = Server::start(home).await?;
            // Enough for a version of each key, so that it reaches back.
            let kept = HistoryChange {
                bytes: Some(1 << 30),
                ..HistoryChange::default()
            };
            let options = WriteOptions::default();
            server.client().change_history(&kept, &options).await?;
            write_all(&server, keys, "first").await?;
            // So that what writing has left in memory does not stand in for what reading takes.
            server.stop().await?;
            server.restart(home).await?;
            let before = settled(&server).await?;

            let mut slow = Vec::new();
            for n in 0..readers {
                slow.push(Reader::begin(&server, n % 2 == 0).await?);
            }
            server.put("other", "served").await?;
            let memory = settled(&server).await?.saturating_sub(before);

            println!("{} KiB before", before >> 10);
            println!(
                "{readers} readers of a list of {keys} keys that take nothing, half of them gzip: {} KiB more",
                memory >> 10
            );
            // As was promised: 64 MiB for a hundred, and a little for what comes and goes.
            let most = (64 * MIB * readers as u64 / 100).max(24 * MIB);
            assert!(memory < most, "{memory} bytes");

            // So much is written anew that what they hold is let go, whether they read or not.
            let mut trickle = Reader::begin(&server, false).await?;
            let rewritten = (keys / 20).max(30_000);
            write_all(&server, rewritten, "second").await?;
            holds("the state of before is let go", async || {
                trickle.take(1).await.is_ok() && server.metric("keyway_held_states").await.is_ok_and(|held| held <= 1)
            })
            .await?;

            // The history reaches back: each gets what there was when it asked.
            slow.truncate(4);
            for reader in slow {
                check(&reader.finish().await?, keys, |_| "first")?;
                trickle.take(1).await?;
            }
            check(&trickle.finish().await?, keys, |_| "first")?;
            let entries = Reader::begin(&server, true).await?.finish().await?;
            check(&entries, keys, |n| if n < rewritten { "second" } else { "first" })
        },
    );
}
