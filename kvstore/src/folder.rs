//! The data folder: whose it is, who uses it, and what lies where.
//!
//! ```text
//! DIR/keyway.json   format, cluster id and node id, written when the folder is made; and whether the
//!                   log has had an entry, written when it has
//! DIR/lock          held while a server uses the folder
//! DIR/log/          log and vote
//! DIR/state/        the state on disk, which can be rebuilt
//! DIR/snapshots/    the newest two snapshots
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{chance, disk};

/// The format of data folders that this version makes, and the newest that it opens.
pub const FORMAT: u16 = 1;

const IDENTITY: &str = "keyway.json";
const LOCK: &str = "lock";
const LOG: &str = "log";
const STATE: &str = "state";
const SNAPSHOTS: &str = "snapshots";

/// A data folder in use by this process; dropping it lets others in.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    identity: Identity,
    _lock: Option<disk::Lock>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    format: u16,
    cluster_id: String,
    node_id: u64,
    /// Tells this folder from every other one that a server of this number may have had.
    #[serde(default)]
    instance: String,
    /// Whether the log has had an entry: if it has none then, it was lost.
    #[serde(default)]
    initialised: bool,
    /// The revision that the cluster began with, if that was what was left of another one's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began_at: Option<u64>,
}

/// What a folder says of its own past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// Whether the log has had an entry.
    pub initialised: bool,
    /// The revision that the cluster began with, if it was not an empty one.
    pub began_at: Option<u64>,
}

/// To be written once the log has an entry.
#[derive(Debug)]
pub(crate) struct Note {
    path: PathBuf,
    identity: Identity,
}

/// Makes what is left of a folder, its state and its snapshots, the beginning of the cluster with
/// this id, and returns the revision; `None` if nothing good is left.
pub(crate) type Gather<'a> = &'a dyn Fn(&Path, &Path, &str) -> Result<Option<u64>, String>;

/// What a folder becomes that is new or empty.
enum New<'a> {
    /// The first of a new cluster, perhaps from what is left of another.
    First(Option<Gather<'a>>),
    /// One more of this cluster.
    OneOf(String),
}

/// Why a folder was not opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(
        "the data folder {} is in use by another server; stop that one, or give this one a folder of its own with --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    #[error(
        "the data folder {} has format {found}, and this version reads up to {FORMAT}; start a newer version of keyway on it",
        .dir.display()
    )]
    Newer { dir: PathBuf, found: u16 },
    #[error(
        "the data folder {} belongs to node {found}, not {given}; start it with --node-id {found}, or give another --data-dir",
        .dir.display()
    )]
    OtherNode { dir: PathBuf, found: u64, given: u64 },
    #[error(
        "the data folder {} holds a log or state but no {IDENTITY}, so it cannot be told whose it is; put that file back from a copy, or give an empty folder",
        .0.display()
    )]
    NoIdentity(PathBuf),
    #[error(
        "{} cannot be read: {reason}; put the file back from a copy, or give an empty folder",
        .path.display()
    )]
    BadIdentity { path: PathBuf, reason: String },
    #[error("a new cluster cannot go on from what is left in {}: {reason}", .dir.display())]
    NothingLeft { dir: PathBuf, reason: String },
    #[error("{} is not a data folder of keyway; name the folder that a server was given with --data-dir", .0.display())]
    Missing(PathBuf),
    #[error("cannot {what} {}: {reason}; {}", .path.display(), remedy(.reason))]
    Io {
        what: &'static str,
        path: PathBuf,
        reason: io::Error,
    },
}

impl Folder {
    /// Opens the folder for a node and locks it. A folder that is new or empty is made the
    /// first of a new cluster.
    pub fn open(dir: &Path, node_id: u64) -> Result<Self, FolderError> {
        Self::open_with(dir, node_id, New::First(None))
    }

    /// The same; but a folder that is new or empty is made one of this cluster.
    pub fn open_of(dir: &Path, node_id: u64, cluster: String) -> Result<Self, FolderError> {
        Self::open_with(dir, node_id, New::OneOf(cluster))
    }

    /// Whether somebody's data is in it, or should be.
    pub fn is_begun(dir: &Path) -> Result<bool, FolderError> {
        let path = dir.join(IDENTITY);
        let identity = disk::read(&path).map_err(failed("read", &path))?;
        Ok(identity.is_some() || Self::has_data(dir))
    }

    /// The same; but where log and identity are gone and state or snapshots are left, it is made the
    /// first of a new cluster that goes on from these.
    pub(crate) fn open_or_go_on(dir: &Path, node_id: u64, gather: Gather<'_>) -> Result<Self, FolderError> {
        Self::open_with(dir, node_id, New::First(Some(gather)))
    }

    fn open_with(dir: &Path, node_id: u64, new: New<'_>) -> Result<Self, FolderError> {
        disk::create_dir(dir).map_err(failed("make the data folder", dir))?;
        let lock = lock(dir)?;
        let path = dir.join(IDENTITY);
        let identity = match disk::read(&path).map_err(failed("read", &path))? {
            Some(text) => Identity::parse(dir, &path, &text)?.with_instance(&path)?,
            None => Identity::create(dir, &path, node_id, new)?,
        };
        if identity.node_id != node_id {
            return Err(FolderError::OtherNode {
                dir: dir.to_owned(),
                found: identity.node_id,
                given: node_id,
            });
        }
        let folder = Self {
            dir: dir.to_owned(),
            identity,
            _lock: Some(lock),
        };
        for part in [folder.log(), folder.snapshots()] {
            disk::create_dir(&part).map_err(failed("make the folder", &part))?;
        }
        Ok(folder)
    }

    /// Opens a folder whatever its node, to look at it. `None` if it is not a data folder.
    pub fn open_existing(dir: &Path) -> Result<Option<Self>, FolderError> {
        let path = dir.join(IDENTITY);
        match disk::read(&path).map_err(failed("read", &path))? {
            Some(text) => Self::open(dir, Identity::parse(dir, &path, &text)?.node_id).map(Some),
            None => Ok(None),
        }
    }

    /// Opens a folder whatever its node, and writes nothing in it, not even an empty file.
    pub fn open_to_look(dir: &Path) -> Result<Self, FolderError> {
        if !disk::exists(dir) {
            return Err(FolderError::Missing(dir.to_owned()));
        }
        let path = dir.join(LOCK);
        let lock = match disk::lock_existing(&path).map_err(failed("lock", &path))? {
            disk::Existing::Held => return Err(FolderError::InUse(dir.to_owned())),
            disk::Existing::Taken(lock) => Some(lock),
            disk::Existing::Missing => None,
        };
        let path = dir.join(IDENTITY);
        let identity = match disk::read(&path).map_err(failed("read", &path))? {
            Some(text) => Identity::parse(dir, &path, &text)?,
            None if Self::has_data(dir) => return Err(FolderError::NoIdentity(dir.to_owned())),
            None => return Err(FolderError::Missing(dir.to_owned())),
        };
        Ok(Self {
            dir: dir.to_owned(),
            identity,
            _lock: lock,
        })
    }

    fn has_data(dir: &Path) -> bool {
        [LOG, STATE, SNAPSHOTS].iter().any(|part| disk::exists(&dir.join(part)))
    }

    /// The id that the cluster got when it was made.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.identity.cluster_id
    }

    /// The node that the folder belongs to.
    #[must_use]
    pub const fn node_id(&self) -> u64 {
        self.identity.node_id
    }

    /// Tells this folder from every other one of the same number.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.identity.instance
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it says of its past.
    pub(crate) fn past(&self) -> Past {
        Past {
            initialised: self.identity.initialised,
            began_at: self.identity.began_at,
        }
    }

    /// What is to be written once the log has an entry; `None` if it was.
    pub(crate) fn note(&self) -> Option<Note> {
        (!self.identity.initialised).then(|| Note {
            path: self.dir.join(IDENTITY),
            identity: Identity {
                initialised: true,
                ..self.identity.clone()
            },
        })
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join(STATE)
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.join(SNAPSHOTS)
    }
}

impl Note {
    /// Writes it; durable when this returns.
    pub(crate) fn write(&self) -> Result<(), FolderError> {
        self.identity.write(&self.path)
    }
}

impl Identity {
    fn parse(dir: &Path, path: &Path, text: &[u8]) -> Result<Self, FolderError> {
        /// All that is certain about a format that is not known yet.
        #[derive(Deserialize)]
        struct Format {
            format: u16,
        }
        let bad = |e: serde_json::Error| FolderError::BadIdentity {
            path: path.to_owned(),
            reason: e.to_string(),
        };
        let Format { format } = serde_json::from_slice(text).map_err(bad)?;
        if format > FORMAT {
            return Err(FolderError::Newer {
                dir: dir.to_owned(),
                found: format,
            });
        }
        serde_json::from_slice(text).map_err(bad)
    }

    /// A folder that is older than the telling apart is told apart from now on.
    fn with_instance(mut self, path: &Path) -> Result<Self, FolderError> {
        if self.instance.is_empty() {
            self.instance = chance::id();
            match self.write(path) {
                // A start on a full disk serves reads; the next one does it.
                Err(FolderError::Io { reason, .. }) if disk::is_full(&reason) => {}
                written => written?,
            }
        }
        Ok(self)
    }

    fn create(dir: &Path, path: &Path, node_id: u64, new: New<'_>) -> Result<Self, FolderError> {
        let (cluster_id, gather) = match new {
            New::First(gather) => (chance::id(), gather),
            New::OneOf(cluster) => (cluster, None),
        };
        let mut identity = Self {
            format: FORMAT,
            cluster_id,
            node_id,
            instance: chance::id(),
            initialised: false,
            began_at: None,
        };
        if Folder::has_data(dir) {
            let gather = gather.filter(|_| !disk::exists(&dir.join(LOG)));
            let gather = gather.ok_or_else(|| FolderError::NoIdentity(dir.to_owned()))?;
            let left = gather(&dir.join(STATE), &dir.join(SNAPSHOTS), &identity.cluster_id);
            let left = left.map_err(|reason| FolderError::NothingLeft {
                dir: dir.to_owned(),
                reason,
            })?;
            identity.began_at = Some(left.ok_or_else(|| FolderError::NoIdentity(dir.to_owned()))?);
        }
        identity.write(path)?;
        Ok(identity)
    }

    fn write(&self, path: &Path) -> Result<(), FolderError> {
        let text = serde_json::to_vec_pretty(self).expect("numbers and a text have a JSON form");
        disk::replace(path, &text).map_err(failed("write", path))
    }
}

fn lock(dir: &Path) -> Result<disk::Lock, FolderError> {
    let path = dir.join(LOCK);
    let lock = disk::lock(&path).map_err(failed("lock", &path))?;
    lock.ok_or_else(|| FolderError::InUse(dir.to_owned()))
}

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> FolderError {
    move |reason| FolderError::Io {
        what,
        path: path.to_owned(),
        reason,
    }
}

fn remedy(e: &io::Error) -> &'static str {
    disk::remedy(e).unwrap_or(match e.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file is in the way; name a folder with --data-dir"
        }
        io::ErrorKind::NotFound => "nothing can be made there; name another folder with --data-dir",
        _ => "mend that, or name another folder with --data-dir",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_cluster_and_node() {
        let dir = tempfile::tempdir().unwrap();

        let id = Folder::open(dir.path(), 7).unwrap().cluster_id().to_owned();

        assert_eq!(Folder::open(dir.path(), 7).unwrap().cluster_id(), id);
        assert_eq!(Folder::open_existing(dir.path()).unwrap().unwrap().node_id(), 7);
        let error = Folder::open(dir.path(), 8).unwrap_err().to_string();
        assert!(
            error.contains("belongs to node 7, not 8; start it with --node-id 7"),
            "{error}"
        );
    }

    /// Versions before and after each other: neither field is needed, and neither is in the way.
    #[test]
    fn an_identity_without_a_past_is_read_and_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(IDENTITY);
        disk::replace(&path, br#"{"format": 1, "cluster_id": "c", "node_id": 1}"#).unwrap();

        let folder = Folder::open(dir.path(), 1).unwrap();
        assert_eq!(folder.past(), Past::default());
        folder.note().unwrap().write().unwrap();
        drop(folder);

        let folder = Folder::open(dir.path(), 1).unwrap();
        assert!(folder.past().initialised && folder.note().is_none());
        assert_eq!(folder.cluster_id(), "c");
    }

    #[test]
    fn a_folder_in_use_is_refused_until_it_is_free() {
        let dir = tempfile::tempdir().unwrap();

        let first = Folder::open(dir.path(), 1).unwrap();
        let second = Folder::open(dir.path(), 1).unwrap_err();

        assert!(matches!(second, FolderError::InUse(_)));
        assert!(second.to_string().contains(&dir.path().display().to_string()));
        drop(first);
        Folder::open(dir.path(), 1).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused_whatever_else_it_says() {
        let dir = tempfile::tempdir().unwrap();
        disk::replace(&dir.path().join(IDENTITY), br#"{"format": 2, "who": ["knows"]}"#).unwrap();

        let error = Folder::open(dir.path(), 1).unwrap_err();

        assert!(matches!(error, FolderError::Newer { found: 2, .. }));
        assert!(error.to_string().contains("start a newer version of keyway"));
    }

    #[test]
    fn data_without_an_identity_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        disk::create_dir(&dir.path().join(LOG)).unwrap();

        assert!(matches!(Folder::open(dir.path(), 1), Err(FolderError::NoIdentity(_))));
        assert!(Folder::open_existing(dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_damaged_identity_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        disk::replace(&dir.path().join(IDENTITY), b"{").unwrap();

        let error = Folder::open(dir.path(), 1).unwrap_err().to_string();

        assert!(error.contains(IDENTITY), "{error}");
    }
}
