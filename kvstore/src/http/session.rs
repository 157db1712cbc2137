//! `/v1/session/`: sessions, which hold keys. Source: Consul 1.22, as recorded in tests/golden.
//!
//! A session names the server that it was asked of, as in Consul, and does not depend on it: it ends
//! when it is destroyed or not renewed, never because a server does.

use std::sync::Arc;

use http::StatusCode;
use kvapi::Revision;
use serde::Serialize;

use super::agent::node_name;
use super::answer::Answer;
use super::blocking::read_sessions;
use super::body::{self, Incoming};
use super::call::{Call, Result};
use super::error::Error;
use super::params::{ReadParams, check_datacenter, refuse_enterprise};
use super::terms;
use crate::chance;
use crate::command::{Action, Outcome};
use crate::read::ReadMode;
use crate::state::sessions::{Behavior, Session, Sessions};

/// The longest body of a `create`.
const MAX_BODY_BYTES: usize = 64 << 10;

/// A session as Consul shows it, in its order.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "Node")]
    node: &'a str,
    #[serde(rename = "LockDelay")]
    lock_delay: i64,
    #[serde(rename = "Behavior")]
    behavior: &'static str,
    #[serde(rename = "TTL")]
    ttl: &'a str,
    #[serde(rename = "NodeChecks")]
    node_checks: Vec<&'a str>,
    /// There are no services, so none of their checks either.
    #[serde(rename = "ServiceChecks")]
    service_checks: Option<[&'a str; 0]>,
    #[serde(rename = "CreateIndex")]
    create_index: Revision,
    #[serde(rename = "ModifyIndex")]
    modify_index: Revision,
}

impl<'a> Shown<'a> {
    fn of((id, session): (&'a Arc<str>, &'a Arc<Session>)) -> Self {
        let terms = &session.terms;
        Self {
            id,
            name: &terms.name,
            node: &terms.node,
            lock_delay: terms.lock_delay,
            behavior: match terms.behavior {
                Behavior::Release => "release",
                Behavior::Delete => "delete",
            },
            ttl: &terms.ttl,
            node_checks: terms.node_checks.iter().map(|check| &**check).collect(),
            service_checks: None,
            create_index: session.create,
            modify_index: session.create,
        }
    }
}

/// `PUT create`: begins a session. Answers its id.
pub(super) async fn create(call: &Call, body: Incoming) -> Result {
    #[derive(Serialize)]
    struct Created {
        #[serde(rename = "ID")]
        id: Arc<str>,
    }
    refuse_enterprise(&call.query, &call.headers)?;
    let body = body::read(body, &call.headers, MAX_BODY_BYTES, too_large).await?;
    let status = call.node.status();
    let asked = terms::decode(&body, &node_name(status.node_id))?;
    check_datacenter(&call.query)?;
    let nodes: Vec<String> = status.peers.iter().map(|(id, _)| node_name(*id)).collect();
    let terms = asked.check(&nodes)?;
    call.caller.may_use_sessions()?;
    let id = chance::id().into();
    let reply = call.propose(Action::CreateSession { id, terms }).await?;
    match reply.outcome {
        Outcome::Session(id) => Ok(Answer::json(&Created { id }, call.pretty()).revision(reply.revision)),
        _ => Err(Error::internal("the answer is not one to a new session")),
    }
}

/// `PUT destroy/ID`: ends a session. `true`, also if it was not there.
pub(super) async fn destroy(call: &Call, path: &[u8]) -> Result {
    refuse_enterprise(&call.query, &call.headers)?;
    let id = id_in(path)?;
    check_datacenter(&call.query)?;
    call.caller.may_use_sessions()?;
    let why = || {
        let view = call.node.view();
        let (id, session) = view.sessions().get(&id)?;
        Some(format!("{} destroyed", session.label(id)))
    };
    let action = Action::EndSession { id: id.as_str().into() };
    let reply = call.propose_saying(action, why).await?;
    Ok(Answer::json(&true, call.pretty()).revision(reply.revision))
}

/// `PUT renew/ID`: gives a session its full time again. Nothing is written; 404 if it is over.
pub(super) async fn renew(call: &Call, path: &[u8]) -> Result {
    refuse_enterprise(&call.query, &call.headers)?;
    let text = id_in(path)?;
    check_datacenter(&call.query)?;
    call.caller.may_use_sessions()?;
    // Whoever was told that a session has ended must not be able to renew it.
    let state = call.node.read(ReadMode::Linearizable).await?;
    if let Some((id, session)) = state.sessions().get(&text)
        && call.node.renew_session(id).await?
    {
        return Ok(Answer::json(&[Shown::of((id, session))], call.pretty()));
    }
    let text = format!("Session id '{text}' not found");
    Err(Error::new(StatusCode::NOT_FOUND, text))
}

/// `GET info/ID`: one session, or none, in a list.
pub(super) async fn info(call: &Call, path: &[u8]) -> Result {
    let params = common(call)?;
    let text = id_in(path)?;
    shown(call, params, |sessions| {
        sessions.get(&text).map(Shown::of).into_iter().collect()
    })
    .await
}

/// `GET node/NODE`: the sessions that were asked of one server.
pub(super) async fn of_node(call: &Call, path: &[u8]) -> Result {
    let params = common(call)?;
    let node = String::from_utf8_lossy(path);
    if node.is_empty() {
        return Err(Error::bad("Missing node name"));
    }
    let is_its = |(_, session): &(&Arc<str>, &Arc<Session>)| session.terms.node.eq_ignore_ascii_case(&node);
    shown(call, params, |sessions| {
        sessions.iter().filter(is_its).map(Shown::of).collect()
    })
    .await
}

/// `GET list`: all sessions.
pub(super) async fn list(call: &Call) -> Result {
    let params = common(call)?;
    shown(call, params, |sessions| sessions.iter().map(Shown::of).collect()).await
}

/// Those that are picked. Each of these reads reports the newest change of any session.
async fn shown(call: &Call, params: ReadParams, pick: impl Fn(&Sessions) -> Vec<Shown<'_>>) -> Result {
    check_datacenter(&call.query)?;
    call.caller.may_use_sessions()?;
    let state = read_sessions(&call.node, &params).await?;
    let sessions = state.sessions();
    let answer = Answer::json(&pick(sessions), call.pretty());
    Ok(answer.kv_meta(sessions.index(), call.freshness(params.consistency)))
}

/// What is checked first of every read.
fn common(call: &Call) -> Result<ReadParams> {
    let params = ReadParams::parse(&call.query, &call.headers)?;
    refuse_enterprise(&call.query, &call.headers)?;
    Ok(params)
}

fn id_in(path: &[u8]) -> Result<String> {
    if path.is_empty() {
        return Err(Error::bad("Missing session"));
    }
    Ok(String::from_utf8_lossy(path).into_owned())
}

fn too_large(length: Option<u64>) -> String {
    let body = length.map_or_else(
        || "Request body".to_owned(),
        |length| format!("Request body({length} bytes)"),
    );
    format!("{body} too large, max size: {MAX_BODY_BYTES} bytes")
}
