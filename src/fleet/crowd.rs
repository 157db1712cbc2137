//! Clients that ask all the time, each at its pace, until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Method, StatusCode};
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::connection::Connection;

/// How many clients, and how often each asks: 200 requests a second.
const CLIENTS: usize = 8;
const EVERY: Duration = Duration::from_millis(40);

/// The longest that an answer may take, for a client that waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest latency that is told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// See the module. Dropped, it stops at once.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

/// What came of the requests.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Why the first one failed.
    pub(crate) reason: Option<String>,
    /// Of those that did not fail, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Crowd {
    /// Begins to ask; every second client opens a connection for each request.
    pub(crate) fn begin(to: &Address) -> Result<Self, Problem> {
        let stop = Arc::<AtomicBool>::default();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let tally = Tally::new()?;
            clients.spawn(client(to.clone(), number.is_multiple_of(2), Arc::clone(&stop), tally));
        }
        Ok(Self { stop, clients })
    }

    /// What came of them all.
    pub(crate) async fn end(mut self) -> Result<Tally, Problem> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::new()?;
        while let Some(one) = self.clients.join_next().await {
            all.add(one.map_err(|e| Problem::new(exit::BUG, format!("a client broke: {e}")))?);
        }
        Ok(all)
    }
}

impl Tally {
    fn new() -> Result<Self, Problem> {
        let latency = Histogram::new_with_max(LONGEST_US, 3)
            .map_err(|e| Problem::new(exit::BUG, format!("count latencies: {e}")))?;
        Ok(Self {
            requests: 0,
            failed: 0,
            reason: None,
            latency,
        })
    }

    fn note(&mut self, asked: Result<(), String>, took: Duration) {
        self.requests += 1;
        match asked {
            Ok(()) => self
                .latency
                .saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            Err(reason) => {
                self.failed += 1;
                self.reason.get_or_insert(reason);
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.reason = self.reason.take().or(other.reason);
        self.latency += other.latency;
    }
}

async fn client(to: Address, opens: bool, stop: Arc<AtomicBool>, mut tally: Tally) -> Tally {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) {
        every.tick().await;
        if opens {
            kept = None;
        }
        let began = Instant::now();
        let asked = timeout(PATIENCE, ask(&to, &mut kept)).await;
        tally.note(
            asked.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}"))),
            began.elapsed(),
        );
    }
    tally
}

/// One request as clients make it: a connection that was used before may have been closed in the meantime, and then the
/// request is made on a new one, where nothing may fail.
async fn ask(to: &Address, kept: &mut Option<Connection>) -> Result<(), String> {
    if let Some(mut used) = kept.take().filter(Connection::is_open)
        && let Ok(answer) = used.exchange(get(&used)?).await
    {
        *kept = Some(used);
        return is_well(answer.status);
    }
    let mut new = Connection::open(to).await.map_err(|problem| problem.what)?;
    let answer = new
        .exchange(get(&new)?)
        .await
        .map_err(|e| format!("no whole answer: {e}"))?;
    *kept = Some(new);
    is_well(answer.status)
}

fn get(connection: &Connection) -> Result<http::Request<http_body_util::Full<Bytes>>, String> {
    let request = connection.request(Method::GET, "/", Bytes::new());
    request.map_err(|problem| problem.what)
}

fn is_well(status: StatusCode) -> Result<(), String> {
    match status {
        StatusCode::OK => Ok(()),
        other => Err(format!("answered {other}")),
    }
}
