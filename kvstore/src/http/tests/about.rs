//! What a server says about itself: `/v1/agent`, `/v1/acl`, `/metrics`.

use super::*;

#[tokio::test]
async fn who_this_server_is_is_said_in_objects() {
    let store = Fixture::new().await;
    // Answered once somebody leads.
    store.ask("GET", "/v1/kv/a", "").await;

    let about = store.ask("GET", "/v1/agent/self", "").await;
    let members = store.ask("GET", "/v1/agent/members", "").await;

    let about: serde_json::Value = serde_json::from_slice(&about.body).unwrap();
    for (name, value) in about.as_object().unwrap() {
        assert!(value.is_object() || value.is_null(), "{name}: {value}");
    }
    assert_eq!(about["Config"]["SessionTTLMin"], 10_000_000_000_u64);
    assert_eq!(about["Config"]["Server"], true);
    assert_eq!(about["DebugConfig"]["KVMaxValueSize"], 524_288);
    assert_eq!(about["DebugConfig"]["TxnMaxOps"], 128);
    assert_eq!(about["Stats"]["raft"]["state"], "Leader");
    let members: serde_json::Value = serde_json::from_slice(&members.body).unwrap();
    assert_eq!(members[0], about["Member"]);
    assert_eq!(members[0]["Addr"], "127.0.0.1");
    for nothing in ["/v1/agent/checks", "/v1/agent/services"] {
        assert_eq!(store.ask("GET", nothing, "").await.text(), "{}");
    }
    let version = store.ask("GET", "/v1/agent/version", "").await;
    assert!(version.text().contains(r#""HumanVersion":"0."#), "{}", version.text());
}

#[tokio::test]
async fn acls_are_off_and_say_so_and_any_token_will_do() {
    let store = Fixture::new().await;
    for (method, path, status) in [
        ("GET", "/v1/acl/tokens", 401),
        ("PUT", "/v1/acl/token", 401),
        ("DELETE", "/v1/acl/policy/x", 401),
        ("POST", "/v1/acl/login", 401),
        ("POST", "/v1/acl/token", 405),
        ("OPTIONS", "/v1/acl/token/x", 200),
        ("GET", "/v1/acl/nope", 404),
    ] {
        let got = store.ask(method, path, "").await;
        assert_eq!(got.status, status, "{method} {path}");
        assert_eq!(
            got.status == 401,
            got.text() == "ACL support disabled",
            "{}",
            got.text()
        );
    }
    for (name, value) in [
        ("x-consul-token", "unknown"),
        ("authorization", "Bearer unknown"),
        ("authorization", "bEARER "),
        ("authorization", "Basic dTpw"),
        ("authorization", "unknown"),
    ] {
        let mut put = request("PUT", "/v1/kv/a?token=unknown", value);
        put.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(store.ask_with(Door::Tcp, put).await.text(), "true", "{name}: {value}");
    }
}

#[tokio::test]
async fn what_is_not_ready_is_told_by_name() {
    let store = Fixture::new().await;
    store.ask("GET", "/v1/kv/a", "").await;
    assert_eq!(store.ask("GET", "/readyz", "").await.status, 200);

    store.doors.node.stopping().cancel();

    let got = store.ask("GET", "/readyz", "").await;
    assert_eq!(got.status, 503);
    assert_eq!(got.text(), "not ready: stopping: the server is stopping\n");
    assert_eq!(store.ask("GET", "/livez", "").await.status, 200);
}

#[tokio::test]
async fn the_metrics_are_those_that_the_documentation_explains() {
    let store = Fixture::new().await;
    store.ask("PUT", "/v1/kv/a", "1").await;
    store.ask("GET", "/v1/kv/a?index=1", "").await;
    store.ask("GET", "/nope", "").await;

    let got = store.ask("GET", "/metrics", "").await;

    assert_eq!(got.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let rows = include_str!("../../../../docs/metrics.md").lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`');
        // What agents and schedulers tell is their own to test.
        let others = ["keyway_agent_", "keyway_scheduler_", "marathon_"];
        others.iter().all(|other| !name.starts_with(other)).then_some(())?;
        Some(format!("{name} {}", cells.next()?))
    });
    let mut explained: Vec<String> = rows.collect();
    let types = got.text().lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut shown: Vec<String> = types.map(str::to_owned).collect();
    explained.sort();
    shown.sort();
    assert_eq!(shown, explained);
    for sample in [
        r#"keyway_http_requests_total{route="/v1/kv/{key}",method="PUT",code="200"} 1"#,
        r#"keyway_http_requests_total{route="none",method="GET",code="404"} 1"#,
        r#"keyway_http_request_duration_seconds_count{route="/v1/kv/{key}"} 1"#,
        "keyway_revision 2",
        "keyway_keys 1",
        "keyway_leader_known 1",
        "keyway_ready 1",
        "keyway_batches_total 1",
        "keyway_batched_writes_total 1",
        "keyway_blocking_queries 0",
        "keyway_held_states 0",
        "keyway_state_bytes 2",
        r#"keyway_requests_refused_total{reason="disk"} 0"#,
        r#"keyway_connections_refused_total{reason="client"} 0"#,
    ] {
        assert!(
            got.text().lines().any(|line| line == sample),
            "{sample}\n{}",
            got.text()
        );
    }
}
