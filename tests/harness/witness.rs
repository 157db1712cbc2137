//! Watchers that write down all they hear, on one server, on all, and moving from one to another.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kvapi::types::{WatchEvent, WatchRequest};
use kvapi::watch::News;
use kvapi::{Address, Client, Revision};
use rand::seq::IndexedRandom as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::long;
use crate::oracle::past::Past;
use crate::oracle::stream::Recording;

/// How long one that moves stays where it is, at most.
const STAY: Duration = Duration::from_millis(500);

/// How long it may take until the last change is heard. A connection that was silenced is given up after
/// thirty seconds.
const PATIENCE: Duration = Duration::from_secs(45);

/// See the module.
pub(crate) struct Witnesses {
    /// The revision up to which they listen, once it is known.
    until: watch::Sender<Option<u64>>,
    all: Vec<(String, JoinHandle<Recording>)>,
}

impl Witnesses {
    /// Of everything below `prefix`: one on each server, one that moves, one on all servers; and one of some
    /// keys, of which `last` is the one that is written last.
    pub(crate) fn start(servers: &[Address], prefix: &str, last: &str) -> Self {
        let (until, listen) = watch::channel(None);
        let everything = WatchRequest {
            prefixes: vec![prefix.to_owned()],
            ..WatchRequest::default()
        };
        let some = WatchRequest {
            keys: vec![format!("{prefix}0"), format!("{prefix}2"), last.to_owned()],
            prefixes: vec![format!("{prefix}1")],
            since: None,
        };
        let mut all = Vec::new();
        let mut add = |name: String, servers: &[Address], request: &WatchRequest, moves: bool| {
            let witness = Witness {
                servers: servers.into(),
                moves,
                recording: Recording {
                    name: name.clone(),
                    request: request.clone(),
                    news: Vec::new(),
                },
            };
            all.push((name, tokio::spawn(witness.listen(listen.clone()))));
        };
        for server in servers {
            add(
                format!("watch at {server}"),
                std::slice::from_ref(server),
                &everything,
                false,
            );
        }
        add("watch at all".into(), servers, &everything, false);
        add("watch that moves".into(), servers, &everything, true);
        add("watch of some".into(), servers, &some, true);
        Self { until, all }
    }

    /// What they heard up to a revision, which is one that all of them are shown.
    pub(crate) async fn end(self, revision: u64) -> anyhow::Result<Vec<Recording>> {
        self.until.send_replace(Some(revision));
        let mut recordings = Vec::new();
        for (name, witness) in self.all {
            let heard = tokio::time::timeout(PATIENCE, witness).await;
            recordings.push(heard.with_context(|| format!("{name} did not hear of {revision}"))??);
        }
        Ok(recordings)
    }
}

struct Witness {
    servers: Arc<[Address]>,
    moves: bool,
    recording: Recording,
}

impl Witness {
    async fn listen(mut self, mut until: watch::Receiver<Option<u64>>) -> Recording {
        let request = self.recording.request.clone();
        let mut watch = client(&self.servers).watch(request.clone());
        let mut since = None;
        loop {
            let stay = rand::random_range(Duration::ZERO..STAY);
            tokio::select! {
                news = watch.next() => {
                    since = revision(&news).or(since);
                    self.recording.news.push(news);
                }
                () = tokio::time::sleep(stay), if self.moves && since.is_some() => {
                    let next = self.servers.choose(&mut rand::rng()).into_iter().cloned();
                    watch = client(&next.collect::<Vec<_>>()).watch(WatchRequest { since, ..request.clone() });
                }
                _ = until.changed() => {}
            }
            if until.borrow().is_some_and(|until| since >= Some(Revision(until))) {
                return self.recording;
            }
        }
    }
}

fn client(servers: &[Address]) -> Client {
    Client::new(servers.to_vec(), None, Duration::from_secs(5))
}

/// Up to where an event tells everything.
fn revision(news: &News) -> Option<Revision> {
    match news {
        News::Event(WatchEvent::Snapshot(snapshot)) => Some(snapshot.revision),
        News::Event(WatchEvent::Change(change)) => Some(change.revision),
        News::Event(WatchEvent::Progress(progress)) => Some(progress.revision),
        _ => None,
    }
}

/// The past below a prefix since a revision, as one server's history tells it, up to a revision that it shows.
pub(crate) async fn past(server: &Address, prefix: &str, since: Revision, until: u64) -> anyhow::Result<Past> {
    let request = WatchRequest {
        prefixes: vec![prefix.to_owned()],
        since: Some(since),
        ..WatchRequest::default()
    };
    let mut watch = client(std::slice::from_ref(server)).watch(request);
    let mut changes = Vec::new();
    let bound = long(PATIENCE, 4 * PATIENCE);
    let whole = tokio::time::timeout(bound, async {
        loop {
            match watch.next().await {
                News::Event(WatchEvent::Change(change)) => {
                    let revision = change.revision.0;
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
    });
    whole
        .await
        .with_context(|| format!("the past up to {until}, as {server} tells it"))??;
    Ok(Past::new(changes))
}
