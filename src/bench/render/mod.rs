//! `keyway bench render`: from a put to the signal that tells a program of it.
//!
//! Real agents render real templates and signal real programs, which say at once that they were
//! told. Of T templates R read the key that changes; the others read keys that do not. If only what is
//! affected is rendered, the agent's time goes by R and not by T.

mod agent;
mod child;
mod shape;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use http::Method;
use kvapi::Problem;
use serde_json::json;

use self::agent::Agents;
pub(super) use self::child::Child;
use self::shape::Shape;
use super::load::{histogram, note};
use super::report::{Line, Report};
use super::target::Target;
use super::{Common, yardsticks};
use crate::connection::Connection;
use crate::context::Context;
use crate::failure::Outcome;

/// How long nothing changes while the agents are looked at.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Render {
    /// Templates of each agent
    #[arg(long, value_name = "N", default_value_t = 1)]
    templates: usize,
    /// How many of them read the key that changes, one line for each number
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1")]
    readers: Vec<usize>,
    /// Keys that the templates read in all, each a share of its own [default: one each]
    #[arg(long, value_name = "N")]
    keys: Option<usize>,
    /// How a template reads its share: key by key, or as one prefix
    #[arg(long, value_enum, value_name = "HOW", default_value = "key")]
    by: By,
    /// Agents at once; a change is over when the last program was told
    #[arg(long, value_name = "N", default_value_t = 1)]
    agents: usize,
    /// Changes of each line, one after another
    #[arg(long, value_name = "N", default_value_t = 100)]
    rounds: usize,
    /// The agent to measure, such as a static keyway-agent [default: the one in this program]
    #[arg(long, value_name = "PROGRAM")]
    agent_program: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// How a template reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Key,
    Prefix,
}

/// What one line measured.
struct Figures {
    latency: Histogram<u64>,
    /// Files written in one change, of one agent.
    written: f64,
    /// CPU of all agents in one change.
    cpu: Duration,
    /// CPU of all agents while nothing changed for [`REST`].
    rest: Duration,
}

impl Render {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let Common {
            ref dir, value_size, ..
        } = self.common;
        let target = Target::open(&mut context, &self.common).await?;
        let mut report = Report::default();
        for &readers in &self.readers {
            let shape = Shape {
                templates: self.templates.max(1),
                readers: readers.min(self.templates),
                keys: self.keys.unwrap_or(self.templates),
                by: self.by,
                value_size,
            };
            shape.set(&target.address).await?;
            let program = self.agent_program.as_deref();
            let mut agents = Agents::start(target.watched(), dir, shape, self.agents.max(1), program).await?;
            let measured = measure(&mut agents, &target, self.rounds).await;
            let memory = agents.memory();
            let started = agents.started;
            agents.stop().await;
            let figures = measured?;
            let mut line = Line::new("put to signal");
            if self.agents > 1 {
                line = line.with("agents", self.agents);
            }
            line = line
                .with("templates", shape.templates)
                .with("readers", shape.readers)
                .with("keys", shape.keys)
                .with("by", if self.by == By::Key { "key" } else { "prefix" })
                .latency("", &figures.latency)
                .with("files_written", figures.written)
                .with("agent_cpu_ms", milliseconds(figures.cpu))
                .with("start_ms", milliseconds(started))
                .with("rss_mib", memory.rss_mib)
                .with("pss_mib", memory.pss_mib)
                .with("rest_cpu_ms_s", milliseconds(figures.rest) / REST.as_secs_f64());
            report.add(line);
        }
        let address = target.name();
        target.close().await?;
        yardsticks::disk(&mut report, dir).await?;
        report.print(
            context.out,
            &json!({"address": address, "value_bytes": value_size, "rounds": self.rounds}),
        )
    }
}

async fn measure(agents: &mut Agents, target: &Target, rounds: usize) -> Result<Figures, Problem> {
    let before = agents.cpu();
    tokio::time::sleep(REST).await;
    let rest = agents.cpu().saturating_sub(before);
    let mut connection = Connection::open(&target.address).await?;
    let mut latency = histogram()?;
    let (mut written, mut cpu) = (0, Duration::ZERO);
    for round in 1..=rounds {
        let (files, before) = (agents.stamps(), agents.cpu());
        let (path, value) = agents.shape.change(round);
        let start = Instant::now();
        connection.expect_ok(Method::PUT, &path, value).await?;
        let told = agents.told().await?;
        note(&mut latency, told.saturating_duration_since(start));
        agents.expect_round(round)?;
        cpu += agents.cpu().saturating_sub(before);
        written += files
            .iter()
            .zip(agents.stamps())
            .filter(|(old, new)| *old != new)
            .count();
    }
    let count = u32::try_from(rounds.max(1)).unwrap_or(u32::MAX);
    Ok(Figures {
        latency,
        written: written as f64 / f64::from(count),
        cpu: cpu / count,
        rest,
    })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
