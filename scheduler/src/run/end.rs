//! The end of everything that a scheduler has started.

use std::time::Duration;

use kvapi::Client;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::with_cluster;
use crate::driver::{self, Driver, Handle, Stop, Told};

/// How long a task that is forced to end may take.
const FORCED: Duration = Duration::from_secs(5);

/// Ends all that a scheduler with these settings has started, and removes its containers. To be called when none runs, and
/// the store still does.
pub async fn end_all(client: &Client, settings: driver::Settings) -> anyhow::Result<()> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let driver = Driver::new(with_cluster(client, settings).await?, tell)?;
    let all = driver.find_reachable().await?;
    let mut there = Vec::new();
    for found in all.iter().filter(|found| found.ended.is_none()) {
        driver.adopt(found.task.clone(), &found.handle);
        there.push((found.task.clone(), found.handle.clone()));
    }
    for (stop, grace) in [(Stop::Ask, driver::GRACE), (Stop::Force, FORCED)] {
        for (task, handle) in &there {
            driver.stop(task, handle, stop);
        }
        // An Engine ends many one after the other: as long as some end, the others are waited for. Those that take longer
        // are forced next, or are told of below.
        while !there.is_empty()
            && let Ok(Some(news)) = timeout(grace, told.recv()).await
        {
            if let Told::Ended { task, .. } = news {
                there.retain(|(other, _)| *other != task);
            }
        }
    }
    let containers = all
        .iter()
        .filter(|found| matches!(found.handle, Handle::Container { .. }));
    for found in containers.clone() {
        driver.forget(&found.task, &found.handle);
    }
    for found in containers {
        driver.forgotten(&found.task).await;
    }
    anyhow::ensure!(there.is_empty(), "{} tasks do not end", there.len());
    Ok(())
}
