//! What clients, watchers and lock holders see while servers and what is between them fail: nothing that was acknowledged
//! is lost, every answer could have been given one after the other, no watch misses anything, no lock has two holders,
//! and in the end all servers hold the same.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvapi::client::WriteOptions;
use kvapi::{Consistency, Error};
use nix::sys::signal::Signal;

use crate::harness::{
    Cluster, Disk, Exit, Home, Server, Settings, Tally, Trial, Way, alone, eventually_within, harm, long,
};

/// How long a whole test may take; most of it is waiting for a machine that is busy.
const BOUND: Duration = Duration::from_secs(300);

/// Three servers at work, harm, and the judgement.
async fn survives(
    home: &Home,
    settings: Settings,
    harm: impl AsyncFnOnce(&mut Cluster, &Trial) -> anyhow::Result<()>,
) -> anyhow::Result<Tally> {
    let mut cluster = Cluster::with(home, 3, settings).await?;
    let trial = Trial::begin(&cluster.addresses(), "trial").await?;
    harm(&mut cluster, &trial).await?;
    cluster.proxy.heal();
    cluster.all_vote().await?;
    trial.goes_on(100).await?;
    let tally = trial.end().await?;
    cluster.are_equal().await?;
    println!("{tally}");
    Ok(tally)
}

#[test]
fn one_server_that_is_killed_again_and_again_keeps_every_promise() {
    alone(BOUND, async |home| {
        let mut server = Server::start(home).await?;
        let mut tally = Tally::default();
        for round in 0..long(2, 20) {
            let trial = Trial::begin(&[server.address.clone()], &format!("round{round}")).await?;
            for _ in 0..2 {
                trial.goes_on(rand::random_range(50..300)).await?;
                server.program.kill().await?;
                server.restart(home).await?;
                trial.goes_on(100).await?;
            }
            tally.add(trial.end().await?);
        }
        println!("{tally}");
        assert!(tally.grants > 10 && tally.resumed > 10, "{tally}");
        Ok(())
    });
}

#[test]
fn the_death_of_the_leader_or_of_a_follower_loses_nothing() {
    alone(BOUND, async |home| {
        let tally = survives(home, Settings::default(), async |cluster, trial| {
            for _ in 0..long(1, 5) {
                let leader = cluster.leader().await?;
                for place in [leader, (leader + 1) % 3] {
                    cluster.kill(place).await?;
                    trial.goes_on(100).await?;
                    cluster.restart(home, place).await?;
                    cluster.all_vote().await?;
                }
            }
            Ok(())
        })
        .await?;
        assert!(tally.moved > 0, "{tally}");
        Ok(())
    });
}

#[test]
fn without_a_majority_nothing_is_acknowledged_and_behind_it_all_goes_on() {
    alone(BOUND, async |home| {
        survives(home, Settings::default(), async |cluster, _| {
            let left = cluster.leader().await?;
            let dead = [(left + 1) % 3, (left + 2) % 3];
            for place in dead {
                cluster.kill(place).await?;
            }
            let client = cluster.servers[left].client_within(Duration::from_secs(6));
            for number in 0..2 {
                let put = client
                    .put(&format!("without/{number}"), "1", &WriteOptions::default())
                    .await;
                ensure!(
                    matches!(put, Err(Error::Unavailable { .. } | Error::Unknown(_))),
                    "without a majority: {put:?}"
                );
            }
            let read = client.get("without/0", Consistency::Default).await;
            ensure!(read.is_err(), "without a majority: {read:?}");
            client
                .get("without/0", Consistency::Stale)
                .await
                .context("what it has it shows")?;
            for place in dead {
                cluster.restart(home, place).await?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn the_death_of_all_servers_at_once_loses_nothing() {
    alone(BOUND, async |home| {
        survives(home, Settings::default(), async |cluster, trial| {
            for _ in 0..long(2, 10) {
                for place in 0..3 {
                    cluster.signal(place, Signal::SIGKILL)?;
                }
                for place in 0..3 {
                    cluster.restart(home, place).await?;
                }
                trial.goes_on(100).await?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_leader_that_stood_still_answers_no_read_from_the_past() {
    alone(BOUND, async |home| {
        survives(home, Settings::default(), async |cluster, _| {
            for round in 0..long(2, 20) {
                let stopped = cluster.leader().await?;
                let old = cluster.servers[stopped].client_within(Duration::from_secs(20));
                let key = format!("stopped/{round}");
                old.put(&key, "old", &WriteOptions::default()).await?;
                cluster.signal(stopped, Signal::SIGSTOP)?;
                // Sent while it stands still, so they are the first that it answers.
                let others: Vec<_> = (0..3).filter(|place| *place != stopped).collect();
                let written = cluster.servers[others[round % 2]].client_within(Duration::from_secs(20));
                let wrote = eventually_within(Duration::from_secs(40), "another leads", async || {
                    written.put(&key, "new", &WriteOptions::default()).await.ok()
                });
                ensure!(wrote.await?);
                let reads: Vec<_> = (0..8)
                    .map(|_| {
                        let (old, key) = (old.clone(), key.clone());
                        tokio::spawn(async move { old.get(&key, Consistency::Default).await })
                    })
                    .collect();
                cluster.signal(stopped, Signal::SIGCONT)?;
                for read in reads {
                    let entry = read.await??.value.context("it is there")?;
                    ensure!(*entry.value == *b"new", "{key}: {entry:?}");
                }
            }
            Ok(())
        })
        .await?;
        Ok(())
    });
}

/// What is between the leader and the others fails; `goes_on` says whether writes go on meanwhile.
fn around_the_leader(ways: &[(Way, Way, bool)]) {
    alone(BOUND, async |home| {
        survives(home, Settings::default(), async |cluster, trial| {
            for (from, to, goes_on) in ways {
                for _ in 0..long(1, 5) {
                    let leader = cluster.leader().await?;
                    cluster.around(leader, *from, *to);
                    if *goes_on {
                        trial.goes_on(100).await.with_context(|| format!("{from:?} {to:?}"))?;
                    } else {
                        // The length of the harm: there is nothing to wait for that is sure to come.
                        tokio::time::sleep(Duration::from_secs(2)).await;
                    }
                    cluster.proxy.heal();
                    cluster.all_vote().await?;
                    trial.goes_on(50).await?;
                }
            }
            Ok(())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_leader_that_is_cut_off_is_followed_by_another_and_comes_back_as_a_follower() {
    around_the_leader(&[(Way::Held, Way::Held, true), (Way::Broken, Way::Broken, true)]);
}

#[test]
fn a_leader_that_is_not_heard_or_does_not_hear_does_no_harm() {
    around_the_leader(&[(Way::Held, Way::Open, true), (Way::Open, Way::Held, true)]);
}

#[test]
fn slow_connections_between_servers_do_no_harm() {
    // An entry has to be answered within a heartbeat's time, 100 ms, there and back.
    let slow = |milliseconds| Way::Delayed(Duration::from_millis(milliseconds));
    around_the_leader(&[(slow(30), slow(30), true), (slow(1), slow(60), true)]);
}

#[test]
fn connections_that_one_side_believes_in_are_given_up() {
    around_the_leader(&[(Way::Silent, Way::Silent, true), (Way::Silent, Way::Open, true)]);
}

#[test]
fn a_follower_that_is_cut_off_disturbs_nobody_when_it_comes_back() {
    alone(BOUND, async |home| {
        survives(home, Settings::default(), async |cluster, trial| {
            for way in [Way::Held, Way::Broken, Way::Silent] {
                let follower = (cluster.leader().await? + 1) % 3;
                cluster.around(follower, way, way);
                trial.goes_on(100).await?;
                cluster.proxy.heal();
                cluster.all_vote().await?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    });
}

/// Where a server's data is on its disk; the folder's name is that of its log.
fn data(disk: &Disk, id: usize) -> PathBuf {
    disk.dir.join(format!("data{id}"))
}

/// A disk of its own for each server.
fn disks(home: &Home, mib: u64) -> anyhow::Result<(Vec<Disk>, Settings)> {
    let disks = (1..=3).map(|id| Disk::new(home, &format!("disk{id}"), mib));
    let disks = disks.collect::<anyhow::Result<Vec<_>>>()?;
    let settings = Settings {
        folders: disks.iter().zip(1..).map(|(disk, id)| data(disk, id)).collect(),
        flags: ["--min-free", "1MiB", "--snapshot-every", "500"].map(Into::into).into(),
        ..Settings::default()
    };
    Ok((disks, settings))
}

#[test]
fn a_full_disk_of_one_server_loses_nothing() {
    alone(BOUND, async |home| {
        let (disks, settings) = disks(home, 96)?;
        survives(home, settings, async |cluster, trial| {
            let leader = cluster.leader().await?;
            for full in [(leader + 1) % 3, leader] {
                disks[full].fill(0)?;
                trial
                    .goes_on(200)
                    .await
                    .with_context(|| format!("the disk of {full} is full"))?;
                disks[full].make_room()?;
                if let Some(exit) = cluster.servers[full].program.ended() {
                    ensure!(exit == Exit::Code(8), "{exit:?}");
                    cluster.restart(home, full).await?;
                }
                cluster.all_vote().await?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_last_write_that_is_torn_is_cut_off_and_made_up_for() {
    alone(BOUND, async |home| {
        survives(home, Settings::default(), async |cluster, trial| {
            for _ in 0..long(2, 10) {
                let place = (cluster.leader().await? + 1) % 3;
                cluster.kill(place).await?;
                // The beginning of a record that nobody was told of: what a death leaves that interrupts a write.
                let log = cluster.servers[place].data.join("log");
                let file = harm::last(&log, ".wal")?;
                let bytes = std::fs::read(&file)?;
                let beginning = bytes.get(..12).context("a log has a beginning")?;
                File::options().append(true).open(&file)?.write_all(beginning)?;
                trial.goes_on(50).await?;
                cluster.restart(home, place).await?;
                let said = cluster.servers[place].program.log();
                ensure!(said.contains("the log's last record was incomplete"), "{said}");
                cluster.all_vote().await?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    });
}

/// The power of these servers goes at one moment.
async fn power_cut(
    home: &Home,
    cluster: &mut Cluster,
    disks: &mut [Disk],
    places: &[usize],
    name: &str,
) -> anyhow::Result<()> {
    for place in places {
        cluster.signal(*place, Signal::SIGSTOP)?;
    }
    for place in places {
        let cut = disks[*place].after_power_cut(home, &format!("{name}-{place}"))?;
        cluster.kill(*place).await?;
        cluster.move_to(*place, data(&cut, *place + 1));
        disks[*place] = cut;
    }
    for place in places {
        cluster.restart(home, *place).await?;
    }
    Ok(())
}

#[test]
fn a_power_cut_of_one_server_or_of_all_loses_nothing() {
    alone(BOUND, async |home| {
        let (mut disks, settings) = disks(home, 192)?;
        if !disks.iter().all(Disk::can_be_cut) {
            return Ok(());
        }
        survives(home, settings, async |cluster, trial| {
            for round in 0..long(1, 10) {
                let leader = cluster.leader().await?;
                power_cut(home, cluster, &mut disks, &[leader], &format!("one{round}")).await?;
                trial.goes_on(100).await?;
                cluster.all_vote().await?;
                power_cut(home, cluster, &mut disks, &[0, 1, 2], &format!("all{round}")).await?;
                trial.goes_on(100).await?;
            }
            Ok(())
        })
        .await?;
        Ok(())
    });
}
