//! `/v1/operator/`: the servers of the cluster as Raft has them, and how they are. Source: Consul 1.22.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde::Serialize;

use super::agent::{node_id, node_name};
use super::answer::Answer;
use super::autopilot;
use super::blocking::mode;
use super::call::{Call, Result};
use super::error::Error;
use super::family::{Asked, Family};
use super::golang::quote;
use super::params::{Consistency, ReadParams, check_datacenter, refuse_enterprise};
use crate::cluster::ChangeError;
use crate::members::{Member, Members};

const READ: &str = "OPTIONS,GET";

/// All of them, and the methods of each.
pub(super) const PATHS: Family = Family {
    begin: "/v1/operator/",
    paths: &[
        ("autopilot/configuration", READ),
        ("autopilot/health", READ),
        ("autopilot/state", READ),
        ("raft/configuration", READ),
        ("raft/peer", "OPTIONS,DELETE"),
        ("raft/transfer-leader", "OPTIONS,POST"),
    ],
};

pub(super) async fn handle(asked: Asked<'_>, method: &Method, call: &Call) -> Result {
    match (asked.name, method) {
        ("raft/configuration", _) => configuration(call).await,
        ("raft/peer", _) => remove(call).await,
        ("raft/transfer-leader", _) => transfer(call).await,
        ("autopilot/health", _) => autopilot::health(call).await,
        ("autopilot/state", _) => autopilot::state(call).await,
        _ => autopilot::configuration(call),
    }
}

/// What is checked first of every one. The servers, as fresh as it is asked for.
pub(super) async fn members(call: &Call) -> Result<Members> {
    let params = ReadParams::parse(&call.query, &call.headers)?;
    refuse_enterprise(&call.query, &call.headers)?;
    check_datacenter(&call.query)?;
    if params.consistency == Consistency::Linearizable {
        drop(call.node.read(mode(params.consistency)).await?);
    }
    Ok(call.node.members())
}

/// How long a server has to say how it stands.
const STANDING: Duration = Duration::from_secs(1);

/// The versions of Raft's protocol are Consul's: clients compare them with what they need.
const RAFT_PROTOCOL: &str = "3";

/// `GET raft/configuration`: who votes, who leads.
async fn configuration(call: &Call) -> Result {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown {
        servers: Vec<Server>,
        index: u64,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Server {
        #[serde(rename = "ID")]
        id: String,
        node: String,
        address: String,
        leader: bool,
        protocol_version: &'static str,
        voter: bool,
        last_index: u64,
    }
    let members = members(call).await?;
    // The leader knows how far the others are; another server asks them.
    let last_index = async |member: &Member| match member.last_index {
        Some(index) => index,
        None => {
            let standing = call.node.standing_of(member, STANDING).await;
            standing.map_or(0, |standing| standing.last_index)
        }
    };
    let indexes = join_all(members.servers.iter().map(last_index)).await;
    let servers = members.servers.iter().zip(indexes).map(|(member, last_index)| Server {
        id: node_id(call.node.cluster_id(), member.id),
        node: node_name(member.id),
        address: member.node.raft_addr.clone(),
        leader: members.leader == Some(member.id),
        protocol_version: RAFT_PROTOCOL,
        voter: member.votes,
        last_index,
    });
    let shown = Shown {
        servers: servers.collect(),
        index: members.index,
    };
    Ok(Answer::json(&shown, call.pretty()))
}

/// The server with an id as it is shown, or with a number, or the answer that there is none.
fn with_id<'a>(call: &Call, members: &'a Members, id: &str) -> Result<&'a Member> {
    let number = id.parse().ok();
    let is_it = |member: &&Member| number == Some(member.id) || node_id(call.node.cluster_id(), member.id) == id;
    let found = members.servers.iter().find(is_it);
    found.ok_or_else(|| Error::internal(format!("id {} was not found in the Raft configuration", quote(id))))
}

/// `DELETE raft/peer`: takes a server out of the cluster.
async fn remove(call: &Call) -> Result {
    let (id, address) = (call.query.filled("id"), call.query.filled("address"));
    if id.is_none() && address.is_none() {
        return Err(Error::bad(
            "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        ));
    }
    if id.is_some() && address.is_some() {
        return Err(Error::bad("Must specify only one of ?id or ?address"));
    }
    call.caller.may_change_servers()?;
    let members = members(call).await?;
    let member = match (id, address) {
        (Some(id), _) => with_id(call, &members, &id)?,
        (None, address) => {
            let address = address.unwrap_or_default();
            let is_it = |member: &&Member| member.node.raft_addr == address;
            members.servers.iter().find(is_it).ok_or_else(|| {
                let address = quote(&*address);
                Error::internal(format!("address {address} was not found in the Raft configuration"))
            })?
        }
    };
    call.node.remove_server(member.id).await.map_err(refused)?;
    Ok(Answer::empty(StatusCode::OK))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Transferred {
    success: bool,
}

/// `POST raft/transfer-leader`: another server is to lead; with `id` that one.
async fn transfer(call: &Call) -> Result {
    call.caller.may_change_servers()?;
    let members = members(call).await?;
    let to = match call.query.filled("id") {
        Some(id) => Some(with_id(call, &members, &id)?.id),
        None => None,
    };
    call.node.transfer_leader(to).await.map_err(refused)?;
    Ok(Answer::json(&Transferred { success: true }, call.pretty()))
}

/// To Consul's clients what cannot be done is a 500 with the reason.
fn refused(error: ChangeError) -> Error {
    match error {
        ChangeError::Refused(reason) => Error::internal(reason),
        error => error.into(),
    }
}
