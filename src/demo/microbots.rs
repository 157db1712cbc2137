//! `keyway demo microbots`: many tiny servers behind HAProxy, deployed, rolled under load, and given another setting.

mod figures;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use tokio::time::sleep;

use self::figures::Figures;
use super::teller::Teller;
use crate::context::Context;
use crate::deploy::{Deployment, View};
use crate::failure::{Failure, Outcome};
use crate::fleet::balancer::Balancer;
use crate::fleet::crowd::Crowd;
use crate::fleet::image::Instead;
use crate::fleet::lookout::Lookout;
use crate::fleet::used::Used;
use crate::fleet::{APP, Fleet, Runs, SETTING, Wanted};
use crate::output::Out;
use crate::settings::Settings;
use crate::signals::{INTERRUPTED, Stop};

/// How long all instances may take to say that they have a setting.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon that is looked at again.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway demo microbots                          a hundred, then they stay up to be played with
  keyway demo microbots --instances 1000 --once  a thousand, and the end
  keyway demo microbots --once -o json           the figures, for a program
  keyway demo microbots --image IMAGE            containers, of an image that has this program as /keyway

HAProxy must be installed. It takes free ports, and leaves nothing behind. Ctrl-C ends it.
Exits with 8 if a request failed, or if floor or cap did not hold.")]
pub(crate) struct Microbots {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    instances: u32,
    #[command(flatten)]
    instead: Instead,
    /// End after the story
    #[arg(long)]
    once: bool,
    /// Where all files are
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

/// Of them at least this part is healthy while a version rolls, and at most this part is there beside them.
const STRATEGY: (f64, f64) = (0.95, 0.05);

impl Microbots {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        let mut stop = Stop::listen()?;
        let Context { settings, out, .. } = context;
        let mut stage = None;
        let told = {
            let told = self.tell(&mut stage, settings, out);
            tokio::select! {
                biased;
                () = stop.next() => Ok(None),
                told = told => told.map(Some),
            }
        };
        if let (Ok(Some(_)), false) = (&told, self.once) {
            out.say("\nIt stays up; play with it. Ctrl-C ends it.");
            stop.next().await;
        }
        if let Some(mut stage) = stage {
            tokio::select! {
                biased;
                () = stage.close() => {}
                () = stop.next() => stage.fleet.kill().await,
            }
        }
        let Some(figures) = told? else {
            return Ok(INTERRUPTED);
        };
        if out.is_json() {
            out.json(&figures)?;
        }
        figures.verdict().map(|()| exit::OK).map_err(Failure::from)
    }

    /// The story; what it has started by then is on the stage, however it ends.
    async fn tell(&self, stage: &mut Option<Stage>, settings: &Settings, out: &mut Out) -> Result<Figures, Failure> {
        let program = super::scene::program();
        let mut teller = Teller::new(out, program);
        teller.title(&format!(
            "{} tiny servers, and a version that rolls through them under load.",
            self.instances
        ));
        teller.step("A store, a scheduler, and HAProxy with a file that the agent renders");
        let fleet = Fleet::start(&self.dir, self.instead.engine()?.as_deref(), settings).await?;
        let stage = stage.insert(Stage { fleet, balancer: None });
        let fleet = &stage.fleet;
        fleet.put(SETTING, "hello".into()).await?;
        let balancer = stage.balancer.insert(Balancer::start(fleet).await?);
        teller.shell(format_args!(
            "export KEYWAY_ADDR={} KEYWAY_SCHEDULER_ADDR={}   # to play along in another terminal",
            fleet.address(),
            fleet.scheduler_address
        ));
        teller.keyway(format_args!("kv put {SETTING} hello"));

        teller.step("All are deployed, each with its agent and a file rendered from the setting");
        let mut wanted = self.wanted(1);
        let (file, app) = fleet.define(&wanted)?;
        teller.keyway(format_args!("deploy apply -f {}", file.display()));
        let began = Instant::now();
        let begun = fleet.deploy(&app).await?;
        let mut view = View::new(settings, teller.out());
        fleet
            .until_done(&begun, |now| show(&mut view, now, teller.out()))
            .await?;
        let deployed = began.elapsed();
        let used = Used::by(fleet).await?;
        balancer.leads().await?;
        teller.shell(format_args!("curl {}", balancer.address));
        teller.seen(
            &format!("{} healthy", self.instances),
            format_args!("after {:.1} s", deployed.as_secs_f64()),
        );

        teller.step("Another version rolls through them, while clients ask 200 times a second");
        wanted.version = 2;
        let (_, app) = fleet.define(&wanted)?;
        teller.keyway(format_args!("deploy apply -f {}", file.display()));
        let (crowd, lookout) = (Crowd::begin(&balancer.address)?, Lookout::begin(fleet).await?);
        let began = Instant::now();
        let begun = fleet.deploy(&app).await?;
        let mut view = View::new(settings, teller.out());
        fleet
            .until_done(&begun, |now| show(&mut view, now, teller.out()))
            .await?;
        let rolled = began.elapsed();
        let (tally, seen) = (crowd.end().await?, lookout.end().await?);
        teller.seen(
            &format!("{} requests, {} failed", tally.requests, tally.failed),
            format_args!("in {:.1} s", rolled.as_secs_f64()),
        );
        let where_else = match self.instead.image() {
            None => "the table of processes",
            Some(_) => "the Engine's list",
        };
        teller.seen(
            &format!(
                "{} healthy or more, {} there at most",
                seen.fewest_healthy,
                seen.most_told.max(seen.most_there)
            ),
            format_args!("of {} looks at the API and at {where_else}", seen.looks),
        );

        teller.step("A setting changes, and reaches all");
        teller.keyway(format_args!("kv put {SETTING} 'good evening'"));
        let began = Instant::now();
        fleet.put(SETTING, "good evening".into()).await?;
        all_have(fleet, self.instances).await?;
        let reached = began.elapsed();
        teller.seen(
            &format!("{} have it", self.instances),
            format_args!(
                "{:.1} s after the put, by the reports of their agents",
                reached.as_secs_f64()
            ),
        );

        let figures = Figures::new(self.instances, [deployed, rolled, reached], &tally, seen, used);
        teller.step("What it took");
        for line in figures.lines() {
            teller.seen(&line.0, line.1);
        }
        Ok(figures)
    }

    fn wanted(&self, version: u32) -> Wanted<'_> {
        Wanted {
            instances: self.instances,
            version,
            strategy: STRATEGY,
            balanced: true,
            runs: self.instead.image().map_or(Runs::Processes, Runs::Image),
        }
    }
}

/// What runs.
struct Stage {
    fleet: Fleet,
    balancer: Option<Balancer>,
}

impl Stage {
    /// May be cut off; then the fleet is to be killed.
    async fn close(&mut self) {
        if let Some(balancer) = &mut self.balancer {
            balancer.stop().await;
        }
        self.fleet.stop().await;
    }
}

/// For a person; a program is given the figures alone.
fn show(view: &mut View, deployment: &Deployment, out: &mut Out) -> Result<(), Failure> {
    match out.is_json() {
        true => Ok(()),
        false => view.show(deployment, out),
    }
}

/// Waits until every instance has told that its files are rendered from the newest setting.
async fn all_have(fleet: &Fleet, instances: u32) -> Result<(), Problem> {
    let deadline = Instant::now() + PATIENCE;
    let before = fleet.revision(SETTING).await?;
    loop {
        let all = fleet.instances().await?;
        let have = all.iter().filter(|one| one.settings_revision >= Some(before)).count();
        if have == all.len() && have >= instances as usize {
            return Ok(());
        }
        if Instant::now() > deadline {
            let what = format!("{have} of {instances} instances of {APP} have the setting after {PATIENCE:?}");
            return Err(broken(&what));
        }
        sleep(AGAIN).await;
    }
}

fn broken(what: &str) -> Problem {
    Problem::new(exit::LEFT, format!("the demo does not hold: {what}")).help("this is a bug; please report it")
}
