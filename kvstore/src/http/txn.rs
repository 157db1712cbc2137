//! `PUT /v1/txn`: several operations, all or none. Source: Consul 1.22, as recorded in tests/golden.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use kvapi::types::{Entry, TxnError};
use serde::Serialize;

use super::answer::{Answer, Freshness};
use super::blocking::mode;
use super::body::{self, Incoming};
use super::call::{Call, Result};
use super::ops::{self, Refused};
use super::params::{ReadParams, check_datacenter};
use crate::command::{Action, Command, Op, Outcome};
use crate::state::State;

/// Runs a transaction.
///
/// Without an operation that writes it is a read, with what reads carry. 409 names the operations
/// that failed; nothing was changed then.
pub(super) async fn put(call: &Call, body: Incoming) -> Result {
    let limits = call.node.limits();
    let most = limits.txn_body();
    let body = body::read(body, &call.headers, most, |length| too_large(length, most)).await?;
    let raw = ops::decode(&body, limits)?;
    drop(body);
    let writes = raw.iter().any(|op| ops::is_write(&op.verb));
    let params = if writes {
        None
    } else {
        Some(ReadParams::parse(&call.query, &call.headers)?)
    };
    check_datacenter(&call.query)?;
    let ops = match ops::check(raw)? {
        Ok(ops) => ops,
        Err(refused) => return Ok(answer(call, Err(refused), params.map(|_| Freshness::NONE))),
    };
    for op in &ops {
        permit(call, op)?;
    }
    match params {
        None => {
            let reply = call.propose(Action::Txn { ops }).await?;
            Ok(answer(call, shown(reply.outcome), None).revision(reply.revision))
        }
        Some(params) => {
            let state = call.node.read(mode(params.consistency)).await?;
            let outcome = look(&state, ops);
            Ok(answer(call, shown(outcome), Some(call.freshness(params.consistency))))
        }
    }
}

/// What the operations show. They change nothing, so a state that nobody else sees will do.
fn look(state: &State, ops: Vec<Op>) -> Outcome {
    let command = Command::from(Action::Txn { ops });
    state.clone().apply(state.at(), &command).reply.outcome
}

fn permit(call: &Call, op: &Op) -> Result<()> {
    match op {
        Op::Set { key, .. }
        | Op::Cas { key, .. }
        | Op::Lock { key, .. }
        | Op::Unlock { key, .. }
        | Op::Delete { key }
        | Op::DeleteCas { key, .. } => call.caller.may_write(key.as_str()),
        Op::DeleteTree { prefix } => call.caller.may_write(prefix),
        Op::Get { key }
        | Op::GetOrEmpty { key, .. }
        | Op::CheckIndex { key, .. }
        | Op::CheckNotExists { key }
        | Op::CheckSession { key, .. } => call.caller.may_read(key.as_str()),
        Op::GetTree { prefix } => call.caller.may_read(prefix),
    }
}

fn shown(outcome: Outcome) -> std::result::Result<Vec<Entry>, Vec<Refused>> {
    match outcome {
        Outcome::Shown(entries) => Ok(entries.iter().map(|(key, entry)| entry.to_wire(key.as_str())).collect()),
        Outcome::Failed(failed) => Err(failed),
        // Single writes, and what is refused before it comes here.
        Outcome::Done(_)
        | Outcome::RequestReused
        | Outcome::Forgotten { .. }
        | Outcome::Refused(_)
        | Outcome::Session(_) => Ok(Vec::new()),
    }
}

/// The answer's body, in Consul's order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    results: Option<Vec<Shown>>,
    errors: Option<Vec<TxnError>>,
    #[serde(flatten)]
    meta: Option<Meta>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(rename = "KV")]
    kv: Entry,
}

/// What Consul adds to the answer of a read; no client is known to look at it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    index: u64,
    last_contact: u64,
    known_leader: bool,
    consistency_level: &'static str,
    not_modified: bool,
    backend: u8,
    #[serde(rename = "ResultsFilteredByACLs")]
    results_filtered: bool,
}

impl From<Freshness> for Meta {
    fn from(freshness: Freshness) -> Self {
        Self {
            index: u64::from(freshness.known_leader),
            last_contact: freshness.last_contact_ms * 1_000_000,
            known_leader: freshness.known_leader,
            consistency_level: "",
            not_modified: false,
            backend: 0,
            results_filtered: false,
        }
    }
}

fn answer(call: &Call, result: std::result::Result<Vec<Entry>, Vec<Refused>>, read: Option<Freshness>) -> Answer {
    let status = if result.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::CONFLICT
    };
    let (results, errors) = match result {
        Ok(entries) => (Some(entries.into_iter().map(|kv| Shown { kv }).collect()), None),
        Err(refused) => {
            let errors = refused.into_iter().map(|(op_index, what)| TxnError { op_index, what });
            (None, Some(errors.collect()))
        }
    };
    let mut answer = Answer::json(
        &Body {
            results,
            errors,
            meta: read.map(Meta::from),
        },
        call.pretty(),
    )
    .status(status);
    if status == StatusCode::CONFLICT {
        answer = answer.with(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
    }
    match read {
        Some(freshness) => answer.freshness(freshness),
        None => answer,
    }
}

fn too_large(length: Option<u64>, limit: usize) -> String {
    let body = length.map_or_else(
        || "Request body".to_owned(),
        |length| format!("Request body({length} bytes)"),
    );
    format!(
        "{body} too large, max size: {limit} bytes. \
         See https://developer.hashicorp.com/docs/agent/config/config-files#txn_max_req_len."
    )
}
