//! `keyway deploy history`: what was deployed of an app, and how it ended.

use clap::Args;
use kvapi::problem::exit;
use serde::Deserialize;
use serde_json::json;

use super::deployment::Deployment;
use super::scheduler::{Scheduler, app_id, no_app};
use super::told::seconds;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Format, Layout, Out};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy history /web                   newest first, with how each ended and why
  keyway deploy history /web -n 3
  keyway deploy rollback /web --to VERSION     go back to one of them

A version that stands alone is one whose deployment is no longer kept.")]
pub(super) struct History {
    /// The app
    app: String,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

impl History {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        #[derive(Deserialize)]
        struct Versions {
            versions: Vec<String>,
        }
        let app = app_id(&self.app)?;
        let mut deployments = scheduler.deployments(Some(&app)).await?;
        let versions: Option<Versions> = scheduler.get(&format!("/v2/apps{app}/versions")).await?;
        if versions.is_none() && deployments.is_empty() {
            return Err(no_app(&app).into());
        }
        let mut versions = versions.map(|found| found.versions).unwrap_or_default();
        versions.retain(|version| deployments.iter().all(|deployment| deployment.version != *version));
        versions.sort_unstable_by(|a, b| b.cmp(a));
        deployments.truncate(self.limit);
        versions.truncate(self.limit - deployments.len());
        let out = context.out;
        match (out.format, out.layout) {
            (Format::Json, _) => out.json(&json!({
                "app": app.as_str(), "deployments": deployments, "versions": versions,
            }))?,
            (Format::Jsonl, _) => deployments.iter().try_for_each(|one| out.json(one))?,
            (_, Layout::Names) => {
                let all = deployments.iter().map(|one| &one.version).chain(&versions);
                all.into_iter().try_for_each(|version| out.line(version))?;
            }
            _ => {
                let rows: Vec<Vec<String>> = deployments.iter().map(|one| row(one, out)).collect();
                let alone = versions.iter().map(|version| vec![version.clone()]);
                let rows: Vec<Vec<String>> = rows.into_iter().chain(alone).collect();
                out.rows(&["VERSION", "BEGAN", "TOOK", "DEPLOYMENT", "MESSAGE", "STATE"], &rows)?;
            }
        }
        Ok(exit::OK)
    }
}

fn row(deployment: &Deployment, out: &Out) -> Vec<String> {
    let began = deployment.began.parse::<jiff::Timestamp>().ok();
    let began = began.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let undoes = match &deployment.undoes {
        Some(id) => format!(", undoes {id}"),
        None => String::new(),
    };
    vec![
        deployment.version.clone(),
        began.map_or_else(|| deployment.began.clone(), |at| out.time(at)),
        deployment.took().map(seconds).unwrap_or_default(),
        deployment.id.clone(),
        deployment.message.clone().unwrap_or_default(),
        deployment.word() + &undoes,
    ]
}
