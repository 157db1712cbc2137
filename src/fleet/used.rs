//! What everything of ours uses.

use std::time::Duration;

use kvapi::Problem;
use kvapi::problem::exit;
use serde::Serialize;

use super::Fleet;
use super::census::{Census, Part};
use crate::usage;

/// What everything of ours used until all were deployed; memory is Pss.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Used {
    /// Store and scheduler.
    pub(crate) main_mib: f64,
    pub(crate) main_cpu_seconds: f64,
    pub(crate) agents: usize,
    pub(crate) agent_mib: f64,
    pub(crate) agents_cpu_seconds: f64,
    pub(crate) servers: usize,
    pub(crate) server_mib: f64,
}

impl Used {
    /// Reads what the kernel has counted.
    pub(crate) async fn by(fleet: &Fleet) -> Result<Self, Problem> {
        let (whose, pid) = (fleet.whose().await?, fleet.pid());
        let read = tokio::task::spawn_blocking(move || {
            let mut census = Census::default();
            census.look(&whose);
            let main: Vec<u32> = pid.into_iter().collect();
            let (agents, servers) = (census.of(Part::Agent), census.of(Part::Server));
            Self {
                main_mib: mib(&main),
                main_cpu_seconds: cpu(&main),
                agent_mib: mib(&agents) / agents.len().max(1) as f64,
                agents_cpu_seconds: cpu(&agents),
                agents: agents.len(),
                server_mib: mib(&servers) / servers.len().max(1) as f64,
                servers: servers.len(),
            }
        });
        read.await
            .map_err(|e| Problem::new(exit::BUG, format!("read the table of processes: {e}")))
    }
}

fn mib(pids: &[u32]) -> f64 {
    let kib: u64 = pids.iter().filter_map(|pid| usage::kib(*pid, "Pss:")).sum();
    kib as f64 / 1024.0
}

fn cpu(pids: &[u32]) -> f64 {
    pids.iter().map(|pid| usage::cpu(*pid)).sum::<Duration>().as_secs_f64()
}
