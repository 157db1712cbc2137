//! What is said of the servers of the cluster, and what is refused about them: `/v1/operator`, `/v1/catalog`,
//! `/v1/health`, and what clients register.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

fn parsed(got: &Got) -> Value {
    serde_json::from_slice(&got.body).unwrap_or_else(|e| panic!("{e}: {got:?}"))
}

impl Fixture {
    /// Where the only server is for others.
    async fn peer(&self) -> String {
        let peers = parsed(&self.ask("GET", "/v1/status/peers", "").await);
        peers[0].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn raft_knows_who_votes_and_leads() {
    let store = Fixture::new().await;
    store.ask("PUT", "/v1/kv/a", "1").await;
    let about = parsed(&store.ask("GET", "/v1/agent/self", "").await);

    for path in [
        "/v1/operator/raft/configuration",
        "/v1/operator/raft/configuration?stale",
    ] {
        let got = store.ask("GET", path, "").await;
        assert_eq!(got.status, 200, "{got:?}");
        let shown = parsed(&got);
        let [server] = shown["Servers"].as_array().unwrap().as_slice() else {
            panic!("{shown}")
        };
        assert_eq!(server["ID"], about["Config"]["NodeID"]);
        assert_eq!(server["Node"], "keyway-1");
        assert_eq!(server["Address"], store.peer().await);
        assert_eq!((&server["Leader"], &server["Voter"]), (&json!(true), &json!(true)));
        assert_eq!(server["ProtocolVersion"], "3");
        assert!(server["LastIndex"].as_u64().unwrap() >= 1, "{server}");
        assert!(shown["Index"].as_u64().unwrap() >= 1, "{shown}");
    }
}

#[tokio::test]
async fn the_servers_health_is_told_in_both_forms_and_nothing_is_done_by_itself() {
    let store = Fixture::new().await;

    let health = store.ask("GET", "/v1/operator/autopilot/health", "").await;
    let state = store.ask("GET", "/v1/operator/autopilot/state", "").await;
    let configuration = store.ask("GET", "/v1/operator/autopilot/configuration", "").await;

    assert_eq!((health.status, state.status, configuration.status), (200, 200, 200));
    let (health, state) = (parsed(&health), parsed(&state));
    for shown in [&health, &state] {
        assert_eq!(
            (&shown["Healthy"], &shown["FailureTolerance"]),
            (&json!(true), &json!(0))
        );
    }
    let server = &health["Servers"][0];
    let again = &state["Servers"][server["ID"].as_str().unwrap()];
    assert_eq!(
        (&server["SerfStatus"], &again["NodeStatus"]),
        (&json!("alive"), &json!("alive"))
    );
    assert_eq!(
        (&server["LastContact"], &again["Status"]),
        (&json!("0s"), &json!("leader"))
    );
    assert_eq!(
        (&state["Leader"], &state["Voters"]),
        (&server["ID"], &json!([server["ID"]]))
    );
    assert!(server["StableSince"].as_str().unwrap().starts_with("20"), "{server}");
    assert_eq!(parsed(&configuration)["CleanupDeadServers"], false);
    let put = store.ask("PUT", "/v1/operator/autopilot/configuration", "{}").await;
    assert_eq!((put.status, put.text()), (405, "method PUT not allowed"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_not_removed_and_nobody_else_leads() {
    let store = Fixture::new().await;
    let alone = format!("raft/peer?address={}", store.peer().await);
    let neither = "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove";
    let unknown = |what: &str| format!("{what} was not found in the Raft configuration");
    for (method, path, status, text) in [
        ("DELETE", "raft/peer", 400, neither.to_owned()),
        ("DELETE", "raft/peer?id=&address=", 400, neither.to_owned()),
        (
            "DELETE",
            "raft/peer?id=a&address=b",
            400,
            "Must specify only one of ?id or ?address".to_owned(),
        ),
        ("DELETE", "raft/peer?id=x", 500, unknown(r#"id "x""#)),
        ("DELETE", "raft/peer?address=h:1", 500, unknown(r#"address "h:1""#)),
        (
            "DELETE",
            "raft/peer?address=h:1&dc=no",
            500,
            "No path to datacenter".to_owned(),
        ),
        (
            "DELETE",
            &alone,
            500,
            "server 1 is the only one that votes, and cannot be removed".to_owned(),
        ),
        ("POST", "raft/transfer-leader", 500, "cannot find peer".to_owned()),
        ("POST", "raft/transfer-leader?id=x", 500, unknown(r#"id "x""#)),
        ("PUT", "raft/transfer-leader", 405, "method PUT not allowed".to_owned()),
    ] {
        let got = store.ask(method, &format!("/v1/operator/{path}"), "").await;
        assert_eq!((got.status, got.text()), (status, text.as_str()), "{method} {path}");
    }
    for (method, path) in [("DELETE", "peer?id=x"), ("POST", "transfer-leader")] {
        let request = request(method, &format!("/v1/operator/raft/{path}"), "");
        assert_eq!(store.ask_with(Door::AgentSocket, request).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn the_catalog_knows_the_servers_and_nothing_else() {
    let store = Fixture::new().await;
    let datacenters = store.ask("GET", "/v1/catalog/datacenters", "").await;
    assert_eq!(
        (datacenters.text(), datacenters.header(header::INDEX)),
        (r#"["dc1"]"#, "")
    );
    for (path, body) in [
        ("catalog/services", r#"{"consul":[]}"#),
        ("catalog/service/web", "[]"),
        ("catalog/service/consul?tag=x", "[]"),
        ("catalog/node/nobody", "null"),
        ("health/service/web?passing=1", "[]"),
        ("health/node/keyway-1", "[]"),
        ("health/checks/web", "[]"),
        ("health/state/passing", "[]"),
    ] {
        let got = store.ask("GET", &format!("/v1/{path}"), "").await;
        assert_eq!((got.status, got.text()), (200, body), "{path}");
        assert!(got.header(header::INDEX).parse::<u64>().unwrap() >= 1, "{path}");
        assert_eq!(got.header(header::KNOWN_LEADER), "true", "{path}");
    }
    let nodes = parsed(&store.ask("GET", "/v1/catalog/nodes", "").await);
    let node = parsed(&store.ask("GET", "/v1/catalog/node/KEYWAY-1", "").await);
    assert_eq!(
        (&nodes[0]["Node"], &nodes[0]["Address"]),
        (&json!("keyway-1"), &json!("127.0.0.1"))
    );
    assert_eq!(
        (&node["Node"], &node["Services"]["consul"]["ID"]),
        (&nodes[0], &json!("consul"))
    );
    let placed = parsed(&store.ask("GET", "/v1/catalog/service/consul", "").await);
    let healthy = parsed(&store.ask("GET", "/v1/health/service/consul?passing", "").await);
    assert_eq!(
        (&placed[0]["Node"], &placed[0]["ServiceName"]),
        (&json!("keyway-1"), &json!("consul"))
    );
    assert_eq!((&healthy[0]["Node"], &healthy[0]["Checks"]), (&nodes[0], &json!([])));

    for (path, consistency) in [("", "leader"), ("?stale", "stale"), ("?consistent", "consistent")] {
        let got = store.ask("GET", &format!("/v1/catalog/nodes{path}"), "").await;
        assert_eq!(got.header("x-consul-effective-consistency"), consistency);
    }
    for (path, status, text) in [
        ("catalog/nodes?wait=x", 400, "Invalid wait time"),
        ("catalog/nodes?dc=no", 500, "No path to datacenter"),
        (
            "catalog/nodes?filter=x",
            400,
            "filters are not known here; leave ?filter out",
        ),
        ("catalog/service/", 400, "Missing service name"),
        ("health/state/", 400, "Missing check state"),
    ] {
        let got = store.ask("GET", &format!("/v1/{path}"), "").await;
        assert_eq!((got.status, got.text()), (status, text), "{path}");
    }
}

#[tokio::test]
async fn who_waits_for_the_catalog_waits_the_whole_time_whatever_is_written() {
    let store = Fixture::new().await;
    let index = store
        .ask("GET", "/v1/health/service/web", "")
        .await
        .header(header::INDEX)
        .to_owned();
    for path in ["health/service/web?passing=1&", "catalog/services?", "catalog/nodes?"] {
        let path = format!("/v1/{path}index={index}&wait=300ms");
        let begun = Instant::now();

        let (waited, ()) = tokio::join!(store.ask("GET", &path, ""), async {
            for value in ["1", "2"] {
                store.ask("PUT", "/v1/kv/a", value).await;
            }
        });

        assert!(
            begun.elapsed() >= Duration::from_millis(300),
            "{path}: {:?}",
            begun.elapsed()
        );
        assert_eq!(
            (waited.status, waited.header(header::INDEX)),
            (200, index.as_str()),
            "{path}"
        );
    }
    assert_eq!(store.doors.node.traffic().blocked(), 0);
}

#[tokio::test]
async fn what_cannot_be_found_is_not_registered_either() {
    let store = Fixture::new().await;
    for path in ["service/register", "check/register"] {
        let got = store
            .ask("PUT", &format!("/v1/agent/{path}"), r#"{"Name":"web"}"#)
            .await;
        assert_eq!(got.status, 501);
        assert!(
            got.text().starts_with("there is no catalog of services here"),
            "{}",
            got.text()
        );
    }
    let service = r#"Unknown service ID "web". Ensure that the service ID is passed, not the service name."#;
    let check = r#"Unknown check ID "web". Ensure that the check ID is passed, not the check name."#;
    for (path, text) in [
        ("service/deregister/web", service),
        ("service/maintenance/web?enable=true", service),
        ("check/deregister/web", check),
        ("check/pass/web", check),
        ("check/warn/web", check),
        ("check/fail/web", check),
        ("check/update/web", check),
    ] {
        let got = store.ask("PUT", &format!("/v1/agent/{path}"), "").await;
        assert_eq!((got.status, got.text()), (404, text), "{path}");
    }
    assert_eq!(
        store.ask("GET", "/v1/agent/service/web", "").await.text(),
        "unknown service ID: web"
    );
}
