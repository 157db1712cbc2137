//! Disks that lose at a power cut what they had not told to be durable.
//!
//! The files are real, in a folder of the test. What a log hands over is written at once and told of some simulated
//! time later, in its order; until then a power cut may take it, or a part of it. What `disk` makes durable for
//! itself (names, snapshots) is so when its function returns, and no time passes before it does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;
use std::{fmt, fs, io};

use raft_log::RaftLog;
use raft_log::api::raft_log_writer::RaftLogWriter as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::chance::seeded::below;
use crate::clock;
use crate::store::flushed::Flushed;
use crate::store::log::Types;

/// All disks there are, by the folder of their server. What opens a file may be on any thread.
static DISKS: Mutex<Vec<Disk>> = Mutex::new(Vec::new());

/// One server's. Clones are the same.
#[derive(Clone)]
pub(crate) struct Disk {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    /// How much of each file of the log is durable.
    durable: Mutex<BTreeMap<PathBuf, u64>>,
    /// Threads that write to it.
    writers: Mutex<usize>,
    idle: Condvar,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of(path: &Path) -> Option<Disk> {
    let disks = held(&DISKS);
    disks.iter().find(|disk| path.starts_with(&disk.inner.dir)).cloned()
}

impl Disk {
    /// A disk for what is in a folder, from now on.
    pub(crate) fn new(dir: &Path) -> Self {
        let disk = Self {
            inner: Arc::new(Inner {
                dir: dir.to_owned(),
                durable: Mutex::default(),
                writers: Mutex::default(),
                idle: Condvar::new(),
            }),
        };
        held(&DISKS).push(disk.clone());
        disk
    }

    /// It is a disk like any other again.
    pub(crate) fn forget(&self) {
        held(&DISKS).retain(|disk| !Arc::ptr_eq(&disk.inner, &self.inner));
    }

    /// Waits until nobody writes to it any more: a server that has died may have had a thread at it.
    pub(super) fn settle(&self) {
        let writers = held(&self.inner.writers);
        let settled = self.inner.idle.wait_while(writers, |writers| *writers > 0);
        drop(settled.unwrap_or_else(PoisonError::into_inner));
    }

    /// The power fails: of what was not durable a part is left, or nothing; and the state, which is not believed, is
    /// as it was or ends somewhere. How many bytes of the log are lost.
    pub(crate) fn lose(&self) -> io::Result<u64> {
        let mut lost = 0;
        let durable = held(&self.inner.durable).clone();
        for (path, length) in self.lengths()? {
            let durable = durable.get(&path).copied().unwrap_or(0).min(length);
            let left = match below(2) {
                0 => durable,
                _ => durable + below(length - durable + 1),
            };
            lost += length - left;
            cut(&path, left)?;
        }
        let state = self.inner.dir.join("state/db");
        if below(4) == 0 && state.exists() {
            cut(&state, below(fs::metadata(&state)?.len() + 1))?;
        }
        Ok(lost)
    }

    /// How long the files of the log are.
    fn lengths(&self) -> io::Result<BTreeMap<PathBuf, u64>> {
        let log = self.inner.dir.join("log");
        if !log.exists() {
            return Ok(BTreeMap::new());
        }
        let files = fs::read_dir(log)?.map(|file| file.map(|file| file.path()));
        let files = files.filter(|path| {
            path.as_ref()
                .is_ok_and(|path| path.extension().is_some_and(|end| end == "wal"))
        });
        files
            .map(|path| path.and_then(|path| Ok((path.clone(), fs::metadata(&path)?.len()))))
            .collect()
    }

    fn is_durable(&self, lengths: BTreeMap<PathBuf, u64>) {
        let mut durable = held(&self.inner.durable);
        for (path, length) in lengths {
            let known = durable.entry(path).or_default();
            *known = length.max(*known);
        }
    }
}

fn cut(path: &Path, length: u64) -> io::Result<()> {
    fs::File::options().write(true).open(path)?.set_len(length)
}

/// A file of the log is durable as it is.
pub(crate) fn is_synced(path: &Path) {
    if let Some((disk, length)) = of(path).zip(fs::metadata(path).ok()) {
        disk.is_durable(BTreeMap::from([(path.to_owned(), length.len())]));
    }
}

/// Somebody writes to a folder until it is dropped.
pub(crate) struct AtWork(Disk);

/// See [`AtWork`].
pub(crate) fn at_work(dir: &Path) -> Option<AtWork> {
    let disk = of(dir)?;
    *held(&disk.inner.writers) += 1;
    Some(AtWork(disk))
}

impl Drop for AtWork {
    fn drop(&mut self) {
        *held(&self.0.inner.writers) -= 1;
        self.0.inner.idle.notify_all();
    }
}

/// The flushes of one log, told in their order.
pub(crate) struct Flushes {
    disk: Disk,
    queue: Mutex<Option<UnboundedSender<Flush>>>,
}

impl fmt::Debug for Flushes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flushes").finish_non_exhaustive()
    }
}

/// What is to be durable, and who waits for it.
struct Flush {
    lengths: Option<BTreeMap<PathBuf, u64>>,
    flushed: Flushed,
    result: io::Result<()>,
}

/// The flushes of the log in a folder, if it is on a simulated disk.
pub(crate) fn flushes(dir: &Path) -> Option<Flushes> {
    let disk = of(dir)?;
    let queue = Mutex::default();
    Some(Flushes { disk, queue })
}

impl Flushes {
    /// Has what was written told of some time later. What nobody waits for is durable at once.
    pub(crate) fn flush(&self, log: &mut RaftLog<Types>, sync: bool, flushed: Flushed) -> io::Result<()> {
        let (told, done) = mpsc::channel();
        log.flush(false, Some(flushed.to_thread(told)))?;
        let result = done.recv().map_err(io::Error::other)?;
        let lengths = sync.then(|| self.disk.lengths()).transpose()?;
        if flushed.is_for_nobody() {
            self.disk.is_durable(lengths.unwrap_or_default());
            return Ok(());
        }
        let mut queue = held(&self.queue);
        let queue = queue.get_or_insert_with(|| {
            let (queue, waiting) = unbounded_channel();
            tokio::spawn(tell(self.disk.clone(), waiting));
            queue
        });
        let flush = Flush {
            lengths,
            flushed,
            result,
        };
        queue
            .send(flush)
            .map_err(|_| io::Error::other("the log's queue has ended"))
    }
}

async fn tell(disk: Disk, mut waiting: UnboundedReceiver<Flush>) {
    while let Some(flush) = waiting.recv().await {
        if let Some(lengths) = flush.lengths {
            clock::sleep(latency()).await;
            disk.is_durable(lengths);
        }
        flush.flushed.tell(flush.result);
    }
}

/// Most are quick, and some are not.
fn latency() -> Duration {
    match below(8) {
        0 => Duration::from_millis(below(60)),
        _ => Duration::from_millis(1 + below(4)),
    }
}
