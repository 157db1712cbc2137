//! `keyway deploy stop`: an app with no instances, or no app.

use clap::Args;
use http::Method;
use serde_json::json;

use super::apply::forced;
use super::follow::{Following, follow};
use super::scheduler::{Scheduler, app_id, no_app};
use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy stop /web                      no instances; its definition stays
  keyway deploy stop /web --purge              the app and its versions are gone
  keyway deploy scale /web=3                   start it again

Exit codes are those of   keyway deploy apply")]
pub(super) struct Stop {
    /// The app
    app: String,
    /// Delete the app
    #[arg(long)]
    purge: bool,
    /// Cancel a deployment that is in the way
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    following: Following,
}

impl Stop {
    pub(super) async fn run(self, mut context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let app = app_id(&self.app)?;
        let Some(there) = scheduler.app(&app).await? else {
            return Err(no_app(&app).into());
        };
        let begun = if self.purge {
            context.confirm(&format!("This deletes {app}, of which {} run.", there.tasks_running))?;
            // Without a word Marathon goes over what is in the way.
            let path = format!("/v2/apps{app}?force={}", self.force);
            scheduler.change(Method::DELETE, &path, None, None).await?
        } else {
            let path = format!("/v2/apps{app}{}", forced(self.force));
            scheduler
                .change(Method::PUT, &path, Some(&json!({"instances": 0})), None)
                .await?
        };
        follow(context, scheduler, &begun, &self.following).await
    }
}
