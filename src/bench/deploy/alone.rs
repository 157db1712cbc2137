//! The yardstick of containers: how long the Engine by itself takes to start and to stop as many, asked by as many as a
//! scheduler asks it by.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvapi::Problem;
use kvapi::problem::exit;
use scheduler::driver::REQUESTS;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::fleet::containers::Containers;
use crate::fleet::{IN_A_CONTAINER, MEMORY, PORT};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alone {
    /// Until the last has been created and started.
    pub(super) start: Duration,
    /// Until the last has ended and is removed.
    pub(super) stop: Duration,
}

impl Alone {
    /// Measures it with so many containers of an image, which have no agent. May be cut off; then some may be left.
    pub(super) async fn measure(
        containers: &Containers,
        image: &str,
        instances: u32,
        folder: &Path,
    ) -> Result<Self, Problem> {
        let definition = Arc::new(definition(image, folder)?);
        let began = Instant::now();
        let starts = (0..instances).map(|number| {
            let (containers, definition) = (containers.clone(), Arc::clone(&definition));
            async move { containers.run(&format!("alone.{number}"), &definition).await }
        });
        let all = at_once(starts).await?;
        let start = began.elapsed();
        let began = Instant::now();
        let ends = all.into_iter().map(|id| {
            let containers = containers.clone();
            async move { containers.end(&id).await }
        });
        at_once(ends).await?;
        let stop = began.elapsed();
        Ok(Self { start, stop })
    }
}

/// A container as a scheduler asks for it, without the agent: its file has been rendered.
fn definition(image: &str, folder: &Path) -> Result<Value, Problem> {
    let file = folder.join("alone.conf");
    crate::scratch::write(&file, "greeting = hello\nlimit = 5\n")?;
    let port = format!("{PORT}/tcp");
    Ok(json!({
        "Image": image,
        "Entrypoint": [],
        "Cmd": IN_A_CONTAINER,
        "ExposedPorts": { (port.as_str()): {} },
        "HostConfig": {
            "NetworkMode": "bridge",
            "CpuShares": 10,
            "Memory": u64::from(MEMORY) << 20,
            "PortBindings": { (port.as_str()): [{ "HostIp": "127.0.0.1", "HostPort": "" }] },
            "Mounts": [{ "Type": "bind", "Source": file, "Target": "/app.conf", "ReadOnly": true }],
        },
    }))
}

/// Does all, as many at a time as a scheduler's driver does. What they came to, as they were done.
async fn at_once<T, F>(jobs: impl Iterator<Item = F>) -> Result<Vec<T>, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(REQUESTS));
    let mut running = JoinSet::new();
    for job in jobs {
        let slots = Arc::clone(&slots);
        running.spawn(async move {
            let _slot = slots.acquire().await;
            job.await
        });
    }
    let mut done = Vec::new();
    while let Some(one) = running.join_next().await {
        done.push(one.map_err(|e| Problem::new(exit::BUG, format!("a request broke: {e}")))??);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_are_done_at_once_than_a_driver_does() {
        let (now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let jobs = (0..3 * REQUESTS).map(|number| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            }
        });

        let mut done = at_once(jobs).await.unwrap();

        done.sort_unstable();
        assert_eq!(done, (0..3 * REQUESTS).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), REQUESTS);
    }
}
