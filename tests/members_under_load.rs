//! Servers that come, go, catch up and hand over while clients are at work.

use std::time::Duration;

use anyhow::ensure;
use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;
use tokio::time::Instant;

use crate::harness::{Cluster, Exit, Home, Server, Settings, Trial, alone, long};

const BOUND: Duration = Duration::from_secs(300);

#[test]
fn leadership_is_handed_over_again_and_again_and_no_request_fails() {
    alone(BOUND, async |home| {
        let cluster = Cluster::start(home, 3).await?;
        let trial = Trial::begin(&cluster.addresses(), "trial").await?;
        for _ in 0..long(4, 50) {
            let before = cluster.leader().await?;
            cluster.transfer().await?;
            ensure!(cluster.leader().await? != before, "another leads");
            trial.goes_on(100).await?;
        }
        let tally = trial.end().await?;
        cluster.are_equal().await?;
        println!("{tally}");
        assert_eq!(tally.troubles.failed, [] as [&str; 0]);
        assert_eq!(tally.troubles.failed_reads, [] as [&str; 0]);
        assert_eq!(tally.troubles.unknown, 0);
        Ok(())
    });
}

#[test]
fn servers_join_and_are_removed_while_clients_are_at_work() {
    alone(BOUND, async |home| {
        let mut cluster = Cluster::start(home, 3).await?;
        let stay = cluster.addresses()[1..].to_vec();
        let trial = Trial::begin(&stay, "trial").await?;
        cluster.join(home).await?;
        cluster.join(home).await?;
        cluster.all_vote().await?;
        trial.goes_on(100).await?;
        // The first, which led at the beginning, and one that came later.
        for place in [0, 3] {
            cluster.remove(place).await?;
            trial.goes_on(100).await?;
            cluster.all_vote().await?;
        }
        let tally = trial.end().await?;
        cluster.are_equal().await?;
        println!("{tally}");
        Ok(())
    });
}

#[test]
fn a_server_that_lost_its_folder_is_refused_and_comes_back_as_another() {
    alone(BOUND, async |home| {
        let mut cluster = Cluster::start(home, 3).await?;
        let trial = Trial::begin(&cluster.addresses()[..2], "trial").await?;
        cluster.kill(2).await?;
        std::fs::remove_dir_all(&cluster.servers[2].data)?;
        let mut refused = Server::spawn(home, "refused", &cluster.options(home, 3)?)?;
        ensure!(refused.exit().await? != Exit::Code(0));
        let said = refused.log();
        ensure!(
            said.contains("server 3") && said.contains("keyway cluster remove 3"),
            "{said}"
        );
        trial.goes_on(100).await?;

        cluster.remove(2).await?;
        cluster.join(home).await?;
        cluster.all_vote().await?;
        trial.goes_on(100).await?;
        let tally = trial.end().await?;
        cluster.are_equal().await?;
        println!("{tally}");
        Ok(())
    });
}

/// How long a put takes while it is measured: the middle one and the slowest of a hundred.
async fn latency(server: &Server) -> anyhow::Result<(Duration, Duration)> {
    let client = server.client();
    let mut times = Vec::new();
    for number in 0..100 {
        let began = Instant::now();
        client
            .put("latency", number.to_string(), &WriteOptions::default())
            .await?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok((times[50], times[98]))
}

/// So many writes, by several clients.
async fn write(server: &Server, name: &str, count: usize) -> anyhow::Result<()> {
    const CLIENTS: usize = 64;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (client, name) = (server.client(), name.to_owned());
            tokio::spawn(async move {
                for n in 0..count / CLIENTS + 1 {
                    let op = TxnOp::set(format!("{name}/{number}/{}", n % 50), n.to_string());
                    let done = client.txn(&[op], &WriteOptions::default()).await?;
                    ensure!(done.is_ok());
                }
                Ok(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    Ok(())
}

/// A server that was away, or one with an empty disk, comes back while the others serve.
async fn catches_up(home: &Home, cluster: &mut Cluster, name: &str, writes: usize, empty: bool) -> anyhow::Result<()> {
    let leader = cluster.leader().await?;
    let away = (leader + 1) % 3;
    cluster.kill(away).await?;
    write(&cluster.servers[leader], name, writes).await?;
    let before = latency(&cluster.servers[leader]).await?;
    let began = Instant::now();
    if empty {
        cluster.remove(away).await?;
        cluster.join(home).await?;
    } else {
        cluster.restart(home, away).await?;
    }
    let during = latency(&cluster.servers[leader]).await?;
    cluster.all_vote().await?;
    let took = began.elapsed();
    cluster.are_equal().await?;
    println!(
        "{name}: back {took:?} after {writes} writes; a put took {:?} (p99 {:?}) before, {:?} (p99 {:?}) while it caught up",
        before.0, before.1, during.0, during.1
    );
    Ok(())
}

#[test]
fn a_server_that_was_away_and_one_with_an_empty_disk_catch_up_while_the_others_serve() {
    alone(Duration::from_secs(1_800), async |home| {
        let settings = Settings {
            flags: ["--snapshot-every", "2000"].map(Into::into).into(),
            ..Settings::default()
        };
        let mut cluster = Cluster::with(home, 3, settings).await?;
        let writes = long(10_000, 100_000);
        catches_up(home, &mut cluster, "away", writes, false).await?;
        catches_up(home, &mut cluster, "empty", writes, true).await
    });
}
