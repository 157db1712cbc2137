//! `keyway deploy status`: how far deployments are, and how the instances of an app are.

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use serde_json::json;

use super::block::{Room, block};
use super::deployment::Deployment;
use super::follow::to_its_end;
use super::scheduler::{Instance, Scheduler, app_id, no_app};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Out;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy status                         what is under way
  keyway deploy status /web                    its last deployment, and each of its instances
  keyway deploy status -w /web                 follow it to its end; the exit code says how it ended
  keyway deploy status -w ID                   come back to what apply began

Exits with 1 if there is no such app or deployment; with -w as   keyway deploy apply")]
pub(super) struct Status {
    /// An app, or a deployment by its id; nothing is all that is under way
    #[arg(value_name = "APP|ID")]
    of: Option<String>,
    /// Follow the deployment to its end
    #[arg(short, long)]
    watch: bool,
    /// How long to follow it; it goes on then, and the exit code is 124
    #[arg(long, value_name = "DURATION", value_parser = kvapi::duration::parse, requires = "watch")]
    wait_timeout: Option<std::time::Duration>,
}

impl Status {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let Some(of) = &self.of else {
            return self.all(context, scheduler).await;
        };
        if !of.starts_with('/')
            && let Some(deployment) = scheduler.deployment(of).await?
        {
            if self.watch {
                return to_its_end(context, scheduler, of, self.wait_timeout).await;
            }
            match context.out.is_json() {
                true => context.out.json(&deployment)?,
                false => print(context.out, &deployment)?,
            }
            return Ok(exit::OK);
        }
        let app = app_id(of)?;
        let last = scheduler.deployments(Some(&app)).await?.into_iter().next();
        if let Some(last) = last.as_ref().filter(|_| self.watch) {
            return to_its_end(context, scheduler, &last.id, self.wait_timeout).await;
        }
        if last.is_none() && scheduler.app(&app).await?.is_none() {
            return Err(no_app(&app).into());
        }
        let instances = scheduler.instances(&app).await?;
        let out = context.out;
        if out.is_json() {
            out.json(&json!({"app": app.as_str(), "deployment": last, "instances": instances}))?;
            return Ok(exit::OK);
        }
        if let Some(last) = &last {
            print(out, last)?;
        }
        let rows: Vec<Vec<String>> = instances.iter().map(|one| row(one, out)).collect();
        let head = [
            "INSTANCE", "STATE", "HEALTHY", "SINCE", "SETTINGS", "HOST", "PORTS", "VERSION",
        ];
        out.rows(&head, &rows)?;
        for one in &instances {
            if let Some(reason) = &one.waiting {
                out.line(format_args!("{} waits: {reason}", one.id))?;
            }
            if let Some(cause) = &one.health_failure {
                out.line(format_args!("{} is not healthy: {cause}", one.id))?;
            }
        }
        Ok(exit::OK)
    }

    /// All that is under way.
    async fn all(&self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let mut running = scheduler.deployments(None).await?;
        running.retain(Deployment::is_running);
        if self.watch {
            return match running.as_slice() {
                [one] => to_its_end(context, scheduler, &one.id, self.wait_timeout).await,
                [] => Err(Problem::new(exit::NO, "nothing is under way").into()),
                several => Err(Failure::new(
                    exit::USAGE,
                    format!("{} deployments are under way", several.len()),
                    "say which:   keyway deploy status -w ID",
                )),
            };
        }
        if context.out.is_json() {
            context.out.json(&json!({"deployments": running}))?;
            return Ok(exit::OK);
        }
        running.iter().try_for_each(|one| print(context.out, one))?;
        if running.is_empty() {
            context.out.say("nothing is under way");
        }
        Ok(exit::OK)
    }
}

/// A deployment as it is just now.
fn print(out: &mut Out, deployment: &Deployment) -> Result<(), Failure> {
    let width = terminal_size::terminal_size().filter(|_| out.to_terminal);
    let room = Room {
        width: width.map_or(200, |(width, _)| usize::from(width.0)),
        height: usize::MAX,
    };
    out.line(format_args!("deployment {} of {}", deployment.id, deployment.names()))?;
    for line in block(deployment, None, None, room, out.paint) {
        out.line(line)?;
    }
    let failed = deployment
        .apps
        .iter()
        .filter_map(|part| Some((part, part.failure.as_ref()?)));
    for (part, failed) in failed {
        out.line(format_args!(
            "  {}: last failure, {}: {}, {}",
            part.id, failed.at, failed.state, failed.message
        ))?;
    }
    Ok(())
}

fn row(instance: &Instance, out: &Out) -> Vec<String> {
    let since = instance.since.parse::<jiff::Timestamp>().ok();
    let since = since.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let ports: Vec<String> = instance.ports.iter().map(ToString::to_string).collect();
    vec![
        instance.id.clone(),
        instance.state.clone(),
        match instance.healthy {
            Some(true) => "yes".into(),
            Some(false) => "no".into(),
            None => String::new(),
        },
        since.map_or_else(|| instance.since.clone(), |at| out.time(at)),
        instance
            .settings_revision
            .map(|revision| revision.to_string())
            .unwrap_or_default(),
        instance.host.clone(),
        ports.join(","),
        instance.version.clone(),
    ]
}
