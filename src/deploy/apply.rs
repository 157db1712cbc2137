//! `keyway deploy apply`: apps become what files say.

use clap::Args;
use http::Method;
use kvapi::Problem;
use kvapi::problem::exit;
use serde_json::Value;

use super::change::Kind;
use super::follow::{Following, follow, to_its_end};
use super::plan::{Files, Planned, print};
use super::scheduler::{Request, Scheduler};
use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy apply -f web.json              one app, or a list of apps as one deployment
  keyway deploy apply -f web.json --image registry:5000/web:2.0
  keyway deploy apply -f web.json --wait-timeout 10m --progress plain
  keyway deploy apply -f web.json -m 'new mail host' --on-failure wait
  keyway deploy apply -f web.json --dry-run    what would change, as   keyway deploy plan

What a file does not say gets its default, but for `instances`, which then stay as they are.
Ctrl-C leaves the deployment alone, with exit code 130; so does --wait-timeout, with 124.
Exits with 0 when it is done, 3 if a file is wrong, 5 if another deployment changes the app
just now or it has another version, 7 if it failed and what was before is back, 8 if it failed
and was left.")]
pub(super) struct Apply {
    #[command(flatten)]
    files: Files,
    /// Only if the app is at this version; `none` if it must not be there
    #[arg(long, value_name = "VERSION")]
    if_version: Option<String>,
    #[command(flatten)]
    following: Following,
}

impl Apply {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let planned = self.files.plan(scheduler).await?;
        for one in &planned {
            for path in &one.wanted.ignored {
                context
                    .out
                    .say(format_args!("{}: {path} has no effect", one.wanted.place));
            }
        }
        if context.settings.dry_run {
            print(context.out, &planned)?;
            return Ok(exit::OK);
        }
        // The scheduler says which version it is.
        let asks = self.if_version.is_some();
        if !asks && planned.iter().all(|one| one.change.change == Kind::None) {
            return self.nothing(context, scheduler, &planned).await;
        }
        let (path, body, place) = match planned.as_slice() {
            [Planned { wanted, .. }] => {
                let path = format!("/v2/apps{}", wanted.app.id);
                (path, wanted.json.clone(), Some(wanted.place.as_str()))
            }
            several => {
                let apps: Value = several.iter().map(|one| one.wanted.json.clone()).collect();
                ("/v2/apps".into(), apps, None)
            }
        };
        let request = Request::new(Method::PUT, &path, &self.following).with("partialUpdate", "false");
        let request = match &self.if_version {
            Some(_) if planned.len() > 1 => {
                let what = format!("--if-version is for one app, and the files have {}", planned.len());
                return Err(Problem::new(exit::USAGE, what).into());
            }
            Some(version) => request.with("ifVersion", version),
            None => request,
        };
        let begun = scheduler.change(request.body(body).from(place)).await?;
        follow(context, scheduler, &begun, &self.following).await
    }

    /// All is as the files say, or is becoming so.
    async fn nothing(&self, context: Context<'_>, scheduler: &Scheduler, planned: &[Planned]) -> Outcome {
        let deployments = scheduler.deployments(None).await?;
        let ours = |app: &str| planned.iter().any(|one| one.change.app == app);
        let running = deployments
            .into_iter()
            .find(|one| one.is_running() && one.apps.iter().any(|part| ours(&part.id)));
        if let Some(running) = running.filter(|_| !self.following.detach) {
            context.out.say(format_args!(
                "deployment {} makes it so already; following it",
                running.id
            ));
            return to_its_end(context, scheduler, &running.id, self.following.wait_timeout).await;
        }
        if context.out.is_json() {
            context
                .out
                .json_line(&serde_json::json!({"event": "nothing", "apps": ids(planned)}))?;
        } else {
            context
                .out
                .say(format_args!("nothing to do: {} as the files say", are(planned)));
        }
        Ok(exit::OK)
    }
}

fn ids(planned: &[Planned]) -> Vec<&str> {
    planned.iter().map(|one| one.change.app.as_str()).collect()
}

fn are(planned: &[Planned]) -> String {
    match ids(planned).as_slice() {
        [one] => format!("{one} is"),
        several => format!("{} are", several.join(", ")),
    }
}

/// A flag whose value is a name and a number.
pub(super) fn pair(text: &str) -> Result<(&str, u32), Problem> {
    let parsed = text
        .split_once('=')
        .and_then(|(app, count)| Some((app, count.parse().ok()?)));
    parsed.ok_or_else(|| Problem::new(exit::USAGE, format!("`{text}` is not APP=N")).help("write it such as   /web=5"))
}
