//! What can be asked for: the paths, and the methods of each.

use http::{Method, StatusCode};

use super::Doors;
use super::answer::Answer;
use super::body::Incoming;
use super::call::Call;
use super::error::Error;
use super::family::Asked;
use super::{
    acl, agent, catalog, cluster, health, history, kv, metrics, openapi, operator, path, registration, restore,
    session, snapshot, status, txn, watch,
};

/// A path that is served, with what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/v1/kv/KEY`
    Kv(&'a [u8]),
    /// `/v1/txn`
    Txn,
    /// `/v1/history/KEY`
    History(&'a [u8]),
    /// `/v1/history`
    HistoryLimits,
    /// `/v1/watch`
    Watch,
    /// `/v1/session/create`
    SessionCreate,
    /// `/v1/session/destroy/ID`
    SessionDestroy(&'a [u8]),
    /// `/v1/session/renew/ID`
    SessionRenew(&'a [u8]),
    /// `/v1/session/info/ID`
    SessionInfo(&'a [u8]),
    /// `/v1/session/node/NODE`
    SessionNode(&'a [u8]),
    /// `/v1/session/list`
    SessionList,
    /// `/v1/snapshot`
    Snapshot,
    /// `/v1/cluster`
    Cluster,
    /// `/v1/cluster/join`
    ClusterJoin,
    /// `/v1/cluster/join-cluster-of`
    ClusterJoinOf,
    /// `/v1/status/leader`
    Leader,
    /// `/v1/status/peers`
    Peers,
    /// `/v1/agent/self`
    AgentSelf,
    /// `/v1/agent/members`
    AgentMembers,
    /// `/v1/agent/checks` and `/v1/agent/services`
    AgentEmpty,
    /// `/v1/agent/version`
    AgentVersion,
    /// A path of `/v1/acl/`.
    Acl(Asked<'a>),
    /// A path of `/v1/operator/`.
    Operator(Asked<'a>),
    /// A path of `/v1/catalog/`.
    Catalog(Asked<'a>),
    /// A path of `/v1/health/`.
    Health(Asked<'a>),
    /// A path of `/v1/agent/` by which services and checks are registered.
    Registration(Asked<'a>),
    /// `/livez`
    Livez,
    /// `/readyz`
    Readyz,
    /// `/metrics`
    Metrics,
    /// `/v1/openapi.json`
    OpenApi,
    /// `/`
    Root,
}

impl<'a> Route<'a> {
    /// The route of a decoded path.
    pub(super) fn of(path: &'a [u8]) -> Result<Self, Error> {
        if let Some(key) = path.strip_prefix(path::KV) {
            return Ok(Self::Kv(key));
        }
        if let Some(key) = path.strip_prefix(b"/v1/history/") {
            return Ok(Self::History(key));
        }
        if let Some(route) = Self::of_one_session(path) {
            return Ok(route);
        }
        Ok(match path {
            b"/v1/session/create" => Self::SessionCreate,
            b"/v1/session/list" => Self::SessionList,
            b"/v1/snapshot" => Self::Snapshot,
            b"/v1/txn" => Self::Txn,
            b"/v1/history" => Self::HistoryLimits,
            b"/v1/watch" => Self::Watch,
            b"/v1/cluster" => Self::Cluster,
            b"/v1/cluster/join" => Self::ClusterJoin,
            b"/v1/cluster/join-cluster-of" => Self::ClusterJoinOf,
            b"/v1/status/leader" => Self::Leader,
            b"/v1/status/peers" => Self::Peers,
            b"/v1/agent/self" => Self::AgentSelf,
            b"/v1/agent/members" => Self::AgentMembers,
            b"/v1/agent/checks" | b"/v1/agent/services" => Self::AgentEmpty,
            b"/v1/agent/version" => Self::AgentVersion,
            b"/v1/openapi.json" => Self::OpenApi,
            b"/livez" => Self::Livez,
            b"/readyz" => Self::Readyz,
            b"/metrics" => Self::Metrics,
            b"/" => Self::Root,
            path if path.starts_with(b"/v1/") => {
                let unknown = || not_found("Invalid URL path: not a recognized HTTP API endpoint\n");
                Self::of_a_family(path).ok_or_else(unknown)?
            }
            _ => {
                return Err(not_found(
                    "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n",
                ));
            }
        })
    }

    /// What is in a family's own list.
    fn of_a_family(path: &'a [u8]) -> Option<Self> {
        acl::PATHS
            .find(path)
            .map(Self::Acl)
            .or_else(|| operator::PATHS.find(path).map(Self::Operator))
            .or_else(|| catalog::CATALOG.find(path).map(Self::Catalog))
            .or_else(|| catalog::HEALTH.find(path).map(Self::Health))
            .or_else(|| registration::PATHS.find(path).map(Self::Registration))
    }

    /// What names a session, or a server, behind it.
    fn of_one_session(path: &'a [u8]) -> Option<Self> {
        let named = |begin: &[u8]| path.strip_prefix(begin);
        named(b"/v1/session/destroy/")
            .map(Self::SessionDestroy)
            .or_else(|| named(b"/v1/session/renew/").map(Self::SessionRenew))
            .or_else(|| named(b"/v1/session/info/").map(Self::SessionInfo))
            .or_else(|| named(b"/v1/session/node/").map(Self::SessionNode))
    }

    /// The methods it takes, as they stand in `Allow`.
    pub(super) const fn allow(self) -> &'static str {
        match self {
            Self::Kv(_) => "OPTIONS,GET,PUT,DELETE",
            Self::Txn
            | Self::ClusterJoin
            | Self::ClusterJoinOf
            | Self::SessionCreate
            | Self::SessionDestroy(_)
            | Self::SessionRenew(_) => "OPTIONS,PUT",
            Self::Watch => "OPTIONS,GET,POST",
            Self::HistoryLimits | Self::Snapshot => "OPTIONS,GET,PUT",
            Self::History(_) => "OPTIONS,GET",
            Self::Acl(asked)
            | Self::Operator(asked)
            | Self::Catalog(asked)
            | Self::Health(asked)
            | Self::Registration(asked) => asked.allow,
            Self::SessionInfo(_)
            | Self::SessionNode(_)
            | Self::SessionList
            | Self::Cluster
            | Self::Leader
            | Self::Peers
            | Self::AgentSelf
            | Self::AgentMembers
            | Self::AgentEmpty
            | Self::AgentVersion
            | Self::Livez
            | Self::Readyz
            | Self::Metrics
            | Self::OpenApi
            | Self::Root => "OPTIONS,GET",
        }
    }

    /// Whether its answers carry what all of Consul's carry: its own do, and a history, which may
    /// be as long and is compressed like them.
    pub(super) const fn is_consuls(self) -> bool {
        match self {
            Self::Kv(_)
            | Self::Txn
            | Self::SessionCreate
            | Self::SessionDestroy(_)
            | Self::SessionRenew(_)
            | Self::SessionInfo(_)
            | Self::SessionNode(_)
            | Self::SessionList
            | Self::Snapshot
            | Self::Leader
            | Self::Peers
            | Self::AgentSelf
            | Self::AgentMembers
            | Self::AgentEmpty
            | Self::AgentVersion
            | Self::History(_)
            | Self::Operator(_)
            | Self::Catalog(_)
            | Self::Health(_)
            | Self::Registration(_)
            | Self::Acl(_) => true,
            Self::HistoryLimits
            | Self::Watch
            | Self::Cluster
            | Self::ClusterJoin
            | Self::ClusterJoinOf
            | Self::Livez
            | Self::Readyz
            | Self::Metrics
            | Self::OpenApi
            | Self::Root => false,
        }
    }

    /// Its place in [`super::traffic::ROUTES`].
    pub(super) const fn number(self) -> usize {
        match self {
            Self::Kv(_) => 0,
            Self::Txn => 1,
            Self::Watch => 2,
            Self::Leader => 3,
            Self::Peers => 4,
            Self::AgentSelf => 5,
            Self::AgentMembers => 6,
            Self::AgentEmpty => 7,
            Self::AgentVersion => 8,
            Self::Acl(_) => 9,
            Self::Livez => 10,
            Self::Readyz => 11,
            Self::Metrics => 12,
            Self::Root => 13,
            Self::History(_) => 14,
            Self::HistoryLimits => 15,
            Self::OpenApi => 16,
            Self::SessionCreate => 17,
            Self::SessionDestroy(_) => 18,
            Self::SessionRenew(_) => 19,
            Self::SessionInfo(_) => 20,
            Self::SessionNode(_) => 21,
            Self::SessionList => 22,
            Self::Operator(_) => 23,
            Self::Catalog(_) => 24,
            Self::Health(_) => 25,
            Self::Registration(_) => 26,
            Self::Snapshot => 27,
            Self::Cluster => 28,
            Self::ClusterJoin => 29,
            Self::ClusterJoinOf => 30,
        }
    }

    pub(super) async fn handle(
        self,
        method: &Method,
        call: Call,
        body: Incoming,
        doors: &Doors,
    ) -> Result<Answer, Error> {
        match self {
            Self::Kv(key) if *method == Method::PUT => kv::put(&call, key, body).await,
            Self::Kv(key) if *method == Method::DELETE => kv::delete(&call, key).await,
            Self::Kv(key) => kv::get(&call, key).await,
            Self::Txn => txn::put(&call, body).await,
            Self::History(key) => history::get(&call, key).await,
            Self::HistoryLimits if *method == Method::PUT => history::put(&call, body).await,
            Self::HistoryLimits => history::limits(&call).await,
            Self::Watch if *method == Method::POST => watch::post(call, body, doors).await,
            Self::Watch => watch::get(call, doors).await,
            Self::SessionCreate => session::create(&call, body).await,
            Self::SessionDestroy(id) => session::destroy(&call, id).await,
            Self::SessionRenew(id) => session::renew(&call, id).await,
            Self::SessionInfo(id) => session::info(&call, id).await,
            Self::SessionNode(node) => session::of_node(&call, node).await,
            Self::SessionList => session::list(&call).await,
            Self::Snapshot if *method == Method::PUT => restore::put(&call, body, doors).await,
            Self::Snapshot => snapshot::get(&call, doors).await,
            Self::Cluster => cluster::get(&call).await,
            Self::ClusterJoin => cluster::join(&call, body).await,
            Self::ClusterJoinOf => cluster::is_member(&call),
            Self::Leader => Ok(status::leader(&call)),
            Self::Peers => Ok(status::peers(&call)),
            Self::AgentSelf => Ok(agent::this(&call)),
            Self::AgentMembers => Ok(agent::members(&call)),
            Self::AgentEmpty => Ok(agent::nothing(&call)),
            Self::AgentVersion => Ok(agent::version(&call)),
            Self::Acl(_) => Ok(acl::disabled()),
            Self::Operator(asked) => operator::handle(asked, method, &call).await,
            Self::Catalog(asked) => catalog::catalog(asked, &call).await,
            Self::Health(asked) => catalog::health(asked, &call).await,
            Self::Registration(asked) => registration::handle(asked),
            Self::Livez => Ok(health::livez()),
            Self::Readyz => Ok(health::readyz(&call)),
            Self::Metrics => Ok(metrics::get(&call, doors)),
            Self::OpenApi => Ok(openapi::get()),
            Self::Root => Ok(Answer::text(
                StatusCode::OK,
                "Consul Agent: UI disabled. To enable, set ui_config.enabled=true in the agent configuration and restart.",
            )),
        }
    }
}

fn not_found(text: &'static str) -> Error {
    Error::new(StatusCode::NOT_FOUND, text)
}

#[cfg(test)]
mod tests {
    use super::super::traffic;
    use super::*;

    #[test]
    fn every_route_is_counted_under_its_own_name() {
        for (number, name) in traffic::ROUTES.iter().enumerate() {
            let path = match *name {
                "/v1/acl" => "/v1/acl/tokens".to_owned(),
                "/v1/operator" => "/v1/operator/raft/peer".to_owned(),
                "/v1/catalog" => "/v1/catalog/nodes".to_owned(),
                "/v1/health" => "/v1/health/node/a".to_owned(),
                "/v1/agent/service" => "/v1/agent/check/register".to_owned(),
                name => ["{key}", "{session}", "{node}"]
                    .iter()
                    .fold(name.to_owned(), |path, part| path.replace(part, "a")),
            };
            // The last name is what is no route.
            match Route::of(path.as_bytes()) {
                Ok(route) => assert_eq!(route.number(), number, "{name}"),
                Err(_) => assert_eq!(number, traffic::ROUTES.len() - 1, "{name}"),
            }
        }
    }
}
