//! `/v1/agent/`: who this server is and who is with it, in Consul's form, for clients that look
//! before they begin. There is no catalog, so no services and no checks.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::answer::Answer;
use super::call::Call;
use super::params::DATACENTER;
use crate::config::socket_addr;
use crate::node::Status;
use crate::raft;

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds are not dated, so that equal sources give equal programs; Consul says the same of a
/// build that it knows no date of.
const BUILD_DATE: &str = "1970-01-01T00:00:01Z";

/// The shortest TTL of a session that is taken, in nanoseconds: ten seconds, as in
/// Consul. Patroni asks for it when its own is refused.
const SESSION_TTL_MIN: u64 = 10_000_000_000;

/// What Consul says of a member that answers.
const ALIVE: u8 = 1;

/// `GET /v1/agent/self`: this server. Every member of the object is an object or null, since
/// Consul's own client takes nothing else.
pub(super) fn this(call: &Call) -> Answer {
    let status = call.node.status();
    let me = status.peers.iter().find(|(id, _)| *id == status.node_id);
    let member = me.map(|(id, node)| Member::of(&status.cluster_id, *id, node));
    let view = call.node.view();
    let limits = call.node.limits();
    let stats = Stats {
        keyway: BTreeMap::from([
            ("cluster", status.cluster_id.clone()),
            ("keys", view.len().to_string()),
            ("revision", view.revision().to_string()),
        ]),
        raft: BTreeMap::from([
            ("last_log_index", call.node.log_index().to_string()),
            ("num_peers", status.peers.len().saturating_sub(1).to_string()),
            ("state", if status.is_leader { "Leader" } else { "Follower" }.to_owned()),
        ]),
        consul: BTreeMap::from([
            ("leader", status.is_leader.to_string()),
            ("leader_addr", leader_addr(&status)),
            ("server", true.to_string()),
        ]),
        build: BTreeMap::from([("version", VERSION.to_owned())]),
    };
    let about = About {
        config: Config {
            datacenter: DATACENTER,
            primary_datacenter: DATACENTER,
            node_name: node_name(status.node_id),
            node_id: node_id(&status.cluster_id, status.node_id),
            revision: "",
            server: true,
            version: VERSION,
            build_date: BUILD_DATE,
            session_ttl_min: SESSION_TTL_MIN,
        },
        debug_config: BTreeMap::from([
            ("KVMaxValueSize", limits.value_bytes),
            ("TxnMaxOps", limits.txn_ops),
            ("TxnMaxReqLen", limits.txn_body()),
        ]),
        coord: None,
        member,
        stats,
        meta: BTreeMap::from([("keyway-cluster", status.cluster_id)]),
    };
    Answer::json(&about, call.pretty())
}

/// `GET /v1/agent/members`: the servers of the cluster.
pub(super) fn members(call: &Call) -> Answer {
    let status = call.node.status();
    let members: Vec<Member> = status
        .peers
        .iter()
        .map(|(id, node)| Member::of(&status.cluster_id, *id, node))
        .collect();
    Answer::json(&members, call.pretty())
}

/// `GET /v1/agent/checks`, `GET /v1/agent/services`: none can be registered.
pub(super) fn nothing(call: &Call) -> Answer {
    Answer::json(&BTreeMap::<&str, &str>::new(), call.pretty())
}

/// `GET /v1/agent/version`.
pub(super) fn version(call: &Call) -> Answer {
    let version = Build {
        sha: "",
        build_date: BUILD_DATE,
        human_version: VERSION,
        fips: "",
    };
    Answer::json(&version, call.pretty())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct About {
    config: Config,
    debug_config: BTreeMap<&'static str, usize>,
    coord: Option<BTreeMap<&'static str, String>>,
    member: Option<Member>,
    stats: Stats,
    meta: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    datacenter: &'static str,
    primary_datacenter: &'static str,
    node_name: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    revision: &'static str,
    server: bool,
    version: &'static str,
    build_date: &'static str,
    #[serde(rename = "SessionTTLMin")]
    session_ttl_min: u64,
}

#[derive(Serialize)]
struct Build {
    #[serde(rename = "SHA")]
    sha: &'static str,
    #[serde(rename = "BuildDate")]
    build_date: &'static str,
    #[serde(rename = "HumanVersion")]
    human_version: &'static str,
    #[serde(rename = "FIPS")]
    fips: &'static str,
}

/// Texts by name, by subject: what Consul's `info` command shows.
#[derive(Serialize)]
struct Stats {
    keyway: BTreeMap<&'static str, String>,
    raft: BTreeMap<&'static str, String>,
    consul: BTreeMap<&'static str, String>,
    build: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    name: String,
    addr: String,
    port: u16,
    tags: BTreeMap<&'static str, String>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

impl Member {
    fn of(cluster: &str, id: u64, node: &raft::Node) -> Self {
        let (addr, port) = match socket_addr(&node.raft_addr) {
            Some(addr) => (addr.ip().to_string(), addr.port()),
            None => (node.raft_addr.clone(), 0),
        };
        Self {
            name: node_name(id),
            addr,
            port,
            tags: BTreeMap::from([
                ("build", VERSION.to_owned()),
                ("dc", DATACENTER.to_owned()),
                ("http_addr", node.http_addr.clone()),
                ("id", node_id(cluster, id)),
                ("port", port.to_string()),
                ("role", "consul".to_owned()),
                ("vsn", "2".to_owned()),
            ]),
            status: ALIVE,
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}

fn leader_addr(status: &Status) -> String {
    let leader = status.leader.as_ref();
    leader.map(|(_, node)| node.raft_addr.clone()).unwrap_or_default()
}

/// The name of a server, made of its number, which no other server of the cluster has.
pub(super) fn node_name(id: u64) -> String {
    format!("keyway-{id}")
}

/// The id of a server in the form of a UUID: the same for as long as it has its data folder.
pub(super) fn node_id(cluster: &str, id: u64) -> String {
    let digest = Sha256::digest(format!("{cluster}/{id}"));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // The version, 8, says that it is made by a rule of ours.
    format!(
        "{}-{}-8{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_the_same_id_for_ever_and_by_no_others() {
        let id = node_id("c", 1);

        assert_eq!(id, node_id("c", 1));
        assert!(id != node_id("c", 2) && id != node_id("d", 1));
        assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    }

    #[test]
    fn a_member_is_where_its_raft_address_says() {
        let node = raft::Node {
            raft_addr: "[::1]:8300".into(),
            http_addr: "http://127.0.0.1:8500".into(),
        };

        let member = Member::of("c", 3, &node);

        assert_eq!(
            (member.name.as_str(), member.addr.as_str(), member.port),
            ("keyway-3", "::1", 8300)
        );
    }
}
