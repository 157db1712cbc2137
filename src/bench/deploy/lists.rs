//! How long the list of all apps with their tasks takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kvapi::Problem;
use kvapi::problem::exit;
use serde::de::IgnoredAny;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::load::{histogram, note};
use crate::deploy::Scheduler;

/// What is asked for.
pub(super) const PATH: &str = "/v2/apps?embed=apps.tasks";

/// Between two, while something else goes on.
const PAUSE: Duration = Duration::from_millis(50);

/// One who asks again and again. Dropped, it asks no more.
pub(super) struct Lists {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Histogram<u64>, Problem>>,
}

/// How long so many take, one right after the other.
pub(super) async fn some(scheduler: &Scheduler, count: usize) -> Result<Histogram<u64>, Problem> {
    let mut latency = histogram()?;
    for _ in 0..count {
        note(&mut latency, one(scheduler).await?);
    }
    Ok(latency)
}

async fn one(scheduler: &Scheduler) -> Result<Duration, Problem> {
    let began = Instant::now();
    let all = scheduler.get::<IgnoredAny>(PATH).await?;
    all.ok_or_else(|| Problem::new(exit::BUG, "the scheduler has no apps"))?;
    Ok(began.elapsed())
}

impl Lists {
    /// Begins to ask.
    pub(super) fn begin(scheduler: &Scheduler) -> Result<Self, Problem> {
        let (stop, scheduler, mut latency) = (Arc::<AtomicBool>::default(), scheduler.clone(), histogram()?);
        let told = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            loop {
                note(&mut latency, one(&scheduler).await?);
                if told.load(Ordering::Relaxed) {
                    return Ok::<_, Problem>(latency);
                }
                sleep(PAUSE).await;
            }
        });
        Ok(Self { stop, task })
    }

    /// How long each took: at least one.
    pub(super) async fn end(mut self) -> Result<Histogram<u64>, Problem> {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.task)
            .await
            .map_err(|e| Problem::new(exit::BUG, format!("whoever asked broke: {e}")))?
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
