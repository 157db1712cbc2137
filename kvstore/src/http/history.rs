//! `/v1/history`: what was done to a key or to a prefix, and how much of it is kept. Keyway's own.
//!
//! `GET /v1/history/KEY`, or with `recurse` everything that begins with it: the changes that are
//! kept, newest first, one for each revision. `limit` is how many, `before` a revision that they
//! are older than; if there are more than fit, `X-Keyway-More` says so. `heads` leaves out what was
//! changed. `GET /v1/history` says how much is kept, and `PUT` changes that or forgets the past
//! before a revision.

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
use crate::command::{Action, Limits, Retain};
use crate::read::ReadMode;
use crate::state::State;
use crate::state::history::{Record, Version};
use crate::watch::index::Pattern;

/// The longest body of a `PUT`.
const MAX_BODY_BYTES: usize = 4096;

/// What an answer comes to before it ends with `X-Keyway-More`; one change is always there.
const PAGE_BYTES: usize = 16 << 20;

/// And what that one change may come to: it is made as a whole. Of a larger one only the head is
/// told, and how many keys it changed: an accident of that size is looked for and undone like any.
const CHANGE_BYTES: usize = 64 << 20;

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
    let heads = call.query.has("heads");
    let state = blocking::read(&call.node, &params, what).await?;
    let page = if recurse {
        Page::of(of_prefix(&state, &text, before, heads), limit, heads)
    } else {
        Page::of(of_key(&state, &key(&text)?, before), limit, heads)
    };
    let answer = if page.changes.is_empty() && !(recurse && text.is_empty()) {
        Answer::empty(StatusCode::NOT_FOUND)
    } else {
        Answer::json(&page.changes, call.pretty())
    };
    Ok(answer
        .kv_meta(index_of(&state, what), call.freshness(params.consistency))
        .more(page.more)
        .with(
            HeaderName::from_static(header::OLDEST),
            state.history().oldest().0.into(),
        ))
}

/// What one revision did, as it is kept.
struct Kept<'a> {
    revision: Revision,
    record: &'a Record,
    versions: Vec<(&'a Key, &'a Version)>,
}

impl Kept<'_> {
    /// As long as it is in JSON without what was changed, or a little more.
    fn head_len(&self) -> usize {
        let note = [&self.record.author, &self.record.message];
        200 + note.into_iter().flatten().map(|text| text_len(text)).sum::<usize>()
    }

    /// And what was changed.
    fn changes_len(&self) -> usize {
        let versions = self.versions.iter().map(|(key, version)| {
            text_len(key.as_str())
                + match version {
                    // Names, indentation, and numbers of twenty digits.
                    Some(entry) => {
                        400 + text_len(entry.session.as_deref().unwrap_or_default()) + entry.value.len() / 3 * 4
                    }
                    None => 80,
                }
        });
        versions.sum()
    }

    fn head(&self) -> Change {
        Change {
            revision: self.revision,
            at: self.record.at,
            author: self.record.author.as_deref().map(str::to_owned),
            message: self.record.message.as_deref().map(str::to_owned),
            changes: Vec::new(),
            omitted: 0,
        }
    }

    fn whole(&self) -> Change {
        let changes = self.versions.iter().map(|(key, version)| KeyChange {
            key: key.as_str().to_owned(),
            entry: version.as_ref().map(|entry| entry.to_wire(key.as_str())),
        });
        Change {
            changes: changes.collect(),
            ..self.head()
        }
    }

    /// Where the whole is too much.
    fn without_changes(&self) -> Change {
        Change {
            omitted: self.versions.len() as u64,
            ..self.head()
        }
    }
}

/// A text in JSON, whatever of it is escaped.
fn text_len(text: &str) -> usize {
    let escaped = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&' | 0x7f..);
    text.len() + 5 * text.bytes().filter(escaped).count()
}

/// As many changes as go into one answer.
struct Page {
    changes: Vec<Change>,
    /// Whether there are older ones.
    more: bool,
}

impl Page {
    fn of<'a>(kept: impl Iterator<Item = Kept<'a>>, limit: usize, heads: bool) -> Self {
        let (mut changes, mut bytes) = (Vec::new(), 0_usize);
        for kept in kept {
            let head = kept.head_len();
            let whole = head + if heads { 0 } else { kept.changes_len() };
            let fits = whole <= CHANGE_BYTES;
            bytes += if fits { whole } else { head };
            if changes.len() == limit || !changes.is_empty() && bytes > PAGE_BYTES {
                return Self { changes, more: true };
            }
            changes.push(match (heads, fits) {
                (true, _) => kept.head(),
                (false, true) => kept.whole(),
                (false, false) => kept.without_changes(),
            });
        }
        Self { changes, more: false }
    }
}

fn of_key<'a>(state: &'a State, key: &'a Key, before: Revision) -> impl Iterator<Item = Kept<'a>> {
    let history = state.history();
    history
        .versions_before(key, before)
        .filter_map(move |(revision, version)| {
            let record = history.record(revision)?;
            let versions = vec![(key, version)];
            Some(Kept {
                revision,
                record,
                versions,
            })
        })
}

/// Of `heads` it is enough that there is something.
fn of_prefix<'a>(state: &'a State, prefix: &'a str, before: Revision, heads: bool) -> impl Iterator<Item = Kept<'a>> {
    let most = if heads { 1 } else { usize::MAX };
    let history = state.history();
    history.before(before).filter_map(move |(revision, record)| {
        let matching = history
            .versions_of(revision)
            .filter(|(key, _)| key.as_str().starts_with(prefix));
        let versions: Vec<_> = matching.take(most).collect();
        (!versions.is_empty()).then_some(Kept {
            revision,
            record,
            versions,
        })
    })
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
    check(&asked)?;
    if let Some(revision) = asked.compact_to {
        let newest = call.node.read(ReadMode::Linearizable).await?.revision();
        if revision > newest {
            return Err(Error::bad(format!(
                "`CompactTo` is {revision}, which has not been taken yet; the newest is {newest}"
            )));
        }
    }
    let retain = Retain {
        revisions: asked.revisions,
        versions: asked.versions,
        bytes: asked.bytes,
        compact_to: asked.compact_to,
    };
    call.propose(Action::Retain(retain)).await?;
    let state = call.node.read(ReadMode::Linearizable).await?;
    Ok(Answer::json(&info(&state), call.pretty()).revision(state.revision()))
}

/// Whether there is anything to change, and to what can be.
fn check(asked: &HistoryChange) -> Result<()> {
    if *asked == HistoryChange::default() {
        return Err(Error::bad(
            "nothing to change: give `Revisions`, `Versions`, `Bytes` or `CompactTo`",
        ));
    }
    let compact_to = asked.compact_to.map(|revision| revision.0);
    for (name, value, least, most) in [
        ("Revisions", asked.revisions, 1, Limits::MOST.revisions),
        ("Versions", asked.versions, 1, Limits::MOST.versions),
        ("Bytes", asked.bytes, 0, Limits::MOST.bytes),
        ("CompactTo", compact_to, 1, u64::MAX),
    ] {
        let Some(value) = value else { continue };
        if value < least {
            return Err(Error::bad(format!(
                "`{name}` is {value}; give a whole number from 1 on"
            )));
        }
        if value > most {
            return Err(Error::bad(format!("`{name}` is {value}; it can be at most {most}")));
        }
    }
    Ok(())
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
