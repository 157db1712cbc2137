//! A closed loop: N clients, each with its own connection and one request under way, until the time
//! is over.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Method;
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use tokio::task::JoinSet;

use crate::connection::Connection;

/// The longest latency that is told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// What each client asks, again and again: a path for its number and the number of the request.
pub(super) type PathOf = fn(client: usize, request: usize) -> String;

/// A line to measure.
#[derive(Clone)]
pub(super) struct Load {
    /// Each client at one of them, in turn.
    pub(super) addresses: Vec<Address>,
    pub(super) method: Method,
    pub(super) path: PathOf,
    /// Added to each path: `?stale`.
    pub(super) query: &'static str,
    pub(super) body: Bytes,
    pub(super) clients: usize,
    pub(super) duration: Duration,
}

/// What was measured.
pub(super) struct Measured {
    /// Answers a second.
    pub(super) rate: f64,
    /// Latencies in microseconds.
    pub(super) latency: Histogram<u64>,
}

/// A histogram of microseconds, to three digits.
pub(super) fn histogram() -> Result<Histogram<u64>, Problem> {
    Histogram::new_with_max(LONGEST_US, 3).map_err(|e| Problem::new(exit::BUG, format!("make a histogram: {e}")))
}

/// Notes a duration; what is beyond the scale counts as its end.
pub(super) fn note(histogram: &mut Histogram<u64>, duration: Duration) {
    histogram.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US));
}

impl Load {
    pub(super) async fn run(self) -> Result<Measured, Problem> {
        let mut connections = Vec::with_capacity(self.clients);
        for address in self.addresses.iter().cycle().take(self.clients) {
            connections.push(Connection::open(address).await?);
        }
        let start = Instant::now();
        let end = start + self.duration;
        let mut clients = JoinSet::new();
        for (number, connection) in connections.into_iter().enumerate() {
            clients.spawn(self.clone().client(number, connection, end));
        }
        let mut latency = histogram()?;
        while let Some(done) = clients.join_next().await {
            let one = done.map_err(|e| Problem::new(exit::BUG, format!("a client broke: {e}")))??;
            latency
                .add(one)
                .map_err(|e| Problem::new(exit::BUG, format!("add histograms: {e}")))?;
        }
        Ok(Measured {
            rate: latency.len() as f64 / start.elapsed().as_secs_f64(),
            latency,
        })
    }

    async fn client(self, number: usize, mut connection: Connection, end: Instant) -> Result<Histogram<u64>, Problem> {
        let mut latency = histogram()?;
        let mut request = 0;
        loop {
            let path = (self.path)(number, request) + self.query;
            let body = numbered(&self.body, request);
            let start = Instant::now();
            if start >= end {
                return Ok(latency);
            }
            connection.expect_ok(self.method.clone(), &path, body).await?;
            note(&mut latency, start.elapsed());
            request += 1;
        }
    }
}

/// The body with the number at its start, as far as it fits: a value that is there already would
/// change nothing, and be no write.
pub(super) fn numbered(body: &Bytes, number: usize) -> Bytes {
    let digits = number.to_string();
    let fits = digits.len().min(body.len());
    let mut bytes = body.to_vec();
    // The last digits: they are the ones that differ.
    bytes[..fits].copy_from_slice(&digits.as_bytes()[digits.len() - fits..]);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_values_in_a_row_differ_and_have_the_size_asked_for() {
        let body = Bytes::from_static(b"xxx");

        assert_eq!(numbered(&body, 7), "7xx");
        assert_eq!(numbered(&body, 12345), "345");
        assert_eq!(numbered(&Bytes::new(), 7), "");
    }
}
