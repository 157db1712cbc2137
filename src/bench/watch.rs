//! `keyway bench watch`: what many watchers see, and what they cost.

use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use http::Method;
use kvapi::{Address, Problem};
use serde_json::json;

use super::Common;
use super::load::{histogram, note, numbered};
use super::report::{Line, Report};
use super::streams::{Scope, Streams, Way};
use super::target::{FOLDER, Target};
use super::yardsticks;
use crate::connection::Connection;
use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Watchers at once, one line for each number
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1,100,1000")]
    streams: Vec<usize>,
    /// Puts of each line, one after another, each seen by all before the next
    #[arg(long, value_name = "N", default_value_t = 100)]
    rounds: usize,
    /// Watch with blocking queries, as on Consul, not with streams
    #[arg(long)]
    blocking: bool,
    /// Process of the server, for its memory; known if the server is started here
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    common: Common,
}

/// What one line measures with.
struct Round {
    key: String,
    value: Bytes,
    rounds: usize,
}

impl Watch {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let Common {
            ref dir, value_size, ..
        } = self.common;
        let mut target = Target::open(&mut context, &self.common).await?;
        let way = if self.blocking { Way::Blocking } else { Way::Stream };
        let round = Round {
            key: format!("{FOLDER}watched/key"),
            value: vec![b'x'; value_size].into(),
            rounds: self.rounds,
        };
        let mut report = Report::default();
        report.add(round.unseen(&target.address, "no watchers", 0).await?);
        let stranger = Scope::Key(format!("{FOLDER}unwatched/key"));
        for &count in &self.streams {
            target = target.renewed(&self.common).await?;
            round.warm_up(&target.address).await?;
            // Held open, and never told anything.
            let _streams = Streams::open(target.watched(), way, &stranger, count).await?;
            report.add(round.unseen(&target.address, "watchers of another key", count).await?);
        }
        let scopes = [
            ("one key", Scope::Key(round.key.clone())),
            ("one prefix", Scope::Prefix(format!("{FOLDER}watched/"))),
        ];
        let mut event_bytes = 0;
        for (what, scope) in scopes {
            for &count in &self.streams {
                target = target.renewed(&self.common).await?;
                round.warm_up(&target.address).await?;
                let pid = self.pid.or(target.pid());
                let before = pid.and_then(resident_kib);
                let mut streams = Streams::open(target.watched(), way, &scope, count).await?;
                let after = pid.and_then(resident_kib);
                let (put, last) = round.watched(&target.address, &mut streams).await?;
                let told = pid.and_then(resident_kib);
                event_bytes = streams.event_bytes();
                let each = |(before, after): (u64, u64)| after.saturating_sub(before) as f64 / count as f64;
                let line = Line::new(format!("watchers of {what}")).with("watchers", count);
                let line = line.latency("put_", &put).latency("last_", &last);
                let line = line.with("kib_each", before.zip(after).map(each));
                report.add(line.with("kib_each_told", before.zip(told).map(each)));
            }
        }
        let address = target.name();
        target.close().await?;
        for &count in &self.streams {
            yardsticks::sockets(&mut report, count, event_bytes, self.rounds).await?;
        }
        yardsticks::disk(&mut report, dir).await?;
        let way = if self.blocking { "blocking queries" } else { "streams" };
        let about = json!({"address": address, "way": way, "value_bytes": value_size, "rounds": self.rounds});
        report.print(context.out, &about)
    }
}

impl Round {
    /// Puts that no watcher is told of.
    async fn unseen(&self, address: &Address, what: &str, watchers: usize) -> Result<Line, Problem> {
        let mut connection = Connection::open(address).await?;
        let mut put = histogram()?;
        for number in 0..self.rounds {
            let start = Instant::now();
            self.put(&mut connection, number).await?;
            note(&mut put, start.elapsed());
        }
        Ok(Line::new(what).with("watchers", watchers).latency("put_", &put))
    }

    /// A key to watch, and a server that has done each thing once.
    async fn warm_up(&self, address: &Address) -> Result<(), Problem> {
        let mut connection = Connection::open(address).await?;
        // A number that no round has: the first round must change something.
        self.put(&mut connection, self.rounds).await
    }

    /// From the put to its answer, and to the last watcher.
    async fn watched(
        &self,
        address: &Address,
        streams: &mut Streams,
    ) -> Result<(Histogram<u64>, Histogram<u64>), Problem> {
        let mut connection = Connection::open(address).await?;
        let (mut put, mut last) = (histogram()?, histogram()?);
        for number in 0..self.rounds {
            streams.next_round();
            let start = Instant::now();
            let answered = async {
                self.put(&mut connection, number).await?;
                Ok::<_, Problem>(start.elapsed())
            };
            let seen = async {
                streams.all_saw().await?;
                Ok::<_, Problem>(start.elapsed())
            };
            let (answered, seen) = tokio::try_join!(answered, seen)?;
            note(&mut put, answered);
            note(&mut last, seen);
        }
        Ok((put, last))
    }

    async fn put(&self, connection: &mut Connection, number: usize) -> Result<(), Problem> {
        let value = numbered(&self.value, number);
        let path = format!("/v1/kv/{}", self.key);
        connection.expect_ok(Method::PUT, &path, value).await?;
        Ok(())
    }
}

/// Memory of a process that is in use now, in KiB; `None` if it cannot be read.
fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
