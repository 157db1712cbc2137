//! `/v1/cluster`: who is in the cluster, and how a server comes to be.

use http::StatusCode;
use kvapi::cluster::{ClusterStatus, Join, ServerStatus};

use super::answer::Answer;
use super::body::{self, Incoming};
use super::call::{Call, Result};
use super::error::{Error, Kind};
use crate::cluster::ChangeError;
use crate::node::Status;
use crate::peer::ask::Applicant;
use crate::raft::Node;

/// The longest body of a `join`.
const MAX_BODY_BYTES: usize = 16 << 10;

/// `GET /v1/cluster`: as this server knows it. `?digest` adds a hash of all that is stored here, so that servers that
/// have applied the same entries can be compared.
pub(super) async fn get(call: &Call) -> Result {
    let mut digest = None;
    if call.query.has("digest") {
        call.caller.may_change_servers()?;
        let state = call.node.view();
        let hashed = tokio::task::spawn_blocking(move || state.digest()).await;
        digest = Some(hashed.map_err(|e| Error::internal(format!("the state was not read: {e}")))?);
    }
    let status = call.node.status();
    let leader = status.leader.as_ref().map(|(id, _)| *id);
    let Status {
        node_id,
        cluster_id,
        members,
        settled,
        term,
        applied,
        ..
    } = status;
    let servers = members.into_iter().map(|member| ServerStatus {
        id: member.id,
        raft_addr: member.node.raft_addr,
        http_addr: member.node.http_addr,
        voter: member.votes,
        leader: leader == Some(member.id),
        last_index: member.last_index,
    });
    let status = ClusterStatus {
        cluster_id,
        node_id,
        leader,
        term,
        log_index: call.node.log_index(),
        applied_index: applied,
        revision: call.node.view().revision().0,
        settled,
        digest,
        servers: servers.collect(),
    };
    Ok(Answer::json(&status, call.pretty()))
}

/// `PUT /v1/cluster/join`: a server wants to be a member. It is one, and learns, when this is answered; it votes
/// once it has caught up. 409 and the reason if it must not be one.
pub(super) async fn join(call: &Call, body: Incoming) -> Result {
    call.caller.may_change_servers()?;
    let too_large = |_| format!("Request body too large, max size: {MAX_BODY_BYTES} bytes");
    let body = body::read(body, &call.headers, MAX_BODY_BYTES, too_large).await?;
    let join: Join = serde_json::from_slice(&body)
        .map_err(|e| Error::bad(format!("the body does not say who wants to join: {e}")))?;
    if join.node_id == 0 {
        return Err(Error::bad("NodeID is 0; number the servers of a cluster from 1"));
    }
    let applicant = Applicant {
        id: join.node_id,
        instance: join.instance,
        cluster: join.cluster_id,
        node: Node {
            raft_addr: join.raft_addr,
            http_addr: join.http_addr,
        },
    };
    call.node.admit(applicant).await?;
    Ok(Answer::json(&true, call.pretty()))
}

/// `PUT /v1/cluster/join-cluster-of`: only a server that waits for it joins a cluster.
pub(super) fn is_member(call: &Call) -> Result {
    call.caller.may_change_servers()?;
    let text = format!(
        "this server is a member of cluster {} already; start it with an empty --data-dir and --await-join to have it join another",
        call.node.cluster_id()
    );
    Err(Error::new(StatusCode::CONFLICT, text))
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NoLeader => Self::no_leader(),
            ChangeError::Refused(reason) => Self::new(StatusCode::CONFLICT, reason),
            ChangeError::Unknown(_) => Self::internal(error.to_string()).kind(Kind::Unknown),
        }
    }
}
