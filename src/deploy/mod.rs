//! `keyway deploy`: apps and their versions, by the scheduler's API; one file per command.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`scheduler`], [`stream`], [`changes`] | what is asked, and what is told without being asked |
//! | [`deployment`], [`told`], [`block`], [`change`], [`choice`], [`refused`] | pure: what is told, as a person reads it |
//! | [`wanted`] | the apps of files |
//! | [`follow`], [`view`] | a deployment to its end |

mod apply;
mod block;
mod change;
mod changes;
mod choice;
mod deployment;
mod follow;
mod history;
mod logs;
mod ls;
mod plan;
mod refused;
mod restart;
mod rollback;
mod scale;
mod scheduler;
mod status;
mod stop;
mod stream;
mod told;
mod view;
mod wait;
mod wanted;

use clap::{Args, Subcommand};
use kvapi::Problem;
use kvapi::problem::exit;

pub(crate) use self::deployment::{Deployment, State};
pub(crate) use self::follow::Following;
use self::scheduler::DEFAULT;
pub(crate) use self::scheduler::{Begun, Instance, Request, Scheduler, app_id};
pub(crate) use self::stream::news;
pub(crate) use self::view::View;
use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Schedulers to ask, in turn until one answers: http://HOST:PORT
    #[arg(
        long,
        global = true,
        value_name = "URL[,URL...]",
        env = "KEYWAY_SCHEDULER_ADDR",
        default_value = DEFAULT,
        help_heading = "Connection"
    )]
    scheduler_addr: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make apps what files say, and wait until they are
    Apply(apply::Apply),
    /// Show what apply would change
    Plan(plan::Plan),
    /// Show how far deployments are, and how the instances of an app are
    Status(status::Status),
    /// List apps
    Ls(ls::Ls),
    /// Show what was deployed of an app, and how it ended
    History(history::History),
    /// Go back to a former version
    Rollback(rollback::Rollback),
    /// Have more or fewer instances
    Scale(scale::Scale),
    /// Replace every instance by a new one, as an upgrade does
    Restart(restart::Restart),
    /// Stop all instances of an app
    Stop(stop::Stop),
    /// Wait until an app is as it should be
    Wait(wait::Wait),
    /// Print what instances have printed
    Logs(logs::Logs),
}

impl Deploy {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        let scheduler = Scheduler::new(&self.scheduler_addr, context.settings)?;
        if context.settings.dry_run && !matches!(self.command, Command::Apply(_)) {
            let problem = Problem::new(exit::USAGE, "--dry-run is for   keyway deploy apply");
            return Err(problem
                .help("what a file would change:   keyway deploy plan -f FILE")
                .into());
        }
        match self.command {
            Command::Apply(apply) => apply.run(context, &scheduler).await,
            Command::Plan(plan) => plan.run(context, &scheduler).await,
            Command::Status(status) => status.run(context, &scheduler).await,
            Command::Ls(ls) => ls.run(context, &scheduler).await,
            Command::History(history) => history.run(context, &scheduler).await,
            Command::Rollback(rollback) => rollback.run(context, &scheduler).await,
            Command::Scale(scale) => scale.run(context, &scheduler).await,
            Command::Restart(restart) => restart.run(context, &scheduler).await,
            Command::Stop(stop) => stop.run(context, &scheduler).await,
            Command::Wait(wait) => wait.run(context, &scheduler).await,
            Command::Logs(logs) => logs.run(context, &scheduler).await,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_has_examples_that_fit_a_line() {
        let tree = crate::cli::command();
        let deploy = tree.find_subcommand("deploy").unwrap();
        for command in deploy.get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.starts_with("Examples:\n  keyway deploy "),
                "{}",
                command.get_name()
            );
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{line}");
            }
        }
    }
}
