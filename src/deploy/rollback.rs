//! `keyway deploy rollback`: a former version becomes the present one.

use clap::Args;
use http::Method;
use kvapi::Problem;
use kvapi::problem::exit;
use scheduler::app::{App, AppId, read};
use serde::Deserialize;
use serde_json::{Value, json};

use super::change::fields;
use super::choice::former;
use super::follow::{Following, follow};
use super::scheduler::{Request, Scheduler, app_id, no_app};
use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy rollback /web                  to the last one that differs and did not fail
  keyway deploy rollback /web --to 2026-11-24T08:30:00.123Z
  keyway deploy history /web                   which versions there are

It is rolled out as any new version. Exit codes are those of   keyway deploy apply
and 1 if there is no version to go back to.")]
pub(super) struct Rollback {
    /// The app
    app: String,
    /// The version
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    #[command(flatten)]
    following: Following,
}

impl Rollback {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let app = app_id(&self.app)?;
        let version = match &self.to {
            Some(version) => version.clone(),
            None => before(scheduler, &app).await?,
        };
        context.out.say(format_args!("{app} goes back to version {version}"));
        let path = format!("/v2/apps{app}");
        let request = Request::new(Method::PUT, &path, &self.following);
        let begun = scheduler.change(request.body(json!({"version": version}))).await?;
        follow(context, scheduler, &begun, &self.following).await
    }
}

/// The newest former version that is another one in more than how many instances there are.
async fn before(scheduler: &Scheduler, app: &AppId) -> Result<String, Problem> {
    #[derive(Deserialize)]
    struct Versions {
        versions: Vec<String>,
    }
    let json = scheduler.definition(app).await?.ok_or_else(|| no_app(app))?;
    let version = json["version"].as_str().unwrap_or_default();
    let present = definition(&json)?;
    let versions: Option<Versions> = scheduler.get(&format!("/v2/apps{app}/versions")).await?;
    let versions = versions.map(|found| found.versions).unwrap_or_default();
    let past = scheduler.deployments(Some(app)).await?;
    for version in former(&versions, version, &past) {
        let json: Option<Value> = scheduler.get(&format!("/v2/apps{app}/versions/{version}")).await?;
        let Some(json) = json else { continue };
        let differs = fields(&present, &definition(&json)?);
        if differs.iter().any(|field| field.path != "/instances") {
            return Ok(version.to_owned());
        }
    }
    Err(Problem::new(
        exit::NO,
        format!("there is no former version of {app} that is something else"),
    )
    .help(format!("what there is:   keyway deploy history {app}")))
}

fn definition(json: &Value) -> Result<App, Problem> {
    let read = read::app(json, &AppId::root());
    let read = read.map_err(|e| Problem::new(exit::BUG, format!("the scheduler tells what does not fit: {e}")))?;
    Ok(read.app)
}
