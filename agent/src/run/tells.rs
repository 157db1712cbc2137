//! What the loop answers when it is asked how it is.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use kvapi::Problem;

use super::Agent;
use crate::config::Config;
use crate::core::state::Histogram;
use crate::metrics;
use crate::serve::{Answer, Ask, Door, Want};
use crate::status::{About, Facts, Status};

/// What is remembered for whoever asks.
#[derive(Debug)]
pub(super) struct Tells {
    pub(super) door: Option<Door>,
    /// Which server answered last.
    pub(super) address: Option<String>,
    /// From a change's time in the store until it was applied.
    written: Histogram,
    started: SystemTime,
}

impl Tells {
    pub(super) fn new(door: Option<Door>) -> Self {
        Self {
            door,
            address: None,
            written: Histogram::default(),
            started: SystemTime::now(),
        }
    }

    /// A set is applied, whose oldest change the leader wrote at this time.
    pub(super) fn applied(&mut self, at: u64) {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        self.written
            .add(now.saturating_sub(std::time::Duration::from_millis(at)));
    }

    /// The next question; none ever comes without a door.
    pub(super) async fn next(&mut self) -> Ask {
        if let Some(door) = &mut self.door
            && let Some(ask) = door.next().await
        {
            return ask;
        }
        std::future::pending().await
    }
}

/// The status socket of an agent that runs on. One that nobody named is worth no failure.
pub(super) fn door(config: &Config) -> Result<Option<Door>, Problem> {
    if config.policy.once {
        return Ok(None);
    }
    match Door::open(&config.status_socket()) {
        Ok(door) => Ok(Some(door)),
        Err(problem) if config.status.is_some() => Err(problem),
        Err(problem) => {
            tracing::warn!("`agent status` finds nobody: {}", problem.what);
            Ok(None)
        }
    }
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
            Want::Status => match serde_json::to_string(&self.status()) {
                Ok(text) => (StatusCode::OK, "application/json", text + "\n"),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
            },
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
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let facts = Facts {
            agent: About {
                name: host.trim().to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                since: humantime::format_rfc3339_millis(self.tells.started).to_string(),
            },
            address: self.tells.address.clone(),
            child: self.child.as_ref().map(|(pid, _)| pid.as_raw()),
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
