//! `/v1/catalog/` and `/v1/health/`: as much as clients need that look there before they begin. There is
//! one service, the servers themselves under Consul's name for them; nothing else can be registered.
//!
//! All of it changes when the servers do, and a blocking query waits for that and for nothing else.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::Serialize;

use super::agent::{node_id, node_name};
use super::answer::Answer;
use super::blocking::read_members;
use super::call::{Call, Result};
use super::error::Error;
use super::family::{Asked, Family};
use super::params::{Consistency, DATACENTER, ReadParams, check_datacenter, refuse_enterprise};
use crate::config::socket_addr;
use crate::members::{Member, Members};

const READ: &str = "OPTIONS,GET";

/// All of the catalog, and the methods of each.
pub(super) const CATALOG: Family = Family {
    begin: "/v1/catalog/",
    paths: &[
        ("datacenters", READ),
        ("nodes", READ),
        ("node/", READ),
        ("services", READ),
        ("service/", READ),
    ],
};

/// All about health, and the methods of each.
pub(super) const HEALTH: Family = Family {
    begin: "/v1/health/",
    paths: &[("service/", READ), ("node/", READ), ("checks/", READ), ("state/", READ)],
};

/// What Consul calls its own servers.
const SERVICE: &str = "consul";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    datacenter: &'static str,
    tagged_addresses: BTreeMap<&'static str, String>,
    meta: BTreeMap<&'static str, String>,
    create_index: u64,
    modify_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: &'static str,
    service: &'static str,
    tags: [&'static str; 0],
    address: &'static str,
    meta: BTreeMap<&'static str, String>,
    port: u16,
    enable_tag_override: bool,
    create_index: u64,
    modify_index: u64,
}

/// A service where it runs, in one object.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Placed {
    #[serde(flatten)]
    node: Node,
    #[serde(rename = "ServiceID")]
    service_id: &'static str,
    service_name: &'static str,
    service_tags: [&'static str; 0],
    service_address: &'static str,
    service_meta: BTreeMap<&'static str, String>,
    service_port: u16,
    service_enable_tag_override: bool,
}

fn port(member: &Member) -> u16 {
    socket_addr(&member.node.raft_addr).map_or(0, |addr| addr.port())
}

fn node(call: &Call, members: &Members, member: &Member) -> Node {
    let raft_addr = &member.node.raft_addr;
    let address = socket_addr(raft_addr).map_or_else(|| raft_addr.clone(), |addr| addr.ip().to_string());
    Node {
        id: node_id(call.node.cluster_id(), member.id),
        node: node_name(member.id),
        tagged_addresses: BTreeMap::from([("lan", address.clone()), ("wan", address.clone())]),
        address,
        datacenter: DATACENTER,
        meta: BTreeMap::from([("http_addr", member.node.http_addr.clone())]),
        create_index: members.index,
        modify_index: members.index,
    }
}

fn service(members: &Members, member: &Member) -> Service {
    Service {
        id: SERVICE,
        service: SERVICE,
        tags: [],
        address: "",
        meta: BTreeMap::new(),
        port: port(member),
        enable_tag_override: false,
        create_index: members.index,
        modify_index: members.index,
    }
}

/// Checks what every read is checked for, waits as it asks, and answers what `pick` makes of the servers.
async fn shown<T: Serialize>(call: &Call, pick: impl FnOnce(&Members) -> T) -> Result {
    let params = ReadParams::parse(&call.query, &call.headers)?;
    refuse_enterprise(&call.query, &call.headers)?;
    if call.query.filled("filter").is_some() {
        return Err(Error::bad("filters are not known here; leave ?filter out"));
    }
    check_datacenter(&call.query)?;
    let members = read_members(&call.node, &params).await?;
    let consistency = match params.consistency {
        Consistency::Stale => "stale",
        Consistency::Linearizable if call.query.has("consistent") => "consistent",
        Consistency::Linearizable => "leader",
    };
    let answer = Answer::json(&pick(&members), call.pretty());
    let answer = answer.kv_meta(kvapi::Revision(members.index), call.freshness(params.consistency));
    Ok(answer.with(
        HeaderName::from_static("x-consul-effective-consistency"),
        HeaderValue::from_static(consistency),
    ))
}

/// The server with a name.
fn named<'a>(members: &'a Members, name: &str) -> Option<&'a Member> {
    let is_it = |member: &&Member| node_name(member.id).eq_ignore_ascii_case(name);
    members.servers.iter().find(is_it)
}

/// Where a service runs, under the tags that are asked for: the servers have none.
fn placed<'a>(call: &Call, members: &'a Members, service: &str) -> &'a [Member] {
    let is_it = service.eq_ignore_ascii_case(SERVICE) && call.query.filled("tag").is_none();
    if is_it { &members.servers } else { &[] }
}

/// A path of [`CATALOG`].
pub(super) async fn catalog(asked: Asked<'_>, call: &Call) -> Result {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Whole {
        node: Node,
        services: BTreeMap<&'static str, Service>,
    }
    let name = asked.rest();
    match asked.name {
        // Without an index: it is no read that can wait.
        "datacenters" => {
            refuse_enterprise(&call.query, &call.headers)?;
            check_datacenter(&call.query)?;
            Ok(Answer::json(&[DATACENTER], call.pretty()))
        }
        "nodes" => {
            let all = |members: &Members| -> Vec<Node> {
                let servers = members.servers.iter();
                servers.map(|member| node(call, members, member)).collect()
            };
            shown(call, all).await
        }
        "node/" if name.is_empty() => Err(Error::bad("Missing node name")),
        "node/" => {
            let whole = |members: &Members| {
                named(members, &name).map(|member| Whole {
                    node: node(call, members, member),
                    services: BTreeMap::from([(SERVICE, service(members, member))]),
                })
            };
            shown(call, whole).await
        }
        "services" => shown(call, |_| BTreeMap::from([(SERVICE, [""; 0])])).await,
        _ if name.is_empty() => Err(Error::bad("Missing service name")),
        _ => {
            let all = |members: &Members| -> Vec<Placed> {
                let place = |member: &Member| Placed {
                    node: node(call, members, member),
                    service_id: SERVICE,
                    service_name: SERVICE,
                    service_tags: [],
                    service_address: "",
                    service_meta: BTreeMap::new(),
                    service_port: port(member),
                    service_enable_tag_override: false,
                };
                placed(call, members, &name).iter().map(place).collect()
            };
            shown(call, all).await
        }
    }
}

/// A path of [`HEALTH`]. Nothing checks the health of anything, so there are no checks.
pub(super) async fn health(asked: Asked<'_>, call: &Call) -> Result {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Instance {
        node: Node,
        service: Service,
        checks: [(); 0],
    }
    let name = asked.rest();
    match asked.name {
        "service/" if name.is_empty() => Err(Error::bad("Missing service name")),
        "service/" => {
            let all = |members: &Members| -> Vec<Instance> {
                let instance = |member: &Member| Instance {
                    node: node(call, members, member),
                    service: service(members, member),
                    checks: [],
                };
                placed(call, members, &name).iter().map(instance).collect()
            };
            shown(call, all).await
        }
        "node/" if name.is_empty() => Err(Error::bad("Missing node name")),
        "checks/" if name.is_empty() => Err(Error::bad("Missing service name")),
        "state/" if name.is_empty() => Err(Error::bad("Missing check state")),
        _ => shown(call, |_| [(); 0]).await,
    }
}
