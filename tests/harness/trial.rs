//! Clients, watchers and lock holders at work while a test does harm; and the judgement.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use kvapi::client::WriteOptions;
use kvapi::types::HistoryChange;
use kvapi::{Address, Client, Consistency, Revision};
use tokio::time::Instant;

use super::contest::Contest;
use super::eventually_within;
use super::load::{KEYS, Load, Troubles, nanoseconds, seen};
use super::witness::{Witnesses, past};
use crate::oracle::history::{Answer, Asked, Operation};
use crate::oracle::{history, locks, register, revisions};

/// Clients of keys, and of locks.
const CLIENTS: usize = 16;
const HOLDERS: usize = 4;

/// How long writes may stand still. An election takes a second or two, on a machine that has time.
const PATIENCE: Duration = Duration::from_secs(40);

/// See the module.
pub(crate) struct Trial {
    servers: Vec<Address>,
    prefix: String,
    began: Instant,
    /// The revision before the first of it.
    start: Revision,
    load: Load,
    contest: Contest,
    witnesses: Witnesses,
}

/// What a trial that found nothing wrong has seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) operations: usize,
    pub(crate) changes: usize,
    pub(crate) grants: usize,
    /// How often a watch went on behind a revision, and how often on another server.
    pub(crate) resumed: usize,
    pub(crate) moved: usize,
    pub(crate) troubles: Troubles,
}

impl Trial {
    /// Sets everybody to work on keys below `NAME/`, and waits until writes are acknowledged.
    pub(crate) async fn begin(servers: &[Address], name: &str) -> anyhow::Result<Self> {
        let all = HistoryChange {
            revisions: Some(1_000_000),
            versions: Some(10_000),
            ..HistoryChange::default()
        };
        let client = Client::new(servers.to_vec(), None, Duration::from_secs(10));
        let start = client.change_history(&all, &WriteOptions::default()).await?.revision;
        let (prefix, began) = (format!("{name}/"), Instant::now());
        let trial = Self {
            load: Load::start(servers, &format!("{prefix}key/"), CLIENTS, began),
            contest: Contest::start(servers, &format!("{prefix}lock/"), HOLDERS, began),
            witnesses: Witnesses::start(servers, &format!("{prefix}key/"), &format!("{prefix}key/last")),
            servers: servers.to_vec(),
            prefix,
            began,
            start,
        };
        trial.goes_on(50).await?;
        Ok(trial)
    }

    /// How many writes were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.load.acknowledged()
    }

    /// Waits until so many more writes are acknowledged.
    pub(crate) async fn goes_on(&self, writes: usize) -> anyhow::Result<()> {
        let enough = self.acknowledged() + writes;
        eventually_within(PATIENCE, "writes are acknowledged", async || {
            (self.acknowledged() >= enough).then_some(())
        })
        .await
    }

    /// Ends it, reads every key once more through each server, and judges. All servers must be there.
    pub(crate) async fn end(self) -> anyhow::Result<Tally> {
        let (mut operations, troubles) = self.load.end().await?;
        let grants = self.contest.end().await?;
        for server in &self.servers {
            operations.extend(read_all(server, &self.prefix, self.began).await?);
        }
        let client = Client::new(self.servers.clone(), None, Duration::from_secs(10));
        let last = client
            .store(&format!("{}key/last", self.prefix), "0", &WriteOptions::default())
            .await?;
        let last = last.revision.context("a write says its revision")?.0;
        let recordings = self.witnesses.end(last).await?;
        let mut pasts = Vec::new();
        for server in &self.servers {
            pasts.push(past(server, &self.prefix, self.start, last).await?);
        }
        let (first, others) = pasts.split_first().context("a server")?;

        let mut found = troubles.wrong.clone();
        found.extend(first.check());
        for (other, server) in others.iter().zip(&self.servers[1..]) {
            let differs = first.differs(other).into_iter();
            found.extend(differs.map(|what| format!("{} and {server} at {what}", self.servers[0])));
        }
        found.extend(first.without(&operations));
        found.extend(history::stale_reads(&operations));
        found.extend(revisions::check(&operations));
        found.extend(recordings.iter().flat_map(|recording| recording.check(first)));
        found.extend(locks::check(first, &grants));
        found.extend(
            tokio::task::spawn_blocking({
                let operations = operations.clone();
                move || register::not_linearizable(&operations)
            })
            .await?,
        );
        anyhow::ensure!(found.is_empty(), "{} wrong:\n{}", found.len(), shown(&found));
        let mut tally = Tally {
            operations: operations.len(),
            changes: first.changes.len(),
            grants: grants.len(),
            troubles,
            ..Tally::default()
        };
        for (resumed, moved) in recordings.iter().map(|recording| recording.resumed()) {
            tally.resumed += resumed;
            tally.moved += moved;
        }
        Ok(tally)
    }
}

/// The first of many, so that a person can read them.
fn shown(found: &[String]) -> String {
    let lines = found.iter().take(20);
    lines.map(|line| format!("{line:.4000}")).collect::<Vec<_>>().join("\n")
}

/// A last reading of every key.
async fn read_all(server: &Address, prefix: &str, began: Instant) -> anyhow::Result<Vec<Operation>> {
    let client = Client::new(vec![server.clone()], None, Duration::from_secs(20));
    let mut operations = Vec::new();
    for number in 0..KEYS {
        let key = format!("{prefix}key/{number}");
        let called = nanoseconds(began);
        let entry = client.get(&key, Consistency::Default).await?.value;
        operations.push(Operation {
            client: usize::MAX,
            asked: Asked::Read(entry.as_ref().and_then(seen)),
            key,
            called,
            answer: Some(Answer {
                at: nanoseconds(began),
                done: true,
                revision: None,
            }),
        });
    }
    Ok(operations)
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.changes += other.changes;
        self.grants += other.grants;
        self.resumed += other.resumed;
        self.moved += other.moved;
        self.troubles.unknown += other.troubles.unknown;
        self.troubles.unavailable += other.troubles.unavailable;
        self.troubles.failed.extend(other.troubles.failed);
        self.troubles.failed_reads.extend(other.troubles.failed_reads);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations ({} unknown, {} not carried out), {} changes, {} locks given, {} watches resumed, {} of them elsewhere",
            self.operations,
            self.troubles.unknown,
            self.troubles.unavailable + self.troubles.failed.len() + self.troubles.failed_reads.len(),
            self.changes,
            self.grants,
            self.resumed,
            self.moved
        )
    }
}
