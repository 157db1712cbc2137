//! Who takes a byte a second of a list or of a watch, while leaders come and go: nobody else waits for it, and what is
//! kept for it is bounded.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvapi::Address;
use kvapi::client::WriteOptions;
use kvapi::types::{HistoryChange, WatchEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use crate::harness::{Cluster, Server, Stream, alone, eventually, keys, long};
use crate::lists::{Reader, check, write_all};
use crate::overload::MIB;

/// How many of each kind there are at one server.
const READERS: usize = 20;

/// A watch of everything, from its beginning on.
async fn watcher(server: &Server) -> anyhow::Result<TcpStream> {
    let Address::Tcp(authority) = &server.address else {
        anyhow::bail!("{} is not a TCP address", server.address);
    };
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(64 << 10)?;
    let mut stream = socket.connect(authority.parse()?).await?;
    stream
        .write_all(b"GET /v1/watch?prefix=many/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await?;
    Ok(stream)
}

/// Takes a byte of a list a second, until it is stopped. The list, to be read on.
async fn trickle(mut list: Reader, stop: CancellationToken) -> anyhow::Result<Reader> {
    let mut seconds = interval(Duration::from_secs(1));
    let takes = async {
        loop {
            seconds.tick().await;
            list.take(1).await?;
        }
    };
    match stop.run_until_cancelled(takes).await {
        Some(Err::<(), anyhow::Error>(error)) => Err(error),
        _ => Ok(list),
    }
}

/// The same of a watch, with which a server may break off when it is too far behind.
async fn trickle_of_a_watch(mut watcher: TcpStream) {
    let mut seconds = interval(Duration::from_secs(1));
    while watcher.read(&mut [0]).await.is_ok_and(|read| read > 0) {
        seconds.tick().await;
    }
}

/// The slowest of some writes and reads through a server.
async fn serves(server: &Server, name: &str) -> anyhow::Result<Duration> {
    let (client, mut slowest) = (server.client(), Duration::ZERO);
    for number in 0..20 {
        let (key, begun) = (format!("{name}/{number}"), Instant::now());
        client.put(&key, "1", &WriteOptions::default()).await?;
        ensure!(client.get(&key, Default::default()).await?.value.is_some(), "{key}");
        slowest = slowest.max(begun.elapsed());
    }
    Ok(slowest)
}

/// Reads changes until one of this key.
async fn sees(watcher: &mut Stream, key: &str) -> anyhow::Result<()> {
    loop {
        if let WatchEvent::Change(change) = watcher.next().await?
            && keys(&change).contains(&key)
        {
            return Ok(());
        }
    }
}

#[test]
fn who_takes_a_byte_a_second_holds_up_nobody_while_leaders_come_and_go() {
    alone(Duration::from_secs(long(400, 900)), async |home| {
        let count = long(12_000, 200_000);
        let mut cluster = Cluster::start(home, 3).await?;
        // It leads at first, and stays when it does not any more.
        let here = cluster.leader().await?;
        let server = &cluster.servers[here];
        let kept = HistoryChange {
            bytes: Some(1 << 30),
            ..HistoryChange::default()
        };
        server.client().change_history(&kept, &WriteOptions::default()).await?;
        write_all(server, count, "first").await?;
        let before = server.program.memory()?;
        let (mut lists, mut watchers) = (Vec::new(), JoinSet::new());
        let stop = CancellationToken::new();
        for number in 0..READERS {
            // So much is written at once on a busy machine that another may be elected meanwhile.
            let begin = async || Reader::begin(server, number % 2 == 0).await.ok();
            let list = eventually("a list begins", begin).await?;
            lists.push(tokio::spawn(trickle(list, stop.clone())));
            watchers.spawn(trickle_of_a_watch(watcher(server).await?));
        }
        let mut quick = Stream::get(server, "prefix=last", &[]).await?;
        quick.snapshot().await?;

        cluster.transfer().await?;
        while cluster.leader().await? == here {
            cluster.transfer().await?;
        }
        let mut slowest = vec![serves(server, "handed-over").await?];
        let leader = cluster.leader().await?;
        ensure!(leader != here, "another leads");
        slowest.push(serves(&cluster.servers[leader], "leads").await?);
        cluster.kill(leader).await?;
        // What an election costs is told elsewhere.
        cluster.leader().await?;
        let server = &cluster.servers[here];
        slowest.push(serves(server, "killed").await?);
        write_all(server, count, "second").await?;
        server.put("last", "1").await?;
        sees(&mut quick, "last")
            .await
            .context("a quick watcher beside slow ones")?;
        let memory = server.program.memory()?.saturating_sub(before);
        println!(
            "{READERS} slow readers of {count} keys and as many slow watchers: {} MiB more behind writing all anew; \
             the slowest write and read took {slowest:?}",
            memory / MIB
        );
        for slowest in &slowest {
            ensure!(*slowest < Duration::from_secs(5), "{slowest:?}");
        }
        // As texts that wait the lists would be six MiB each, and the changes as much again.
        ensure!(memory < 120 * MIB * (count as u64).div_ceil(12_000), "{memory} bytes");
        stop.cancel();
        for list in lists {
            check(&list.await??.finish().await?, count, |_| "first")?;
        }
        cluster.restart(home, leader).await?;
        cluster.all_vote().await?;
        cluster.are_equal().await
    });
}
