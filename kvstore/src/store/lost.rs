//! A log that was lost, or its end: how that is seen, and how a new cluster goes on from what is left.
//!
//! What was acknowledged last may be gone with it, and nobody can say up to which revision. So the
//! same cluster does not go on: its revisions would go back. A new one, with an id of its own, may.

use std::path::Path;

use super::machine::Replica;
use super::recovery;
use super::snapshots::Snapshots;
use crate::disk;
use crate::folder::Past;
use crate::raft::{LogId, StoredMembership};
use crate::state::State;

/// The remedy where nothing is left.
pub(super) const FROM_COPY: &str = "put the data folder back from a copy, or begin with an empty one";

/// Where the log ends, and what tells that it went further once.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub last: Option<LogId>,
    pub snapshot: Option<LogId>,
    /// Whether the snapshot may have come from another server, and so be ahead of the log.
    received: bool,
    pub past: Past,
}

impl End {
    /// Of a log, the newest snapshot and its members, and what the folder says of its past.
    pub(super) fn of(last: Option<LogId>, snapshot: Option<(Option<LogId>, &StoredMembership)>, past: Past) -> Self {
        Self {
            last,
            snapshot: snapshot.and_then(|(last_log_id, _)| last_log_id),
            received: snapshot.is_some_and(|(_, members)| members.nodes().count() != 1),
            past,
        }
    }

    /// What says that a part of the log is missing, if something does. `applied` is what the state on
    /// disk has, which follows the log.
    pub(super) fn lost(&self, applied: Option<LogId>) -> Option<String> {
        let missing = "a part of it is missing, and with it perhaps what was acknowledged last";
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
        let last = index(self.last);
        if self.last.is_none() && self.past.initialised {
            let lost =
                "holds no entry, and the folder was in use: it is missing, and with it perhaps what was acknowledged";
            return Some(lost.to_owned());
        }
        if self.snapshot > self.last && !self.received {
            let has = index(self.snapshot);
            return Some(format!(
                "ends at entry {last}, and the newest snapshot has entry {has}: {missing}"
            ));
        }
        (applied > self.last.max(self.snapshot)).then(|| {
            let has = index(applied);
            format!("ends at entry {last}, and the state on disk has entry {has}: {missing}")
        })
    }
}

/// What to do about it, given what is left.
pub(super) fn remedy<'a>(left: impl Iterator<Item = &'a Replica>) -> String {
    let best = left.map(|replica| replica.state.revision()).max();
    let Some(revision) = best.filter(|revision| revision.0 > 0) else {
        return FROM_COPY.to_owned();
    };
    format!(
        "put the data folder back from a copy; without one, move `log` and `keyway.json` away and start with --bootstrap: \
         a new cluster, with an id of its own, then goes on from revision {revision}, without what came after it"
    )
}

/// Makes the newest of state and snapshots the beginning of a cluster, and returns its revision; see
/// [`crate::folder::Gather`]. Ended anywhere and done again it comes to the same.
pub(crate) fn gather(state: &Path, snapshots: &Path, cluster_id: &str) -> Result<Option<u64>, String> {
    let failed = |e: std::io::Error| e.to_string();
    disk::create_dir(snapshots).map_err(failed)?;
    let snapshots = Snapshots::new(snapshots, cluster_id);
    let on_disk = disk::exists(state).then(|| recovery::look(state)).transpose();
    let on_disk = on_disk.unwrap_or_else(|e| {
        tracing::warn!(error = %e, "the state on disk is passed over");
        None
    });
    let on_disk = on_disk.and_then(|(_, replica)| replica).map(|replica| replica.state);
    let newest: Option<State> = [on_disk, snapshots.newest_of_any().map_err(failed)?]
        .into_iter()
        .flatten()
        .max_by_key(State::revision);
    let Some(newest) = newest.filter(|state| state.revision().0 > 0) else {
        return Ok(None);
    };
    let revision = newest.revision().0;
    snapshots.begin_with(&newest).map_err(failed)?;
    if disk::exists(state) {
        recovery::set_aside(state).map_err(|e| e.to_string())?;
    }
    tracing::warn!(
        cluster_id,
        revision,
        "the log is gone: a new cluster goes on from what is left, without what came after it; agents and watches of the old cluster do not take it for that"
    );
    Ok(Some(revision))
}
