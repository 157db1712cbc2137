//! `/v1/kv/`: keys and lists. Source: Consul 1.22, as recorded in tests/golden.

use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;

use super::answer::Answer;
use super::blocking::{self, index_of};
use super::body::{self, Incoming};
use super::call::{Call, Result};
use super::error::Error;
use super::flow::{Flow, WHOLE};
use super::list::{List, Of};
use super::params::{
    Condition, DeleteParams, PutParams, ReadParams, check_datacenter, key, key_text, refuse_enterprise,
};
use super::slice::Slice;
use crate::command::{Action, Outcome};
use crate::state::State;
use crate::watch::index::Pattern;

/// `GET`: one key, or with `recurse` everything that begins with it, or with `keys` their names,
/// or with `count` only how many there are.
///
/// With `index` it waits. 404 and an empty body if there is nothing, but the root's keys are `[]`.
/// With `revision` it is what was there then, with `limit` and `start_after` a part of the list.
pub(super) async fn get(call: &Call, path: &[u8]) -> Result {
    let (params, text) = common(call, path)?;
    let keys = call.query.has("keys");
    let count = call.query.has("count");
    let list = keys || count || call.query.has("recurse");
    let what = if list {
        Pattern::Prefix(&text)
    } else {
        Pattern::Key(key(&text).map(|_| text.as_str())?)
    };
    check_datacenter(&call.query)?;
    let slice = Slice::parse(&call.query, &text, list)?;
    call.caller.may_read(&text)?;
    let state = blocking::read(&call.node, &params, what).await?;
    if let Some(revision) = slice.revision.filter(|_| list) {
        let readable = state.readable(&text, revision);
        readable.map_err(|reason| Error::unreadable(revision, reason))?;
    }
    let answer = if count {
        counted(call, state.count(&text, slice.revision))
    } else if list {
        let of = if keys { names(call) } else { Of::Entries };
        listed(call, &state, &text, &slice, of)
    } else {
        one(call, &state, &text, &slice)?
    };
    let part = count || slice.is_page();
    let answer = match slice.revision {
        Some(revision) => answer.revision(revision),
        None if part => answer.revision(state.revision()),
        None => answer,
    };
    let index = match slice.revision {
        Some(revision) => revision,
        None if part => state.index_of_page(&text),
        None => index_of(&state, what),
    };
    Ok(answer.kv_meta(index, call.freshness(params.consistency)))
}

fn counted(call: &Call, count: usize) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Counted {
        count: usize,
    }
    Answer::json(&Counted { count }, call.pretty())
}

/// A list: as a whole if it is short, else in pieces.
fn listed(call: &Call, state: &Arc<State>, prefix: &str, slice: &Slice, of: Of) -> Answer {
    let empty_is_found = prefix.is_empty() && matches!(of, Of::Names { .. });
    let mut list = List::new(of, prefix, slice, call.pretty());
    let mut text = Vec::new();
    list.fill(state, WHOLE, &mut text);
    if list.written() == 0 && !empty_is_found && slice.start_after.is_none() {
        return Answer::empty(StatusCode::NOT_FOUND);
    }
    let more = list.more(state);
    let answer = if list.ended() {
        Answer::json_text(text)
    } else {
        Answer::list(Flow::new(list, text, Arc::clone(state), call.node.views().clone()))
    };
    answer.more(more)
}

fn names(call: &Call) -> Of {
    let separator = call.query.bytes("separator").or_else(|| call.query.bytes("seperator"));
    Of::Names {
        separator: separator.unwrap_or_default().to_vec(),
    }
}

fn one(call: &Call, state: &State, text: &str, slice: &Slice) -> Result {
    let entry = match slice.revision {
        None => state.get(text),
        Some(revision) => state
            .get_at(&key(text)?, revision)
            .map_err(|reason| Error::unreadable(revision, reason))?,
    };
    let Some(entry) = entry else {
        return Ok(Answer::empty(StatusCode::NOT_FOUND));
    };
    if call.query.has("raw") {
        return Ok(Answer::raw(entry.value.clone()));
    }
    Ok(Answer::json(&[entry.to_wire(text)], call.pretty()))
}

/// `PUT`: stores the body; with `cas` only if the key is at that index (0: absent).
///
/// With `acquire` it locks the key for that session too, with `release` it gives the lock up.
///
/// `true`, or `false` if the swap lost, or the lock is another's, or the key may not be locked yet.
pub(super) async fn put(call: &Call, path: &[u8], body: Incoming) -> Result {
    let (_, text) = common(call, path)?;
    let key = key(&text)?;
    let PutParams { flags, condition } = PutParams::parse(&call.query)?;
    call.caller.may_write(&text)?;
    let limit = call.node.limits().value_bytes;
    let value = body::read(body, &call.headers, limit, |length| too_large(length, limit)).await?;
    check_datacenter(&call.query)?;
    let action = match condition {
        Condition::None => Action::Put {
            key,
            value,
            flags,
            cas: None,
        },
        Condition::Cas(index) => Action::Put {
            key,
            value,
            flags,
            cas: Some(index),
        },
        Condition::Acquire(session) => Action::Acquire {
            key,
            value,
            flags,
            session: session.into(),
        },
        Condition::Release(session) => Action::Release {
            key,
            value,
            flags,
            session: session.into(),
        },
    };
    write(call, action).await
}

/// `DELETE`: deletes a key, with `cas` only if it is at that index; with `recurse` everything
/// that begins with it. `true`, also if nothing was there; `false` if the swap lost.
pub(super) async fn delete(call: &Call, path: &[u8]) -> Result {
    let (_, text) = common(call, path)?;
    if !DeleteParams::recurses(&call.query) {
        key(&text)?;
    }
    let params = DeleteParams::parse(&call.query)?;
    check_datacenter(&call.query)?;
    call.caller.may_write(&text)?;
    let action = match params {
        DeleteParams::Key { cas } => Action::Delete { key: key(&text)?, cas },
        DeleteParams::Prefix => Action::DeletePrefix { prefix: text },
    };
    write(call, action).await
}

async fn write(call: &Call, action: Action) -> Result {
    let reply = call.propose(action).await?;
    match reply.outcome {
        Outcome::Done(done) => Ok(Answer::json(&done, call.pretty()).revision(reply.revision)),
        Outcome::Refused(what) => Err(Error::internal(what)),
        _ => Err(Error::internal("the answer is not one to a single write")),
    }
}

/// What is checked first, in Consul's order, whatever the method.
fn common(call: &Call, path: &[u8]) -> Result<(ReadParams, String)> {
    let params = ReadParams::parse(&call.query, &call.headers)?;
    refuse_enterprise(&call.query, &call.headers)?;
    Ok((params, key_text(path)?))
}

fn too_large(length: Option<u64>, limit: usize) -> String {
    match length {
        Some(length) => format!(
            "Request body({length} bytes) too large, max size: {limit} bytes. \
             See https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size."
        ),
        None => format!("Request body too large. Max allowed is {limit} bytes."),
    }
}
