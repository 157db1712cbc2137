//! `/v1/kv/`: keys and lists. Source: Consul 1.22, as recorded in tests/golden.

use http::StatusCode;
use kvapi::types::Entry;

use super::answer::Answer;
use super::blocking::{self, index_of};
use super::body::{self, Incoming};
use super::call::{Call, Result};
use super::error::Error;
use super::golang::quote;
use super::params::{
    Condition, DeleteParams, PutParams, ReadParams, check_datacenter, key, key_text, refuse_enterprise,
};
use crate::command::{Action, Outcome};
use crate::state::State;
use crate::watch::index::Pattern;

/// `GET`: one key, or with `recurse` everything that begins with it, or with `keys` their names.
///
/// With `index` it waits. 404 and an empty body if there is nothing, but the root's keys are `[]`.
pub(super) async fn get(call: &Call, path: &[u8]) -> Result {
    let (params, text) = common(call, path)?;
    let names = call.query.has("keys");
    let list = names || call.query.has("recurse");
    let what = if list {
        Pattern::Prefix(&text)
    } else {
        Pattern::Key(key(&text).map(|_| text.as_str())?)
    };
    check_datacenter(&call.query)?;
    call.caller.may_read(&text)?;
    let state = blocking::read(&call.node, &params, what).await?;
    let answer = if names {
        list_names(call, &state, &text)
    } else if list {
        let entries: Vec<Entry> = state.range(&text).map(|(key, entry)| entry.to_wire(key)).collect();
        found(!entries.is_empty(), || Answer::json(&entries, call.pretty()))
    } else {
        one(call, &state, &text)?
    };
    Ok(answer.kv_meta(index_of(&state, what), call.freshness(params.consistency)))
}

fn one(call: &Call, state: &State, text: &str) -> Result {
    let Some(entry) = state.get(text) else {
        return Ok(Answer::empty(StatusCode::NOT_FOUND));
    };
    if call.query.has("raw") {
        return Ok(Answer::raw(entry.value.clone()));
    }
    Ok(Answer::json(&[entry.to_wire(&key(text)?)], call.pretty()))
}

fn list_names(call: &Call, state: &State, prefix: &str) -> Answer {
    let separator = call
        .query
        .bytes("separator")
        .or_else(|| call.query.bytes("seperator"))
        .unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for (key, _) in state.range(prefix) {
        let name = cut(key.as_str(), prefix.len(), separator);
        // Sorted, so those cut alike stand together.
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    found(!names.is_empty() || prefix.is_empty(), || {
        Answer::json(&names, call.pretty())
    })
}

/// The key up to and with the first separator behind the prefix. It cuts bytes, as Consul does.
fn cut(key: &str, prefix_len: usize, separator: &[u8]) -> String {
    let rest = &key.as_bytes()[prefix_len..];
    let at = if separator.is_empty() {
        None
    } else {
        rest.windows(separator.len()).position(|part| part == separator)
    };
    match at {
        Some(at) => String::from_utf8_lossy(&key.as_bytes()[..prefix_len + at + separator.len()]).into_owned(),
        None => key.to_owned(),
    }
}

fn found(found: bool, answer: impl FnOnce() -> Answer) -> Answer {
    if found {
        answer()
    } else {
        Answer::empty(StatusCode::NOT_FOUND)
    }
}

/// `PUT`: stores the body; with `cas` only if the key is at that index (0: absent).
///
/// `true`, or `false` if the swap lost. `acquire` and `release` need a session, and there are none.
pub(super) async fn put(call: &Call, path: &[u8], body: Incoming) -> Result {
    let (_, text) = common(call, path)?;
    let key = key(&text)?;
    let PutParams { flags, condition } = PutParams::parse(&call.query)?;
    call.caller.may_write(&text)?;
    let limit = call.node.limits().value_bytes;
    let value = body::read(body, &call.headers, limit, |length| too_large(length, limit)).await?;
    check_datacenter(&call.query)?;
    let cas = match condition {
        Condition::None => None,
        Condition::Cas(index) => Some(index),
        Condition::Acquire(id) | Condition::Release(id) if id.is_empty() => {
            return Err(Error::internal("missing session"));
        }
        Condition::Acquire(id) => return Err(Error::internal(format!("invalid session {}", quote(&id)))),
        Condition::Release(_) => return Ok(Answer::json(&false, call.pretty())),
    };
    write(call, Action::Put { key, value, flags, cas }).await
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
    let Outcome::Done(done) = reply.outcome else {
        return Err(Error::internal("the answer is not one to a single write"));
    };
    Ok(Answer::json(&done, call.pretty()).revision(reply.revision))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_behind_the_first_separator_after_the_prefix() {
        for (key, prefix, separator, name) in [
            ("foo/bar/zip/zam", "foo/bar/", "/", "foo/bar/zip/"),
            ("foo/bar/baz", "foo/bar/", "/", "foo/bar/baz"),
            ("foo/bar", "", "ba", "foo/ba"),
            ("foo", "", "", "foo"),
            ("foo", "foo", "/", "foo"),
        ] {
            assert_eq!(cut(key, prefix.len(), separator.as_bytes()), name);
        }
    }
}
