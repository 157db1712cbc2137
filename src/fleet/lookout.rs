//! How many instances there are and how many are healthy, looked at again and again while something happens to them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvapi::Problem;
use kvapi::problem::exit;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::census::Census;
use super::{APP, Fleet};
use crate::deploy::{Scheduler, app_id};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

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
    /// The most that had a process.
    pub(crate) most_there: usize,
}

impl Lookout {
    /// Begins to look.
    pub(crate) fn begin(fleet: &Fleet) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let look = look(fleet.scheduler.clone(), fleet.folder().into(), Arc::clone(&stop));
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

async fn look(scheduler: Scheduler, folder: PathBuf, stop: Arc<AtomicBool>) -> Result<Seen, Problem> {
    let app = app_id(APP)?;
    let mut census = Census::default();
    let mut seen = Seen {
        looks: 0,
        fewest_healthy: u32::MAX,
        most_there: 0,
    };
    while !stop.load(Ordering::Relaxed) {
        if let Some(counted) = scheduler.app(&app).await? {
            seen.fewest_healthy = seen.fewest_healthy.min(counted.tasks_healthy);
        }
        let below = folder.clone();
        let looked = tokio::task::spawn_blocking(move || {
            census.look(&below);
            census
        });
        census = looked
            .await
            .map_err(|e| Problem::new(exit::BUG, format!("read the table of processes: {e}")))?;
        seen.most_there = seen.most_there.max(census.instances());
        seen.looks += 1;
        sleep(PAUSE).await;
    }
    Ok(seen)
}
