//! Clients that read and write through all servers at once, and watchers; all write down what they were told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use kvapi::client::WriteOptions;
use kvapi::types::{HistoryChange, WatchEvent, WatchRequest};
use kvapi::watch::News;
use kvapi::{Address, Client, Consistency, Entry, Error, Revision};
use tokio::task::{JoinHandle, spawn_local};

use super::holders::{self, HOLDERS, Holder};
use super::net::client;
use super::oracle::history::{Answer, Asked, Operation, Seen};
use super::oracle::locks::Grant;
use super::oracle::past::Past;
use super::oracle::stream::Recording;
use super::world::addresses;
use crate::chance::seeded::below;
use crate::clock::{self, Instant};

/// How many there are, and how many keys.
const CLIENTS: usize = 8;
const KEYS: u64 = 12;
const PREFIX: &str = "key/";

/// The longest pause between two requests, and the one behind an answer that says that nothing was done.
const PACE_MS: u64 = 60;
const REFUSED: Duration = Duration::from_millis(50);

/// How long one waits for an answer. A server holds a request for about three seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take, once all is well again, until everybody is served; a watch gives up a silent connection
/// after thirty seconds.
const RECOVERY: Duration = Duration::from_secs(60);

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) operations: Vec<Operation>,
    /// The past of each server.
    pub(super) pasts: Vec<Past>,
    pub(super) recordings: Vec<Recording>,
    /// Locks that were given.
    pub(super) grants: Vec<Grant>,
    /// Answers that may never be given.
    pub(super) wrong: Vec<String>,
    /// Requests that were not carried out, or whose answer was lost.
    pub(super) failed: usize,
}

/// What the driver and the clients know of each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Whether the servers are to be left alone, and asked for the last time.
    pub(super) ending: Cell<bool>,
    /// Writes that were acknowledged.
    pub(super) acknowledged: Cell<usize>,
    /// Once everybody has come to an end.
    pub(super) told: RefCell<Option<Told>>,
}

/// Everything, from the first request to the last.
pub(super) async fn work(servers: usize, shared: Rc<Shared>) -> anyhow::Result<()> {
    let began = clock::now();
    let addresses = addresses(servers);
    let all = client(addresses.clone(), RECOVERY);
    let keep = HistoryChange {
        revisions: Some(1_000_000),
        versions: Some(10_000),
        ..HistoryChange::default()
    };
    let start = all.change_history(&keep, &WriteOptions::default()).await?.revision;
    let told = Rc::<RefCell<Told>>::default();
    let next = Rc::<Cell<u64>>::default();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let one = One {
                number,
                doors: addresses
                    .chunks(1)
                    .map(|server| client(server.to_vec(), PATIENCE))
                    .collect(),
                all: client(addresses.clone(), 2 * PATIENCE),
                began,
                next: Rc::clone(&next),
                told: Rc::clone(&told),
                shared: Rc::clone(&shared),
            };
            spawn_local(one.run())
        })
        .collect();
    clients.extend((0..HOLDERS).map(|_| spawn_local(Holder::new(&addresses, began, &told, &shared).run())));
    let last = Rc::<Cell<Option<Revision>>>::default();
    let mut watchers = Vec::new();
    for servers in addresses.chunks(1).map(<[Address]>::to_vec).chain([addresses.clone()]) {
        watchers.push(spawn_local(watch(servers, Rc::clone(&last))));
    }
    for client in clients {
        client.await?;
    }
    let stored = all
        .store("key/last", "0", &WriteOptions::default())
        .await
        .context("a last write")?;
    let revision = stored.revision.context("a write says its revision")?;
    last.set(Some(revision));
    let mut told = told.take();
    for server in addresses {
        read_all(&server, began, &mut told).await?;
        told.pasts.push(past(server, start, revision).await?);
    }
    told.recordings = heard(watchers, revision).await?;
    shared.told.replace(Some(told));
    Ok(())
}

async fn heard(watchers: Vec<JoinHandle<Recording>>, revision: Revision) -> anyhow::Result<Vec<Recording>> {
    let mut recordings = Vec::new();
    for watcher in watchers {
        let heard = clock::timeout(RECOVERY, watcher).await;
        recordings.push(heard.with_context(|| format!("a watcher did not hear of {revision}"))??);
    }
    Ok(recordings)
}

struct One {
    number: usize,
    /// One of each server, and one that knows them all.
    doors: Vec<Client>,
    all: Client,
    began: Instant,
    next: Rc<Cell<u64>>,
    told: Rc<RefCell<Told>>,
    shared: Rc<Shared>,
}

impl One {
    async fn run(self) {
        while !self.shared.ending.get() {
            let key = format!("{PREFIX}{}", below(KEYS));
            let key = key.as_str();
            let answered = match below(20) {
                0..6 => self.read(key, Consistency::Default).await.is_some(),
                6..8 => self.read(key, Consistency::Consistent).await.is_some(),
                8..10 => self.read(key, Consistency::Stale).await.is_some(),
                10..16 => {
                    let value = self.value();
                    self.store(key, Asked::Put(value), value, None).await
                }
                16..19 => self.swap(key).await,
                _ => self.delete(key).await,
            };
            clock::sleep(if answered { clock::ms(below(PACE_MS)) } else { REFUSED }).await;
        }
    }

    fn door(&self) -> &Client {
        let some = below(self.doors.len() as u64 + 1);
        usize::try_from(some)
            .ok()
            .and_then(|some| self.doors.get(some))
            .unwrap_or(&self.all)
    }

    fn value(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    fn answer(&self, done: bool, revision: Option<Revision>) -> Answer {
        Answer {
            at: nanoseconds(self.began),
            done,
            revision: revision.map(|revision| revision.0),
        }
    }

    async fn read(&self, key: &str, consistency: Consistency) -> Option<Option<Seen>> {
        let called = nanoseconds(self.began);
        match self.door().get(key, consistency).await {
            Ok(at) => {
                let seen = at.value.as_ref().and_then(seen);
                let asked = match consistency {
                    Consistency::Stale => Asked::ReadStale(seen),
                    Consistency::Default | Consistency::Consistent => Asked::Read(seen),
                };
                self.note(key, asked, called, Some(self.answer(true, None)));
                Some(seen)
            }
            Err(error) => {
                self.trouble(&error);
                None
            }
        }
    }

    async fn swap(&self, key: &str) -> bool {
        let Some(expected) = self.read(key, Consistency::Default).await else {
            return false;
        };
        let value = self.value();
        let revision = expected.map_or(0, |seen| seen.revision);
        self.store(key, Asked::Swap { expected, value }, value, Some(revision))
            .await
    }

    async fn store(&self, key: &str, asked: Asked, value: u64, cas: Option<u64>) -> bool {
        let options = WriteOptions {
            cas,
            ..WriteOptions::default()
        };
        let called = nanoseconds(self.began);
        let stored = self.door().store(key, value.to_string(), &options).await;
        self.written(key, asked, called, stored.map(|stored| (stored.done, stored.revision)))
    }

    async fn delete(&self, key: &str) -> bool {
        let called = nanoseconds(self.began);
        let deleted = self.door().delete(key, &WriteOptions::default()).await;
        self.written(key, Asked::Delete, called, deleted.map(|done| (done, None)))
    }

    fn written(&self, key: &str, asked: Asked, called: u64, answer: Result<(bool, Option<Revision>), Error>) -> bool {
        match answer {
            Ok((done, revision)) => {
                self.shared.acknowledged.set(self.shared.acknowledged.get() + 1);
                self.note(key, asked, called, Some(self.answer(done, revision)));
                true
            }
            Err(error) => {
                if self.trouble(&error) {
                    self.note(key, asked, called, None);
                }
                false
            }
        }
    }

    fn note(&self, key: &str, asked: Asked, called: u64, answer: Option<Answer>) {
        self.told.borrow_mut().operations.push(Operation {
            client: self.number,
            key: key.to_owned(),
            asked,
            called,
            answer,
        });
    }

    /// Whether something may have been done all the same.
    fn trouble(&self, error: &Error) -> bool {
        let mut told = self.told.borrow_mut();
        told.failed += 1;
        let wrong = match error {
            Error::Refused { status, .. } => status.as_u16() != 503,
            Error::BadAnswer { .. } => true,
            _ => false,
        };
        if wrong {
            told.wrong.push(format!("{error:?}"));
        }
        matches!(error, Error::Unknown(_) | Error::Ended { .. })
    }
}

pub(super) fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn seen(entry: &Entry) -> Option<Seen> {
    Some(Seen {
        value: std::str::from_utf8(&entry.value).ok()?.parse().ok()?,
        revision: entry.modify_index.0,
    })
}

/// A last reading of every key.
async fn read_all(server: &Address, began: Instant, told: &mut Told) -> anyhow::Result<()> {
    let client = client(vec![server.clone()], RECOVERY);
    for number in 0..KEYS {
        let key = format!("{PREFIX}{number}");
        let called = nanoseconds(began);
        let at = client
            .get(&key, Consistency::Default)
            .await
            .with_context(|| format!("read {key} at {server}"))?;
        let answer = Answer {
            at: nanoseconds(began),
            done: true,
            revision: None,
        };
        told.operations.push(Operation {
            client: CLIENTS,
            key,
            asked: Asked::Read(at.value.as_ref().and_then(seen)),
            called,
            answer: Some(answer),
        });
    }
    Ok(())
}

fn everything(since: Option<Revision>) -> WatchRequest {
    WatchRequest {
        prefixes: [PREFIX, holders::PREFIX].map(str::to_owned).into(),
        since,
        ..WatchRequest::default()
    }
}

/// Listens until it has heard of the last change.
async fn watch(servers: Vec<Address>, last: Rc<Cell<Option<Revision>>>) -> Recording {
    let mut recording = Recording {
        name: format!("watch at {servers:?}"),
        request: everything(None),
        news: Vec::new(),
    };
    let mut watch = client(servers, PATIENCE).watch(recording.request.clone());
    while last.get().is_none_or(|last| recording.newest() < last.0) {
        if let Ok(news) = clock::timeout(Duration::from_secs(1), watch.next()).await {
            recording.news.push(news);
        }
    }
    recording
}

/// Every change since a revision up to another, as one server tells it.
async fn past(server: Address, since: Revision, until: Revision) -> anyhow::Result<Past> {
    let mut watch = client(vec![server.clone()], PATIENCE).watch(everything(Some(since)));
    let mut changes = Vec::new();
    let whole = async {
        loop {
            match watch.next().await {
                News::Event(WatchEvent::Change(change)) => {
                    let revision = change.revision;
                    changes.push(change);
                    if revision >= until {
                        return Ok(());
                    }
                }
                News::Event(event @ (WatchEvent::Snapshot(_) | WatchEvent::Compacted(_))) => {
                    anyhow::bail!("the whole past is not kept: {event:?}")
                }
                _ => {}
            }
        }
    };
    let whole = clock::timeout(RECOVERY, whole).await;
    whole.with_context(|| format!("the past up to {until}, as {server} tells it"))??;
    Ok(Past::new(changes))
}
