//! How many instances there are and how many are healthy, looked at again and again while something happens to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvapi::Problem;
use kvapi::problem::exit;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::census::{Census, Whose};
use super::containers::Containers;
use super::{APP, Fleet};
use crate::deploy::{Scheduler, app_id};

/// Between two looks at the table of processes, or at an Engine's list.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_OF_LISTS: Duration = Duration::from_millis(200);

/// See the module.
pub(crate) struct Lookout {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Seen, Problem>>,
}

/// The extremes of all looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) looks: usize,
    /// The fewest that the scheduler's API said to be healthy.
    pub(crate) fewest_healthy: u32,
    /// The fewest that had a process, or a container that ran. That says nothing of their health; but what is healthy is there.
    pub(crate) fewest_there: usize,
    /// The most tasks that the scheduler's API told of.
    pub(crate) most_told: usize,
    /// The most that had a process, or a container that ran.
    pub(crate) most_there: usize,
}

impl Lookout {
    /// Begins to look. Who is there by now is known before anything happens to them.
    pub(crate) async fn begin(fleet: &Fleet) -> Result<Self, Problem> {
        let stop = Arc::<AtomicBool>::default();
        let mut there = match fleet.containers() {
            Some(containers) => There::Containers(containers.clone()),
            None => There::Processes(Whose::Below(fleet.folder().into()), Census::default()),
        };
        there.count().await?;
        let look = look(fleet.scheduler.clone(), there, Arc::clone(&stop));
        Ok(Self {
            stop,
            task: tokio::spawn(look),
        })
    }

    /// What was seen.
    pub(crate) async fn end(self) -> Result<Seen, Problem> {
        self.stop.store(true, Ordering::Relaxed);
        self.task
            .await
            .map_err(|e| Problem::new(exit::BUG, format!("the lookout broke: {e}")))?
    }
}

/// Where is looked how many there are.
enum There {
    Processes(Whose, Census),
    Containers(Containers),
}

/// How many were there at a moment of one look. Some end and others begin while a table is read, so both are bounds: whoever
/// finds too few or too many in them has not been misled by that.
struct Count {
    at_least: usize,
    at_most: usize,
}

impl There {
    /// Between two looks.
    fn pause(&self) -> Duration {
        match self {
            Self::Containers(_) => PAUSE_OF_LISTS,
            Self::Processes(..) => PAUSE,
        }
    }

    async fn count(&mut self) -> Result<Count, Problem> {
        match self {
            Self::Containers(containers) => {
                // The Engine's list is of one moment.
                let running = containers.running().await?.len();
                Ok(Count {
                    at_least: running,
                    at_most: running,
                })
            }
            Self::Processes(whose, census) => {
                let (below, mut looks) = (whose.clone(), std::mem::take(census));
                let looked = tokio::task::spawn_blocking(move || {
                    looks.look(&below);
                    looks
                });
                *census = looked
                    .await
                    .map_err(|e| Problem::new(exit::BUG, format!("read the table of processes: {e}")))?;
                Ok(Count {
                    at_least: census.at_least(),
                    at_most: census.at_most(),
                })
            }
        }
    }
}

async fn look(scheduler: Scheduler, mut there: There, stop: Arc<AtomicBool>) -> Result<Seen, Problem> {
    let app = app_id(APP)?;
    let mut seen = Seen {
        looks: 0,
        fewest_healthy: u32::MAX,
        fewest_there: usize::MAX,
        most_told: 0,
        most_there: 0,
    };
    while !stop.load(Ordering::Relaxed) {
        if let Some(counted) = scheduler.app(&app).await? {
            seen.fewest_healthy = seen.fewest_healthy.min(counted.tasks_healthy);
            seen.most_told = seen.most_told.max(counted.tasks.len());
        }
        let count = there.count().await?;
        seen.fewest_there = seen.fewest_there.min(count.at_most);
        seen.most_there = seen.most_there.max(count.at_least);
        seen.looks += 1;
        sleep(there.pause()).await;
    }
    Ok(seen)
}
