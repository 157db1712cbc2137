//! Many watchers of one thing, each with its own connection: streams, or blocking queries in a loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use kvapi::problem::exit;
use kvapi::sse::Parser;
use kvapi::types::header;
use kvapi::{Address, Problem};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::connection::{Answer, Connection};

/// How long the last watcher may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a watcher asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `GET /v1/watch`.
    Stream,
    /// `GET /v1/kv/...?index=`, as Consul has it.
    Blocking,
}

/// What is watched.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    Key(String),
    Prefix(String),
}

/// See the module. Dropping it closes all connections.
pub(super) struct Streams {
    watchers: JoinSet<Result<(), Problem>>,
    seen: Arc<Seen>,
    count: usize,
    rounds: usize,
}

/// How much all of them have seen.
#[derive(Default)]
struct Seen {
    events: AtomicUsize,
    goal: AtomicUsize,
    reached: Notify,
    /// Bytes of the newest event.
    bytes: AtomicUsize,
}

impl Seen {
    fn one_more(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
        if self.events.fetch_add(1, Ordering::SeqCst) + 1 == self.goal.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }
}

impl Streams {
    /// Opens `count` of them; when it returns each has what is there now.
    pub(super) async fn open(address: &Address, way: Way, scope: &Scope, count: usize) -> Result<Self, Problem> {
        let mut streams = Self {
            watchers: JoinSet::new(),
            seen: Arc::default(),
            count,
            rounds: 0,
        };
        streams.next_round();
        for _ in 0..count {
            let connection = Connection::open(address).await?;
            let (scope, seen) = (scope.clone(), Arc::clone(&streams.seen));
            streams.watchers.spawn(async move {
                match way {
                    Way::Stream => stream(connection, &scope, &seen).await,
                    Way::Blocking => block(connection, &scope, &seen).await,
                }
            });
        }
        streams.all_saw().await?;
        Ok(streams)
    }

    /// Bytes of an event, as one of them saw the last.
    pub(super) fn event_bytes(&self) -> usize {
        self.seen.bytes.load(Ordering::Relaxed)
    }

    /// Announces one more event for each; call it before the write.
    pub(super) fn next_round(&mut self) {
        self.rounds += 1;
        self.seen.goal.store(self.rounds * self.count, Ordering::SeqCst);
    }

    /// Waits until the last one has seen the event announced last.
    pub(super) async fn all_saw(&mut self) -> Result<(), Problem> {
        let deadline = Instant::now() + PATIENCE;
        tokio::select! {
            biased;
            Some(ended) = self.watchers.join_next() => {
                let reason = match ended {
                    Ok(Err(problem)) => problem.what,
                    Ok(Ok(())) => "the server closed the stream".into(),
                    Err(e) => e.to_string(),
                };
                Err(Problem::new(exit::UNAVAILABLE, format!("a watcher ended: {reason}")))
            }
            reached = timeout_at(deadline, self.seen.reached.notified()) => reached.map_err(|_| {
                let events = self.seen.events.load(Ordering::SeqCst);
                let missing = (self.rounds * self.count).saturating_sub(events);
                Problem::new(exit::TIMEOUT, format!("{missing} of {} watchers saw nothing in {PATIENCE:?}", self.count))
            }),
        }
    }
}

/// Reads a stream for ever: the snapshot and each change count.
async fn stream(mut connection: Connection, scope: &Scope, seen: &Seen) -> Result<(), Problem> {
    let path = match scope {
        Scope::Key(key) => format!("/v1/watch?key={key}"),
        Scope::Prefix(prefix) => format!("/v1/watch?prefix={prefix}"),
    };
    let answer = connection.begin(Method::GET, &path, Bytes::new()).await?;
    if !answer.status().is_success() {
        let what = format!("{path} was answered {}; is it a Keyway server?", answer.status());
        return Err(Problem::new(exit::INVALID, what).help("any other is measured with --blocking"));
    }
    let mut body = answer.into_body();
    let mut parser = Parser::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Problem::new(exit::UNAVAILABLE, e.to_string()))?;
        let data = frame.data_ref().cloned().unwrap_or_default();
        for event in parser.push(&data) {
            if matches!(event.name.as_str(), "snapshot" | "change") {
                seen.one_more(data.len());
            }
        }
    }
    Ok(())
}

/// Asks again and again: the first answer and each with a new index count.
async fn block(mut connection: Connection, scope: &Scope, seen: &Seen) -> Result<(), Problem> {
    let path = match scope {
        Scope::Key(key) => format!("/v1/kv/{key}?wait=60s"),
        Scope::Prefix(prefix) => format!("/v1/kv/{prefix}?recurse&wait=60s"),
    };
    let mut index = 0;
    loop {
        let asked = format!("{path}&index={index}");
        let answer = connection.ask(Method::GET, &asked, Bytes::new()).await?;
        // What is not there is waited for like what is.
        if !matches!(answer.status, StatusCode::OK | StatusCode::NOT_FOUND) {
            return Err(answer.refused());
        }
        let now = index_of(&answer)?;
        if now != index {
            index = now;
            seen.one_more(answer.body.len());
        }
    }
}

fn index_of(answer: &Answer) -> Result<u64, Problem> {
    let index = answer
        .headers
        .get(header::INDEX)
        .and_then(|index| index.to_str().ok()?.parse().ok());
    index.ok_or_else(|| {
        Problem::new(
            exit::INVALID,
            "an answer has no X-Consul-Index; is it a Keyway or Consul server?",
        )
    })
}
