//! Finds the state at the start: from the state on disk if that is good, else from a snapshot,
//! else from the beginning of the log. openraft then applies what the log has beyond.
//!
//! Nothing here makes an empty store out of a damaged one: if the log does not reach back to
//! where state or snapshot end, that is an error.

use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::log::LogStore;
use super::machine::Replica;
use super::snapshots::{NewestGood, Snapshots};
use super::tables::{Tables, Unusable};
use super::writer::panic_text;
use crate::disk;
use crate::raft::LogId;

/// Why a store does not open, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the log in {} cannot be read: {source}; put the data folder back from a copy, or let the server join again as a new node",
        .dir.display()
    )]
    Log { dir: PathBuf, source: io::Error },
    #[error(
        "the state cannot be rebuilt: the log in {} begins after entry {purged}, and there is no state or good snapshot that reaches there{found}; put the data folder back from a copy",
        .dir.display()
    )]
    Hole { dir: PathBuf, purged: u64, found: String },
    #[error("the state on disk in {} cannot be opened: {reason}; {remedy}", .dir.display())]
    State {
        dir: PathBuf,
        reason: String,
        remedy: &'static str,
    },
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// What recovery has found.
pub(super) struct Found {
    pub replica: Replica,
    pub tables: Tables,
    /// Whether the state on disk is not the replica yet and must be written whole.
    pub rewrite: bool,
}

/// Finds the state.
pub(super) fn recover(log: &LogStore, snapshots: &Snapshots, dir: &Path) -> Result<Found, OpenError> {
    let (purged, last) = log.bounds().map_err(|source| OpenError::Log {
        dir: dir.to_owned(),
        source,
    })?;
    let on_disk = look(dir);
    let why = match on_disk {
        Ok((tables, Some(replica))) => match unfit(&replica, purged, last, snapshots) {
            None => {
                return Ok(Found {
                    replica,
                    tables,
                    rewrite: false,
                });
            }
            Some(why) => {
                drop(tables);
                why
            }
        },
        Ok((tables, None)) if last.is_none() => return from_nothing(tables, snapshots),
        Ok((tables, None)) => {
            drop(tables);
            "it is empty and the log is not".to_owned()
        }
        Err(e) => {
            refuse_if_only_unreadable(dir, &e)?;
            e.to_string()
        }
    };
    rebuild(purged, snapshots, dir, &why)
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

/// Why a state that reads well cannot be gone on with.
fn unfit(replica: &Replica, purged: Option<LogId>, last: Option<LogId>, snapshots: &Snapshots) -> Option<String> {
    if replica.last_log_id < purged {
        return Some("the log has been purged beyond it".into());
    }
    // A snapshot from another server may be ahead of the log; nothing else may.
    let snapshot = || {
        snapshots
            .current()
            .ok()
            .flatten()
            .and_then(|(header, _)| header.last_log_id)
    };
    (replica.last_log_id > last && replica.last_log_id > snapshot()).then(|| "it is ahead of the log".into())
}

/// A new folder; or one whose log was lost whole, which only a snapshot can tell.
fn from_nothing(tables: Tables, snapshots: &Snapshots) -> Result<Found, OpenError> {
    let (replica, _) = newest(snapshots)?;
    Ok(Found {
        rewrite: replica.is_some(),
        replica: replica.unwrap_or_default(),
        tables,
    })
}

/// A full disk or a wrong owner is no damage: setting the state aside would not help.
fn refuse_if_only_unreadable(dir: &Path, e: &Unusable) -> Result<(), OpenError> {
    let Unusable::Sled(sled::Error::Io(io)) = e else {
        return Ok(());
    };
    let remedy = match io.kind() {
        io::ErrorKind::StorageFull => "free some space and start again",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the server's user write there and start again"
        }
        _ => return Ok(()),
    };
    Err(OpenError::State {
        dir: dir.to_owned(),
        reason: io.to_string(),
        remedy,
    })
}

fn rebuild(purged: Option<LogId>, snapshots: &Snapshots, dir: &Path, why: &str) -> Result<Found, OpenError> {
    let (replica, found) = newest(snapshots)?;
    let replica = replica.unwrap_or_default();
    if replica.last_log_id < purged {
        let purged = purged.map_or(0, |id| id.index);
        return Err(OpenError::Hole {
            dir: dir.to_owned(),
            purged,
            found,
        });
    }
    let aside = set_aside(dir)?;
    tracing::warn!(
        reason = why,
        kept_in = %aside.display(),
        from = replica.last_log_id.map_or_else(|| "the log alone".to_owned(), |id| format!("a snapshot at log entry {}", id.index)),
        "the state on disk is not usable; it has been set aside and is rebuilt from snapshot and log"
    );
    match look(dir) {
        Ok((tables, _)) => Ok(Found {
            replica,
            tables,
            rewrite: true,
        }),
        Err(e) => {
            let remedy = "check the disk and start again";
            Err(OpenError::State {
                dir: dir.to_owned(),
                reason: e.to_string(),
                remedy,
            })
        }
    }
}

/// The newest good snapshot, and in words what is wrong with others.
pub(super) fn newest(snapshots: &Snapshots) -> Result<(Option<Replica>, String), OpenError> {
    let NewestGood { good, bad } = snapshots.newest_good().map_err(|source| OpenError::Io {
        what: "list the snapshots in",
        path: snapshots.dir().to_owned(),
        source,
    })?;
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

/// Moves the state on disk out of the way; one that was there before is removed.
fn set_aside(dir: &Path) -> Result<PathBuf, OpenError> {
    let aside = dir.with_extension("set-aside");
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { what, path, source }
    };
    if disk::exists(&aside) {
        disk::remove_dir(&aside).map_err(failed("remove", &aside))?;
    }
    disk::rename(dir, &aside).map_err(failed("set aside", dir))?;
    Ok(aside)
}
