//! `/v1/operator/autopilot/`: how the servers are, as each says itself when it is asked. Source: Consul 1.22.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use http::StatusCode;
use serde::Serialize;

use super::agent::{VERSION, node_id, node_name};
use super::answer::Answer;
use super::call::{Call, Result};
use super::operator::members;
use super::params::{check_datacenter, refuse_enterprise};
use crate::clock;
use crate::members::{Member, Members};
use crate::peer::ask::Standing;
use crate::read::ReadMode;

/// A server that has not heard of the leader for longer is not well, nor is one that does not answer in that time.
const CONTACT_MS: u64 = 1000;

/// Nor is one whose log is more entries behind the leader's.
const TRAILING: u64 = 1000;

/// What Go calls no time at all.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// How a server is.
struct Health<'a> {
    member: &'a Member,
    leads: bool,
    /// What it says of itself, if it answers.
    standing: Option<Standing>,
    healthy: bool,
}

impl Health<'_> {
    fn last_contact(&self) -> String {
        match &self.standing {
            Some(standing) if standing.contact_ms == 0 => "0s".to_owned(),
            Some(standing) => format!("{}ms", standing.contact_ms),
            // It is longer than that.
            None => format!("{CONTACT_MS}ms"),
        }
    }

    fn last_term(&self) -> u64 {
        self.standing.as_ref().map_or(0, |standing| standing.term)
    }

    fn last_index(&self) -> u64 {
        let said = self.standing.as_ref().map(|standing| standing.last_index);
        said.or(self.member.last_index).unwrap_or_default()
    }

    /// Since when it is as it is: nobody keeps more of that than when it was started.
    fn since(&self) -> String {
        let started = self
            .standing
            .as_ref()
            .map(|standing| clock::rfc3339(standing.started_ms));
        started.unwrap_or_else(|| NEVER.to_owned())
    }

    const fn status(&self) -> &'static str {
        if self.healthy { "alive" } else { "failed" }
    }
}

/// How all servers are.
async fn healths<'a>(call: &Call, members: &'a Members) -> Vec<Health<'a>> {
    let limit = clock::ms(CONTACT_MS);
    let asked = members
        .servers
        .iter()
        .map(|member| call.node.standing_of(member, limit));
    let standings = join_all(asked).await;
    let leader = members.leader;
    let leads = |member: &Member| leader == Some(member.id);
    let both = || members.servers.iter().zip(&standings);
    let newest = both().find(|(member, _)| leads(member));
    let newest = newest.and_then(|(_, standing)| Some(standing.as_ref()?.last_index));
    let of = |(member, standing): (&'a Member, &Option<Standing>)| Health {
        member,
        leads: leads(member),
        healthy: standing.as_ref().is_some_and(|standing| {
            let behind = newest.unwrap_or_default().saturating_sub(standing.last_index);
            standing.contact_ms <= CONTACT_MS && behind <= TRAILING
        }),
        standing: standing.clone(),
    };
    both().map(of).collect()
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
pub(super) async fn health(call: &Call) -> Result {
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
    let healths = healths(call, &members).await;
    let (healthy, failure_tolerance) = verdict(&healths);
    let servers = healths.into_iter().map(|health| Server {
        id: node_id(call.node.cluster_id(), health.member.id),
        name: node_name(health.member.id),
        address: health.member.node.raft_addr.clone(),
        serf_status: health.status(),
        version: VERSION,
        leader: health.leads,
        last_contact: health.last_contact(),
        last_term: health.last_term(),
        last_index: health.last_index(),
        healthy: health.healthy,
        voter: health.member.votes,
        stable_since: health.since(),
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

/// `GET autopilot/state`: the same, and more of each.
pub(super) async fn state(call: &Call) -> Result {
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
    let healths = healths(call, &members).await;
    let (healthy, failure_tolerance) = verdict(&healths);
    let id = |id: u64| node_id(call.node.cluster_id(), id);
    let voters = members.servers.iter().filter(|member| member.votes);
    let voters = voters.map(|member| id(member.id)).collect();
    let servers = healths.into_iter().map(|health| {
        let server = Server {
            id: id(health.member.id),
            name: node_name(health.member.id),
            address: health.member.node.raft_addr.clone(),
            node_status: health.status(),
            version: VERSION,
            last_contact: health.last_contact(),
            last_term: health.last_term(),
            last_index: health.last_index(),
            healthy: health.healthy,
            stable_since: health.since(),
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
pub(super) fn configuration(call: &Call) -> Result {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Shown {
        cleanup_dead_servers: bool,
        last_contact_threshold: String,
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
        last_contact_threshold: format!("{CONTACT_MS}ms"),
        max_trailing_logs: TRAILING,
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
