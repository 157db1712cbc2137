//! `/v1/operator/`: the servers of the cluster as Raft has them, and how they are. Source: Consul 1.22.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::Serialize;

use super::agent::{VERSION, node_id, node_name};
use super::answer::Answer;
use super::blocking::mode;
use super::call::{Call, Result};
use super::error::Error;
use super::family::{Asked, Family};
use super::golang::quote;
use super::params::{Consistency, ReadParams, check_datacenter, refuse_enterprise};
use crate::clock;
use crate::cluster::ChangeError;
use crate::members::{Member, Members};
use crate::read::ReadMode;

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
        ("autopilot/health", _) => health(call).await,
        ("autopilot/state", _) => state(call).await,
        _ => autopilot(call),
    }
}

/// What is checked first of every one. The servers, as fresh as it is asked for.
async fn members(call: &Call) -> Result<Members> {
    let params = ReadParams::parse(&call.query, &call.headers)?;
    refuse_enterprise(&call.query, &call.headers)?;
    check_datacenter(&call.query)?;
    if params.consistency == Consistency::Linearizable {
        drop(call.node.read(mode(params.consistency)).await?);
    }
    Ok(call.node.members())
}

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
    let servers = members.servers.iter().map(|member| Server {
        id: node_id(call.node.cluster_id(), member.id),
        node: node_name(member.id),
        address: member.node.raft_addr.clone(),
        leader: members.leader == Some(member.id),
        protocol_version: RAFT_PROTOCOL,
        voter: member.votes,
        last_index: member.last_index.unwrap_or_default(),
    });
    let shown = Shown {
        servers: servers.collect(),
        index: members.index,
    };
    Ok(Answer::json(&shown, call.pretty()))
}

/// The server with an id as it is shown, or the answer that there is none.
fn with_id<'a>(call: &Call, members: &'a Members, id: &str) -> Result<&'a Member> {
    let is_it = |member: &&Member| node_id(call.node.cluster_id(), member.id) == id;
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

/// How a server is.
struct Health<'a> {
    member: &'a Member,
    leads: bool,
    healthy: bool,
    since: String,
}

/// How all servers are, as the leader sees it.
fn healths<'a>(call: &Call, members: &'a Members) -> Vec<Health<'a>> {
    let me = call.node.status().node_id;
    let of = |member: &'a Member| Health {
        member,
        leads: members.leader == Some(member.id),
        healthy: member.id == me,
        since: clock::rfc3339(call.node.started_ms()),
    };
    members.servers.iter().map(of).collect()
}

/// Whether all are well, and how many voters more may be lost.
fn verdict(healths: &[Health<'_>]) -> (bool, usize) {
    let voters = healths.iter().filter(|health| health.member.votes);
    let (voters, well) = voters.fold((0, 0), |(all, well), health| {
        (all + 1, well + usize::from(health.healthy))
    });
    let majority = voters / 2 + 1;
    (
        healths.iter().all(|health| health.healthy),
        usize::saturating_sub(well, majority),
    )
}

/// `GET autopilot/health`: 429 if a server is not well.
async fn health(call: &Call) -> Result {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown {
        healthy: bool,
        failure_tolerance: usize,
        servers: Vec<Server>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Server {
        #[serde(rename = "ID")]
        id: String,
        name: String,
        address: String,
        serf_status: &'static str,
        version: &'static str,
        leader: bool,
        last_contact: String,
        last_term: u64,
        last_index: u64,
        healthy: bool,
        voter: bool,
        stable_since: String,
    }
    drop(call.node.read(ReadMode::Linearizable).await?);
    let members = members(call).await?;
    let healths = healths(call, &members);
    let (healthy, failure_tolerance) = verdict(&healths);
    let servers = healths.into_iter().map(|health| Server {
        id: node_id(call.node.cluster_id(), health.member.id),
        name: node_name(health.member.id),
        address: health.member.node.raft_addr.clone(),
        serf_status: status_word(health.healthy),
        version: VERSION,
        leader: health.leads,
        last_contact: "0s".to_owned(),
        last_term: members.term,
        last_index: health.member.last_index.unwrap_or_default(),
        healthy: health.healthy,
        voter: health.member.votes,
        stable_since: health.since,
    });
    let shown = Shown {
        healthy,
        failure_tolerance,
        servers: servers.collect(),
    };
    let status = if healthy {
        StatusCode::OK
    } else {
        StatusCode::TOO_MANY_REQUESTS
    };
    Ok(Answer::json(&shown, call.pretty()).status(status))
}

const fn status_word(healthy: bool) -> &'static str {
    if healthy { "alive" } else { "failed" }
}

/// `GET autopilot/state`: the same, and more of each.
async fn state(call: &Call) -> Result {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown {
        healthy: bool,
        failure_tolerance: usize,
        optimistic_failure_tolerance: usize,
        servers: BTreeMap<String, Server>,
        leader: String,
        voters: Vec<String>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Server {
        #[serde(rename = "ID")]
        id: String,
        name: String,
        address: String,
        node_status: &'static str,
        version: &'static str,
        last_contact: String,
        last_term: u64,
        last_index: u64,
        healthy: bool,
        stable_since: String,
        read_replica: bool,
        status: &'static str,
        meta: BTreeMap<String, String>,
        node_type: &'static str,
    }
    drop(call.node.read(ReadMode::Linearizable).await?);
    let members = members(call).await?;
    let healths = healths(call, &members);
    let (healthy, failure_tolerance) = verdict(&healths);
    let id = |id: u64| node_id(call.node.cluster_id(), id);
    let voters = members.servers.iter().filter(|member| member.votes);
    let voters = voters.map(|member| id(member.id)).collect();
    let servers = healths.into_iter().map(|health| {
        let server = Server {
            id: id(health.member.id),
            name: node_name(health.member.id),
            address: health.member.node.raft_addr.clone(),
            node_status: status_word(health.healthy),
            version: VERSION,
            last_contact: "0s".to_owned(),
            last_term: members.term,
            last_index: health.member.last_index.unwrap_or_default(),
            healthy: health.healthy,
            stable_since: health.since,
            read_replica: false,
            status: match (health.leads, health.member.votes) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "non-voter",
            },
            meta: BTreeMap::new(),
            node_type: "voter",
        };
        (server.id.clone(), server)
    });
    let shown = Shown {
        healthy,
        failure_tolerance,
        optimistic_failure_tolerance: failure_tolerance,
        servers: servers.collect(),
        leader: members.leader.map(id).unwrap_or_default(),
        voters,
    };
    Ok(Answer::json(&shown, call.pretty()))
}

/// `GET autopilot/configuration`: what is done here by itself about servers that are not well, which is
/// nothing. It cannot be changed.
fn autopilot(call: &Call) -> Result {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown {
        cleanup_dead_servers: bool,
        last_contact_threshold: &'static str,
        max_trailing_logs: u64,
        min_quorum: u64,
        server_stabilization_time: &'static str,
        redundancy_zone_tag: &'static str,
        disable_upgrade_migration: bool,
        upgrade_version_tag: &'static str,
        create_index: u64,
        modify_index: u64,
    }
    refuse_enterprise(&call.query, &call.headers)?;
    check_datacenter(&call.query)?;
    let shown = Shown {
        cleanup_dead_servers: false,
        last_contact_threshold: "1s",
        max_trailing_logs: 30_000,
        min_quorum: 0,
        server_stabilization_time: "0s",
        redundancy_zone_tag: "",
        disable_upgrade_migration: true,
        upgrade_version_tag: "",
        create_index: 0,
        modify_index: 0,
    };
    Ok(Answer::json(&shown, call.pretty()))
}
