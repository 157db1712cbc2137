//! Watchers that come and go at random, and what each of them must have seen.
//!
//! What was written is known from the writers' own acknowledgements: the revision that each write took,
//! and what it set and deleted. Whatever a watcher is told is compared with that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use kvapi::types::{Revision, TxnOp, WatchEvent, WatchRequest, header};
use kvapi::{Address, Client};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::harness::{Server, Stream, alone, long};

/// What one revision left under the keys that it touched.
type Written = BTreeMap<String, Option<String>>;

/// Everything that was written, by revision.
type Log = BTreeMap<u64, Written>;

const WRITERS: usize = 4;
const KEYS: usize = 6;
const END: &str = "end";

/// The keys of a writer. One of them is Keyway's own, which has no history.
fn key(writer: usize, n: usize) -> String {
    let own = if n == 0 { "_keyway/" } else { "" };
    format!("{own}r/{n}/w{writer}")
}

/// One writer: it alone writes its keys, so it knows what each of its writes does.
struct Writer {
    n: usize,
    client: Client,
    random: StdRng,
    there: BTreeMap<String, String>,
    log: Log,
    count: usize,
}

impl Writer {
    fn new(n: usize, client: Client, seed: u64) -> Self {
        Self {
            n,
            client,
            random: StdRng::seed_from_u64(seed + n as u64),
            there: BTreeMap::new(),
            log: Log::new(),
            count: 0,
        }
    }

    fn some_key(&mut self) -> String {
        key(self.n, self.random.random_range(0..KEYS))
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        self.count += 1;
        let value = format!("{} of {}", self.count, self.n);
        let name = self.some_key();
        let (method, path, body, written) = match self.random.random_range(0..10) {
            0..5 => {
                let written = Written::from([(name.clone(), Some(value.clone()))]);
                (Method::PUT, format!("/v1/kv/{name}"), Bytes::from(value), written)
            }
            5 | 6 => {
                let written = self
                    .there
                    .get(&name)
                    .map(|_| (name.clone(), None))
                    .into_iter()
                    .collect();
                (Method::DELETE, format!("/v1/kv/{name}"), Bytes::new(), written)
            }
            _ => {
                let mut written = Written::new();
                let mut ops = Vec::new();
                for n in 0..self.random.random_range(2..=KEYS) {
                    let name = key(self.n, n);
                    if self.random.random_bool(0.3) {
                        if self.there.contains_key(&name) {
                            written.insert(name.clone(), None);
                        }
                        ops.push(TxnOp::new("delete", name));
                    } else {
                        written.insert(name.clone(), Some(value.clone()));
                        ops.push(TxnOp::set(name, value.clone()));
                    }
                }
                let ops: Vec<_> = ops.into_iter().map(|op| serde_json::json!({ "KV": op })).collect();
                (
                    Method::PUT,
                    "/v1/txn".to_owned(),
                    serde_json::to_vec(&ops)?.into(),
                    written,
                )
            }
        };
        let revision = put(&self.client, method, &path, body).await?;
        for (key, value) in &written {
            match value {
                Some(value) => drop(self.there.insert(key.clone(), value.clone())),
                None => drop(self.there.remove(key)),
            }
        }
        if !written.is_empty() {
            ensure!(
                self.log.insert(revision, written).is_none(),
                "revision {revision} was given twice"
            );
        }
        Ok(())
    }
}

/// A write, and the revision that it took.
async fn put(client: &Client, method: Method, path: &str, body: Bytes) -> anyhow::Result<u64> {
    // Repeated over a restart, it is carried out once.
    let mut headers = HeaderMap::new();
    let id: u64 = rand::random();
    headers.insert(header::REQUEST, format!("random-{id:x}").parse()?);
    let reply = client.send(method, path, body, headers).await?;
    ensure!(reply.status == StatusCode::OK, "{path}: {reply:?}");
    let revision = reply.header(header::REVISION).context("a write names its revision")?;
    Ok(revision.parse()?)
}

/// What a watcher was told, in order.
#[derive(Debug)]
enum Told {
    Snapshot(u64, BTreeMap<String, String>),
    Change(u64, Written),
    Compacted,
}

struct Watcher {
    address: Address,
    random: StdRng,
    request: WatchRequest,
    seen: Option<u64>,
    told: Vec<Told>,
}

impl Watcher {
    fn new(address: Address, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut request = WatchRequest {
            keys: vec![END.to_owned()],
            ..WatchRequest::default()
        };
        for _ in 0..random.random_range(1..4) {
            if random.random_bool(0.5) {
                let (writer, n) = (random.random_range(0..WRITERS), random.random_range(0..KEYS));
                request.keys.push(key(writer, n));
            } else {
                let prefixes = [
                    "r/",
                    "r/1/",
                    "r/2/",
                    "r/3/w",
                    "r",
                    "",
                    "nothing/",
                    "_keyway/",
                    "_keyway/r/",
                ];
                request
                    .prefixes
                    .push(prefixes[random.random_range(0..prefixes.len())].to_owned());
            }
        }
        Self {
            address,
            random,
            request,
            seen: None,
            told: Vec::new(),
        }
    }

    /// Connects in one of the ways there are.
    async fn connect(&mut self) -> anyhow::Result<Stream> {
        let id = self.seen.map(|seen| seen.to_string());
        let by_header = id.as_deref().filter(|_| self.random.random_bool(0.5));
        let headers: Vec<(&str, &str)> = by_header.map(|id| (header::LAST_EVENT_ID, id)).into_iter().collect();
        let since = self.seen.filter(|_| by_header.is_none());
        if self.random.random_bool(0.5) {
            let request = WatchRequest {
                since: since.map(Revision),
                ..self.request.clone()
            };
            return Stream::post_at(&self.address, &serde_json::to_string(&request)?, &headers).await;
        }
        let keys = self.request.keys.iter().map(|key| format!("key={key}"));
        let prefixes = self.request.prefixes.iter().map(|prefix| format!("prefix={prefix}"));
        let since = since.iter().map(|since| format!("since={since}"));
        let query: Vec<String> = keys.chain(prefixes).chain(since).collect();
        Stream::get_at(&self.address, &query.join("&"), &headers).await
    }

    /// Watches, goes away and comes back, until it has been told of the end.
    async fn run(mut self) -> anyhow::Result<Self> {
        loop {
            let Ok(mut stream) = self.connect().await else {
                // The server is being restarted.
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            let mut patience = if self.random.random_bool(0.8) {
                self.random.random_range(0..40)
            } else {
                usize::MAX
            };
            let mut compacted = false;
            // Never between "compacted" and the snapshot that belongs to it.
            while patience > 0 || compacted {
                patience = patience.saturating_sub(1);
                let Ok(event) = stream.raw().await else { break };
                let Some(event) = WatchEvent::parse(&event.name, &event.data)? else {
                    continue;
                };
                compacted = matches!(event, WatchEvent::Compacted(_));
                if self.take(event) {
                    return Ok(self);
                }
            }
            drop(stream);
            if compacted {
                self.told.pop();
            }
            sleep(Duration::from_millis(self.random.random_range(0..60))).await;
        }
    }

    /// Notes an event; whether it was the last.
    fn take(&mut self, event: WatchEvent) -> bool {
        let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
        match event {
            WatchEvent::Snapshot(snapshot) => {
                self.seen = Some(snapshot.revision.0);
                let entries = snapshot.entries.iter().map(|e| (e.key.clone(), text(&e.value)));
                let entries: BTreeMap<_, _> = entries.collect();
                let end = entries.contains_key(END);
                self.told.push(Told::Snapshot(snapshot.revision.0, entries));
                end
            }
            WatchEvent::Change(change) => {
                self.seen = Some(change.revision.0);
                let changes = change.changes.iter();
                let changes: Written = changes
                    .map(|c| (c.key.clone(), c.entry.as_ref().map(|e| text(&e.value))))
                    .collect();
                let end = changes.contains_key(END);
                self.told.push(Told::Change(change.revision.0, changes));
                end
            }
            WatchEvent::Compacted(_) => {
                self.told.push(Told::Compacted);
                false
            }
            WatchEvent::Progress(progress) => {
                self.seen = Some(progress.revision.0);
                false
            }
            WatchEvent::End(_) => false,
        }
    }

    /// Compares all it was told with what was written.
    fn check(&self, log: &Log) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        let mut seen: Option<u64> = None;
        let mut compacted = false;
        for told in &self.told {
            match told {
                Told::Snapshot(revision, entries) => {
                    ensure!(
                        seen.is_none() || compacted,
                        "a snapshot that nobody asked for at {revision}"
                    );
                    compacted = false;
                    counts.snapshots += 1;
                    let mut there = BTreeMap::new();
                    for (key, value) in log.range(..=revision).flat_map(|(_, written)| written) {
                        match value {
                            Some(value) => drop(there.insert(key.clone(), value.clone())),
                            None => drop(there.remove(key)),
                        }
                    }
                    there.retain(|key, _| self.request.matches(key));
                    ensure!(*entries == there, "at {revision}: {entries:?}, not {there:?}");
                    seen = Some(*revision);
                }
                Told::Change(revision, changes) => {
                    let seen = seen.replace(*revision).context("a change before any snapshot")?;
                    counts.changes += 1;
                    let mut due = log
                        .range(seen + 1..)
                        .map(|(revision, written)| (revision, self.part(written)));
                    let next = due.find(|(_, part)| !part.is_empty());
                    ensure!(
                        next == Some((revision, changes.clone())),
                        "after {seen}: {revision} {changes:?}, not {next:?}"
                    );
                }
                Told::Compacted => {
                    compacted = true;
                    counts.compacted += 1;
                }
            }
        }
        Ok(counts)
    }

    fn part(&self, written: &Written) -> Written {
        let mine = written.iter().filter(|(key, _)| self.request.matches(key));
        mine.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

#[derive(Debug, Default)]
struct Counts {
    snapshots: usize,
    changes: usize,
    compacted: usize,
}

#[test]
fn a_hundred_watchers_that_come_and_go_see_every_revision_once_in_order_and_whole() {
    alone(long(Duration::from_secs(120), Duration::from_secs(900)), async |home| {
        const WATCHERS: u64 = 100;
        let writes = long(400, 10_000);
        let rounds = long(2, 6);
        let mut server = Server::start(home).await?;
        let seed = rand::random();
        println!("seed {seed}");
        let mut watchers = JoinSet::new();
        for n in 0..WATCHERS {
            watchers.spawn(Watcher::new(server.address.clone(), seed + n).run());
        }
        let mut writers: Vec<_> = (0..WRITERS)
            .map(|n| Writer::new(n, server.client_within(Duration::from_secs(30)), seed))
            .collect();
        let last = RESTARTS_AFTER.min(rounds);
        for round in 0..rounds {
            let mut writing = JoinSet::new();
            for mut writer in writers.drain(..) {
                writing.spawn(async move {
                    for _ in 0..writes / WRITERS {
                        writer.write().await?;
                    }
                    anyhow::Ok(writer)
                });
            }
            while let Some(writer) = writing.join_next().await {
                writers.push(writer??);
            }
            if round < last {
                // The ring is empty then: whoever is away meanwhile goes on from the history, and if it
                // watches what has none, begins anew.
                server.stop().await?;
                server.restart(home).await?;
            }
        }
        let end = put(&server.client(), Method::PUT, &format!("/v1/kv/{END}"), "1".into()).await?;

        let mut log = Log::from([(end, Written::from([(END.to_owned(), Some("1".to_owned()))]))]);
        for writer in writers {
            for (revision, written) in writer.log {
                ensure!(
                    log.insert(revision, written).is_none(),
                    "revision {revision} was given twice"
                );
            }
        }
        let revisions: Vec<u64> = log.keys().copied().collect();
        ensure!(
            revisions.windows(2).all(|two| two[0] + 1 == two[1]),
            "a revision that nobody wrote"
        );
        let log = Arc::new(log);
        let mut all = Counts::default();
        while let Some(watcher) = timeout(Duration::from_secs(60), watchers.join_next())
            .await
            .context("a watcher never heard of the end")?
        {
            let watcher = watcher??;
            let counts = watcher.check(&log).with_context(|| format!("{:?}", watcher.request))?;
            all.snapshots += counts.snapshots;
            all.changes += counts.changes;
            all.compacted += counts.compacted;
        }
        println!("{} revisions, {WATCHERS} watchers: {all:?}", log.len());
        ensure!(
            all.changes > log.len() && all.compacted > 0,
            "{all:?}: the test has not tried what it should"
        );
        Ok(())
    });
}

/// How often the server is stopped and started between the rounds.
const RESTARTS_AFTER: usize = 3;
