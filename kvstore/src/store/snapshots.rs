//! The folder of snapshots: takes them, takes them over from other servers, and finds the newest
//! that is good. The newest two are kept.

use std::cmp::Reverse;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::snapshot::{BadSnapshot, Header, SnapshotFile};
use crate::disk::{self, NewFile};
use crate::failpoint;
use crate::raft::{LogId, StoredMembership};
use crate::state::State;

/// How many snapshots are kept: if the newest is damaged, there is one more, and the log goes back to it.
const KEPT: usize = 2;

const SUFFIX: &str = ".snapshot";

/// Where a snapshot from another server is gathered; removed at the next start if it stays.
const RECEIVED: &str = "received.unfinished";

/// The snapshots of a data folder. Clones are the same folder.
#[derive(Debug, Clone)]
pub(super) struct Snapshots {
    dir: Arc<Path>,
    cluster_id: Arc<str>,
}

/// See [`Snapshots::newest_good`].
pub(super) struct NewestGood {
    pub good: Option<(Header, State)>,
    pub bad: Vec<BadSnapshot>,
}

impl Snapshots {
    pub(super) fn new(dir: &Path, cluster_id: &str) -> Self {
        Self {
            dir: dir.into(),
            cluster_id: cluster_id.into(),
        }
    }

    /// Where they lie.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// All of them, newest first. Nothing has been checked.
    pub(super) fn list(&self) -> io::Result<Vec<SnapshotFile>> {
        let mut paths = disk::list(&self.dir)?;
        paths.retain(|path| path.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes()));
        Ok(paths.into_iter().rev().map(SnapshotFile::at).collect())
    }

    /// The newest whose header can be read.
    pub(super) fn current(&self) -> io::Result<Option<(Header, SnapshotFile)>> {
        Ok(self
            .list()?
            .into_iter()
            .find_map(|file| Some((file.header().ok()?, file))))
    }

    /// The log index that the last of the kept snapshots stands at; `None` while there are fewer.
    pub(super) fn oldest_kept(&self) -> io::Result<Option<u64>> {
        let listed = self.list()?;
        let header = listed.get(KEPT - 1).and_then(|file| file.header().ok());
        Ok(header.and_then(|header| header.last_log_id).map(|id| id.index))
    }

    /// Writes a snapshot and removes those that it makes superfluous.
    pub(super) fn take(
        &self,
        state: &State,
        last_log_id: Option<LogId>,
        membership: StoredMembership,
    ) -> io::Result<(Header, SnapshotFile)> {
        let header = Header {
            cluster_id: self.cluster_id.to_string(),
            revision: state.revision().0,
            last_log_id,
            membership,
            snapshot_id: snapshot_id(last_log_id),
        };
        let file = SnapshotFile::write(&self.path(last_log_id), &header, state)?;
        failpoint::hit("snapshot-after-rename");
        self.prune()?;
        Ok((header, file))
    }

    /// Where to put a snapshot that comes from another server.
    pub(super) fn receiving(&self) -> io::Result<SnapshotFile> {
        let path = self.dir.join(RECEIVED);
        disk::create_empty(&path)?;
        Ok(SnapshotFile::at(path))
    }

    /// Checks a snapshot whole, and makes it one of this folder.
    pub(super) fn adopt(&self, file: &SnapshotFile) -> Result<(Header, State), BadSnapshot> {
        let failed = |what| {
            move |source| BadSnapshot::Io {
                what,
                path: file.path.clone(),
                source,
            }
        };
        let (header, state) = file.load()?;
        let target = self.path(header.last_log_id);
        if file.path != target {
            let mut copy = NewFile::create(&target).map_err(failed("copy"))?;
            let mut from = disk::open(&file.path).map_err(failed("open"))?;
            copy.copy_from(&mut from)
                .and_then(|_| copy.commit(|| {}))
                .map_err(failed("copy"))?;
        }
        if file.path == self.dir.join(RECEIVED) {
            disk::remove(&file.path).map_err(failed("remove"))?;
        }
        self.prune().map_err(failed("remove what is older than"))?;
        Ok((header, state))
    }

    /// The newest snapshot that is whole and of this cluster, loaded; and what was wrong with
    /// newer ones.
    pub(super) fn newest_good(&self) -> io::Result<NewestGood> {
        let mut bad = Vec::new();
        for file in self.list()? {
            match self.load_own(&file) {
                Ok(good) => return Ok(NewestGood { good: Some(good), bad }),
                Err(e) => bad.push(e),
            }
        }
        Ok(NewestGood { good: None, bad })
    }

    /// The state of the newest that is whole, of whatever cluster.
    pub(super) fn newest_of_any(&self) -> io::Result<Option<State>> {
        let mut listed: Vec<(u64, SnapshotFile)> = (self.list()?.into_iter())
            .filter_map(|file| Some((file.header().ok()?.revision, file)))
            .collect();
        listed.sort_by_key(|(revision, _)| Reverse(*revision));
        Ok(listed.iter().find_map(|(_, file)| match file.load() {
            Ok((_, state)) => Some(state),
            Err(e) => {
                tracing::warn!(error = %e, "a snapshot is passed over");
                None
            }
        }))
    }

    /// Makes a state the one that the cluster begins with, before its first log entry, in the place of
    /// all other snapshots.
    pub(super) fn begin_with(&self, state: &State) -> io::Result<()> {
        let header = Header {
            cluster_id: self.cluster_id.to_string(),
            revision: state.revision().0,
            last_log_id: None,
            membership: StoredMembership::default(),
            snapshot_id: snapshot_id(None),
        };
        let path = self.path(None);
        SnapshotFile::write(&path, &header, state)?;
        let others = self.list()?.into_iter().filter(|file| file.path != path);
        others.into_iter().try_for_each(|file| disk::remove(&file.path))
    }

    /// Removes what is damaged and says that it is of a later entry than this.
    pub(super) fn remove_damaged_beyond(&self, id: Option<LogId>) -> io::Result<()> {
        for file in self.list()? {
            let is_beyond = file.header().is_ok_and(|header| header.last_log_id > id);
            if is_beyond && let Err(e @ BadSnapshot::Damaged { .. }) = file.load() {
                tracing::warn!(error = %e, "a snapshot that the log does not lead to is removed");
                disk::remove(&file.path)?;
            }
        }
        Ok(())
    }

    /// What is wrong with one that says that it is of another cluster, if there is one.
    pub(super) fn foreign(&self) -> io::Result<Option<BadSnapshot>> {
        Ok(self.list()?.into_iter().find_map(|file| {
            let header = file.header().ok()?;
            self.own(&file, &header).err()
        }))
    }

    fn own(&self, file: &SnapshotFile, header: &Header) -> Result<(), BadSnapshot> {
        if header.cluster_id == *self.cluster_id {
            return Ok(());
        }
        Err(BadSnapshot::OtherCluster {
            path: file.path.clone(),
            found: header.cluster_id.clone(),
            own: self.cluster_id.to_string(),
        })
    }

    /// Loads one that must be of this cluster.
    pub(super) fn load_own(&self, file: &SnapshotFile) -> Result<(Header, State), BadSnapshot> {
        let (header, state) = file.load()?;
        self.own(file, &header)?;
        Ok((header, state))
    }

    fn path(&self, last_log_id: Option<LogId>) -> PathBuf {
        self.dir.join(snapshot_id(last_log_id) + SUFFIX)
    }

    fn prune(&self) -> io::Result<()> {
        self.list()?
            .iter()
            .skip(KEPT)
            .try_for_each(|file| disk::remove(&file.path))
    }
}

/// States after the same log entry are equal, so its id names the snapshot; in the order of names.
fn snapshot_id(last_log_id: Option<LogId>) -> String {
    last_log_id.map_or_else(
        || format!("{:020}", 0),
        |id| format!("{:020}-{}-{}", id.index + 1, id.leader_id.term, id.leader_id.node_id),
    )
}
