//! Everything that survives a restart, and openraft's two storage traits over it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`log`] | log and vote. **An acknowledgement rests on this alone** |
//! | `tail`, `sums` | the log's end at a start: a crash told from damage |
//! | `size` | how long the log is, and how much of it the snapshots make superfluous |
//! | [`machine`] | the state in memory, and who hears of its changes |
//! | `tables`, `pages`, `unwritten`, `writer` | the state on disk, one thread behind; never the promise |
//! | [`snapshot`], `snapshots` | the whole state as a file; the newest two |
//! | [`recovery`] | which of these a start goes on from |
//! | `lost` | a log that has lost its end, and a new cluster from what is left |
//! | [`fuzzing`] | what damaged files are tried against |
//! | [`inspect`], [`check`], `scan` | look at a folder that no server uses; the last two change nothing in it |

pub mod check;
mod codec;
mod fatal;
pub(crate) mod flushed;
pub mod fuzzing;
mod inbox;
pub mod inspect;
pub mod log;
mod lost;
pub mod machine;
mod pages;
pub mod recovery;
mod scan;
mod size;
pub mod snapshot;
mod snapshots;
mod sums;
mod tables;
mod tail;
mod unwritten;
mod writer;

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;

pub use fatal::Fatal;
pub use log::LogStore;
pub(crate) use lost::gather;
pub use machine::StateMachine;
pub use recovery::OpenError;
pub use size::LogSize;
pub use snapshot::SnapshotFile;

use crate::clock;
use crate::disk;
use crate::folder::Folder;
use crate::view::{Sink, Views};
pub(crate) use machine::blocking;
use snapshots::Snapshots;
use writer::Writer;

/// A store that is open.
pub struct Opened {
    /// For openraft.
    pub log: LogStore,
    /// For openraft.
    pub machine: StateMachine,
    /// Says when the disk has failed. The server must end then.
    pub fatal: Fatal,
    /// Says when the log has grown long, and what of it may go.
    pub log_size: LogSize,
    /// To be closed after openraft has ended.
    pub closing: Closing,
}

/// Opens the store in a folder: finds the state, publishes it, and starts the writer.
///
/// An error says what to do; no state on disk is given up for it that could still be used.
pub async fn open(folder: Folder, views: Views, sink: Arc<dyn Sink>) -> anyhow::Result<Opened> {
    let fatal = Fatal::default();
    let snapshots = Snapshots::new(&folder.snapshots(), folder.cluster_id());
    let (log, found) = {
        let (dir, state, fatal) = (folder.log(), folder.state(), fatal.clone());
        let past = folder.past();
        let snapshots = snapshots.clone();
        blocking(move || {
            disk::remove_unfinished(snapshots.dir())
                .map_err(|source| recovery::cannot("remove unfinished files in", snapshots.dir(), source))?;
            let log = LogStore::open(&dir, fatal).map_err(|reason| OpenError::Log { dir, reason })?;
            let found = recovery::recover(&log, &snapshots, &state, past)?;
            measure(&log, &snapshots).map_err(|source| recovery::cannot("look at", snapshots.dir(), source))?;
            Ok::<_, OpenError>((log, found))
        })
        .await?
    };
    let writer = Writer::start(found.tables, fatal.clone()).context("start the writer of the state on disk")?;
    if found.rewrite {
        let (state, mark) = (Arc::new(found.replica.state.clone()), found.replica.mark());
        match found.replica.last_log_id {
            // Readers need not wait for the disk, whose marks say that it is not ready.
            Some(_) => writer.replace_later(state, mark)?,
            // A folder that has been in use is told from a new one by what this leaves.
            None => writer.replace(state, mark).await?,
        }
    }
    let log_size = log.size();
    let machine = StateMachine::start(found.replica, views, sink, writer.clone(), snapshots, log.size());
    let parts = Mutex::new(Some((log.clone(), writer, folder)));
    let closing = Closing {
        parts,
        fatal: fatal.clone(),
    };
    Ok(Opened {
        log,
        machine,
        fatal,
        log_size,
        closing,
    })
}

/// How much of the log follows the snapshots, for the taking of the next one.
fn measure(log: &LogStore, snapshots: &Snapshots) -> io::Result<()> {
    let newest = snapshots.current()?;
    if let Some((_, file)) = &newest {
        let path = file.path();
        log.size().snapshot_is(disk::length(path)?, disk::modified_ms(path)?);
    }
    let newest = newest.and_then(|(header, _)| header.last_log_id);
    log.measure(newest.map(|id| id.index), snapshots.oldest_kept()?)
}

/// How long what is being written to the state on disk may take to its end once everything else is closed.
/// With all that a stop takes beside it, it stays below the ten seconds that containers get.
const PASS: Duration = Duration::from_secs(6);

/// Closes a store.
pub struct Closing {
    parts: Mutex<Option<(LogStore, Writer, Folder)>>,
    fatal: Fatal,
}

impl Closing {
    /// Bytes of changes that are not in the state on disk yet; 0 once it is closed.
    #[must_use]
    pub fn unwritten_bytes(&self) -> usize {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.as_ref().map_or(0, |(_, writer, _)| writer.unwritten_bytes())
    }

    /// Closes all files and gives the folder free. The log is closed whole; what the state on disk lacks
    /// is written if that is begun by `until`, else left out: the next start catches up from the log. What
    /// is being written by then is written to its end, or the next start would have to rebuild the whole
    /// state; if it takes longer than `PASS`, that is what happens. Does nothing the second time.
    pub async fn close(&self, until: clock::Instant) -> anyhow::Result<()> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((log, writer, folder)) = parts else {
            return Ok(());
        };
        blocking(move || log.close()).await;
        let written = self.write(&writer, until).await;
        drop(folder);
        written.map_err(|e| self.fatal.reason().map_or_else(|| e.into(), anyhow::Error::msg))
    }

    /// Has the state on disk written, as far as there is time.
    async fn write(&self, writer: &Writer, until: clock::Instant) -> io::Result<()> {
        let mut closed = pin!(writer.close());
        if let Ok(closed) = clock::timeout_at(until, &mut closed).await {
            return closed;
        }
        tracing::info!("a part of the state is still being written to the disk; the server ends when it is there");
        writer.leave();
        match clock::timeout(PASS, closed).await {
            Ok(Err(e)) if self.fatal.reason().is_some() => return Err(e),
            Ok(Err(_)) => tracing::info!("the next start catches up from the log with what was not written"),
            Ok(Ok(())) => {}
            Err(_) => tracing::warn!(
                "the state on disk is left in the middle of a write, which took longer than {PASS:?}; the next start rebuilds it from snapshot and log"
            ),
        }
        Ok(())
    }
}
