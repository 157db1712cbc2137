//! Looks at a data folder that no server uses: what each of its parts says the state is.
//!
//! For tests and for people who wonder. The folder stays as it is, but for a torn end of the
//! log, which is cut off as at any start.

use std::path::Path;

use serde::Serialize;

use super::fatal::Fatal;
use super::log::LogStore;
use super::machine::{News, Replica};
use super::recovery::{self, OpenError};
use super::snapshots::Snapshots;
use crate::folder::Folder;
use crate::raft::LogId;

/// Entries that are read from the log at once, in bytes.
const READ_BYTES: usize = 4 << 20;

/// What a folder holds. Digests are over state, history, deletions and request ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    pub cluster_id: String,
    pub node_id: u64,
    /// The revision of the recovered state.
    pub revision: u64,
    /// The last log entry in it.
    pub applied: Option<u64>,
    /// The first log entry that is there, and the last one.
    pub log: (u64, Option<u64>),
    /// Whether the state on disk can be used; why not, if it cannot.
    pub on_disk: Result<Part, String>,
    /// The state that a server would start with: disk or snapshot, and then the log.
    pub recovered: Part,
    /// The log alone, from an empty state on; `None` if its beginning has been purged.
    pub replayed: Option<Part>,
}

/// One way to come by a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    pub revision: u64,
    pub applied: Option<u64>,
    pub digest: String,
}

impl Part {
    fn of(replica: &Replica) -> Self {
        Self {
            revision: replica.state.revision().0,
            applied: replica.last_log_id.map(|id| id.index),
            digest: replica.state.digest(),
        }
    }
}

/// Looks at a folder.
pub fn inspect(dir: &Path) -> anyhow::Result<Inspection> {
    let folder = Folder::open_existing(dir)?;
    let folder = folder.ok_or_else(|| anyhow::anyhow!("{} is not a data folder of keyway", dir.display()))?;
    let snapshots = Snapshots::new(&folder.snapshots(), folder.cluster_id());
    let log = LogStore::open(&folder.log(), Fatal::default()).map_err(|reason| OpenError::Log {
        dir: folder.log(),
        reason,
    })?;
    let (purged, last) = log.bounds()?;
    let on_disk = if crate::disk::exists(&folder.state()) {
        recovery::look(&folder.state())
            .map(|(_, replica)| replica.unwrap_or_default())
            .map_err(|e| e.to_string())
    } else {
        Err("there is none".to_owned())
    };
    let newest = snapshots.current()?.and_then(|(header, _)| header.last_log_id);
    let base = match &on_disk {
        Ok(replica) if replica.last_log_id >= purged => {
            recovery::further(&log, &snapshots, newest, replica.last_log_id)?.unwrap_or_else(|| replica.clone())
        }
        _ => recovery::newest(&snapshots)?.0.unwrap_or_default(),
    };
    anyhow::ensure!(
        base.last_log_id >= purged,
        "neither the state on disk nor a snapshot reaches the log's beginning"
    );
    // What was applied was committed, even if the log's own word on that is older.
    if let Some(id) = newest
        && log.has(id)?
    {
        log.is_committed_to(id);
    }
    let upto = log.committed()?.max(base.last_log_id).map_or(0, |id| id.index + 1);
    let recovered = replay(&log, base, upto)?;
    let replayed = match purged {
        None => Some(replay(&log, Replica::default(), upto)?),
        Some(_) => None,
    };
    log.close();
    Ok(Inspection {
        cluster_id: folder.cluster_id().to_owned(),
        node_id: folder.node_id(),
        revision: recovered.state.revision().0,
        applied: recovered.last_log_id.map(|id| id.index),
        log: (next(purged), last.map(|id| id.index)),
        on_disk: on_disk.map(|replica| Part::of(&replica)),
        recovered: Part::of(&recovered),
        replayed: replayed.as_ref().map(Part::of),
    })
}

/// Applies the log's entries after the replica's and before `upto`.
fn replay(log: &LogStore, mut replica: Replica, upto: u64) -> anyhow::Result<Replica> {
    loop {
        let from = next(replica.last_log_id);
        let entries = log.read(from, upto.max(from), READ_BYTES)?;
        if entries.is_empty() {
            return Ok(replica);
        }
        for entry in entries {
            // Rows are for the disk, which is not touched.
            replica.apply(entry, &mut News::default())?;
        }
    }
}

fn next(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |id| id.index + 1)
}
