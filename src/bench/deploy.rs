//! `keyway bench deploy`: how soon an app of many instances is up, rolled and told of a setting, and what that takes.
//!
//! Each instance is a tiny HTTP server under an agent, with a file rendered from a setting and a health check.

mod led;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

use super::load::{histogram, note};
use super::report::{Line, Report};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::fleet::used::Used;
use crate::fleet::{Fleet, Runs, SETTING, Wanted};
use crate::told::{TOLD, listen};
use crate::usage;

/// How long everything at rest is watched.
const REST: Duration = Duration::from_secs(10);

/// How often the API is asked for all tasks.
const ASKED: usize = 50;

/// How long all programs together may take to say that they were told.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway bench deploy                             10, 100 and 200 instances, rolled by 10
  keyway bench deploy --instances 1000 --by 50 -o json")]
pub(crate) struct Deploy {
    /// Instances; each number is a line
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10, 100, 200],
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    instances: Vec<u32>,
    /// How many are replaced at once when a version rolls
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    by: u32,
    /// Where all files are
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

impl Deploy {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        if context.settings.addresses_named {
            return Err(
                Problem::new(exit::USAGE, "nothing is deployed on what somebody else started")
                    .help("leave out --addr and KEYWAY_ADDR: store and scheduler of this measurement are its own")
                    .into(),
            );
        }
        let mut report = Report::default();
        for &instances in &self.instances {
            let mut fleet = Fleet::start(&self.dir, None, context.settings).await?;
            self.measure(&fleet, instances, &mut report).await?;
            let began = Instant::now();
            fleet.stop().await;
            report.add(
                Line::new("all stopped")
                    .with("instances", instances)
                    .with("seconds", began.elapsed().as_secs_f64()),
            );
        }
        if let Some(latency) = led::led(&self.dir, context.settings).await? {
            report.add(Line::new("healthy, until haproxy leads to it").latency("", &latency));
        }
        report.print(context.out, &json!({"by": self.by}))
    }

    async fn measure(&self, fleet: &Fleet, instances: u32, report: &mut Report) -> Result<(), Failure> {
        let place = fleet.folder().join("told");
        let mut words = listen(&place)?;
        let part = f64::from(self.by.min(instances)) / f64::from(instances);
        let mut wanted = Wanted {
            instances,
            version: 1,
            strategy: (1.0 - part, part),
            runs: Runs::Telling(&place),
        };
        let line = |what: &str| Line::new(what).with("instances", instances);
        fleet.put(SETTING, "hello".into()).await?;
        let (took, cpu) = deploy(fleet, &wanted).await?;
        let used = Used::by(fleet).await?;
        report.add(
            line("deployed")
                .with("seconds", took.as_secs_f64())
                .with("main_cpu_s", cpu.as_secs_f64())
                .with(
                    "agent_cpu_ms",
                    used.agents_cpu_seconds * 1000.0 / used.agents.max(1) as f64,
                ),
        );
        let before = fleet.pid().map(usage::cpu);
        sleep(REST).await;
        let rest = fleet
            .pid()
            .map(usage::cpu)
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before));
        report.add(
            line("at rest")
                .with(
                    "main_cpu_percent",
                    rest.map(|rest| rest.as_secs_f64() * 100.0 / REST.as_secs_f64()),
                )
                .with("main_mib", used.main_mib)
                .with("agent_mib", used.agent_mib)
                .with("server_mib", used.server_mib),
        );
        let mut latency = histogram()?;
        for _ in 0..ASKED {
            let began = Instant::now();
            let all = fleet
                .scheduler
                .get::<serde::de::IgnoredAny>("/v2/apps?embed=apps.tasks")
                .await?;
            all.ok_or_else(|| Problem::new(exit::BUG, "the scheduler has no apps"))?;
            note(&mut latency, began.elapsed());
        }
        report.add(line("GET /v2/apps?embed=apps.tasks").latency("", &latency));
        let began = Instant::now();
        fleet.put(SETTING, "good evening".into()).await?;
        let last = all_told(&mut words, instances).await?;
        report.add(line("put, until the last is signalled").with("seconds", last.duration_since(began).as_secs_f64()));
        wanted.version = 2;
        let (took, cpu) = deploy(fleet, &wanted).await?;
        report.add(
            line("rolled")
                .with("seconds", took.as_secs_f64())
                .with("main_cpu_s", cpu.as_secs_f64()),
        );
        Ok(())
    }
}

/// How long it took, and how much CPU of store and scheduler.
async fn deploy(fleet: &Fleet, wanted: &Wanted<'_>) -> Result<(Duration, Duration), Failure> {
    let (_, app) = fleet.define(wanted)?;
    let cpu = || fleet.pid().map(usage::cpu).unwrap_or_default();
    let (before, began) = (cpu(), Instant::now());
    let begun = fleet.deploy(&app).await?;
    fleet.until_done(&begun, |_| Ok(())).await?;
    Ok((began.elapsed(), cpu().saturating_sub(before)))
}

/// When the last of all programs has said that it was told.
async fn all_told(words: &mut UnboundedReceiver<(u8, Instant)>, instances: u32) -> Result<Instant, Problem> {
    let mut told = 0;
    let all = async {
        while let Some((word, at)) = words.recv().await {
            told += u32::from(word == TOLD);
            if told == instances {
                return Some(at);
            }
        }
        None
    };
    let last = timeout(PATIENCE, all).await.ok().flatten();
    last.ok_or_else(|| {
        Problem::new(
            exit::LEFT,
            format!("{told} of {instances} were told within {PATIENCE:?}"),
        )
    })
}
