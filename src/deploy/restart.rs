//! `keyway deploy restart`: every instance is replaced by a new one.

use clap::Args;
use http::Method;

use super::follow::{Following, follow};
use super::scheduler::{Request, Scheduler, app_id};
use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy restart /web                   a few at a time, each healthy before the next
  keyway deploy restart /web --wait-timeout 5m

As many at a time as the app's upgradeStrategy allows. Exit codes are those of   keyway deploy apply")]
pub(super) struct Restart {
    /// The app
    app: String,
    #[command(flatten)]
    following: Following,
}

impl Restart {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let app = app_id(&self.app)?;
        let path = format!("/v2/apps{app}/restart");
        let request = Request::new(Method::POST, &path, &self.following);
        let begun = scheduler.change(request).await?;
        follow(context, scheduler, &begun, &self.following).await
    }
}
