//! Writers that remember what they were told, and compare it with what is there later.
//!
//! A write that was answered is acknowledged; one whose answer was lost is unknown, never absent;
//! one that was refused was not done. Every write is a transaction over several keys, so one that
//! is there in part is seen. Beside them somebody forgets the past, and reads it where it begins.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;
use kvapi::{Client, Consistency, Error};

use super::Server;
use super::compactor::Compactor;

/// Keys that every transaction of a writer sets to its number.
pub(super) const PARTS: usize = 3;

/// What all writers know.
pub(crate) struct Record {
    writers: Vec<Writer>,
    compactor: Compactor,
    /// The highest revision that anybody was told or shown.
    newest: u64,
}

/// What one writer knows: its keys count up, and this is how far they may and must have come.
struct Writer {
    prefix: String,
    padding: usize,
    /// The last number that was acknowledged.
    acknowledged: usize,
    /// The last number that may have been done.
    sent: usize,
    /// What was written at which revision.
    written: BTreeMap<u64, usize>,
    newest: u64,
}

/// Writers at work, and one who reads beside them.
pub(crate) struct Running {
    shared: Arc<Shared>,
    writers: Vec<tokio::task::JoinHandle<Writer>>,
    reader: tokio::task::JoinHandle<()>,
    compactor: tokio::task::JoinHandle<Compactor>,
    newest: u64,
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    acknowledged: AtomicUsize,
    /// Refused because the disk is nearly full.
    refused: AtomicUsize,
    pub(super) shown: AtomicU64,
}

impl Record {
    /// So many writers, whose values have about so many bytes.
    pub(crate) fn new(writers: usize, padding: usize) -> Self {
        let writer = |n| Writer {
            prefix: format!("writer/{n}"),
            padding,
            acknowledged: 0,
            sent: 0,
            written: BTreeMap::new(),
            newest: 0,
        };
        Self {
            writers: (0..writers).map(writer).collect(),
            compactor: Compactor::default(),
            newest: 0,
        }
    }

    /// Sets them to work.
    pub(crate) fn run(self, server: &Server) -> Running {
        let shared = Arc::new(Shared::default());
        let client = || server.client_within(Duration::from_secs(3));
        Running {
            reader: tokio::spawn(read(client(), Arc::clone(&shared))),
            compactor: tokio::spawn(self.compactor.compact(client(), Arc::clone(&shared))),
            writers: self
                .writers
                .into_iter()
                .map(|writer| tokio::spawn(writer.write(client(), Arc::clone(&shared))))
                .collect(),
            shared,
            newest: self.newest,
        }
    }

    /// Everything acknowledged is there, nothing in part, nothing that was never sent, at no lower
    /// revision than any that was seen. What was unknown is decided by it.
    pub(crate) async fn check(&mut self, server: &Server) -> anyhow::Result<()> {
        let client = server.client();
        // A list's index is that of its own last change; the root's is the store's.
        let shown = client.keys("", Some("/"), Consistency::Default).await?.revision;
        anyhow::ensure!(
            shown.0 >= self.newest,
            "revision {shown} is shown, but {} was before",
            self.newest
        );
        for writer in &mut self.writers {
            let state = format!("{}: {:?}", writer.prefix, writer.must_be());
            writer.check(&client).await.context(state)?;
        }
        let known = self.writers.iter();
        let known: Vec<_> = known.map(|writer| (writer.prefix.clone(), &writer.written)).collect();
        self.compactor.check(&client, &known).await
    }
}

impl Record {
    /// Whether the past was forgotten at least once.
    pub(crate) const fn has_compacted(&self) -> bool {
        self.compactor.has_compacted()
    }
}

impl Running {
    pub(crate) fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Ends the writing; a writer ends by itself when the server is gone.
    pub(crate) async fn end(self) -> anyhow::Result<Record> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut writers = Vec::new();
        let mut newest = self.newest;
        for writer in self.writers {
            let writer = writer.await?;
            newest = newest.max(writer.newest);
            writers.push(writer);
        }
        self.reader.await?;
        newest = newest.max(self.shared.shown.load(Ordering::Relaxed));
        let compactor = self.compactor.await?;
        Ok(Record {
            writers,
            compactor,
            newest,
        })
    }
}

/// Reads until the end, and remembers the highest revision shown.
async fn read(client: Client, shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        match client.get("writer/0/part/0", Consistency::Default).await {
            Ok(at) => drop(shared.shown.fetch_max(at.revision.0, Ordering::Relaxed)),
            Err(_) => return,
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Writer {
    fn must_be(&self) -> RangeInclusive<usize> {
        self.acknowledged..=self.sent
    }

    fn part(&self, part: usize) -> String {
        format!("{}/part/{part}", self.prefix)
    }

    /// Counts up until told to stop or the server is gone; every number also gets a key of its own.
    async fn write(mut self, client: Client, shared: Arc<Shared>) -> Self {
        while !shared.stop.load(Ordering::Relaxed) {
            let number = self.sent + 1;
            let value = format!("{number:0width$}", width = self.padding);
            let mut ops: Vec<TxnOp> = (0..PARTS).map(|n| TxnOp::set(self.part(n), value.clone())).collect();
            ops.push(TxnOp::set(format!("{}/all/{number}", self.prefix), number.to_string()));
            self.sent = number;
            match client.txn(&ops, &WriteOptions::default()).await {
                Ok(Ok(done)) => {
                    self.acknowledged = number;
                    let revision = done.iter().map(|entry| entry.modify_index.0).max().unwrap_or_default();
                    self.newest = self.newest.max(revision);
                    self.written.insert(revision, number);
                    shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Err(Error::Refused { status, .. }) if status == 507 => {
                    self.sent = self.acknowledged;
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                // It may be there.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        self
    }

    async fn check(&mut self, client: &Client) -> anyhow::Result<()> {
        let parts = client
            .list(&format!("{}/part/", self.prefix), Consistency::Default)
            .await?;
        let there = match parts.value.first() {
            None => 0,
            Some(entry) => String::from_utf8(entry.value.to_vec())?.parse::<usize>()?,
        };
        anyhow::ensure!(self.must_be().contains(&there), "it is {there}");
        anyhow::ensure!(
            parts.value.len() == if there == 0 { 0 } else { PARTS },
            "{} parts",
            parts.value.len()
        );
        for other in &parts.value {
            anyhow::ensure!(
                other.value == parts.value[0].value && other.modify_index == parts.value[0].modify_index,
                "{} is of another write than {}",
                other.key,
                parts.value[0].key
            );
        }
        let all = client
            .keys(&format!("{}/all/", self.prefix), None, Consistency::Default)
            .await?;
        anyhow::ensure!(all.value.len() == there, "{} transactions of {there}", all.value.len());
        if let Some(entry) = parts.value.first() {
            self.written.insert(entry.modify_index.0, there);
        }
        (self.acknowledged, self.sent) = (there, there);
        Ok(())
    }
}
