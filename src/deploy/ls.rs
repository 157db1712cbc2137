//! `keyway deploy ls`: the apps, and how they are.

use clap::Args;
use kvapi::problem::exit;
use serde::Serialize;

use super::choice::{what, word};
use super::scheduler::{Counted, Scheduler};
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Format, Layout};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy ls                             every app, with how many run and are healthy
  keyway deploy ls shop                        those whose id has `shop` in it
  keyway deploy ls -o name                     ids alone

RUNS shows instances that run, and how many there are to be. Exits with 1 if there is none.")]
pub(super) struct Ls {
    /// Only apps with this in their id
    app: Option<String>,
}

/// An app, and its JSON.
#[derive(Serialize)]
struct Row {
    id: String,
    version: String,
    /// A word: `running`, `deploying`, `starting`, `unhealthy`, `stopped`.
    state: &'static str,
    instances: u32,
    running: u32,
    /// None if nothing says whether instances are well.
    healthy: Option<u32>,
    /// The image, or what is started.
    runs: String,
}

impl Ls {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        #[derive(serde::Deserialize)]
        struct Answer {
            apps: Vec<Counted>,
        }
        let answer: Option<Answer> = scheduler.get("/v2/apps").await?;
        let mut apps = answer.map(|answer| answer.apps).unwrap_or_default();
        if let Some(part) = &self.app {
            apps.retain(|app| app.id.contains(part.as_str()));
        }
        apps.sort_by(|a, b| a.id.cmp(&b.id));
        let rows: Vec<Row> = apps.iter().map(row).collect();
        let out = context.out;
        match (out.format, out.layout) {
            (Format::Json, _) => out.json(&serde_json::json!({"apps": rows}))?,
            (Format::Jsonl, _) => rows.iter().try_for_each(|row| out.json(row))?,
            (_, Layout::Names) => rows.iter().try_for_each(|row| out.line(&row.id))?,
            _ => {
                let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
                out.rows(&["APP", "STATE", "RUNS", "HEALTHY", "VERSION", "WHAT"], &cells)?;
            }
        }
        if rows.is_empty() {
            out.say("there is no such app");
        }
        Ok(if rows.is_empty() { exit::NO } else { exit::OK })
    }
}

fn row(app: &Counted) -> Row {
    Row {
        id: app.id.clone(),
        version: app.version.clone(),
        state: word(app),
        instances: app.instances,
        running: app.tasks_running,
        healthy: (!app.health_checks.is_empty()).then_some(app.tasks_healthy),
        runs: what(app),
    }
}

fn cells(row: &Row) -> Vec<String> {
    vec![
        row.id.clone(),
        row.state.to_owned(),
        format!("{}/{}", row.running, row.instances),
        row.healthy.map(|healthy| healthy.to_string()).unwrap_or_default(),
        row.version.clone(),
        row.runs.clone(),
    ]
}
