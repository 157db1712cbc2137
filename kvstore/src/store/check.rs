//! Checks a data folder that no server uses, whole, and changes nothing in it.
//!
//! It comes to the same as a start would, by the same rules as [`super::recovery`], and says of each
//! part whether it is good, whether the next start mends it, or whether a start is refused.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::lost::{self, End, FROM_COPY};
use super::machine::Replica;
use super::recovery;
use super::scan::{Scanned, scan};
use super::snapshot::BadSnapshot;
use super::snapshots::Snapshots;
use crate::disk;
use crate::folder::{Folder, FolderError};

/// How a part is, or a whole folder: the worst of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    Good,
    /// The next start mends it by itself, and nothing acknowledged is lost.
    Mended,
    /// The next start is refused, or should be.
    Refused,
}

/// What was found in one part of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub part: String,
    pub grade: Grade,
    pub says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What was found in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub folder: PathBuf,
    pub grade: Grade,
    pub cluster_id: Option<String>,
    pub node_id: Option<u64>,
    /// Of the state that the next start would have.
    pub revision: Option<u64>,
    pub parts: Vec<Finding>,
}

impl Checked {
    fn add(&mut self, part: impl Into<String>, grade: Grade, says: impl Into<String>, remedy: Option<&str>) {
        self.grade = self.grade.max(grade);
        self.parts.push(Finding {
            part: part.into(),
            grade,
            says: says.into(),
            remedy: remedy.map(str::to_owned),
        });
    }
}

/// Checks a folder. The state on disk is copied below `scratch` to be opened there. An error if
/// there is no folder, or a server uses it.
pub fn check(dir: &Path, scratch: &Path) -> Result<Checked, FolderError> {
    let mut checked = Checked {
        folder: dir.to_owned(),
        grade: Grade::Good,
        cluster_id: None,
        node_id: None,
        revision: None,
        parts: Vec::new(),
    };
    let folder = match Folder::open_to_look(dir) {
        Ok(folder) => folder,
        Err(e @ (FolderError::InUse(_) | FolderError::Missing(_) | FolderError::Io { .. })) => return Err(e),
        Err(e) => {
            checked.add("keyway.json", Grade::Refused, e.to_string(), None);
            return Ok(checked);
        }
    };
    checked.cluster_id = Some(folder.cluster_id().to_owned());
    checked.node_id = Some(folder.node_id());
    let says = format!("node {} of cluster {}", folder.node_id(), folder.cluster_id());
    checked.add("keyway.json", Grade::Good, says, None);
    let log = check_log(&mut checked, &folder);
    let snapshot = check_snapshots(&mut checked, &folder);
    if let Some(log) = log {
        check_state(&mut checked, &folder, &log, snapshot, scratch);
    }
    Ok(checked)
}

fn check_log(checked: &mut Checked, folder: &Folder) -> Option<Scanned> {
    let log = match scan(&folder.log()) {
        Ok(log) => log,
        Err(e) => {
            checked.add("log", Grade::Refused, e.to_string(), Some(FROM_COPY));
            return None;
        }
    };
    let last = log.last.map_or_else(|| "none".to_owned(), |id| id.index.to_string());
    let says = format!(
        "{} entries, the last is {last}; {} files, {} bytes, every checksum matches",
        log.len(),
        log.files.len(),
        log.bytes
    );
    checked.add("log", Grade::Good, says, None);
    if let Some(torn) = &log.torn {
        let says = format!(
            "{}: the last record is incomplete, as a crash in the middle of a write leaves it ({} bytes from byte {} on); nobody was told of it",
            torn.file.display(),
            torn.bytes,
            torn.at
        );
        checked.add("log", Grade::Mended, says, Some("the next start removes that record"));
    }
    if let Some((index, format)) = log.newer {
        let says = format!("entry {index} has format {format}, which this version does not read");
        checked.add(
            "log",
            Grade::Refused,
            says,
            Some("start a newer version of keyway on this folder"),
        );
    }
    if log.vote.is_none() && log.last.is_some() {
        let says = "it holds entries but no vote, so its beginning is missing";
        checked.add("log", Grade::Refused, says, Some(FROM_COPY));
    }
    Some(log)
}

/// The newest good snapshot.
fn check_snapshots(checked: &mut Checked, folder: &Folder) -> Option<Replica> {
    let snapshots = Snapshots::new(&folder.snapshots(), folder.cluster_id());
    let listed = snapshots
        .list()
        .and_then(|listed| Ok((listed, disk::unfinished(snapshots.dir())?)));
    let (listed, unfinished) = match listed {
        Ok(found) => found,
        Err(e) => {
            checked.add("snapshots", Grade::Refused, e.to_string(), None);
            return None;
        }
    };
    let mut newest = None;
    for file in listed {
        let name = file
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let part = format!("snapshots/{name}");
        match snapshots.load_own(&file) {
            Ok((header, state)) => {
                let at = header.last_log_id.map_or(0, |id| id.index);
                let says = format!("revision {}, up to log entry {at}; it loads", header.revision);
                checked.add(part, Grade::Good, says, None);
                newest.get_or_insert(Replica {
                    state,
                    last_log_id: header.last_log_id,
                    membership: header.membership,
                });
            }
            Err(e @ BadSnapshot::OtherCluster { .. }) => {
                let remedy = "put the `keyway.json` of the folder back from a copy, or the snapshots";
                checked.add(part, Grade::Refused, e.to_string(), Some(remedy));
            }
            Err(e) => {
                let remedy = "a start passes it over, if the rest suffices; the snapshots to come take its place";
                checked.add(part, Grade::Mended, e.to_string(), Some(remedy));
            }
        }
    }
    for path in unfinished {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        checked.add(
            format!("snapshots/{name}"),
            Grade::Mended,
            "a crash left it half written",
            Some("the next start removes it"),
        );
    }
    newest
}

/// The state on disk, and what a start makes of everything together.
fn check_state(checked: &mut Checked, folder: &Folder, log: &Scanned, snapshot: Option<Replica>, scratch: &Path) {
    let upto = log.last.map_or(0, |id| id.index);
    let on_disk = look(&folder.state(), scratch);
    let ahead = snapshot
        .as_ref()
        .map(|replica| (replica.last_log_id, &replica.membership));
    let end = End::of(log.last, ahead, folder.past());
    if let Some(lost) = end.lost(on_disk.as_ref().ok().and_then(|replica| replica.last_log_id)) {
        let remedy = lost::remedy(on_disk.iter().chain(&snapshot));
        checked.add("log", Grade::Refused, lost, Some(&remedy));
        return;
    }
    let began_at = folder.past().began_at.filter(|_| snapshot.is_none());
    let base = snapshot.unwrap_or_default();
    let leads = base.last_log_id.map_or(Ok(true), |id| log.has(id));
    let rebuilt = if let Some(began_at) = began_at {
        Err(format!(
            "the cluster began at revision {began_at}, and no good snapshot has that"
        ))
    } else if base.last_log_id >= log.purged {
        match leads {
            Ok(true) => log.replay(base, upto),
            // What the log has does not go on from there, and a start drops it.
            Ok(false) => Ok(base),
            Err(ref why) => Err(why.clone()),
        }
    } else {
        Err(format!(
            "the log begins after entry {}, and no good snapshot reaches there",
            log.purged.map_or(0, |id| id.index)
        ))
    };
    let on_disk = match on_disk {
        Ok(replica) if replica.last_log_id >= log.purged => Ok(replica),
        Ok(_) => Err("the log has been purged beyond it".to_owned()),
        Err(reason) => Err(reason),
    };
    match (on_disk, rebuilt) {
        (Ok(state), Ok(rebuilt)) if leads == Ok(false) && rebuilt.last_log_id >= state.last_log_id => {
            let at = |replica: &Replica| replica.last_log_id.map_or(0, |id| id.index);
            let says = format!(
                "up to log entry {}; the newest snapshot is of entry {}, and the log does not lead there",
                at(&state),
                at(&rebuilt)
            );
            checked.revision = Some(rebuilt.state.revision().0);
            let remedy = "it came from another server a moment before a crash; the next start goes on from it";
            checked.add("state", Grade::Mended, says, Some(remedy));
        }
        (Ok(state), rebuilt) => check_against(checked, state, rebuilt, log),
        (Err(_), Ok(rebuilt)) if log.last.is_none() && rebuilt.state.revision().0 == 0 => {
            checked.add("state", Grade::Good, "there is none, and no log to have it from", None);
        }
        (Err(reason), Ok(rebuilt)) => {
            checked.revision = Some(rebuilt.state.revision().0);
            let remedy = "the next start rebuilds it from snapshot and log, with nothing lost";
            checked.add("state", Grade::Mended, reason, Some(remedy));
        }
        (Err(reason), Err(why)) => {
            let says = format!("{reason}; and it cannot be rebuilt: {why}");
            checked.add("state", Grade::Refused, says, Some(FROM_COPY));
        }
    }
}

/// A good state on disk, against what snapshot and log make.
fn check_against(checked: &mut Checked, state: Replica, rebuilt: Result<Replica, String>, log: &Scanned) {
    let at = state.last_log_id.map_or(0, |id| id.index);
    let digest = state.state.digest();
    let revision = state.state.revision();
    let says = format!("revision {revision}, up to log entry {at}; every row's checksum matches");
    // From the state on, to where from the snapshot on one comes to as well.
    match (log.replay(state, u64::MAX), rebuilt) {
        (Ok(recovered), Ok(rebuilt)) => {
            checked.revision = Some(recovered.state.revision().0);
            if recovered.state.digest() == rebuilt.state.digest() {
                let says = format!("{says}; with the log it makes what snapshot and log make (digest {digest})");
                checked.add("state", Grade::Good, says, None);
            } else {
                let says = format!("{says}; but with the log it makes another state than snapshot and log make");
                let remedy = "move the folder `state` away: the next start rebuilds it from snapshot and log";
                checked.add("state", Grade::Refused, says, Some(remedy));
            }
        }
        (Ok(recovered), Err(why)) => {
            checked.revision = Some(recovered.state.revision().0);
            let says = format!("{says}; it could not be rebuilt if it were lost: {why}");
            checked.add("state", Grade::Mended, says, Some("the next snapshot mends it"));
        }
        (Err(why), _) => checked.add("state", Grade::Refused, why, Some(FROM_COPY)),
    }
}

/// Opens a copy of the state on disk: sled writes when it opens.
fn look(dir: &Path, scratch: &Path) -> Result<Replica, String> {
    if !disk::exists(dir) {
        return Err("it is not there".into());
    }
    let copy = scratch.join("state");
    disk::copy_dir(dir, &copy).map_err(|e| format!("it cannot be copied to {}: {e}", copy.display()))?;
    let (tables, replica) = recovery::look(&copy).map_err(|e| e.to_string())?;
    drop(tables);
    replica.ok_or_else(|| "nothing is left in it".to_owned())
}
