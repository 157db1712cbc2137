//! Clients that read and write the same keys through all servers at once, and write down what they were told.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;
use kvapi::{Address, Client, Consistency, Entry, Error};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::oracle::history::{Answer, Asked, Operation, Seen, Value};

/// How many keys there are.
pub(super) const KEYS: usize = 40;

/// And so many of them are asked for as often as all others together.
const HOT: usize = 4;

/// How many ask for one key at once: with more, whether it could have been is hard to tell.
const AT_ONCE: usize = 10;

/// How long a client waits for an answer. A server holds a request for about three seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long nobody of one client asks a server that did not answer.
const CLOSED: Duration = Duration::from_secs(2);

/// The longest pause of a client between two requests: enough work to find what is wrong, and not so much that
/// servers and clients on two processors wait for each other.
const PACE: Duration = Duration::from_millis(10);

/// The pause behind an answer that says that nothing was done.
const REFUSED: Duration = Duration::from_millis(30);

/// See the module.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Operation>>>,
}

struct Shared {
    keys: Vec<(String, Semaphore)>,
    began: Instant,
    next: AtomicU64,
    stop: AtomicBool,
    acknowledged: AtomicUsize,
    troubles: Mutex<Troubles>,
}

/// What was answered otherwise than with what was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Troubles {
    /// Writes whose answer was lost.
    pub(crate) unknown: usize,
    /// Requests to one server that it did not carry out.
    pub(crate) unavailable: usize,
    /// Writes of clients that know all servers that none of them carried out, and the reason.
    pub(crate) failed: Vec<String>,
    /// And reads.
    pub(crate) failed_reads: Vec<String>,
    /// What may never be answered.
    pub(crate) wrong: Vec<String>,
}

/// One client of each server, and one that knows them all.
pub(super) struct Doors {
    each: Vec<Door>,
    all: Client,
}

struct Door {
    client: Client,
    /// Not to be used before this: it did not answer.
    closed: Mutex<Instant>,
}

/// What somebody asks through: one server by its place, or all.
pub(super) type Through = Option<usize>;

impl Doors {
    pub(super) fn new(servers: &[Address]) -> Self {
        let client = |servers: &[Address]| Client::new(servers.to_vec(), None, PATIENCE);
        let door = |server: &[Address]| Door {
            client: client(server),
            closed: Mutex::new(Instant::now()),
        };
        Self {
            each: servers.chunks(1).map(door).collect(),
            all: Client::new(servers.to_vec(), None, 2 * PATIENCE),
        }
    }

    /// Any that answers.
    pub(super) fn any(&self) -> (&Client, Through) {
        let now = Instant::now();
        let open = |(_, door): &(usize, &Door)| *door.closed.lock().expect("nobody panics with it") <= now;
        let open: Vec<_> = self.each.iter().enumerate().filter(open).collect();
        match open.choose(&mut rand::rng()).filter(|_| rand::random_ratio(2, 3)) {
            Some((place, door)) => (&door.client, Some(*place)),
            None => (&self.all, None),
        }
    }

    /// It did not answer, so that others are asked for a while: who waits does no harm, and finds none.
    fn close(&self, through: Through) {
        if let Some(door) = through.and_then(|place| self.each.get(place)) {
            *door.closed.lock().expect("nobody panics with it") = Instant::now() + CLOSED;
        }
    }
}

impl Load {
    /// So many clients, of keys below `prefix`, who count time from `began` on.
    pub(crate) fn start(servers: &[Address], prefix: &str, clients: usize, began: Instant) -> Self {
        let key = |number| (format!("{prefix}{number}"), Semaphore::new(AT_ONCE));
        let shared = Arc::new(Shared {
            keys: (0..KEYS).map(key).collect(),
            began,
            next: AtomicU64::new(1),
            stop: AtomicBool::default(),
            acknowledged: AtomicUsize::default(),
            troubles: Mutex::default(),
        });
        let clients = (0..clients)
            .map(|number| {
                let client = One {
                    number,
                    doors: Doors::new(servers),
                    shared: Arc::clone(&shared),
                    operations: Vec::new(),
                };
                tokio::spawn(client.run())
            })
            .collect();
        Self { shared, clients }
    }

    /// How many writes were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Everything that was asked and answered, and what went wrong, once the clients have stopped.
    pub(crate) async fn end(self) -> anyhow::Result<(Vec<Operation>, Troubles)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut operations = Vec::new();
        for client in self.clients {
            operations.extend(client.await?);
        }
        let troubles = std::mem::take(&mut *self.shared.troubles());
        Ok((operations, troubles))
    }
}

impl Shared {
    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().expect("nobody panics with it")
    }
}

struct One {
    number: usize,
    doors: Doors,
    shared: Arc<Shared>,
    operations: Vec<Operation>,
}

/// Keys that are asked for.
type Taken<'a> = Vec<(&'a str, SemaphorePermit<'a>)>;

impl One {
    async fn run(mut self) -> Vec<Operation> {
        let shared = Arc::clone(&self.shared);
        while !shared.stop.load(Ordering::Relaxed) {
            let dice = rand::rng().random_range(0..100);
            let keys = take(&shared, if dice >= 95 { 3 } else { 1 });
            let answered = match (dice, keys.as_slice()) {
                (_, []) => true,
                (0..35, [(key, _), ..]) => self.read(key, Consistency::Default).await.is_some(),
                (35..45, [(key, _), ..]) => self.read(key, Consistency::Consistent).await.is_some(),
                (45..55, [(key, _), ..]) => self.read(key, Consistency::Stale).await.is_some(),
                (55..75, [(key, _), ..]) => self.put(key).await,
                (75..90, [(key, _), ..]) => self.swap(key).await,
                (90..95, [(key, _), ..]) => self.delete(key).await,
                (_, keys) => self.put_several(keys).await,
            };
            drop(keys);
            let pause = rand::random_range(Duration::ZERO..PACE);
            tokio::time::sleep(if answered { pause } else { REFUSED }).await;
        }
        self.operations
    }

    fn now(&self) -> u64 {
        nanoseconds(self.shared.began)
    }

    fn note(&mut self, key: &str, asked: Asked, called: u64, answer: Option<Answer>) {
        if answer.is_some_and(|answer| answer.done) && !matches!(asked, Asked::Read(_) | Asked::ReadStale(_)) {
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.operations.push(Operation {
            client: self.number,
            key: key.to_owned(),
            asked,
            called,
            answer,
        });
    }

    /// Counts why a write has no answer. Whether it may have been done.
    fn trouble(&self, error: &Error, through: Through) -> bool {
        self.doors.close(through);
        let mut troubles = self.shared.troubles();
        let unknown = matches!(error, Error::Unknown(_) | Error::Ended { .. });
        match error {
            Error::Unknown(_) | Error::Ended { .. } => troubles.unknown += 1,
            Error::Unavailable { .. } | Error::Timeout { .. } if through.is_some() => troubles.unavailable += 1,
            Error::Refused { status, .. } if matches!(status.as_u16(), 503 | 507) => troubles.unavailable += 1,
            Error::Unavailable { .. } | Error::Timeout { .. } => {
                troubles
                    .failed
                    .push(format!("{:?}: {error}", self.shared.began.elapsed()));
            }
            other => troubles.wrong.push(format!("{other:?}")),
        }
        unknown
    }

    /// Counts why a read has no answer.
    fn no_read(&self, error: &Error, through: Through) {
        self.doors.close(through);
        let mut troubles = self.shared.troubles();
        match error {
            Error::Refused { status, .. } if status.as_u16() != 503 => troubles.wrong.push(format!("{error:?}")),
            Error::BadAnswer { .. } => troubles.wrong.push(format!("{error:?}")),
            _ if through.is_none() => {
                let at = self.shared.began.elapsed();
                troubles.failed_reads.push(format!("{at:?}: {error}"));
            }
            _ => troubles.unavailable += 1,
        }
    }

    async fn read(&mut self, key: &str, consistency: Consistency) -> Option<Option<Seen>> {
        let (client, through) = self.doors.any();
        let called = self.now();
        let read = client.get(key, consistency).await;
        match read {
            Ok(at) => {
                let seen = at.value.as_ref().and_then(seen);
                if seen.is_none() != at.value.is_none() {
                    let wrong = format!("{key} is {:?}", at.value);
                    self.shared.troubles().wrong.push(wrong);
                }
                let asked = match consistency {
                    Consistency::Stale => Asked::ReadStale(seen),
                    Consistency::Default | Consistency::Consistent => Asked::Read(seen),
                };
                self.note(key, asked, called, Some(self.answer(true, None)));
                Some(seen)
            }
            Err(error) => {
                self.no_read(&error, through);
                None
            }
        }
    }

    fn answer(&self, done: bool, revision: Option<u64>) -> Answer {
        Answer {
            at: self.now(),
            done,
            revision,
        }
    }

    fn value(&self) -> Value {
        self.shared.next.fetch_add(1, Ordering::Relaxed)
    }

    async fn put(&mut self, key: &str) -> bool {
        let value = self.value();
        self.store(key, value, Asked::Put(value), None).await
    }

    async fn swap(&mut self, key: &str) -> bool {
        let Some(expected) = self.read(key, Consistency::Default).await else {
            return false;
        };
        let value = self.value();
        let cas = Some(expected.map_or(0, |seen| seen.revision));
        self.store(key, value, Asked::Swap { expected, value }, cas).await
    }

    async fn store(&mut self, key: &str, value: Value, asked: Asked, cas: Option<u64>) -> bool {
        let (client, through) = self.doors.any();
        let options = WriteOptions {
            cas,
            ..WriteOptions::default()
        };
        let called = self.now();
        let stored = client.store(key, value.to_string(), &options).await;
        let answer = stored.map(|stored| self.answer(stored.done, stored.revision.map(|revision| revision.0)));
        self.written(
            &[(key, asked)],
            called,
            answer.map_err(|error| self.trouble(&error, through)),
        )
    }

    async fn delete(&mut self, key: &str) -> bool {
        let (client, through) = self.doors.any();
        let called = self.now();
        let deleted = client.delete(key, &WriteOptions::default()).await;
        let answer = deleted.map(|done| self.answer(done, None));
        self.written(
            &[(key, Asked::Delete)],
            called,
            answer.map_err(|error| self.trouble(&error, through)),
        )
    }

    /// One transaction: a watch shows all of it at once.
    async fn put_several(&mut self, keys: &[(&str, SemaphorePermit<'_>)]) -> bool {
        let value = self.value();
        let ops: Vec<TxnOp> = keys
            .iter()
            .map(|(key, _)| TxnOp::set(*key, value.to_string()))
            .collect();
        let asked: Vec<(&str, Asked)> = keys.iter().map(|(key, _)| (*key, Asked::Put(value))).collect();
        let (client, through) = self.doors.any();
        let called = self.now();
        let done = client.txn(&ops, &WriteOptions::default()).await;
        let answer = match done {
            Ok(Ok(entries)) => Ok(self.answer(true, entries.first().map(|entry| entry.modify_index.0))),
            Ok(Err(errors)) => {
                self.shared.troubles().wrong.push(format!("{errors:?}"));
                Err(false)
            }
            Err(error) => Err(self.trouble(&error, through)),
        };
        self.written(&asked, called, answer)
    }

    /// Writes down how a write ended; of one without an answer, whether it may have been done.
    fn written(&mut self, asked: &[(&str, Asked)], called: u64, answer: Result<Answer, bool>) -> bool {
        let answered = answer.is_ok();
        if answer != Err(false) {
            for (key, asked) in asked {
                self.note(key, *asked, called, answer.ok());
            }
        }
        answered
    }
}

/// Different keys that few others ask for now; none if they could not be had at once.
fn take(shared: &Shared, count: usize) -> Taken<'_> {
    let mut numbers: Vec<usize> = Vec::new();
    while numbers.len() < count {
        let number = rand::random_range(0..if rand::random() { HOT } else { KEYS });
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    let keys = numbers.iter().map(|number| &shared.keys[*number]);
    let taken = keys.map(|(key, permits)| Some((key.as_str(), permits.try_acquire().ok()?)));
    taken.collect::<Option<_>>().unwrap_or_default()
}

/// What an entry that one of us has written says.
pub(super) fn seen(entry: &Entry) -> Option<Seen> {
    Some(Seen {
        value: std::str::from_utf8(&entry.value).ok()?.parse().ok()?,
        revision: entry.modify_index.0,
    })
}

pub(super) fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
