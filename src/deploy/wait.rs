//! `keyway deploy wait`: until an app is as it should be.

use std::time::{Duration, Instant};

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use serde_json::json;
use tokio::time::sleep;

use super::changes::changes;
use super::choice::{Awaited, word};
use super::scheduler::{Scheduler, app_id};
use super::told::seconds;
use crate::context::Context;
use crate::failure::Outcome;
use crate::signals::{INTERRUPTED, Stop};

/// How long no scheduler may answer: as long as another one needs to notice that one is gone, and more.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy wait /web --for healthy        all that there are to be run, and are well
  keyway deploy wait /web --for version=2026-11-24T08:30:00.123Z --wait-timeout 5m
  keyway deploy wait /web --for count=3
  keyway deploy wait /web --for stopped

`healthy` and `version` wait for the end of a deployment too. Exits with 124 after --wait-timeout.")]
pub(super) struct Wait {
    /// The app; it need not be there yet
    app: String,
    /// What to wait for: healthy, stopped, version=VERSION, count=N
    #[arg(long = "for", value_name = "WHAT")]
    what: Awaited,
    /// How long to wait; for ever, if it is not said
    #[arg(long, value_name = "DURATION", value_parser = kvapi::duration::parse)]
    wait_timeout: Option<Duration>,
}

impl Wait {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let app = app_id(&self.app)?;
        let began = Instant::now();
        let mut stop = Stop::listen()?;
        let mut changes = changes(scheduler);
        let late = async {
            match self.wait_timeout {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(late);
        let (mut heard, mut last) = (Instant::now(), "not there");
        loop {
            let looked = async {
                changes.recv().await;
                scheduler.app(&app).await
            };
            let found = tokio::select! {
                biased;
                () = stop.next() => return Ok(INTERRUPTED),
                () = &mut late => {
                    let limit = self.wait_timeout.unwrap_or_default();
                    let what = format!("{app} is {last} after {}", kvapi::duration::format(limit));
                    let problem = Problem::new(exit::TIMEOUT, what);
                    return Err(problem.help(format!("see why with   keyway deploy status {app}")).into());
                }
                found = looked => found,
            };
            let found = match found {
                Ok(found) => found,
                Err(problem) => {
                    let may_pass = matches!(problem.code, exit::UNAVAILABLE | exit::TIMEOUT);
                    if !may_pass || heard.elapsed() > PATIENCE {
                        return Err(problem.into());
                    }
                    continue;
                }
            };
            heard = Instant::now();
            last = found.as_ref().map_or("not there", word);
            if self.what.is_so(found.as_ref()) {
                let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                if context.out.is_json() {
                    context
                        .out
                        .json(&json!({"app": app.as_str(), "state": last, "ms": ms}))?;
                } else {
                    context.out.say(format_args!("{app} is {last}, after {}", seconds(ms)));
                }
                return Ok(exit::OK);
            }
        }
    }
}
