//! `keyway bench deploy`: how soon an app of many instances is up, rolled and told of a setting, and what that takes.
//!
//! Each instance is a tiny HTTP server under an agent, with a file rendered from a setting and a health check.
//!
//! | room | what it measures |
//! | --- | --- |
//! | [`alone`] | the Docker Engine by itself, the yardstick of containers |
//! | [`led`] | how soon HAProxy leads to what is healthy |
//! | [`lists`] | the list of all tasks |

mod alone;
mod led;
mod lists;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

use self::alone::Alone;
use self::lists::Lists;
use super::report::{Line, Report};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::fleet::image::Instead;
use crate::fleet::used::Used;
use crate::fleet::{Fleet, Runs, SETTING, Wanted};
use crate::settings::Settings;
use crate::signals::{INTERRUPTED, Stop};
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
  keyway bench deploy --instances 1000 --by 50 -o json
  keyway bench deploy --image IMAGE               containers, beside what the Engine alone takes")]
pub(crate) struct Deploy {
    /// Instances; each number is a line
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10, 100, 200],
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    instances: Vec<u32>,
    /// How many are replaced at once when a version rolls
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    by: u32,
    #[command(flatten)]
    instead: Instead,
    /// Where all files are
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

/// How long everything of ours took with so many.
#[derive(Debug, Clone, Copy)]
struct Took {
    deployed: Duration,
    rolled: Duration,
    stopped: Duration,
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
        let mut stop = Stop::listen()?;
        let engine = self.instead.engine()?;
        let mut report = Report::default();
        for &instances in &self.instances {
            let mut fleet = Fleet::start(&self.dir, engine.as_deref(), context.settings).await?;
            let measured = tokio::select! {
                biased;
                () = stop.next() => None,
                measured = self.measure(&mut fleet, instances, &mut report) => Some(measured),
            };
            // What was deployed would outlive us.
            if !matches!(measured, Some(Ok(()))) {
                fleet.kill().await;
            }
            let Some(measured) = measured else {
                return Ok(INTERRUPTED);
            };
            measured?;
        }
        if engine.is_none() {
            tokio::select! {
                biased;
                () = stop.next() => return Ok(INTERRUPTED),
                led = self.led(context.settings, &mut report) => led?,
            }
        }
        report.print(context.out, &json!({"by": self.by, "image": self.instead.image()}))
    }

    /// Everything with so many; nothing of it is left, unless it fails or is cut off.
    async fn measure(&self, fleet: &mut Fleet, instances: u32, report: &mut Report) -> Result<(), Failure> {
        let line = |what: &str| Line::new(what).with("instances", instances);
        let (deployed, rolled) = self.run_them(fleet, instances, report).await?;
        let began = Instant::now();
        fleet.stop().await;
        let stopped = began.elapsed();
        report.add(line("all stopped").with("seconds", stopped.as_secs_f64()));
        if let (Some(image), Some(containers)) = (self.instead.image(), fleet.containers()) {
            let alone = Alone::measure(containers, image, instances, fleet.folder()).await?;
            let took = Took {
                deployed,
                rolled,
                stopped,
            };
            beside(took, alone, line, report);
        }
        Ok(())
    }

    /// How soon HAProxy leads to what is healthy, where there is one.
    async fn led(&self, settings: &Settings, report: &mut Report) -> Result<(), Failure> {
        if let Some(latency) = led::led(&self.dir, settings).await? {
            report.add(Line::new("healthy, until haproxy leads to it").latency("", &latency));
        }
        Ok(())
    }

    /// From the first deploy to the last roll. How long it took to deploy them, and to roll them.
    async fn run_them(
        &self,
        fleet: &Fleet,
        instances: u32,
        report: &mut Report,
    ) -> Result<(Duration, Duration), Failure> {
        let place = fleet.folder().join("told");
        let mut words = match self.instead.image() {
            None => Some(listen(&place)?),
            // What is in a container does not reach it.
            Some(_) => None,
        };
        let part = f64::from(self.by.min(instances)) / f64::from(instances);
        let mut wanted = Wanted {
            instances,
            version: 1,
            strategy: (1.0 - part, part),
            balanced: false,
            runs: self.instead.image().map_or(Runs::Telling(&place), Runs::Image),
        };
        let line = |what: &str| Line::new(what).with("instances", instances);
        fleet.put(SETTING, "hello".into()).await?;
        let (deployed, cpu) = deploy(fleet, &wanted).await?;
        let used = Used::by(fleet).await?;
        report.add(
            line("deployed")
                .with("seconds", deployed.as_secs_f64())
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
        let latency = lists::some(&fleet.scheduler, ASKED).await?;
        report.add(line(&format!("GET {}", lists::PATH)).latency("", &latency));
        if let Some(words) = &mut words {
            let began = Instant::now();
            fleet.put(SETTING, "good evening".into()).await?;
            let took = all_told(words, instances).await?.duration_since(began);
            report.add(line("put, until the last is signalled").with("seconds", took.as_secs_f64()));
        }
        wanted.version = 2;
        let (rolled, cpu) = deploy(fleet, &wanted).await?;
        report.add(
            line("rolled")
                .with("seconds", rolled.as_secs_f64())
                .with("main_cpu_s", cpu.as_secs_f64()),
        );
        // Once more, since who asks takes time from who rolls.
        wanted.version = 3;
        let lists = Lists::begin(&fleet.scheduler)?;
        let (took, _) = deploy(fleet, &wanted).await?;
        let latency = lists.end().await?;
        report.add(
            line(&format!("GET {}, while it rolls", lists::PATH))
                .with("seconds", took.as_secs_f64())
                .latency("", &latency),
        );
        Ok((deployed, rolled))
    }
}

/// What the Engine alone took, and ours as a multiple of that.
fn beside(ours: Took, alone: Alone, line: impl Fn(&str) -> Line, report: &mut Report) {
    let [start, stop] = [alone.start, alone.stop].map(|time| time.as_secs_f64());
    report.add(line("yardstick: the Engine alone, created and started").with("seconds", start));
    report.add(line("yardstick: the Engine alone, stopped and removed").with("seconds", stop));
    report.add(
        line("ours to the Engine alone")
            .with("deploy_ratio", ours.deployed.as_secs_f64() / start)
            .with("roll_ratio", ours.rolled.as_secs_f64() / (start + stop))
            .with("stop_ratio", ours.stopped.as_secs_f64() / stop),
    );
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
