//! What clients of Consul see of three servers whose leader dies: each asks one server, as it would its local agent, and
//! notices nothing as long as that one is there.

use std::path::Path;

use anyhow::{Context as _, ensure};
use kvapi::Client;
use kvapi::client::WriteOptions;
use nix::sys::signal::Signal;

use crate::clients::{Contest, installed_of_go, place, source};
use crate::consul_cluster::leader_first;
use crate::harness::{Cluster, Exit, Home, Program, Server, command, eventually, holds, long, test};

/// Which session holds a key.
async fn holder(client: &Client, key: &str) -> anyhow::Result<Option<String>> {
    let entry = client.get(key, Default::default()).await?.value;
    Ok(entry.and_then(|entry| entry.session))
}

#[test]
fn a_lock_of_consuls_own_client_outlives_the_leader_and_is_lost_with_its_session_or_its_server() {
    test(async |home| {
        let Some(program) = installed_of_go("go/clients")? else {
            return Ok(());
        };
        let mut servers = leader_first(home).await?;
        let hold = |name: &str, server: &Server| {
            let mut command = command(home, &program);
            command.args(["hold", &server.address.to_string(), &format!("jobs/{name}")]);
            Program::start(home, name, &mut command)
        };
        let (mut kept, ended, left) = (
            hold("kept", &servers[1])?,
            hold("ended", &servers[1])?,
            hold("left", &servers[0])?,
        );
        for one in [&kept, &ended, &left] {
            holds("it holds its lock", async || one.output() == "held\n").await?;
        }
        let other = servers[2].client();
        let before = [holder(&other, "jobs/kept").await?, holder(&other, "jobs/ended").await?];
        let session = before[1].clone().context("it is held")?;

        servers[0].program.kill().await?;

        holds("whoever asked that server alone is told", async || {
            left.output() == "held\nlost\n"
        })
        .await?;
        other.put("goes", "on", &WriteOptions::default()).await?;
        let after = [holder(&other, "jobs/kept").await?, holder(&other, "jobs/ended").await?];
        assert_eq!(
            (&before, kept.output(), ended.output()),
            (&after, "held\n".into(), "held\n".into())
        );
        ensure!(holder(&other, "jobs/left").await?.is_some(), "nobody has let it go yet");
        // Both still watch and renew: one hears of its loss, the other lets go.
        other.destroy_session(&session, &WriteOptions::default()).await?;
        holds("it is told", async || ended.output() == "held\nlost\n").await?;
        kept.signal(Signal::SIGTERM)?;
        assert_eq!(kept.exit().await?, Exit::Code(0), "{}", kept.log());
        assert_eq!(kept.output(), "held\nreleased\n");
        assert_eq!(holder(&other, "jobs/kept").await?, None);
        Ok(())
    });
}

/// Assertion 94 of the reference, with Consul's own client, and leaders killed besides.
#[test]
fn a_lock_is_held_by_one_at_a_time_while_those_who_want_it_and_their_servers_are_killed() {
    test(async |home| {
        let mut cluster = Cluster::start(home, 3).await?;
        let Some(mut contest) = Contest::begin(home, cluster.addresses(), 6).await? else {
            return Ok(());
        };
        contest.goes_on(10).await?;
        for _ in 0..long(1, 10) {
            let dies = cluster.leader().await?;
            cluster.kill(dies).await?;
            // If its holder asked the server that died, its session ends by its own time.
            if long(true, false) {
                contest.let_go().await?;
            }
            contest.goes_on(10).await?;
            contest.kill_one().await?;
            cluster.restart(home, dies).await?;
            contest.goes_on(5).await?;
        }
        contest.end().await?;
        Ok(())
    });
}

/// Assertion 115 of the reference.
#[test]
fn consul_template_renders_on_when_the_leader_dies() {
    test(async |home| {
        let Some(program) = installed_of_go("go/consul-template")? else {
            return Ok(());
        };
        let mut cluster = Cluster::start(home, 3).await?;
        let leader = cluster.leader().await?;
        let others = [(leader + 1) % 3, (leader + 2) % 3];
        home.write("app.ctmpl", "port={{ key \"app/port\" }}\n")?;
        let start = |name: &str, server: &Server, flags: &[&str]| {
            let mut command = command(home, &program);
            let to = home.path(&format!("{name}.conf"));
            command
                .args(["-consul-addr", &server.address.to_string(), "-template"])
                .arg(format!("{}:{}", home.path("app.ctmpl").display(), to.display()))
                .args(flags);
            Program::start(home, name, &mut command)
        };
        let all = ["alone", "one", "two"];
        let _alone = start("alone", &cluster.servers[others[0]], &[])?;
        // One of them reads, under a lock, and the other has it from there.
        let _one = start("one", &cluster.servers[others[0]], &["-dedup"])?;
        let _two = start("two", &cluster.servers[others[1]], &["-dedup"])?;
        let rendered = async |text: &str| {
            for name in all {
                let is = async || home.read(&format!("{name}.conf")).is_ok_and(|now| now == text);
                holds(&format!("{name} shows {text}"), is).await?;
            }
            anyhow::Ok(())
        };
        cluster.servers[others[1]].put("app/port", "80").await?;
        rendered("port=80\n").await?;

        cluster.kill(leader).await?;

        cluster.servers[others[1]].put("app/port", "81").await?;
        rendered("port=81\n").await?;
        cluster.restart(home, leader).await?;
        cluster.servers[leader].put("app/port", "82").await?;
        rendered("port=82\n").await
    });
}

/// Assertion 115 of the reference.
#[test]
fn patroni_keeps_its_leader_when_that_of_the_store_dies() {
    test(async |home| patroni(home).await);
}

async fn patroni(home: &Home) -> anyhow::Result<()> {
    let mut servers = leader_first(home).await?;
    let mut command = command(home, Path::new("/usr/bin/python3"));
    command
        .arg(source("patroni_failover.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    for server in &servers[1..] {
        let (host, port) = place(server)?;
        command.args([host, port]);
    }
    command.arg(home.path("enough"));
    let mut members = Program::start(home, "patroni", &mut command)?;
    let rounds = |members: &Program| members.output().lines().count();
    let goes_on = async |members: &mut Program| {
        let from = rounds(members);
        eventually("it is the leader on and on", async || {
            (rounds(members) >= from + 5 || members.ended().is_some()).then_some(())
        })
        .await
        .with_context(|| members.log())
    };
    goes_on(&mut members).await?;

    servers[0].program.kill().await?;

    goes_on(&mut members).await?;
    home.write("enough", "")?;
    let exit = members.exit().await?;
    ensure!(exit == Exit::Code(0), "{exit:?}: {}", members.log());
    ensure!(members.output().ends_with("done\n"), "{}", members.output());
    let left = servers[1].client().keys("service/", None, Default::default()).await;
    ensure!(left?.value.is_empty(), "it has deleted all of it");
    Ok(())
}
