//! `/v1/history`: what was done to a key or to a prefix, and how much of it is kept. Keyway's own.
//!
//! `GET /v1/history/KEY`, or with `recurse` everything that begins with it: the changes that are
//! kept, newest first, one for each revision. `limit` is how many, `before` a revision that they
//! are older than. `GET /v1/history` says how much is kept, and `PUT` changes that or forgets the
//! past before a revision.

use http::{HeaderName, StatusCode};
use kvapi::types::{Change, HistoryChange, HistoryInfo, HistoryLimits, KeyChange, header};
use kvapi::{Key, Revision};

use super::answer::Answer;
use super::blocking::{self, index_of};
use super::body::{self, Incoming};
use super::call::{Call, Result};
use super::error::Error;
use super::params::{ReadParams, check_datacenter, key, key_text, refuse_enterprise};
use super::slice::{limit, positive};
use crate::command::{Action, Limits};
use crate::read::ReadMode;
use crate::state::State;
use crate::state::history::{Record, Version};
use crate::watch::index::Pattern;

/// The longest body of a `PUT`.
const MAX_BODY_BYTES: usize = 4096;

/// `GET` of a key or a prefix. 404 and an empty body if nothing is kept; the root's is `[]`.
pub(super) async fn get(call: &Call, path: &[u8]) -> Result {
    let params = ReadParams::parse(&call.query, &call.headers)?;
    refuse_enterprise(&call.query, &call.headers)?;
    let text = key_text(path)?;
    let recurse = call.query.has("recurse");
    let what = if recurse {
        Pattern::Prefix(&text)
    } else {
        Pattern::Key(key(&text).map(|_| text.as_str())?)
    };
    check_datacenter(&call.query)?;
    let limit = limit(&call.query)?.unwrap_or(usize::MAX);
    let before = match call.query.get("before") {
        None => Revision(u64::MAX),
        Some(text) => Revision(positive("before", &text)?),
    };
    call.caller.may_read(&text)?;
    let state = blocking::read(&call.node, &params, what).await?;
    let changes: Vec<Change> = if recurse {
        of_prefix(&state, &text, before).take(limit).collect()
    } else {
        of_key(&state, &key(&text)?, before).take(limit).collect()
    };
    let answer = if changes.is_empty() && !(recurse && text.is_empty()) {
        Answer::empty(StatusCode::NOT_FOUND)
    } else {
        Answer::json(&changes, call.pretty())
    };
    Ok(answer
        .kv_meta(index_of(&state, what), call.freshness(params.consistency))
        .with(
            HeaderName::from_static(header::OLDEST),
            state.history().oldest().0.into(),
        ))
}

fn of_key(state: &State, key: &Key, before: Revision) -> impl Iterator<Item = Change> {
    let history = state.history();
    history
        .versions_before(key, before)
        .filter_map(move |(revision, version)| {
            let record = history.record(revision)?;
            Some(change(revision, record, std::iter::once((key, version))))
        })
}

fn of_prefix(state: &State, prefix: &str, before: Revision) -> impl Iterator<Item = Change> {
    let history = state.history();
    history.before(before).filter_map(move |(revision, record)| {
        let matching = history
            .versions_of(revision)
            .filter(|(key, _)| key.as_str().starts_with(prefix));
        Some(change(revision, record, matching)).filter(|change| !change.changes.is_empty())
    })
}

fn change<'a>(revision: Revision, record: &Record, versions: impl Iterator<Item = (&'a Key, &'a Version)>) -> Change {
    Change {
        revision,
        at: record.at,
        author: record.author.as_deref().map(str::to_owned),
        message: record.message.as_deref().map(str::to_owned),
        changes: versions
            .map(|(key, version)| KeyChange {
                key: key.as_str().to_owned(),
                entry: version.as_ref().map(|entry| entry.to_wire(key)),
            })
            .collect(),
    }
}

/// `GET /v1/history`: how much is kept.
pub(super) async fn limits(call: &Call) -> Result {
    let state = call.node.read(ReadMode::Linearizable).await?;
    Ok(Answer::json(&info(&state), call.pretty()))
}

/// `PUT /v1/history`: keeps another amount, or forgets the past before a revision, or both.
pub(super) async fn put(call: &Call, body: Incoming) -> Result {
    call.caller.may_keep_history()?;
    let too_large = |_| format!("the body is too large; at most {MAX_BODY_BYTES} bytes are taken");
    let body = body::read(body, &call.headers, MAX_BODY_BYTES, too_large).await?;
    let asked: HistoryChange = serde_json::from_slice(&body).map_err(|e| {
        Error::bad(format!(
            "the body does not say what to keep: {e}; give {{\"Revisions\":..,\"Versions\":..,\"Bytes\":..,\"CompactTo\":..}}, any of them"
        ))
    })?;
    let state = call.node.read(ReadMode::Linearizable).await?;
    let limits = wanted(&asked, state.history().limits())?;
    if let Some(revision) = asked.compact_to
        && revision > state.revision()
    {
        let newest = state.revision();
        return Err(Error::bad(format!(
            "`CompactTo` is {revision}, which has not been taken yet; the newest is {newest}"
        )));
    }
    // Each is as good as done if it is asked again, so one request id for both would do no good.
    if limits != state.history().limits() {
        call.propose_anew(Action::Keep(limits)).await?;
    }
    if let Some(revision) = asked.compact_to {
        call.propose_anew(Action::Compact { revision }).await?;
    }
    let state = call.node.read(ReadMode::Linearizable).await?;
    Ok(Answer::json(&info(&state), call.pretty()).revision(state.revision()))
}

/// The limits as they are to be.
fn wanted(asked: &HistoryChange, now: Limits) -> Result<Limits> {
    for (name, value) in [
        ("Revisions", asked.revisions),
        ("Versions", asked.versions),
        ("CompactTo", asked.compact_to.map(|revision| revision.0)),
    ] {
        if value == Some(0) {
            return Err(Error::bad(format!("`{name}` is 0; give a whole number from 1 on")));
        }
    }
    if *asked == HistoryChange::default() {
        return Err(Error::bad(
            "nothing to change: give `Revisions`, `Versions`, `Bytes` or `CompactTo`",
        ));
    }
    Ok(Limits {
        revisions: asked.revisions.unwrap_or(now.revisions),
        versions: asked.versions.unwrap_or(now.versions),
        bytes: asked.bytes.unwrap_or(now.bytes),
    })
}

fn info(state: &State) -> HistoryInfo {
    let history = state.history();
    let limits = history.limits();
    HistoryInfo {
        revision: state.revision(),
        oldest: history.oldest(),
        bytes: history.bytes(),
        limits: HistoryLimits {
            revisions: limits.revisions,
            versions: limits.versions,
            bytes: limits.bytes,
        },
    }
}
