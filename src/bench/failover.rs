//! `keyway bench failover`: how long no write is taken when the leader dies.
//!
//! Clients write all the time, the leader is killed as by `kill -9`, and what is measured is one more write that
//! comes right after that. Then the killed server is started again, and the next leader is killed once all are there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use kvapi::client::{Error, WriteOptions};
use kvapi::cluster::ClusterStatus;
use kvapi::problem::exit;
use kvapi::{Address, Client, Problem};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::report::{Line, Report};
use super::target::{FOLDER, Target};
use super::{Ask, Common, yardsticks};
use crate::context::Context;
use crate::failure::Outcome;
use crate::spawned::PATIENCE;

/// How long a client tries to have one write taken.
const TRIES: Duration = Duration::from_secs(10);

/// How soon something is looked at or tried again.
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway bench failover                           ten leaders of three servers
  keyway bench failover --rounds 20 --servers 5 --clients 64 -o json")]
pub(crate) struct Failover {
    /// Leaders that are killed, one after another
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Clients that write all the time
    #[arg(long, value_name = "N", default_value_t = 16)]
    clients: usize,
    /// Servers of the cluster that is started, all on this machine
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=7))]
    servers: u8,
    /// Bytes of each value
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    value_size: usize,
    /// Where the servers keep their data, and whose disk is measured
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

/// What became of writes.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    acknowledged: u64,
    /// They may have been done or not.
    unknown: u64,
    /// They were not done.
    failed: u64,
}

impl Failover {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        if context.settings.addresses_named {
            return Err(
                Problem::new(exit::USAGE, "servers that somebody else started are not killed")
                    .help("leave out --addr and KEYWAY_ADDR: the servers of this measurement are its own")
                    .into(),
            );
        }
        let common = Common {
            dir: self.dir,
            value_size: self.value_size,
            servers: self.servers,
            ask: Ask::All,
        };
        let mut target = Target::open(&mut context, &common).await?;
        let addresses = target.asked.clone();
        let client = || Client::new(addresses.clone(), None, TRIES);
        let stop = Arc::<AtomicBool>::default();
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            clients.spawn(write(client(), number, self.value_size, Arc::clone(&stop)));
        }
        let (probe, mut tally, mut times) = (client(), Tally::default(), Vec::new());
        for round in 0..self.rounds {
            let leader = all_there(&addresses).await?;
            let start = Instant::now();
            target.kill(leader).await;
            while !tally.note(&put(&probe, "failover", round.to_string()).await) {
                if start.elapsed() > PATIENCE {
                    let late = format!("no write is taken {PATIENCE:?} after the leader's death");
                    return Err(Problem::new(exit::UNAVAILABLE, late).into());
                }
                sleep(AGAIN).await;
            }
            times.push(start.elapsed());
            target.restart(leader).await?;
        }
        all_there(&addresses).await?;
        stop.store(true, Ordering::Relaxed);
        while let Some(done) = clients.join_next().await {
            tally.add(done.map_err(|e| Problem::new(exit::BUG, format!("a client broke: {e}")))?);
        }
        target.close().await?;
        let mut report = Report::default();
        report.add(silence(times));
        report.add(
            Line::new("writes meanwhile")
                .with("clients", self.clients)
                .with("acknowledged", tally.acknowledged)
                .with("unknown", tally.unknown)
                .with("failed", tally.failed),
        );
        yardsticks::disk(&mut report, &common.dir).await?;
        report.print(
            context.out,
            &json!({"servers": self.servers, "rounds": self.rounds, "value_bytes": self.value_size}),
        )
    }
}

impl Tally {
    /// Counts what became of a write; whether it was acknowledged.
    fn note(&mut self, written: &Result<bool, Error>) -> bool {
        match written {
            Ok(_) => self.acknowledged += 1,
            Err(Error::Unknown(_)) => self.unknown += 1,
            Err(_) => self.failed += 1,
        }
        written.is_ok()
    }

    const fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.failed += other.failed;
    }
}

async fn put(client: &Client, key: &str, value: impl Into<bytes::Bytes>) -> Result<bool, Error> {
    client
        .put(&format!("{FOLDER}{key}"), value, &WriteOptions::default())
        .await
}

/// Writes to a key of its own until it is stopped.
async fn write(client: Client, number: usize, size: usize, stop: Arc<AtomicBool>) -> Tally {
    let (key, mut tally) = (number.to_string(), Tally::default());
    while !stop.load(Ordering::Relaxed) {
        let value = format!("{:0size$}", tally.acknowledged);
        if !tally.note(&put(&client, &key, value).await) {
            sleep(AGAIN).await;
        }
    }
    tally
}

/// The place of the leader, once all servers are there, as far as the others, and of one mind.
async fn all_there(addresses: &[Address]) -> Result<usize, Problem> {
    let look = async {
        loop {
            if let Some(leader) = leader(addresses).await {
                return leader;
            }
            sleep(AGAIN).await;
        }
    };
    let late = |_| {
        Problem::new(
            exit::UNAVAILABLE,
            format!("the servers are not all there again after {PATIENCE:?}"),
        )
    };
    timeout(PATIENCE, look).await.map_err(late)
}

/// The leader's place if all are there. Clients write on, so a server is as far as the others if it has what any of them had
/// when the look began.
async fn leader(addresses: &[Address]) -> Option<usize> {
    let before = statuses(addresses).await?;
    let most = before.iter().map(|status| status.applied_index).max()?;
    let said = statuses(addresses).await?;
    let leader = said.first()?.leader?;
    let agree = said.iter().all(|status| {
        let voters = status.servers.iter().filter(|server| server.voter).count();
        let is_far = status.applied_index >= most;
        status.leader == Some(leader) && voters == addresses.len() && status.settled && is_far
    });
    agree.then(|| usize::try_from(leader - 1).ok())?
}

/// What every server says of itself; `None` if one says nothing.
async fn statuses(addresses: &[Address]) -> Option<Vec<ClusterStatus>> {
    let mut said = Vec::new();
    for address in addresses {
        let client = Client::new(vec![address.clone()], None, Duration::from_secs(2));
        said.push(client.cluster_status().await.ok()?);
    }
    Some(said)
}

/// The line of the times without a leader.
fn silence(mut times: Vec<Duration>) -> Line {
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3);
    Line::new("leader killed, until a write is taken")
        .with("kills", times.len())
        .with("median_ms", ms(times.get(times.len() / 2)))
        .with("min_ms", ms(times.first()))
        .with("max_ms", ms(times.last()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let times = [900, 1300, 1200].map(Duration::from_millis).to_vec();

        let line = serde_json::to_value(silence(times)).unwrap();

        let figures = ["kills", "median_ms", "min_ms", "max_ms"].map(|name| line[name].as_f64());
        assert_eq!(figures, [Some(3.0), Some(1200.0), Some(900.0), Some(1300.0)]);
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_told_from_one_that_was_refused() {
        let mut tally = Tally::default();
        let unavailable = || Error::Unavailable {
            addresses: Vec::new(),
            reason: "No cluster leader".into(),
        };

        assert!(tally.note(&Ok(true)));
        assert!(!tally.note(&Err(Error::Unknown("cut".into()))));
        assert!(!tally.note(&Err(unavailable())) && !tally.note(&Err(unavailable())));

        assert_eq!((tally.acknowledged, tally.unknown, tally.failed), (1, 1, 2));
    }
}
