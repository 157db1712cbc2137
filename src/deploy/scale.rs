//! `keyway deploy scale`: more or fewer instances.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::apply::pair;
use super::follow::{Following, follow};
use super::scheduler::{Request, Scheduler, app_id, no_app};
use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy scale /web=5
  keyway deploy scale /web=5 /shop/cache=2     as one deployment
  keyway deploy scale /web=0 --detach

Exit codes are those of   keyway deploy apply")]
pub(super) struct Scale {
    /// An app, and how many instances it is to have
    #[arg(required = true, value_name = "APP=N")]
    counts: Vec<String>,
    #[command(flatten)]
    following: Following,
}

impl Scale {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let mut apps = Vec::new();
        for text in &self.counts {
            let (app, count) = pair(text)?;
            let app = app_id(app)?;
            // A count alone would make a new app of it.
            if scheduler.app(&app).await?.is_none() {
                return Err(no_app(&app).into());
            }
            apps.push((app, count));
        }
        let (path, body) = match apps.as_slice() {
            [(app, count)] => (format!("/v2/apps{app}"), json!({"instances": count})),
            several => {
                let several = several
                    .iter()
                    .map(|(app, count)| json!({"id": app.as_str(), "instances": count}));
                ("/v2/apps".into(), several.collect::<Value>())
            }
        };
        let request = Request::new(Method::PUT, &path, &self.following);
        let begun = scheduler.change(request.body(body)).await?;
        follow(context, scheduler, &begun, &self.following).await
    }
}
