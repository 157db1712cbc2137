//! Counts the requests: atomics alone, since every request passes here.

use std::array;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use super::error::Refusal;

/// Routes that are told apart; the last is what is no route.
pub(super) const ROUTES: [&str; 32] = [
    "/v1/kv/{key}",
    "/v1/txn",
    "/v1/watch",
    "/v1/status/leader",
    "/v1/status/peers",
    "/v1/agent/self",
    "/v1/agent/members",
    "/v1/agent/checks",
    "/v1/agent/version",
    "/v1/acl",
    "/livez",
    "/readyz",
    "/metrics",
    "/",
    "/v1/history/{key}",
    "/v1/history",
    "/v1/openapi.json",
    "/v1/session/create",
    "/v1/session/destroy/{session}",
    "/v1/session/renew/{session}",
    "/v1/session/info/{session}",
    "/v1/session/node/{node}",
    "/v1/session/list",
    "/v1/operator",
    "/v1/catalog",
    "/v1/health",
    "/v1/agent/service",
    "/v1/snapshot",
    "/v1/cluster",
    "/v1/cluster/join",
    "/v1/cluster/join-cluster-of",
    "none",
];

const METHODS: [&str; 5] = ["GET", "PUT", "DELETE", "POST", "other"];

/// Status codes that are answered; another counts as 0.
const CODES: [u16; 19] = [
    200, 400, 401, 403, 404, 405, 408, 409, 410, 413, 414, 422, 429, 431, 500, 501, 503, 507, 0,
];

/// Upper bounds of the durations, in microseconds.
const BOUNDS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

type ByCode = [AtomicU64; CODES.len()];

/// Since the server was started.
pub struct Traffic {
    codes: Box<[[ByCode; METHODS.len()]; ROUTES.len()]>,
    durations: Box<[Durations; ROUTES.len()]>,
    blocking: AtomicUsize,
    refused: [AtomicU64; Refusal::NAMES.len()],
}

/// A blocking query, until it is dropped.
pub(super) struct Blocking<'a>(&'a AtomicUsize);

impl Drop for Blocking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Durations {
    /// One more than there are bounds.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// How long answers of a route took.
pub(super) struct Histogram {
    pub(super) route: &'static str,
    /// Upper bounds in seconds, and how many took no longer.
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) seconds: f64,
}

impl Default for Traffic {
    fn default() -> Self {
        let codes = array::from_fn(|_| array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0))));
        let durations = array::from_fn(|_| Durations {
            counts: array::from_fn(|_| AtomicU64::new(0)),
            nanos: AtomicU64::new(0),
        });
        Self {
            codes: Box::new(codes),
            durations: Box::new(durations),
            blocking: AtomicUsize::new(0),
            refused: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Traffic {
    /// `route` is a place in [`ROUTES`]; `took` is left out for what waits because it was asked to.
    pub(super) fn count(&self, route: usize, method: &Method, status: StatusCode, took: Option<Duration>) {
        let named = METHODS.iter().position(|name| *name == method.as_str());
        let method = named.unwrap_or(METHODS.len() - 1);
        let known = CODES.iter().position(|code| *code == status.as_u16());
        let code = known.unwrap_or(CODES.len() - 1);
        self.codes[route][method][code].fetch_add(1, Ordering::Relaxed);
        if let Some(took) = took {
            let micros = took.as_micros();
            let bucket = BOUNDS.partition_point(|bound| u128::from(*bound) < micros);
            let durations = &self.durations[route];
            durations.counts[bucket].fetch_add(1, Ordering::Relaxed);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            durations.nanos.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    /// Something was refused because there was too much.
    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What was refused, by the name of the reason.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Refusal::NAMES.into_iter().zip(counts)
    }

    /// A blocking query begins to wait.
    pub(super) fn blocking(&self) -> Blocking<'_> {
        self.blocking.fetch_add(1, Ordering::Relaxed);
        Blocking(&self.blocking)
    }

    /// Blocking queries that wait.
    pub(super) fn blocked(&self) -> usize {
        self.blocking.load(Ordering::Relaxed)
    }

    /// Route, method, code and number of the requests that there were.
    pub(super) fn requests(&self) -> Vec<(&'static str, &'static str, u16, u64)> {
        let mut found = Vec::new();
        for (route, methods) in ROUTES.iter().zip(&*self.codes) {
            for (method, codes) in METHODS.iter().zip(methods) {
                for (code, count) in CODES.iter().zip(codes) {
                    match count.load(Ordering::Relaxed) {
                        0 => {}
                        count => found.push((*route, *method, *code, count)),
                    }
                }
            }
        }
        found
    }

    /// Of the routes that were asked.
    pub(super) fn durations(&self) -> Vec<Histogram> {
        let of = |(route, durations): (&&'static str, &Durations)| {
            let mut count = 0;
            let mut buckets = Vec::with_capacity(BOUNDS.len());
            for (place, number) in durations.counts.iter().enumerate() {
                count += number.load(Ordering::Relaxed);
                if let Some(bound) = BOUNDS.get(place) {
                    buckets.push((Duration::from_micros(*bound).as_secs_f64(), count));
                }
            }
            let seconds = Duration::from_nanos(durations.nanos.load(Ordering::Relaxed)).as_secs_f64();
            (count > 0).then_some(Histogram {
                route,
                buckets,
                count,
                seconds,
            })
        };
        ROUTES.iter().zip(&*self.durations).filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocking_query_is_counted_until_it_ends() {
        let traffic = Traffic::default();
        let one = traffic.blocking();
        let two = traffic.blocking();
        drop(one);
        assert_eq!(traffic.blocked(), 1);
        drop(two);
        assert_eq!(traffic.blocked(), 0);
    }

    #[test]
    fn a_duration_is_counted_by_every_bound_that_it_keeps() {
        let traffic = Traffic::default();

        traffic.count(0, &Method::GET, StatusCode::OK, Some(Duration::from_micros(100)));
        traffic.count(0, &Method::GET, StatusCode::OK, Some(Duration::from_secs(11)));
        traffic.count(0, &Method::GET, StatusCode::OK, None);

        assert_eq!(traffic.requests(), [("/v1/kv/{key}", "GET", 200, 3)]);
        let histogram = &traffic.durations()[0];
        assert_eq!((histogram.count, histogram.buckets[0]), (2, (0.0001, 1)));
        assert_eq!(histogram.buckets.last(), Some(&(10.0, 1)));
        assert!(histogram.seconds > 11.0);
    }
}
