//! A watch from the command's side: the stream, the wish to stop, and what is said about the connection.

use std::time::Duration;

use kvapi::problem::exit;
use kvapi::types::{WatchEvent, WatchRequest};
use kvapi::watch::{News, Watch};
use kvapi::{Address, Client, Problem};
use tokio::time::{Instant, timeout_at};

use crate::failure::Failure;
use crate::output::Out;
use crate::signals::Stop;

/// What comes next.
pub(super) enum Next {
    Event(WatchEvent),
    /// Nothing came until the moment that was named.
    Quiet,
    Stop,
}

/// See the module.
pub(super) struct Session {
    watch: Watch,
    pub(super) stop: Stop,
    /// Until when the first connection has to be there.
    patience: Instant,
    /// How long that is, and who is asked.
    timeout: Duration,
    addresses: Vec<Address>,
    /// The cluster that answered; none before the first connection.
    cluster: Option<String>,
    last_failure: String,
}

impl Session {
    pub(super) fn start(client: &Client, request: WatchRequest, timeout: Duration) -> Result<Self, Problem> {
        Ok(Self {
            watch: client.watch(request),
            stop: Stop::listen()?,
            patience: Instant::now() + timeout,
            timeout,
            addresses: client.addresses().to_vec(),
            cluster: None,
            last_failure: String::new(),
        })
    }

    /// The next event, over every reconnect; with `until`, `Quiet` if there is none by then. Who is not
    /// there at the start is told at once; who goes away later is waited for.
    pub(super) async fn next(&mut self, out: &mut Out, until: Option<Instant>) -> Result<Next, Failure> {
        loop {
            let until = match self.cluster {
                None => Some(self.patience),
                Some(_) => until,
            };
            let news = tokio::select! {
                biased;
                () = self.stop.next() => return Ok(Next::Stop),
                news = by(until, &mut self.watch) => news,
            };
            match news {
                None if self.cluster.is_none() => return Err(self.never_connected()),
                None => return Ok(Next::Quiet),
                Some(News::Event(event)) => return Ok(Next::Event(event)),
                Some(News::Refused { status, text }) => return Err(kvapi::Error::Refused { status, text }.into()),
                Some(News::Connected { address, cluster }) => {
                    tracing::info!(%address, "connected");
                    self.last_failure.clear();
                    if self.cluster.as_ref().is_some_and(|before| *before != cluster) {
                        return Err(another_cluster(&address.to_string()).into());
                    }
                    self.cluster = Some(cluster);
                }
                // The last try was given up because the time is over, which is no news.
                Some(News::Lost { .. }) if self.cluster.is_none() && Instant::now() >= self.patience => {
                    return Err(self.never_connected());
                }
                Some(News::Lost { reason }) => {
                    if reason != self.last_failure {
                        out.say(format_args!("no connection: {reason}; trying again"));
                    }
                    self.last_failure = reason;
                }
            }
        }
    }
}

impl Session {
    /// Nobody took a connection in time, or somebody did and has not answered.
    fn never_connected(&mut self) -> Failure {
        if self.last_failure.is_empty() {
            let error = kvapi::Error::Timeout {
                addresses: std::mem::take(&mut self.addresses),
                after: self.timeout,
                last: None,
            };
            return error.into();
        }
        let what = format!("the watch did not begin: {}", self.last_failure);
        let problem = Problem::new(exit::UNAVAILABLE, what);
        problem
            .help("is the server running? Start one with `keyway dev`, or name it with --addr or KEYWAY_ADDR")
            .into()
    }
}

async fn by(until: Option<Instant>, watch: &mut Watch) -> Option<News> {
    match until {
        Some(until) => timeout_at(until, watch.next()).await.ok(),
        None => Some(watch.next().await),
    }
}

fn another_cluster(address: &str) -> Problem {
    Problem::new(
        exit::CONFLICT,
        format!("{address} belongs to another cluster now, and its revisions are not those of the one before"),
    )
    .help("start the watch again to take the new cluster as it is, with --initial")
}
