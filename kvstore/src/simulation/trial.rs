//! A schedule carried out under load, and what is found wrong.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::clients::{self, Shared, Told};
use super::oracle::{history, locks, register, revisions};
use super::schedule::Schedule;
use super::world::World;

/// How long it goes on after the last step, before all is made whole again.
const AFTER: Duration = Duration::from_millis(1500);

/// How long it may take from then on until everybody has been served.
const RECOVERY: Duration = Duration::from_secs(180);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What is wrong.
    pub(super) found: Vec<String>,
    pub(super) faults: usize,
    pub(super) operations: usize,
    failed: usize,
    changes: usize,
    grants: usize,
    /// How often a watch went on behind a revision, and how often on another server.
    resumed: (usize, usize),
    /// Bytes of logs that power cuts took.
    lost: u64,
    elections: u64,
    simulated: Duration,
}

/// Carries a schedule out, with a bug planted or none.
pub(super) fn run(schedule: &Schedule, planted: Option<&'static str>) -> Outcome {
    let mut outcome = Outcome {
        faults: schedule.steps.len(),
        ..Outcome::default()
    };
    if let Err(e) = carried_out(schedule, planted, &mut outcome) {
        outcome.found.push(format!("{e:#}"));
    }
    outcome
}

fn carried_out(schedule: &Schedule, planted: Option<&'static str>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let mut world = World::new(schedule.seed, schedule.servers, planted)?;
    world.begin()?;
    let shared = Rc::new(Shared::default());
    world.client(clients::work(schedule.servers, Rc::clone(&shared)));
    let began = world.elapsed();
    for (at, fault) in &schedule.steps {
        world.pass_until(began + Duration::from_millis(*at))?;
        world.apply(*fault)?;
    }
    let end = world.elapsed() + AFTER;
    world.pass_until(end)?;
    let healed = world.heal();
    outcome.found.append(&mut world.found.borrow_mut());
    healed?;
    shared.ending.set(true);
    let served = world.until("everybody is served again", RECOVERY, |_| {
        shared.told.borrow().is_some()
    });
    outcome.found.append(&mut world.found.borrow_mut());
    served?;
    world.until("all servers have applied the same", RECOVERY, World::agrees)?;
    outcome.found.extend(world.differences());
    outcome.lost = world.lost;
    outcome.elections = world.term();
    outcome.simulated = world.elapsed();
    let told = shared.told.take().unwrap_or_default();
    judge(&told, outcome);
    Ok(())
}

fn judge(told: &Told, outcome: &mut Outcome) {
    let Told {
        operations,
        pasts,
        recordings,
        grants,
        wrong,
        failed,
    } = told;
    let found = &mut outcome.found;
    found.extend(wrong.iter().cloned());
    if let Some((first, others)) = pasts.split_first() {
        found.extend(first.check());
        found.extend(others.iter().flat_map(|other| first.differs(other)));
        found.extend(first.without(operations));
        found.extend(recordings.iter().flat_map(|recording| recording.check(first)));
        found.extend(locks::check(first, grants));
        outcome.changes = first.changes.len();
    }
    found.extend(history::stale_reads(operations));
    found.extend(revisions::check(operations));
    found.extend(register::not_linearizable(operations));
    outcome.operations = operations.len();
    outcome.failed = *failed;
    outcome.grants = grants.len();
    for (resumed, moved) in recordings.iter().map(|recording| recording.resumed()) {
        outcome.resumed.0 += resumed;
        outcome.resumed.1 += moved;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} faults, {} operations ({} without an answer), {} changes, {} locks given, {} watches resumed ({} elsewhere), term {}, {} \
             bytes of logs lost, {:.1} s simulated",
            self.faults,
            self.operations,
            self.failed,
            self.changes,
            self.grants,
            self.resumed.0,
            self.resumed.1,
            self.elections,
            self.lost,
            self.simulated.as_secs_f64()
        )
    }
}
