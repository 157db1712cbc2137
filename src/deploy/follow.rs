//! Following a deployment to its end: what is shown meanwhile, and what is said at last.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::deployment::{Deployment, Outcome as Became, State};
use super::scheduler::{Begun, Scheduler, app_id};
use super::stream::news;
use super::told::seconds;
use super::view::View;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::signals::Stop;

/// Lines of a failed instance that are shown.
const LINES: usize = 10;

/// What every command takes that begins a deployment.
#[derive(Debug, Default, Args)]
pub(crate) struct Following {
    /// Cancel a deployment that is in the way
    #[arg(long)]
    pub(super) force: bool,
    /// Why, for   keyway deploy history
    #[arg(short, long, value_name = "TEXT")]
    pub(super) message: Option<String>,
    /// Begin it, and do not wait for its end
    #[arg(long, conflicts_with = "wait_timeout")]
    pub(super) detach: bool,
    /// How long to wait for its end; it goes on then, and the exit code is 124
    #[arg(long, value_name = "DURATION", value_parser = kvapi::duration::parse)]
    pub(super) wait_timeout: Option<Duration>,
}

/// What failed, and the last that it said.
#[derive(Debug, Clone, Serialize)]
struct Broken {
    app: String,
    task: String,
    state: String,
    message: String,
    log: Vec<String>,
}

/// The last line of `-o json`.
#[derive(Serialize)]
struct End<'a> {
    event: &'static str,
    outcome: Became,
    id: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone_by: Option<&'a str>,
    ms: u64,
    failures: &'a [Broken],
}

/// Follows what a command began, unless it is not to wait.
pub(super) async fn follow(
    context: Context<'_>,
    scheduler: &Scheduler,
    begun: &Begun,
    following: &Following,
) -> Outcome {
    let id = &begun.deployment;
    if !following.detach {
        return to_its_end(context, scheduler, id, following.wait_timeout).await;
    }
    if context.out.is_json() {
        context.out.json_line(&End {
            event: "end",
            outcome: Became::Detached,
            id,
            version: &begun.version,
            reason: None,
            undone_by: None,
            ms: 0,
            failures: &[],
        })?;
    } else {
        context.out.line(id)?;
        context.out.say(format_args!(
            "version {} is on its way; follow it with   keyway deploy status -w {id}{}",
            begun.version, scheduler.flag
        ));
    }
    Ok(exit::OK)
}

/// Follows a deployment, and the one that undoes it if it fails. Ctrl-C leaves it alone.
pub(super) async fn to_its_end(
    context: Context<'_>,
    scheduler: &Scheduler,
    id: &str,
    limit: Option<Duration>,
) -> Outcome {
    let began = Instant::now();
    let mut stop = Stop::listen()?;
    let mut view = View::new(context.settings, context.out);
    let late = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(late);
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut report = Report::new(id, scheduler);
    let mut coming = news(scheduler, id);
    let became = loop {
        tokio::select! {
            biased;
            () = stop.next() => break Became::Detached,
            () = &mut late => break Became::Timeout,
            told = coming.recv() => {
                let deployment = match told {
                    Some(Ok(deployment)) => deployment,
                    Some(Err(problem)) => return Err(report.lost(problem)),
                    None => return Err(report.lost(Problem::new(exit::UNAVAILABLE, "the news broke off"))),
                };
                view.show(&deployment, context.out)?;
                report.take(&deployment, scheduler).await;
                match report.next() {
                    Next::Over(became) => break became,
                    Next::Undo(undo) => {
                        view.leave();
                        coming = news(scheduler, &undo);
                    }
                    Next::More => {}
                }
            }
            _ = tick.tick() => view.tick(),
        }
    };
    report.say(context, became, began.elapsed())
}

/// What is known by now.
struct Report {
    id: String,
    flag: String,
    /// The deployment itself.
    main: Option<Deployment>,
    /// The one that puts back what was before.
    undo: Option<Deployment>,
    failures: Vec<Broken>,
}

enum Next {
    More,
    Undo(String),
    Over(Became),
}

impl Report {
    fn new(id: &str, scheduler: &Scheduler) -> Self {
        Self {
            id: id.into(),
            flag: scheduler.flag.clone(),
            main: None,
            undo: None,
            failures: Vec::new(),
        }
    }

    async fn take(&mut self, deployment: &Deployment, scheduler: &Scheduler) {
        if deployment.id != self.id {
            self.undo = Some(deployment.clone());
            return;
        }
        if deployment.state == State::Failed {
            // At once: what failed will soon be gone.
            self.failures = failures(self.main.as_ref(), deployment, scheduler).await;
        }
        self.main = Some(deployment.clone());
    }

    fn next(&self) -> Next {
        let Some(main) = self.main.as_ref().filter(|main| !main.is_running()) else {
            return Next::More;
        };
        match (&main.undone_by, &self.undo) {
            (Some(undo), None) => Next::Undo(undo.clone()),
            (_, Some(undo)) if undo.is_running() => Next::More,
            (_, undo) => Next::Over(main.outcome(undo.as_ref())),
        }
    }

    /// Nobody says any more how it is.
    fn lost(&self, problem: Problem) -> Failure {
        match self.main {
            Some(_) => problem
                .help(format!(
                    "the deployment goes on; look later with   keyway deploy status {}{}",
                    self.id, self.flag
                ))
                .into(),
            None => problem.into(),
        }
    }

    fn say(&self, context: Context<'_>, became: Became, elapsed: Duration) -> Outcome {
        let out = context.out;
        let none = String::new();
        let (version, names, reason) = match &self.main {
            Some(main) => (&main.version, main.names(), main.reason.as_deref()),
            None => (&none, format!("deployment {}", self.id), None),
        };
        let verb = self.main.as_ref().map_or("is", Deployment::verb);
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let took = self.main.as_ref().and_then(Deployment::took).unwrap_or(ms);
        if out.is_json() {
            out.json_line(&End {
                event: "end",
                outcome: became,
                id: &self.id,
                version,
                reason,
                undone_by: self.main.as_ref().and_then(|main| main.undone_by.as_deref()),
                ms: took,
                failures: &self.failures,
            })?;
        }
        let come_back = || format!("keyway deploy status -w {}{}", self.id, self.flag);
        match became {
            Became::Done if out.is_json() => {}
            Became::Done => out.line(format_args!(
                "{names} {verb} at version {version}, after {}",
                seconds(took)
            ))?,
            Became::Detached => {
                // Below the ^C that the terminal shows.
                let line = if std::io::stderr().is_terminal() { "\n" } else { "" };
                out.insist(format_args!("{line}it goes on; come back with   {}", come_back()));
            }
            Became::Timeout => {
                let what = format!("{names} {verb} not done within {}", seconds(ms));
                let problem = Problem::new(exit::TIMEOUT, what);
                return Err(problem
                    .help(format!("it goes on; come back with   {}", come_back()))
                    .into());
            }
            Became::RolledBack | Became::Left => {
                if !out.is_json() {
                    self.failures.iter().for_each(|failed| tell(out, failed));
                }
                return Err(self
                    .problem(became, &names, version, reason.unwrap_or("no reason is known"))
                    .into());
            }
        }
        Ok(became.code())
    }

    fn problem(&self, became: Became, names: &str, version: &str, reason: &str) -> Problem {
        let undo_failed = self.undo.as_ref().and_then(|undo| undo.reason.as_deref());
        let (how, command) = match (became, undo_failed) {
            (Became::RolledBack, _) => ("what was before is back".to_owned(), "history"),
            (_, Some(reason)) => (format!("what was before could not be put back: {reason}"), "status"),
            (_, None) => ("everything is left as it is".to_owned(), "rollback"),
        };
        let problem = Problem::new(became.code(), format!("version {version} of {names}: {reason}; {how}"));
        match self.main.as_ref().map(|main| main.apps.as_slice()) {
            Some([one]) => problem.help(format!("keyway deploy {command} {}{}", one.id, self.flag)),
            _ => problem.help(format!("keyway deploy status {}{}", self.id, self.flag)),
        }
    }
}

/// What failed in a deployment, with the last lines of each. `before` is how it was told last while it was under way.
async fn failures(before: Option<&Deployment>, deployment: &Deployment, scheduler: &Scheduler) -> Vec<Broken> {
    /// Of more apps nobody reads them.
    const MOST: usize = 3;
    let mut found = Vec::new();
    for part in &deployment.apps {
        let before = before.and_then(|before| before.apps.iter().find(|old| old.id == part.id));
        let failed = match part.failure.as_ref().or(before.and_then(|old| old.failure.as_ref())) {
            Some(failed) => Some((failed.task.clone(), failed.state.clone(), failed.message.clone())),
            None if before.is_some_and(|old| old.healthy >= old.target) => None,
            None => ill(deployment, &part.id, scheduler).await,
        };
        let Some((task, state, message)) = failed else { continue };
        let log = scheduler.last_lines(&task, LINES).await.unwrap_or_default();
        found.push(Broken {
            app: part.id.clone(),
            task,
            state,
            message,
            log,
        });
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// A task of the deployment's version that runs and is not well.
async fn ill(deployment: &Deployment, app: &str, scheduler: &Scheduler) -> Option<(String, String, String)> {
    let instances = scheduler.instances(&app_id(app).ok()?).await.ok()?;
    let ill = instances
        .into_iter()
        .find(|one| one.version == deployment.version && one.healthy != Some(true))?;
    let cause = ill.health_failure.map(|cause| format!(": {cause}")).unwrap_or_default();
    Some((ill.task, ill.state, format!("it was not healthy{cause}")))
}

fn tell(out: &mut crate::output::Out, failed: &Broken) {
    let Broken {
        app,
        task,
        state,
        message,
        log,
    } = failed;
    out.insist(format_args!("{app}: {task}, {state}: {message}"));
    match log.as_slice() {
        [] => out.insist("  it has printed nothing"),
        lines => {
            out.insist("  the last that it printed:");
            lines
                .iter()
                .for_each(|line| out.insist(format_args!("  | {}", plain(line))));
        }
    }
}

/// Without what would steer the terminal.
fn plain(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}
