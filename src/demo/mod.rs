//! `keyway demo`: the main job, shown by itself.
//!
//! It runs the real programs (a store, agents, an ordinary server), checks every step it tells of,
//! and leaves nothing behind: no process, no folder.

mod microbots;
mod scene;
mod story;
mod teller;

use clap::{Args, Subcommand};
use kvapi::problem::exit;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::signals::Stop;
use scene::Scene;
use teller::Teller;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  keyway demo                                  the story, then it stays up to be played with
  keyway demo --once                           the story, and the end
  keyway demo microbots --instances 1000       many servers, rolled under load behind HAProxy

It takes free ports, so it runs beside whatever listens on 8500. Ctrl-C ends it."
)]
pub(crate) struct Demo {
    /// End after the story
    #[arg(long)]
    once: bool,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Many tiny servers, deployed and rolled under load behind HAProxy
    Microbots(microbots::Microbots),
}

impl Demo {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        if let Some(Other::Microbots(microbots)) = self.other {
            return microbots.run(context).await;
        }
        let mut stop = Stop::listen()?;
        let mut scene = Scene::open().await?;
        let told = {
            let mut teller = Teller::new(context.out, scene::program());
            tokio::select! {
                biased;
                () = stop.next() => Ok(Told::Interrupted),
                told = story::tell(&mut scene, &mut teller) => told.map(|()| Told::ToTheEnd),
            }
        };
        if let (Ok(Told::ToTheEnd), false) = (&told, self.once) {
            context.out.say("\nIt stays up; play with it. Ctrl-C ends it.");
            stop.next().await;
        }
        // A second Ctrl-C, and whoever is still there goes at once.
        tokio::select! {
            biased;
            () = scene.close() => {}
            () = stop.next() => scene.kill(),
        }
        told.map(|_| exit::OK).map_err(Failure::from)
    }
}

enum Told {
    ToTheEnd,
    Interrupted,
}
