//! What the loop answers when it is asked how it is, and who asks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use kvapi::problem::exit;
use kvapi::{Client, Problem};
use tokio::sync::mpsc;

use super::Agent;
use crate::config::Config;
use crate::core::state::Histogram;
use crate::metrics;
use crate::report::Report;
use crate::serve::{Answer, Ask, Asks, Door, Want, asks};
use crate::status::{About, Facts, Status};

/// What is remembered for whoever asks.
#[derive(Debug)]
pub(super) struct Tells {
    asks: mpsc::Receiver<Ask>,
    _doors: Vec<Door>,
    report: Option<Report>,
    /// What the agent is called.
    name: String,
    /// Which server answered last.
    pub(super) address: Option<String>,
    /// From a change's time in the store until it was applied.
    written: Histogram,
    started: SystemTime,
}

impl Tells {
    /// Opens the doors of an agent that runs on, and begins its report.
    pub(super) fn begin(config: &Config, client: &Client) -> Result<Self, Problem> {
        let (sender, asks) = asks();
        let name = own_name(config)?;
        let (doors, report) = match config.policy.once {
            true => (Vec::new(), None),
            false => {
                let report = || Report::begin(client.clone(), &name, sender.clone());
                (doors(config, &sender)?, config.telling.report.then(report))
            }
        };
        Ok(Self {
            asks,
            _doors: doors,
            report,
            name,
            address: None,
            written: Histogram::default(),
            started: SystemTime::now(),
        })
    }

    /// What can be told has this version now.
    pub(super) fn changed(&self, version: u64) {
        self.report.iter().for_each(|report| report.changed(version));
    }

    /// The end: what stands in the store goes.
    pub(super) async fn end(&mut self) {
        if let Some(report) = self.report.take() {
            report.end().await;
        }
    }

    /// A set is applied, whose oldest change the leader wrote at this time.
    pub(super) fn applied(&mut self, at: u64) {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        self.written
            .add(now.saturating_sub(std::time::Duration::from_millis(at)));
    }

    /// The next question.
    pub(super) async fn next(&mut self) -> Ask {
        match self.asks.recv().await {
            Some(ask) => ask,
            // Nobody can ask.
            None => std::future::pending().await,
        }
    }
}

/// What an agent is called that was given no name.
fn own_name(config: &Config) -> Result<String, Problem> {
    if let Some(name) = &config.telling.name {
        return Ok(name.clone());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    match crate::config::name(host) {
        Ok(name) => Ok(name),
        Err(_) if !config.telling.report => Ok(host.to_owned()),
        Err(told) => {
            let told = format!("the machine's name cannot be the report's: {told}");
            Err(Problem::new(exit::AGENT, told).help("give one with --name"))
        }
    }
}

fn doors(config: &Config, asks: &Asks) -> Result<Vec<Door>, Problem> {
    let mut doors = Vec::new();
    match Door::open(&config.status_socket(), asks.clone()) {
        Ok(door) => doors.push(door),
        Err(problem) if config.telling.status.is_some() => return Err(problem),
        // One that nobody named is worth no failure.
        Err(problem) => tracing::warn!("`agent status` finds nobody: {}", problem.what),
    }
    if let Some(address) = config.telling.listen {
        let (door, address) = Door::listen(address, asks.clone())?;
        tracing::info!("the status is told at http://{address}/status");
        doors.push(door);
    }
    Ok(doors)
}

impl Agent {
    pub(super) fn answer(&self, ask: Ask) {
        // Who asked may be gone.
        let _ = ask.reply.send(self.told(ask.want));
    }

    fn told(&self, want: Want) -> Answer {
        const PLAIN: &str = "text/plain; charset=utf-8";
        match want {
            Want::Live => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
            Want::Ready => match self.core.state() {
                state if state.ready => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
                state => {
                    let what = state.waiting.map_or("the first set".to_owned(), |(what, _)| what);
                    (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("waiting for {what}\n"))
                }
            },
            Want::Status => (StatusCode::OK, "application/json", self.status().json() + "\n"),
            Want::Report => (StatusCode::OK, "application/json", self.status().report()),
            Want::Metrics => {
                let started = self.tells.started.duration_since(UNIX_EPOCH).unwrap_or_default();
                let (written, resident) = (&self.tells.written, resident());
                let text = metrics::text(&self.core.state(), written, started.as_secs_f64(), resident);
                (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
        }
    }

    fn status(&self) -> Status {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let when = |at: Instant| {
            let time = if at <= now {
                clock.checked_sub(now - at)
            } else {
                clock.checked_add(at - now)
            };
            humantime::format_rfc3339_millis(time.unwrap_or(clock)).to_string()
        };
        let facts = Facts {
            agent: About {
                name: self.tells.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                since: humantime::format_rfc3339_millis(self.tells.started).to_string(),
            },
            address: self.tells.address.clone(),
            child: self.child.as_ref().map(|(pid, _)| pid.as_raw()),
            now,
            when: &when,
        };
        Status::of(&self.core.state(), facts)
    }
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
