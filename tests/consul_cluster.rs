//! Three servers, asked as Consul's clients ask: the recordings through the leader and through a follower, and
//! what only several servers can show. The numbers are those of the assertions that clients rely on.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::consul::replay_all;
use crate::harness::{Home, Keyway, Server, alone, eventually, holds, test};
use crate::members::three;

/// The place of the leader among servers that all know who it is.
async fn leader(servers: &[Server]) -> anyhow::Result<usize> {
    eventually("a leader that all know", async || {
        let mut known = Vec::new();
        for server in servers {
            known.push(server.client().cluster_status().await.ok()?.leader?);
        }
        let leader = known.first()?;
        let place = usize::try_from(leader.checked_sub(1)?).ok()?;
        known.iter().all(|one| one == leader).then_some(place)
    })
    .await
}

/// Three servers, the leader first.
pub(crate) async fn leader_first(home: &Home) -> anyhow::Result<Vec<Server>> {
    let mut servers: Vec<Server> = three(home).await?.into();
    let leader = leader(&servers).await?;
    servers.swap(0, leader);
    Ok(servers)
}

async fn json_of(server: &Server, path: &str) -> anyhow::Result<(u16, Value)> {
    let reply = server.request("GET", path, &[]).await?;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let value = serde_json::from_slice(&reply.body).with_context(|| format!("{path}: {text}"))?;
    Ok((reply.status.as_u16(), value))
}

fn count(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

#[test]
fn answers_as_consul_through_the_leader_of_three() {
    alone(Duration::from_secs(240), async |home| {
        let servers = leader_first(home).await?;
        // What takes its time is the same at a server that is alone.
        replay_all(&servers[0], &["--fast"]).await
    });
}

#[test]
fn answers_as_consul_through_a_follower_of_three() {
    alone(Duration::from_secs(240), async |home| {
        let servers = leader_first(home).await?;
        replay_all(&servers[1], &[]).await
    });
}

/// 108, 110, and what is shown of the servers.
#[test]
fn every_server_shows_all_three_and_which_one_is_not_well() {
    test(async |home| {
        let mut servers = leader_first(home).await?;
        let (_, raft) = json_of(&servers[0], "/v1/status/leader").await?;
        assert_eq!(raft, servers[0].raft.as_str());
        for server in &servers {
            assert_eq!(json_of(server, "/v1/status/leader").await?.1, raft);
            assert_eq!(count(&json_of(server, "/v1/status/peers").await?.1), 3);
            for path in [
                "agent/members",
                "catalog/nodes",
                "catalog/service/consul",
                "health/service/consul",
            ] {
                assert_eq!(count(&json_of(server, &format!("/v1/{path}")).await?.1), 3, "{path}");
            }
            let (status, health) = json_of(server, "/v1/operator/autopilot/health").await?;
            assert_eq!((status, &health["FailureTolerance"]), (200, &json!(1)), "{health}");
            let leaders = health["Servers"].as_array().into_iter().flatten();
            let leaders = leaders.filter(|one| one["Leader"] == true).map(|one| &one["Address"]);
            assert_eq!(leaders.collect::<Vec<_>>(), [&raft]);
        }
        let peers = Keyway::consul(home)?.env("CONSUL_HTTP_ADDR", &servers[1].address.to_string());
        let peers = peers.run(&["operator", "raft", "list-peers"]).await?.expect(0)?.text();
        assert_eq!(
            (peers.lines().count(), peers.matches("  follower  true   3").count()),
            (4, 2),
            "{peers}"
        );

        // Each says how far its log is, whoever is asked.
        let (_, raft) = json_of(&servers[1], "/v1/operator/raft/configuration").await?;
        let indexes = raft["Servers"].as_array().into_iter().flatten();
        assert!(indexes.clone().all(|one| one["LastIndex"].as_u64() > Some(0)), "{raft}");

        let mut lost = servers.remove(2);
        lost.program.kill().await?;

        for server in &servers {
            let (status, health) = json_of(server, "/v1/operator/autopilot/health").await?;
            assert_eq!((status, &health["FailureTolerance"]), (429, &json!(0)), "{health}");
            let unwell = health["Servers"].as_array().into_iter().flatten();
            let unwell = unwell.filter(|one| one["Healthy"] == false).map(|one| &one["Address"]);
            assert_eq!(unwell.collect::<Vec<_>>(), [&json!(lost.raft)]);
            let (status, state) = json_of(server, "/v1/operator/autopilot/state").await?;
            assert_eq!((status, &state["Healthy"]), (200, &json!(false)));
        }
        Ok(())
    });
}

/// 68, 69, 108.
#[test]
fn without_a_majority_reads_say_that_there_is_no_leader_and_stale_ones_are_answered() {
    test(async |home| {
        let mut servers = leader_first(home).await?;
        servers[1].put("a", "1").await?;
        let mut last = servers.pop().context("three")?;
        // A majority has it; this one too?
        holds("the last server has it", async || {
            let found = last.request("GET", "/v1/kv/a?stale", &[]).await;
            found.is_ok_and(|found| found.status == 200)
        })
        .await?;
        for server in &mut servers {
            server.program.kill().await?;
        }

        // Our own client would ask again.
        let address = last.address.to_string();
        let consul = async |arguments: &[&str]| -> anyhow::Result<(String, String)> {
            let command = Keyway::consul(home)?.env("CONSUL_HTTP_ADDR", &address);
            let said = command.run(arguments).await?;
            Ok((said.text(), said.err))
        };
        let none = "Unexpected response code: 500 (No cluster leader)\n";
        let read = consul(&["kv", "get", "a"]).await?;
        assert_eq!(read.1, format!("Error querying Consul agent: {none}"));
        holds("it knows that nobody leads", async || {
            let found = json_of(&last, "/v1/status/leader").await;
            found.is_ok_and(|(status, leader)| status == 200 && leader == "")
        })
        .await?;
        let stale = async || last.request("GET", "/v1/kv/a?stale", &[]).await;
        let one = stale().await?;
        assert_eq!(
            (one.status.as_u16(), one.header("x-consul-knownleader")),
            (200, Some("false"))
        );
        let contact = |reply: &kvapi::client::Reply| -> u64 {
            let text = reply.header("x-consul-lastcontact").unwrap_or_default();
            text.parse().unwrap_or_default()
        };
        let first = contact(&one);
        holds("it grows", async || {
            stale().await.is_ok_and(|two| contact(&two) > first)
        })
        .await?;
        let peers = consul(&["operator", "raft", "list-peers"]).await?;
        let why = format!("Error getting peers: Failed to retrieve raft configuration: {none}");
        assert_eq!(peers, (String::new(), why));
        let peers = consul(&["operator", "raft", "list-peers", "-stale"]).await?;
        assert_eq!((peers.0.lines().count(), peers.1.as_str()), (4, ""), "{peers:?}");
        assert_eq!(count(&json_of(&last, "/v1/status/peers").await?.1), 3);
        last.stop().await?;
        Ok(())
    });
}

/// What Consul's routes change about the servers, asked of a follower.
#[test]
fn a_follower_has_another_lead_and_a_server_removed_which_wakes_who_waits_for_the_catalog() {
    test(async |home| {
        let mut servers = leader_first(home).await?;
        let (_, raft) = json_of(&servers[1], "/v1/operator/raft/configuration").await?;
        let id = |server: &Server| {
            let all = raft["Servers"].as_array().into_iter().flatten();
            let found = all
                .filter(|one| one["Address"] == server.raft.as_str())
                .map(|one| &one["ID"]);
            found.filter_map(Value::as_str).next().unwrap_or_default().to_owned()
        };
        let ids = [id(&servers[0]), id(&servers[1]), id(&servers[2])];

        let path = format!("/v1/operator/raft/transfer-leader?id={}", ids[2]);
        let transferred = servers[1].request("POST", &path, &[]).await?;
        assert_eq!(
            (transferred.status.as_u16(), &*transferred.body),
            (200, &br#"{"Success":true}"#[..])
        );
        for server in &servers {
            let knows = async || {
                let leader = json_of(server, "/v1/status/leader").await;
                leader.is_ok_and(|(_, leader)| leader == servers[2].raft.as_str())
            };
            holds("all know who leads now", knows).await?;
        }

        let index = servers[1].request("GET", "/v1/catalog/nodes", &[]).await?;
        let index = index.header("x-consul-index").context("no index")?.to_owned();
        let waits = async {
            let path = format!("/v1/catalog/nodes?index={index}&wait=60s");
            json_of(&servers[1], &path).await
        };
        let removes = async {
            let path = format!("/v1/operator/raft/peer?id={}", ids[0]);
            servers[1].request("DELETE", &path, &[]).await
        };
        let (nodes, removed) = tokio::join!(waits, removes);
        assert_eq!(removed?.status.as_u16(), 200);
        assert!(nodes.is_ok_and(|(status, _)| status == 200));
        holds("two are left", async || {
            let peers = json_of(&servers[1], "/v1/catalog/nodes").await;
            peers.is_ok_and(|(_, nodes)| count(&nodes) == 2)
        })
        .await?;
        let exit = servers[0].program.exit().await?;
        assert_ne!(exit, crate::harness::Exit::Code(0), "a server that was removed goes on");
        Ok(())
    });
}

/// What Consul does not do: the session of a server that dies lives on with its lock.
#[test]
fn a_server_that_dies_takes_no_session_with_it() {
    test(async |home| {
        let mut servers = leader_first(home).await?;
        let created = servers[2].request("PUT", "/v1/session/create", &[]).await?;
        let created: Value = serde_json::from_slice(&created.body)?;
        let id = created["ID"].as_str().unwrap_or_default().to_owned();
        let acquired = servers[2]
            .request("PUT", &format!("/v1/kv/lock?acquire={id}"), &[])
            .await?;
        assert_eq!(&*acquired.body, b"true");

        servers[2].program.kill().await?;

        for server in &servers[..2] {
            let held = server.client().get("lock", Default::default()).await?.value;
            assert_eq!(held.and_then(|entry| entry.session).as_ref(), Some(&id));
            let other = server.request("PUT", "/v1/kv/lock?acquire=x", &[]).await?;
            assert_eq!(
                (other.status.as_u16(), &*other.body),
                (500, &b"invalid session \"x\""[..])
            );
            let renewed = server.request("PUT", &format!("/v1/session/renew/{id}"), &[]).await?;
            assert_eq!(renewed.status.as_u16(), 200);
        }
        Ok(())
    });
}
