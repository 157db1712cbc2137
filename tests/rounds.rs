//! Rounds of whatever may happen to three servers and to five, with clients at work and the judges behind each.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use rand::seq::SliceRandom as _;

use crate::harness::{Cluster, Exit, Home, Tally, Trial, Way, alone, long};

/// What may happen in a round.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// So many die at one moment.
    Kill(usize),
    /// So many stand still.
    Stop(usize),
    /// So many are cut off from the others, one way or both.
    Cut(usize, Way, Way),
    /// One is far away.
    Slow(u64),
    Transfer,
    Restart,
    /// One dies or just goes, for good, and another comes that has nothing.
    Replace,
}

const OF_THREE: &[Fault] = &[
    Fault::Kill(1),
    Fault::Kill(2),
    Fault::Kill(3),
    Fault::Stop(1),
    Fault::Cut(1, Way::Held, Way::Held),
    Fault::Cut(1, Way::Held, Way::Open),
    Fault::Cut(1, Way::Open, Way::Held),
    Fault::Cut(1, Way::Silent, Way::Silent),
    Fault::Cut(1, Way::Broken, Way::Broken),
    // There and back within a heartbeat's time, 100 ms.
    Fault::Slow(30),
    Fault::Transfer,
    Fault::Restart,
    Fault::Replace,
];

const OF_FIVE: &[Fault] = &[
    Fault::Kill(2),
    Fault::Kill(3),
    Fault::Kill(5),
    Fault::Stop(2),
    Fault::Cut(1, Way::Open, Way::Held),
    Fault::Cut(2, Way::Held, Way::Held),
    Fault::Cut(2, Way::Held, Way::Open),
    Fault::Cut(2, Way::Silent, Way::Silent),
    Fault::Cut(2, Way::Broken, Way::Broken),
    Fault::Slow(30),
    Fault::Transfer,
    Fault::Restart,
    Fault::Replace,
];

/// Servers that are chosen by chance, the one that leads among them half of the times.
async fn some(cluster: &Cluster, count: usize) -> anyhow::Result<Vec<usize>> {
    let mut places = cluster.places();
    places.shuffle(&mut rand::rng());
    if rand::random() {
        let leader = cluster.leader().await?;
        let at = places.iter().position(|place| *place == leader);
        places.swap(0, at.context("the one that leads is there")?);
    }
    places.truncate(count);
    Ok(places)
}

fn a_while() -> Duration {
    Duration::from_millis(rand::random_range(200..3_000))
}

/// Does it, to these, and undoes it. While most servers are there and hear each other, writes go on.
async fn happens(
    home: &Home,
    cluster: &mut Cluster,
    trial: &Trial,
    fault: Fault,
    places: &[usize],
) -> anyhow::Result<()> {
    let most_are_well = places.len() * 2 < cluster.places().len();
    match fault {
        Fault::Kill(_) => {
            for place in places {
                cluster.signal(*place, Signal::SIGKILL)?;
            }
            if most_are_well {
                trial.goes_on(20).await?;
            }
            for place in places {
                cluster.restart(home, *place).await?;
            }
        }
        Fault::Stop(_) => {
            for place in places {
                cluster.signal(*place, Signal::SIGSTOP)?;
            }
            tokio::time::sleep(a_while()).await;
            for place in places {
                cluster.signal(*place, Signal::SIGCONT)?;
            }
        }
        Fault::Cut(_, from, to) => {
            cluster.between(places, from, to);
            // In one direction only, a leader may be believed in by those whom it does not hear.
            if from == to && rand::random() {
                trial.goes_on(20).await?;
            } else {
                tokio::time::sleep(a_while()).await;
            }
        }
        Fault::Slow(milliseconds) => {
            let slow = Way::Delayed(Duration::from_millis(milliseconds));
            cluster.between(places, slow, slow);
            trial.goes_on(50).await?;
        }
        Fault::Transfer => cluster.transfer().await?,
        Fault::Restart => {
            for place in places {
                ensure!(cluster.servers[*place].stop().await? == Exit::Code(0));
                cluster.restart(home, *place).await?;
            }
        }
        Fault::Replace => {
            for place in places {
                if rand::random() {
                    cluster.kill(*place).await?;
                }
                cluster.remove(*place).await?;
                trial.goes_on(20).await?;
                cluster.join(home).await?;
            }
        }
    }
    cluster.proxy.heal();
    trial.goes_on(50).await
}

fn how_many(fault: Fault) -> usize {
    match fault {
        Fault::Kill(count) | Fault::Stop(count) | Fault::Cut(count, ..) => count,
        Fault::Slow(_) | Fault::Restart | Fault::Replace => 1,
        Fault::Transfer => 0,
    }
}

/// So many rounds, a fault in each; every fault has its turn before one comes again.
fn rounds(servers: usize, faults: &[Fault], rounds: usize) {
    alone(Duration::from_secs(7_200), async |home| {
        let mut cluster = Cluster::start(home, servers).await?;
        let mut tally = Tally::default();
        let mut turns: Vec<Fault> = Vec::new();
        for round in 0..rounds {
            if turns.is_empty() {
                turns = faults.to_vec();
                turns.shuffle(&mut rand::rng());
            }
            let fault = turns.pop().context("there are faults")?;
            let places = some(&cluster, how_many(fault)).await?;
            println!("round {round}: {fault:?} of {places:?}");
            let there = cluster.places();
            // Who is replaced for good is asked by nobody.
            let stay = there
                .iter()
                .filter(|place| !matches!(fault, Fault::Replace) || !places.contains(place));
            let asked: Vec<_> = stay.map(|place| cluster.servers[*place].address.clone()).collect();
            let about = || format!("round {round}: {fault:?} of {places:?}");
            let trial = Trial::begin(&asked, &format!("round{round}")).await?;
            happens(home, &mut cluster, &trial, fault, &places)
                .await
                .with_context(about)?;
            cluster.all_vote().await.with_context(about)?;
            tally.add(trial.end().await.with_context(about)?);
            cluster.are_equal().await.with_context(about)?;
        }
        println!("{rounds} rounds over {servers} servers, a fault in each: {tally}");
        ensure!(tally.operations > rounds * 100 && tally.grants > rounds, "{tally}");
        Ok(())
    });
}

#[test]
fn rounds_of_random_faults_break_no_promise() {
    rounds(3, OF_THREE, long(10, 200));
}

#[test]
fn rounds_of_random_faults_over_five_servers_break_no_promise() {
    rounds(5, OF_FIVE, long(2, 40));
}
