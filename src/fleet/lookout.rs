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

/// Between two looks at the table of processes, and at an Engine's list.
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
    /// The most that had a process, or a container that ran.
    pub(crate) most_there: usize,
}

impl Lookout {
    /// Begins to look.
    pub(crate) fn begin(fleet: &Fleet) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let there = match fleet.containers() {
            Some(containers) => There::Containers(containers.clone()),
            None => There::Processes(Whose::Below(fleet.folder().into()), Census::default()),
        };
        let look = look(fleet.scheduler.clone(), there, Arc::clone(&stop));
        Self {
            stop,
            task: tokio::spawn(look),
        }
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

impl There {
    /// How many there are, and the pause behind this look.
    async fn count(&mut self) -> Result<(usize, Duration), Problem> {
        match self {
            Self::Containers(containers) => Ok((containers.running().await?.len(), PAUSE_OF_LISTS)),
            Self::Processes(whose, census) => {
                let (below, mut looks) = (whose.clone(), std::mem::take(census));
                let looked = tokio::task::spawn_blocking(move || {
                    looks.look(&below);
                    looks
                });
                *census = looked
                    .await
                    .map_err(|e| Problem::new(exit::BUG, format!("read the table of processes: {e}")))?;
                Ok((census.instances(), PAUSE))
            }
        }
    }
}

async fn look(scheduler: Scheduler, mut there: There, stop: Arc<AtomicBool>) -> Result<Seen, Problem> {
    let app = app_id(APP)?;
    let mut seen = Seen {
        looks: 0,
        fewest_healthy: u32::MAX,
        most_there: 0,
    };
    while !stop.load(Ordering::Relaxed) {
        if let Some(counted) = scheduler.app(&app).await? {
            seen.fewest_healthy = seen.fewest_healthy.min(counted.tasks_healthy);
        }
        let (count, pause) = there.count().await?;
        seen.most_there = seen.most_there.max(count);
        seen.looks += 1;
        sleep(pause).await;
    }
    Ok(seen)
}
