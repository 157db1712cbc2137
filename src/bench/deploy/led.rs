//! How soon HAProxy leads to an instance that has become healthy.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Method;
use kvapi::Problem;
use kvapi::problem::exit;
use tokio::time::sleep;

use super::super::load::{histogram, note};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::fleet::balancer::Balancer;
use crate::fleet::{Fleet, Runs, SETTING, Wanted};
use crate::settings::Settings;

/// How many instances there are at first, and how many come, one after another.
const FIRST: u32 = 4;
const MORE: u32 = 20;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(1);

/// How long it may take until each has answered once.
const PATIENCE: Duration = Duration::from_secs(60);

/// From the end of the deployment that brings one more instance, which is when it is healthy, to the first answer of it
/// that comes through HAProxy. `None` where there is no HAProxy.
pub(super) async fn led(dir: &Path, settings: &Settings) -> Result<Option<Histogram<u64>>, Failure> {
    let mut fleet = Fleet::start(dir, None, settings).await?;
    fleet.put(SETTING, "hello".into()).await?;
    let mut balancer = match Balancer::start(&fleet).await {
        Ok(balancer) => balancer,
        Err(problem) if problem.code == exit::NOT_FOUND => return Ok(None),
        Err(problem) => return Err(problem.into()),
    };
    let latency = measure(&fleet, &balancer).await;
    balancer.stop().await;
    fleet.stop().await;
    latency.map(Some)
}

async fn measure(fleet: &Fleet, balancer: &Balancer) -> Result<Histogram<u64>, Failure> {
    let mut latency = histogram()?;
    let mut seen = BTreeSet::new();
    for instances in FIRST..=FIRST + MORE {
        let wanted = Wanted {
            instances,
            version: 1,
            strategy: (1.0, 1.0),
            balanced: true,
            runs: Runs::Processes,
        };
        let (_, app) = fleet.define(&wanted)?;
        let begun = fleet.deploy(&app).await?;
        fleet.until_done(&begun, |_| Ok(())).await?;
        let healthy = Instant::now();
        if instances == FIRST {
            balancer.leads().await?;
        }
        while seen.len() < instances as usize {
            if healthy.elapsed() > PATIENCE {
                let what = format!("{} of {instances} instances answered through haproxy", seen.len());
                return Err(Problem::new(exit::LEFT, what).into());
            }
            seen.insert(who_answers(balancer).await?);
            sleep(PAUSE).await;
        }
        if instances > FIRST {
            note(&mut latency, healthy.elapsed());
        }
    }
    Ok(latency)
}

/// What the instance says that answered; it names its process.
async fn who_answers(balancer: &Balancer) -> Result<Bytes, Problem> {
    let mut connection = Connection::open(&balancer.address).await?;
    Ok(connection.ask(Method::GET, "/", Bytes::new()).await?.body)
}
