//! openraft's state machine trait round the pure [`State`].
//!
//! Committed entries go in; replies go back to those who proposed them, the new state to the
//! readers, events to the watches, rows to the disk. **State first**: whoever an event wakes
//! finds its state published. A view may show a part of the entries of one call, and of one of
//! them; whole commands, in their order.

use std::io;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder, StorageIOError};

use super::size::LogSize;
use super::snapshot::{BadSnapshot, SnapshotFile};
use super::snapshots::Snapshots;
use super::tables::Mark;
use super::writer::Writer;
use crate::clock;
use crate::command::{Command, FORMAT, Proposal, Reply};
use crate::disk;
use crate::raft::{Entry, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig};
use crate::state::rows::Row;
use crate::state::{Applied, Event, State};
use crate::view::{Sink, Views};

/// The state, with everybody who has to hear of it. The state itself is kept by [`Views`].
pub struct StateMachine {
    last_log_id: Option<LogId>,
    membership: StoredMembership,
    views: Views,
    sink: Arc<dyn Sink>,
    writer: Writer,
    snapshots: Snapshots,
    size: LogSize,
}

/// The state and the log entry that it stands at.
#[derive(Debug, Clone, Default)]
pub(super) struct Replica {
    pub state: State,
    pub last_log_id: Option<LogId>,
    pub membership: StoredMembership,
}

/// What came of some entries, beside the replies.
#[derive(Debug, Default)]
pub(super) struct News {
    pub events: Vec<Arc<Event>>,
    /// Whether they tell less than what has become another.
    pub replaced: bool,
    pub rows: Vec<Row>,
}

/// An entry that this version cannot apply.
#[derive(Debug, thiserror::Error)]
#[error(
    "log entry {index} has format {format}, and this version reads up to {FORMAT}; start a newer version of keyway on this folder"
)]
pub(super) struct NewerEntry {
    pub index: u64,
    pub format: u16,
}

impl Replica {
    /// Applies one entry. Returns the replies to its commands.
    pub(super) fn apply(&mut self, entry: Entry, news: &mut News) -> Result<Vec<Reply>, NewerEntry> {
        let Self {
            state,
            last_log_id,
            membership,
        } = self;
        apply(entry, last_log_id, membership, news, |at, command| {
            state.apply(at, command)
        })
    }

    /// The mark that the disk gets for it.
    pub(super) fn mark(&self) -> Mark {
        Mark::of(&self.state, self.last_log_id, self.membership.clone())
    }
}

/// Applies one entry, each of its commands by `carry_out`.
fn apply(
    entry: Entry,
    last_log_id: &mut Option<LogId>,
    members: &mut StoredMembership,
    news: &mut News,
    carry_out: impl FnMut(u64, &Command) -> Applied,
) -> Result<Vec<Reply>, NewerEntry> {
    let replies = match entry.payload {
        EntryPayload::Blank => Vec::new(),
        EntryPayload::Membership(membership) => {
            *members = StoredMembership::new(Some(entry.log_id), membership);
            Vec::new()
        }
        EntryPayload::Normal(proposal) if proposal.format > FORMAT => {
            return Err(NewerEntry {
                index: entry.log_id.index,
                format: proposal.format,
            });
        }
        EntryPayload::Normal(proposal) => apply_proposal(&proposal, news, carry_out),
    };
    *last_log_id = Some(entry.log_id);
    Ok(replies)
}

fn apply_proposal(
    proposal: &Proposal,
    news: &mut News,
    mut carry_out: impl FnMut(u64, &Command) -> Applied,
) -> Vec<Reply> {
    let mut replies = Vec::with_capacity(proposal.commands.len());
    for command in &proposal.commands {
        let applied = carry_out(proposal.at, command);
        news.events.extend(applied.event);
        news.replaced |= applied.replaced;
        news.rows.extend(applied.rows);
        replies.push(applied.reply);
    }
    replies
}

/// What the entries bring, in bytes, if all of it is done soon and none of it is refused.
fn small(entries: &[Entry]) -> Option<usize> {
    entries.iter().try_fold(0, |sum, entry| match &entry.payload {
        EntryPayload::Normal(proposal) => {
            let small = proposal.format <= FORMAT && proposal.commands.iter().all(Command::is_small);
            small.then(|| sum + proposal.weight())
        }
        EntryPayload::Blank | EntryPayload::Membership(_) => Some(sum),
    })
}

impl StateMachine {
    /// Publishes the state that recovery has found.
    pub(super) fn start(
        replica: Replica,
        views: Views,
        sink: Arc<dyn Sink>,
        writer: Writer,
        snapshots: Snapshots,
        size: LogSize,
    ) -> Self {
        let Replica {
            state,
            last_log_id,
            membership,
        } = replica;
        let machine = Self {
            last_log_id,
            membership,
            views,
            sink,
            writer,
            snapshots,
            size,
        };
        let view = machine.show(state);
        machine.sink.replaced(&view);
        machine
    }

    fn show(&self, state: State) -> Arc<State> {
        let view = Arc::new(state);
        self.views.set(Arc::clone(&view));
        view
    }

    fn mark(&self, state: &State) -> Mark {
        Mark::of(state, self.last_log_id, self.membership.clone())
    }

    async fn publish(&self, news: News) -> io::Result<()> {
        let view = self.views.current();
        if news.replaced {
            self.sink.replaced(&view);
        } else if !news.events.is_empty() {
            self.sink.applied(&view, news.events);
        }
        self.writer.write(news.rows, &view, self.mark(&view)).await
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.last_log_id, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Reply>>, StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        if let Some(bytes) = small(&entries) {
            self.writer.let_go(bytes);
        }
        let mut news = News::default();
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            let log_id = entry.log_id;
            let views = &self.views;
            let carry_out = |at, command: &Command| {
                if command.is_small() {
                    views.change(|state| state.apply(at, command))
                } else {
                    views.change_aside(|state| state.apply(at, command))
                }
            };
            let applied = apply(entry, &mut self.last_log_id, &mut self.membership, &mut news, carry_out);
            replies.push(applied.map_err(|e| StorageIOError::apply(log_id, &e))?);
        }
        self.publish(news)
            .await
            .map_err(|e| StorageIOError::write_state_machine(&e))?;
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            replica: Replica {
                state: State::clone(&self.views.current()),
                last_log_id: self.last_log_id,
                membership: self.membership.clone(),
            },
            snapshots: self.snapshots.clone(),
            writer: self.writer.clone(),
            size: self.size.clone(),
            size_now: self.size.now(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        let file = self
            .snapshots
            .receiving()
            .map_err(|e| StorageIOError::write_snapshot(None, &e))?;
        Ok(Box::new(file))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Box<SnapshotFile>) -> Result<(), StorageError> {
        let failed = |e: &BadSnapshot| StorageIOError::write_snapshot(Some(meta.signature()), e);
        let snapshots = self.snapshots.clone();
        let (header, state) = blocking(move || snapshots.adopt(&snapshot))
            .await
            .map_err(|e| failed(&e))?;
        self.last_log_id = header.last_log_id;
        self.membership = header.membership;
        let view = self.show(state);
        self.sink.overtaken(&view);
        let mark = self.mark(&view);
        let written = self.writer.replace(view, mark).await;
        written.map_err(|e| StorageIOError::write_state_machine(&e))?;
        self.size.snapshot_taken(self.size.now());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let snapshots = self.snapshots.clone();
        let current = blocking(move || snapshots.current())
            .await
            .map_err(|e| StorageIOError::read_snapshot(None, &e))?;
        Ok(current.map(|(header, file)| Snapshot {
            meta: header.meta(),
            snapshot: Box::new(file),
        }))
    }
}

/// Takes a snapshot of the state as it was when this was made, beside the applying.
pub struct SnapshotBuilder {
    replica: Replica,
    snapshots: Snapshots,
    writer: Writer,
    size: LogSize,
    size_now: u64,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    /// The log may be purged once this returns, so both the state on disk and the snapshot are
    /// durable by then.
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let (snapshots, replica) = (self.snapshots.clone(), self.replica.clone());
        let taken = blocking(move || {
            let taken = snapshots.take(&replica.state, replica.last_log_id, replica.membership)?;
            Ok::<_, io::Error>((taken, snapshots.oldest_kept()?))
        });
        let ((header, file), oldest_kept) = match taken.await {
            // Nothing is lost but time: the log stays as long as it is, and another try follows.
            Err(e) if disk::is_full(&e) => return self.instead(&e).await,
            taken => taken.map_err(|e| StorageIOError::write_snapshot(None, &e))?,
        };
        self.writer
            .checkpoint()
            .await
            .map_err(|e| StorageIOError::write_state_machine(&e))?;
        self.size.snapshot_taken(self.size_now);
        self.size.superfluous_to(oldest_kept);
        let bytes = disk::length(file.path()).unwrap_or_default();
        self.size.snapshot_is(bytes, clock::wall_ms());
        Ok(Snapshot {
            meta: header.meta(),
            snapshot: Box::new(file),
        })
    }
}

impl SnapshotBuilder {
    /// The snapshot that there was before, if any, for one that did not fit on the disk. To openraft
    /// it is one that it knows already.
    async fn instead(&self, e: &io::Error) -> Result<Snapshot, StorageError> {
        tracing::warn!(error = %e, "there is no room for a snapshot; the log is kept, and it is tried again later");
        let snapshots = self.snapshots.clone();
        let current = blocking(move || snapshots.current()).await;
        let current = current.map_err(|e| StorageIOError::read_snapshot(None, &e))?;
        let (meta, file) = match current {
            Some((header, file)) => (header.meta(), file),
            None => (
                SnapshotMeta::default(),
                SnapshotFile::at(self.snapshots.dir().to_owned()),
            ),
        };
        Ok(Snapshot {
            meta,
            snapshot: Box::new(file),
        })
    }
}

/// Runs work that waits for the disk where it holds up nobody else.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => match e.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being dropped cancels it, and then nobody waits here.
            Err(_) => std::future::pending().await,
        },
    }
}
