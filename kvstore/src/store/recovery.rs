//! Finds the state at the start: from the state on disk if that is good, else from a snapshot,
//! else from the beginning of the log. openraft then applies what the log has beyond.
//!
//! Nothing here makes an empty store out of a damaged one: if the log does not reach back to
//! where state or snapshot end, that is an error.

use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::log::LogStore;
use super::lost::{self, End};
use super::machine::Replica;
use super::snapshot::BadSnapshot;
use super::snapshots::{NewestGood, Snapshots};
use super::tables::{Tables, Unusable, is_locked};
use super::writer::panic_text;
use crate::disk;
use crate::folder::Past;
use crate::raft::LogId;

/// Why a store does not open, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the log in {} cannot be read: {reason}; {}",
        .dir.display(),
        disk::remedy(.reason).unwrap_or("put the data folder back from a copy")
    )]
    Log { dir: PathBuf, reason: io::Error },
    #[error(
        "the state cannot be rebuilt: the log begins after entry {purged}, and neither {} nor a good snapshot reaches there{found}; put the data folder back from a copy",
        .dir.display()
    )]
    Hole { dir: PathBuf, purged: u64, found: String },
    #[error("the log in {} {lost}; {remedy}", .log.display())]
    LogLost { log: PathBuf, lost: String, remedy: String },
    #[error(
        "the state cannot be rebuilt: the cluster began at revision {began_at}, and neither {} nor a good snapshot has that{found}; put the data folder back from a copy",
        .dir.display()
    )]
    NoBeginning { dir: PathBuf, began_at: u64, found: String },
    #[error("the state on disk in {} cannot be opened: {reason}; {remedy}", .dir.display())]
    State {
        dir: PathBuf,
        reason: String,
        remedy: &'static str,
    },
    #[error("{0}; put the `keyway.json` of the folder back from a copy, or the snapshots")]
    Foreign(BadSnapshot),
    #[error(
        "cannot {what} {}: {reason}; {}",
        .path.display(),
        disk::remedy(.reason).unwrap_or("check the disk and start again")
    )]
    Io {
        what: &'static str,
        path: PathBuf,
        reason: io::Error,
    },
}

/// The remedy for a full disk.
const FREE_SOME: &str = "free some space and start again";

/// What recovery has found.
pub(super) struct Found {
    pub replica: Replica,
    pub tables: Tables,
    /// Whether the state on disk is not the replica yet and must be written whole.
    pub rewrite: bool,
}

/// Finds the state.
pub(super) fn recover(log: &LogStore, snapshots: &Snapshots, dir: &Path, past: Past) -> Result<Found, OpenError> {
    let (purged, last) = log.bounds().map_err(|reason| OpenError::Log {
        dir: dir.to_owned(),
        reason,
    })?;
    refuse_foreign(snapshots)?;
    let listed = snapshots.current();
    let listed = listed.map_err(|source| cannot("list the snapshots in", snapshots.dir(), source))?;
    let end = End::of(
        last,
        listed
            .as_ref()
            .map(|(header, _)| (header.last_log_id, &header.membership)),
        past,
    );
    if let Some(lost) = end.lost(None) {
        let state = disk::exists(dir).then(|| look(dir).ok()).flatten();
        let state = state.and_then(|(_, replica)| replica);
        return Err(log_lost(dir, lost, state.as_ref(), snapshots)?);
    }
    let found = from_parts(log, snapshots, dir, purged, end)?;
    fit(log, snapshots, end.snapshot, found.replica.last_log_id)?;
    Ok(found)
}

/// What the state, the snapshots and the log come to, of a log that has lost nothing.
fn from_parts(
    log: &LogStore,
    snapshots: &Snapshots,
    dir: &Path,
    purged: Option<LogId>,
    end: End,
) -> Result<Found, OpenError> {
    let End { last, past, .. } = end;
    let was_there = disk::exists(dir);
    let mut is_full = false;
    let why = match look(dir) {
        Ok((tables, Some(replica))) if replica.last_log_id >= purged => {
            if let Some(lost) = end.lost(replica.last_log_id) {
                return Err(log_lost(dir, lost, Some(&replica), snapshots)?);
            }
            let found = go_on(replica, tables, log, end, snapshots)?;
            remove_set_aside(dir)?;
            return Ok(found);
        }
        Ok((tables, Some(_))) => {
            drop(tables);
            "the log has been purged beyond it".to_owned()
        }
        // The first start leaves a mark in it, so one that lived and is empty is damaged.
        Ok((tables, None)) if was_there && last.is_some() => {
            drop(tables);
            "nothing is left in it".to_owned()
        }
        Ok((tables, None)) => {
            let (replica, from) = rebuild(purged, snapshots, dir, past)?;
            if last.is_some() {
                tracing::warn!(from, "the state on disk is gone; it is rebuilt");
            }
            let rewrite = true;
            return Ok(Found {
                replica,
                tables,
                rewrite,
            });
        }
        Err(e) => {
            refuse_if_only_unreadable(dir, &e)?;
            is_full = says_full(&e);
            e.to_string()
        }
    };
    let rebuilt = rebuild(purged, snapshots, dir, past);
    let (replica, from) = match rebuilt {
        Err(OpenError::Hole { .. }) if is_full => return Err(unopened(dir, why, FREE_SOME)),
        rebuilt => rebuilt?,
    };
    if is_full {
        // The state takes no more room than it did before: what goes with it is what was dead in it.
        remove_set_aside(dir)?;
        disk::remove_dir(dir).map_err(|source| cannot("remove", dir, source))?;
        tracing::warn!(
            from,
            "the disk is too full to open the state on disk; it is removed and rebuilt"
        );
    } else {
        let kept_in = set_aside(dir)?;
        let kept_in = kept_in.display();
        tracing::warn!(why, from, %kept_in, "the state on disk cannot be used; it is set aside and rebuilt");
    }
    match look(dir) {
        Ok((tables, _)) => Ok(Found {
            replica,
            tables,
            rewrite: true,
        }),
        Err(e) if says_full(&e) => Err(unopened(dir, e.to_string(), FREE_SOME)),
        Err(e) => Err(unopened(dir, e.to_string(), "check the disk and start again")),
    }
}

/// Opens and loads the state on disk. A panic of sled's is an error like another.
pub(super) fn look(dir: &Path) -> Result<(Tables, Option<Replica>), Unusable> {
    let owned = dir.to_owned();
    let looked = catch_unwind(move || {
        let mut tables = Tables::open(&owned)?;
        let loaded = tables.load()?;
        Ok((tables, loaded))
    });
    let (tables, loaded) = looked.unwrap_or_else(|panic| Err(Unusable::Panic(panic_text(&*panic))))?;
    let replica = loaded.map(|(mark, state)| Replica {
        state,
        last_log_id: mark.last_log_id,
        membership: mark.membership,
    });
    Ok((tables, replica))
}

/// Goes on from a good state; or from a snapshot that is further, see [`further`].
fn go_on(
    replica: Replica,
    tables: Tables,
    log: &LogStore,
    end: End,
    snapshots: &Snapshots,
) -> Result<Found, OpenError> {
    let further = further(log, snapshots, end.snapshot, replica.last_log_id)?;
    let rewrite = further.is_some();
    Ok(Found {
        replica: further.unwrap_or(replica),
        tables,
        rewrite,
    })
}

/// A snapshot that is further than what has been applied, if the log does not lead to where the newest is. It is
/// of another server then, and the process ended while it was taking the state's place.
pub(super) fn further(
    log: &LogStore,
    snapshots: &Snapshots,
    newest_is_at: Option<LogId>,
    applied: Option<LogId>,
) -> Result<Option<Replica>, OpenError> {
    match newest_is_at {
        Some(id) if Some(id) > applied && !log.has(id).map_err(|e| unread(snapshots, e))? => {
            let (found, _) = newest(snapshots)?;
            Ok(found.filter(|found| found.last_log_id > applied))
        }
        _ => Ok(None),
    }
}

/// Has openraft find three parts that fit: the log goes on behind what is applied, and the newest snapshot holds
/// nothing but what is committed. The log's own word on that is older than a snapshot that was made a moment before
/// the end, and the state on disk may be as well.
fn fit(
    log: &LogStore,
    snapshots: &Snapshots,
    newest_is_at: Option<LogId>,
    applied: Option<LogId>,
) -> Result<(), OpenError> {
    let failed = |e| unread(snapshots, e);
    if let Some(applied) = applied
        && !log.has(applied).map_err(failed)?
    {
        log.begin_behind(applied).map_err(failed)?;
    }
    match newest_is_at.filter(|id| Some(*id) > applied) {
        Some(id) if log.has(id).map_err(failed)? => log.is_committed_to(id),
        // Else it would be what is gone on from. It must not pass for what this server has.
        Some(_) => snapshots
            .remove_damaged_beyond(applied)
            .map_err(|source| cannot("remove the newest from", snapshots.dir(), source))?,
        None => {}
    }
    Ok(())
}

/// The log lies beside the snapshots.
fn unread(snapshots: &Snapshots, reason: io::Error) -> OpenError {
    let dir = snapshots.dir().with_file_name("log");
    OpenError::Log { dir, reason }
}

/// Snapshots of another cluster say that parts of two folders were put together: whose the log and
/// the state are, they do not say themselves.
fn refuse_foreign(snapshots: &Snapshots) -> Result<(), OpenError> {
    let foreign = snapshots.foreign();
    let foreign = foreign.map_err(|source| cannot("list the snapshots in", snapshots.dir(), source))?;
    foreign.map_or(Ok(()), |source| Err(OpenError::Foreign(source)))
}

/// A wrong owner or another process is no damage: setting the state aside would not help.
fn refuse_if_only_unreadable(dir: &Path, e: &Unusable) -> Result<(), OpenError> {
    let Unusable::Sled(sled::Error::Io(io)) = e else {
        return Ok(());
    };
    let remedy = match io.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the server's user write there and start again"
        }
        _ if is_locked(io) => "another process has it open: end that one and start again",
        _ => return Ok(()),
    };
    Err(unopened(dir, io.to_string(), remedy))
}

/// Whether it is only that the disk is full.
fn says_full(e: &Unusable) -> bool {
    matches!(e, Unusable::Sled(sled::Error::Io(io)) if disk::is_full(io))
}

fn unopened(dir: &Path, reason: String, remedy: &'static str) -> OpenError {
    let dir = dir.to_owned();
    OpenError::State { dir, reason, remedy }
}

/// A state that the log goes on from, and in words where it comes from.
fn rebuild(
    purged: Option<LogId>,
    snapshots: &Snapshots,
    dir: &Path,
    past: Past,
) -> Result<(Replica, String), OpenError> {
    let (replica, found) = newest(snapshots)?;
    let from = match &replica {
        None => "the log alone".to_owned(),
        Some(Replica { last_log_id: None, .. }) => "what the cluster began with".to_owned(),
        Some(Replica {
            last_log_id: Some(id), ..
        }) => format!("a snapshot at log entry {}", id.index),
    };
    if let (None, Some(began_at)) = (&replica, past.began_at) {
        let dir = dir.to_owned();
        return Err(OpenError::NoBeginning { dir, began_at, found });
    }
    let replica = replica.unwrap_or_default();
    if replica.last_log_id < purged {
        let purged = purged.map_or(0, |id| id.index);
        return Err(OpenError::Hole {
            dir: dir.to_owned(),
            purged,
            found,
        });
    }
    Ok((replica, from))
}

/// The refusal of a log that has lost its end, and what one could go on from instead.
fn log_lost(dir: &Path, lost: String, state: Option<&Replica>, snapshots: &Snapshots) -> Result<OpenError, OpenError> {
    let (snapshot, _) = newest(snapshots)?;
    Ok(OpenError::LogLost {
        log: dir.with_file_name("log"),
        lost,
        remedy: lost::remedy(state.into_iter().chain(&snapshot)),
    })
}

/// The newest good snapshot, and in words what is wrong with others.
pub(super) fn newest(snapshots: &Snapshots) -> Result<(Option<Replica>, String), OpenError> {
    let NewestGood { good, bad } = snapshots
        .newest_good()
        .map_err(|source| cannot("list the snapshots in", snapshots.dir(), source))?;
    for e in &bad {
        tracing::warn!(error = %e, "a snapshot is passed over");
    }
    let words = bad.iter().map(|e| format!(" ({e})")).collect();
    let replica = good.map(|(header, state)| Replica {
        state,
        last_log_id: header.last_log_id,
        membership: header.membership,
    });
    Ok((replica, words))
}

/// Moves the state on disk out of the way, to be looked at until a start needs it no more.
pub(super) fn set_aside(dir: &Path) -> Result<PathBuf, OpenError> {
    remove_set_aside(dir)?;
    let aside = aside(dir);
    disk::rename(dir, &aside).map_err(|source| cannot("set aside", dir, source))?;
    Ok(aside)
}

fn remove_set_aside(dir: &Path) -> Result<(), OpenError> {
    let aside = aside(dir);
    if disk::exists(&aside) {
        disk::remove_dir(&aside).map_err(|source| cannot("remove", &aside, source))?;
    }
    Ok(())
}

fn aside(dir: &Path) -> PathBuf {
    dir.with_extension("set-aside")
}

pub(super) fn cannot(what: &'static str, path: &Path, reason: io::Error) -> OpenError {
    let path = path.to_owned();
    OpenError::Io { what, path, reason }
}
