//! `/v1/watch`: a snapshot and then every change, as server-sent events. Keyway's own.
//!
//! `GET /v1/watch?key=a&prefix=b/&since=7`, any number of keys and prefixes, or `POST` with the
//! same as JSON ([`kvapi::types::WatchRequest`]). Without `since` the first event is a snapshot;
//! with it, or with the header `Last-Event-ID`, the stream goes on after that revision, or says
//! `compacted` and gives a snapshot. Events: [`kvapi::types::WatchEvent`].

use http::StatusCode;
use kvapi::Revision;
use kvapi::types::{WatchRequest, header};

use super::Doors;
use super::answer::Answer;
use super::body::{self, Incoming};
use super::budget::Share;
use super::call::{Call, Result};
use super::error::{Error, Refusal};
use super::golang::{parse_uint, quote};
use super::params::check_datacenter;
use crate::read::ReadMode;
use crate::watch::index::Pattern;
use crate::watch::patterns::Patterns;
use crate::watch::stream::Stream;

/// How many prefixes a watch names at most: each change is held against all of them. A key is found
/// by its name, so of keys only the bytes count.
const MOST_PREFIXES: usize = 4096;

/// The longest body of a `POST`: a hundred thousand keys of forty bytes.
const MAX_BODY_BYTES: usize = 4 << 20;

/// What a pattern takes beside its text, about.
const EACH: usize = 512;

/// What a watch may name without being counted, as nearly all do: connections are bounded too.
const SMALL: usize = 16 << 10;

/// `GET`: the query says what to watch.
pub(super) async fn get(call: Call, doors: &Doors) -> Result {
    let texts = |name| {
        let decoded = call.query.all(name).map(|bytes| String::from_utf8(bytes.to_vec()));
        decoded
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|_| Error::bad(format!("`{name}` is not percent-encoded UTF-8")))
    };
    let since = call
        .query
        .filled("since")
        .map(|text| revision("since", &text))
        .transpose()?;
    let request = WatchRequest {
        keys: texts("key")?,
        prefixes: texts("prefix")?,
        since,
    };
    watch(call, request, doors).await
}

/// `POST`: the body says what to watch, where an address is too short for it.
pub(super) async fn post(call: Call, body: Incoming, doors: &Doors) -> Result {
    let too_large = |_| format!("the body is too large; at most {MAX_BODY_BYTES} bytes are taken");
    let body = body::read(body, &call.headers, MAX_BODY_BYTES, too_large).await?;
    let request =
        serde_json::from_slice(&body).map_err(|e| Error::bad(format!("the body does not say what to watch: {e}")))?;
    watch(call, request, doors).await
}

async fn watch(call: Call, request: WatchRequest, doors: &Doors) -> Result {
    check_datacenter(&call.query)?;
    let since = match call.headers.get(header::LAST_EVENT_ID) {
        // Newer than what the address says: a browser repeats that as it was.
        Some(id) => Some(revision("Last-Event-ID", &String::from_utf8_lossy(id.as_bytes()))?),
        None => request.since,
    };
    let patterns = Patterns::new(request.keys, request.prefixes).map_err(|e| Error::bad(e.to_string()))?;
    if patterns.is_empty() {
        return Err(Error::bad(
            "nothing to watch: name at least one `key` or `prefix`; `prefix=` is everything",
        ));
    }
    let share = share(&patterns, doors)?;
    for pattern in patterns.iter() {
        let (Pattern::Key(text) | Pattern::Prefix(text)) = pattern;
        call.caller.may_read(text)?;
    }
    // First, so that nothing is missed between the look and the stream.
    let subscription = call.node.hub().subscribe(patterns);
    let state = call.node.read(ReadMode::Linearizable).await?;
    let stopping = call.node.stopping().clone();
    // Nothing happened before the first change, so nothing of it can be missed.
    let stream = match since.map(|since| since.max(Revision::EMPTY)) {
        // The hub may still have what was compacted; nobody is to build on that.
        Some(since) if since < state.history().floor() && !subscription.patterns().wants_own() => {
            Stream::compacted(subscription, since, &state, stopping)
        }
        // A revision that we have not reached is of another cluster: that is the client's to judge.
        Some(since) if since <= state.revision() => Stream::since(subscription, since, stopping),
        _ => Stream::snapshot(subscription, &state, stopping),
    };
    Ok(Answer::watch(stream, call.node, share))
}

/// A watch's share of what may be watched, which is no more than that of all others.
fn share(patterns: &Patterns, doors: &Doors) -> Result<Share> {
    let is_prefix = |pattern: &Pattern<'_>| matches!(pattern, Pattern::Prefix(_));
    let count = patterns.iter().filter(is_prefix).count();
    if count > MOST_PREFIXES {
        return Err(Error::bad(format!(
            "a watch names at most {MOST_PREFIXES} prefixes, and this one {count}; \
             watch a prefix that they begin with, or open several watches"
        )));
    }
    let budget = &doors.budgets.watches;
    let mut share = budget.share();
    let bytes: usize = patterns.iter().map(|pattern| pattern.text().len() + EACH).sum();
    if bytes > SMALL && !share.grow_to(bytes) {
        let text = format!(
            "too many keys and prefixes are watched ({} MiB in all); watch fewer, or a prefix that they begin with",
            budget.most() >> 20
        );
        return Err(Error::new(StatusCode::TOO_MANY_REQUESTS, text).refusal(Refusal::Watches));
    }
    Ok(share)
}

fn revision(name: &str, text: &str) -> Result<Revision> {
    let bad = |_| Error::bad(format!("`{name}` is {}, which is not a revision", quote(text)));
    parse_uint(text).map(Revision).map_err(bad)
}
