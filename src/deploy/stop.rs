//! `keyway deploy stop`: an app with no instances, or no app.

use clap::Args;
use http::Method;
use serde_json::json;

use super::follow::{Following, follow};
use super::scheduler::{Request, Scheduler, app_id, no_app};
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
    #[command(flatten)]
    following: Following,
}

impl Stop {
    pub(super) async fn run(self, mut context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let app = app_id(&self.app)?;
        let Some(there) = scheduler.app(&app).await? else {
            return Err(no_app(&app).into());
        };
        let path = format!("/v2/apps{app}");
        let request = if self.purge {
            context.confirm(&format!("This deletes {app}, of which {} run.", there.tasks_running))?;
            Request::new(Method::DELETE, &path, &self.following)
        } else {
            Request::new(Method::PUT, &path, &self.following).body(json!({"instances": 0}))
        };
        let begun = scheduler.change(request).await?;
        follow(context, scheduler, &begun, &self.following).await
    }
}
