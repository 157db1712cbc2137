//! What a server looks after by itself, a few times a second: the room on its disk, and the length
//! of its log.
//!
//! Snapshots are asked for here, and not by openraft's own rule, because that one would ask again
//! at once, for ever, when a snapshot could not be written. What lies behind the **older** of the
//! two snapshots is purged, so that if the newest is damaged the older one still leads to the whole
//! state.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::disk;
use crate::raft::Raft;
use crate::room::{Level, Room};
use crate::store::LogSize;

/// Log bytes after which a snapshot is made whatever the number of entries.
const SNAPSHOT_BYTES: u64 = 256 << 20;

/// How often is looked when nobody asks for it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often at most, whoever asks.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// A snapshot that was asked for is not asked for again before this, unless it came.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A file that takes some room, to be given up when the disk is full: so that the log can still
/// be opened, read, and have keys deleted in it.
const BALLAST: &str = "ballast";

/// What looks after a data folder's disk.
#[derive(Debug, Clone)]
pub(crate) struct Upkeep {
    pub(crate) room: Room,
    dir: PathBuf,
}

impl Upkeep {
    /// Measures the disk before anything in the folder is opened, and makes what room it can.
    pub(crate) fn begin(dir: &Path, min_free: u64) -> io::Result<Self> {
        let upkeep = Self {
            room: Room::new(min_free),
            dir: dir.to_owned(),
        };
        upkeep.look()?;
        Ok(upkeep)
    }

    /// Looks after the server until it stops.
    pub(crate) async fn run(self, raft: Raft, size: LogSize, snapshot_every: u64, stopping: CancellationToken) {
        let mut snapshots = Snapshots {
            raft,
            size,
            every: snapshot_every,
            asked: None,
            purged: None,
        };
        let work = async {
            loop {
                let looker = self.clone();
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || looker.look()).await {
                    tracing::warn!(%error, dir = %self.dir.display(), "the room on the disk cannot be told");
                }
                if snapshots.look(&self.room).await.is_err() {
                    return; // raft has ended
                }
                clock::sleep(LOOK_AT_MOST_EVERY).await;
                let _ = clock::timeout(LOOK_EVERY, self.room.wanted()).await;
            }
        };
        stopping.run_until_cancelled(work).await;
    }

    /// Measures, tells of a change, and gives up the ballast or takes it back.
    fn look(&self) -> io::Result<()> {
        let mut free = disk::free(&self.dir)?;
        let ballast = self.dir.join(BALLAST);
        let min = self.room.min();
        if free < min / 2 && disk::exists(&ballast) {
            disk::remove(&ballast)?;
            free = disk::free(&self.dir)?;
            tracing::warn!(
                free_mib = free >> 20,
                "the disk is so full that the reserve file `{BALLAST}` in the data folder was given up"
            );
        } else if free >= 2 * min && min > 0 && !disk::exists(&ballast) {
            // On a file system that cannot reserve room there is none, and nothing depends on it.
            if let Err(error) = disk::reserve(&ballast, min / 2) {
                tracing::debug!(%error, "no reserve file");
            }
            free = disk::free(&self.dir)?;
        }
        tell(self.room.measured(free), &self.room, &self.dir);
        Ok(())
    }
}

/// One line at each change.
fn tell((before, now): (Level, Level), room: &Room, dir: &Path) {
    let (free_mib, dir) = (room.status().free >> 20, dir.display());
    match (before, now) {
        (before, now) if before == now => {}
        (_, Level::Plenty) => tracing::info!(free_mib, %dir, "the disk has room again; writes are taken"),
        (_, Level::Low) => {
            let need_mib = room.status().needed.div_ceil(1 << 20);
            tracing::warn!(free_mib, need_mib, %dir, "the disk is nearly full: only deletes are taken, reads go on; make room");
        }
        (_, Level::Full) => {
            let need_mib = room.status().needed.div_ceil(1 << 20);
            tracing::error!(free_mib, need_mib, %dir, "the disk is full: no writes are taken, reads go on; make room");
        }
    }
}

/// Asks for snapshots, and has the log purged behind them.
struct Snapshots {
    raft: Raft,
    size: LogSize,
    every: u64,
    /// When the last one was asked for, and the snapshot that there was then.
    asked: Option<(clock::Instant, Option<u64>)>,
    purged: Option<u64>,
}

impl Snapshots {
    async fn look(&mut self, room: &Room) -> Result<(), ()> {
        let (applied, snapshot) = {
            let metrics = self.raft.data_metrics();
            let metrics = metrics.borrow();
            (
                metrics.last_applied.map_or(0, |id| id.index),
                metrics.snapshot.map(|id| id.index),
            )
        };
        let entries = applied.saturating_sub(snapshot.unwrap_or(0));
        let is_due = entries >= self.every || self.size.since_snapshot() >= SNAPSHOT_BYTES;
        if is_due && !self.is_asked(snapshot) && has_room_for_snapshot(room, &self.size) {
            self.asked = Some((clock::now(), snapshot));
            self.raft.trigger().snapshot().await.map_err(|_| ())?;
        }
        let superfluous = self.size.superfluous();
        if superfluous > self.purged
            && let Some(upto) = superfluous
        {
            self.raft.trigger().purge_log(upto).await.map_err(|_| ())?;
        }
        self.purged = superfluous;
        Ok(())
    }

    fn is_asked(&self, snapshot: Option<u64>) -> bool {
        self.asked
            .is_some_and(|(when, then)| then == snapshot && clock::now().duration_since(when) < ASK_AGAIN)
    }
}

/// A snapshot must leave room for what makes room. One that is larger than the last was is cut off
/// by the disk, and leaves nothing.
fn has_room_for_snapshot(room: &Room, size: &LogSize) -> bool {
    let status = room.status();
    match status.level {
        Level::Plenty => true,
        Level::Low => status.free >= size.snapshot_bytes().saturating_add(room.min() / 4),
        Level::Full => false,
    }
}
