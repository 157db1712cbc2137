//! `keyway deploy plan`: what files would change.

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use scheduler::app::{AppId, read};
use serde_json::Value;

use super::change::{Change, Field, Kind, change};
use super::scheduler::Scheduler;
use super::wanted::{Amendments, Wanted, bytes, wanted};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Layout, Out};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy plan -f web.json               each field that differs, and what is restarted
  keyway deploy plan -f web.json --image registry:5000/web:2.0
  cat web.json | keyway deploy plan -f - -o json | jq .apps

Exits with 0 if nothing would change, 1 if something would, 3 if a file is wrong.")]
pub(super) struct Plan {
    #[command(flatten)]
    files: Files,
}

/// What the apps are to be.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// File with an app as JSON, or a list of apps; - is standard input; may be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Image to run instead of the file's; of several apps, APP=IMAGE
    #[arg(long, value_name = "[APP=]IMAGE")]
    image: Vec<String>,
    /// How many instances, instead of the file's
    #[arg(long, value_name = "N")]
    instances: Option<u32>,
    /// A variable of the environment beside the file's, or instead of it; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// What comes when a deployment gets nowhere, instead of the file's label KEYWAY_ON_FAILURE
    #[arg(long, value_enum, value_name = "WHAT")]
    on_failure: Option<OnFailure>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OnFailure {
    /// The last version that was healthy comes back
    Rollback,
    /// Nothing: somebody is to look at it
    Wait,
}

/// An app of a file, and what it would change.
pub(super) struct Planned {
    pub(super) wanted: Wanted,
    pub(super) change: Change,
}

impl Files {
    /// The apps of the files beside those that there are.
    pub(super) async fn plan(&self, scheduler: &Scheduler) -> Result<Vec<Planned>, Failure> {
        let files = self.files.iter().map(|file| Ok((file.clone(), bytes(file)?)));
        let files = files.collect::<Result<Vec<_>, Problem>>()?;
        let amendments = Amendments {
            images: self.image.clone(),
            instances: self.instances,
            env: self.set.clone(),
            on_failure: self.on_failure.map(|what| match what {
                OnFailure::Rollback => "rollback",
                OnFailure::Wait => "wait",
            }),
        };
        let mut planned = Vec::new();
        for mut wanted in wanted(&files, &amendments)? {
            let before = match scheduler.definition(&wanted.app.id).await? {
                Some(json) => Some(read::app(&json, &AppId::root()).map_err(|e| {
                    let what = format!("the scheduler tells of {} what does not fit: {e}", wanted.app.id);
                    Problem::new(exit::BUG, what)
                })?),
                None => None,
            };
            let before = before.map(|read| read.app);
            // Whoever scaled it did so on purpose.
            if let (Some(before), None) = (&before, wanted.json.get("instances")) {
                wanted.app.instances = before.instances;
                if let Value::Object(fields) = &mut wanted.json {
                    fields.insert("instances".into(), before.instances.into());
                }
            }
            let change = change(before.as_ref(), &wanted.app);
            planned.push(Planned { wanted, change });
        }
        Ok(planned)
    }
}

impl Plan {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let planned = self.files.plan(scheduler).await?;
        print(context.out, &planned)
    }
}

/// The code says whether anything would change.
pub(super) fn print(out: &mut Out, planned: &[Planned]) -> Outcome {
    let changes = planned.iter().filter(|one| one.change.change != Kind::None).count();
    let shown: Vec<&Change> = planned.iter().map(|one| &one.change).collect();
    match (out.format, out.layout) {
        (Format::Json, _) => out.json(&serde_json::json!({"same": changes == 0, "apps": shown}))?,
        (Format::Jsonl, _) => shown.iter().try_for_each(|change| out.json(change))?,
        (_, Layout::Names) => {
            let changed = shown.iter().filter(|change| change.change != Kind::None);
            changed.map(|change| &change.app).try_for_each(|app| out.line(app))?;
        }
        _ => {
            for change in shown {
                let line = out.paint.bold(change.headline());
                out.line(line)?;
                for field in &change.fields {
                    let line = painted(out, field);
                    out.line(line)?;
                }
            }
        }
    }
    Ok(if changes == 0 { exit::OK } else { exit::NO })
}

fn painted(out: &Out, field: &Field) -> String {
    let line = field.line();
    match (&field.before, &field.after) {
        (None, Some(_)) => out.paint.green(line),
        (Some(_), None) => out.paint.red(line),
        _ => line,
    }
}
