//! Servers that join and leave at run time, and that are one store to whoever asks any of them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvapi::cluster::ClusterStatus;
use kvapi::{Address, Client, Consistency};
use nix::sys::signal::Signal;

use crate::harness::{Exit, Home, Options, Server, eventually, test};

/// One more server of the cluster of another.
async fn join(home: &Home, number: u64, of: &Address) -> anyhow::Result<Server> {
    Server::with(home, joining(home, number, &of.to_string())).await
}

fn joining(home: &Home, number: u64, of: &str) -> Options {
    Options {
        data: Some(home.path(&format!("data-{number}"))),
        raft: Some(format!("127.0.0.1{number}:0")),
        join: Some((number.to_string(), of.to_owned())),
        ..Options::default()
    }
}

pub(crate) async fn three(home: &Home) -> anyhow::Result<[Server; 3]> {
    let first = Server::start(home).await?;
    let second = join(home, 2, &first.address).await?;
    let third = join(home, 3, &first.address).await?;
    let servers = [first, second, third];
    for server in &servers {
        all_vote(server, 3).await?;
    }
    Ok(servers)
}

async fn all_vote(server: &Server, count: usize) -> anyhow::Result<ClusterStatus> {
    eventually("all servers vote", async || {
        let status = server.client().cluster_status().await.ok()?;
        let voters = status.servers.iter().filter(|server| server.voter).count();
        let all = voters == count && status.servers.len() == count;
        (all && status.settled && status.leader.is_some()).then_some(status)
    })
    .await
}

fn client_of(servers: &[&Server]) -> Client {
    let addresses = servers.iter().map(|server| server.address.clone()).collect();
    Client::new(addresses, None, Duration::from_secs(10))
}

#[test]
fn what_is_written_at_one_server_is_read_at_every_other_at_once() {
    test(async |home| {
        let servers = three(home).await?;

        for round in 0..60 {
            let (writer, reader) = (&servers[round % 3], &servers[(round + 1) % 3]);
            let value = round.to_string();
            ensure!(writer.client().put("a", value.clone(), &Default::default()).await?);
            let read = reader.client().get("a", Consistency::Default).await?.value;
            let read = read.context("there is no a")?;
            ensure!(read.value == value, "{round}: {:?}", read.value);
        }
        Ok(())
    });
}

#[test]
fn the_loss_of_any_one_server_loses_nothing_and_all_three_come_back() {
    test(async |home| {
        let mut servers = three(home).await?;
        for lost in 0..3 {
            servers[lost].program.signal(Signal::SIGKILL)?;
            servers[lost].program.exit().await?;
            let rest: Vec<&Server> = servers
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != lost)
                .map(|(_, s)| s)
                .collect();
            let client = client_of(&rest);
            ensure!(client.put(&format!("k{lost}"), "v", &Default::default()).await?);
            for seen in 0..=lost {
                ensure!(
                    client
                        .get(&format!("k{seen}"), Consistency::Default)
                        .await?
                        .value
                        .is_some()
                );
            }
            let options = match lost {
                0 => Options::default(),
                _ => Options {
                    raft: None,
                    ..joining(home, lost as u64 + 1, &rest[0].address.to_string())
                },
            };
            servers[lost].restart_with(home, options).await?;
            for server in &servers {
                all_vote(server, 3).await?;
            }
            let back = servers[lost]
                .client()
                .get(&format!("k{lost}"), Consistency::Default)
                .await?;
            ensure!(back.value.is_some());
        }
        Ok(())
    });
}

#[test]
fn a_stopped_leader_hands_over_and_no_write_fails_meanwhile() {
    test(async |home| {
        let mut servers = three(home).await?;
        let client = client_of(&[&servers[1], &servers[2]]);
        let writes = tokio::spawn(async move {
            let mut count = 0_u64;
            loop {
                client.put("count", count.to_string(), &Default::default()).await?;
                count += 1;
                let status = client.cluster_status().await?;
                if status.leader.is_some_and(|leader| leader != 1) && count > 50 {
                    return Ok::<_, kvapi::Error>(count);
                }
            }
        });

        let exit = servers[0].stop().await?;

        ensure!(exit == Exit::Code(0), "{exit:?}");
        let count = writes.await??;
        let read = servers[1].client().get("count", Consistency::Default).await?.value;
        ensure!(read.is_some_and(|entry| entry.value == (count - 1).to_string()));
        Ok(())
    });
}

#[test]
fn a_server_of_another_cluster_and_one_without_its_folder_are_refused_with_the_reason() {
    test(async |home| {
        let servers = three(home).await?;
        let first = servers[0].address.to_string();

        let wiped = Options {
            data: Some(home.path("wiped")),
            ..joining(home, 2, &first)
        };
        let mut wiped = Server::spawn(home, "wiped", &wiped)?;
        let exit = wiped.exit().await?;
        ensure!(exit != Exit::Code(0), "{exit:?}");
        let said = wiped.log();
        ensure!(
            said.contains("server 2 has another data folder") && said.contains("keyway cluster remove 2"),
            "{said}"
        );
        Ok(())
    });
}

#[test]
fn a_removed_server_ends_with_the_reason_and_does_not_come_back() {
    test(async |home| {
        let mut servers = three(home).await?;

        servers[0]
            .keyway(home)
            .run(&["cluster", "remove", "3"])
            .await?
            .expect(0)?;

        all_vote(&servers[1], 2).await?;
        let exit = servers[2].program.exit().await?;
        ensure!(exit != Exit::Code(0), "{exit:?}");
        let said = servers[2].program.log();
        ensure!(said.contains("server 3 was removed from this cluster"), "{said}");
        let again = Options {
            data: Some(servers[2].data.clone()),
            ..joining(home, 3, &servers[0].address.to_string())
        };
        let mut again = Server::spawn(home, "again", &again)?;
        ensure!(again.exit().await? != Exit::Code(0));
        ensure!(again.log().contains("another --node-id"), "{}", again.log());
        let said = servers[0]
            .keyway(home)
            .run(&["-o", "json", "cluster", "remove", "3"])
            .await?
            .expect(1)?;
        let told = said.error()?.to_string();
        ensure!(told.contains("not a member"), "{told}");
        join(home, 4, &servers[1].address).await?;
        all_vote(&servers[0], 3).await?;
        Ok(())
    });
}

#[test]
fn the_leader_is_removed_like_any_other_and_another_one_is_made_to_lead() {
    test(async |home| {
        let servers = three(home).await?;

        servers[1]
            .keyway(home)
            .run(&["cluster", "transfer-leader", "2"])
            .await?
            .expect(0)?;
        let status = all_vote(&servers[2], 3).await?;
        ensure!(status.leader == Some(2), "{status:?}");
        let said = servers[0]
            .keyway(home)
            .run(&["cluster", "status", "-o", "json"])
            .await?
            .expect(0)?;
        let shown: serde_json::Value = said.json()?;
        ensure!(
            shown["leader"] == 2 && shown["servers"][1]["role"] == "leader",
            "{shown}"
        );

        servers[0]
            .keyway(home)
            .run(&["cluster", "remove", "2"])
            .await?
            .expect(0)?;
        let status = all_vote(&servers[0], 2).await?;
        ensure!(status.leader.is_some_and(|leader| leader != 2), "{status:?}");
        ensure!(servers[0].client().put("a", "1", &Default::default()).await?);
        Ok(())
    });
}

#[test]
fn a_server_that_waits_joins_when_it_is_told_to() {
    test(async |home| {
        let first = Server::start(home).await?;
        let options = Options {
            flags: vec!["--await-join".into()],
            ..joining(home, 2, "")
        };
        let waiting = Server::spawn(home, "waiting", &options)?;
        let address = eventually("it says where it waits", async || {
            let (_, rest) = waiting
                .log()
                .split_once("--addr ")
                .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            rest.split_once(' ').map(|(address, _)| address.to_owned())
        })
        .await?;
        let asked = Client::new(
            vec![address.parse().map_err(anyhow::Error::msg)?],
            None,
            Duration::from_secs(2),
        );
        ensure!(asked.get("a", Consistency::Default).await.is_err());

        let to = first.address.to_string();
        crate::harness::Keyway::new(home)
            .addr(&address)
            .run(&["cluster", "join", &to])
            .await?
            .expect(0)?;

        all_vote(&first, 2).await?;
        Ok(())
    });
}

#[test]
fn a_server_that_comes_back_at_another_address_is_found_there() {
    test(async |home| {
        let mut servers = three(home).await?;
        for moved in [1, 2] {
            servers[moved].program.signal(Signal::SIGTERM)?;
            servers[moved].program.exit().await?;
            let before = servers[moved].raft.clone();
            let options = joining(home, moved as u64 + 1, &servers[0].address.to_string());
            servers[moved].restart_with(home, options).await?;
            ensure!(servers[moved].raft != before);
            let now = servers[moved].raft.clone();
            for server in &servers {
                eventually("all know where it is", async || {
                    let status = server.client().cluster_status().await.ok()?;
                    let found = status.servers.get(moved).is_some_and(|server| server.raft_addr == now);
                    (found && status.settled).then_some(())
                })
                .await?;
            }
        }
        ensure!(servers[2].client().put("a", "1", &Default::default()).await?);
        Ok(())
    });
}
