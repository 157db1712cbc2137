//! What an election and a restart cost those who read, write, count and hold locks meanwhile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use kvapi::client::WriteOptions;
use kvapi::lock::{Lock, SessionTerms};
use kvapi::{Address, Client, Consistency};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Cluster, Exit, Home, Keyway, Process, Program, Server, Settings, Trial, alone, eventually_within, holds, long,
    note_left_out, test,
};

/// How soon writes have to flow again when the leader has died, half of the times: two seconds. Every day the machine
/// has other work too.
fn soon() -> Duration {
    long(Duration::from_secs(3), Duration::from_secs(2))
}

#[test]
fn when_the_leader_dies_writes_soon_flow_again_and_no_read_fails() {
    alone(Duration::from_secs(600), async |home| {
        let mut cluster = Cluster::start(home, 3).await?;
        let trial = Trial::begin(&cluster.addresses(), "trial").await?;
        let client = cluster.client();
        let mut times = Vec::new();
        for round in 0..long(3, 20) {
            let leader = cluster.leader().await?;
            cluster.signal(leader, Signal::SIGKILL)?;
            let killed = Instant::now();
            let written = client
                .put(&format!("after/{round}"), "1", &WriteOptions::default())
                .await;
            ensure!(written.context("a write is held, not refused")?);
            times.push(killed.elapsed());
            cluster.restart(home, leader).await?;
            cluster.all_vote().await?;
        }
        let tally = trial.end().await?;
        cluster.are_equal().await?;
        times.sort();
        println!("writes flow again after {times:?}; {tally}");
        assert!(times[times.len() / 2] <= soon(), "{times:?}");
        assert_eq!(tally.troubles.failed_reads, [] as [&str; 0]);
        Ok(())
    });
}

/// One request without a body, and what comes back.
async fn ask_once(address: Address, what: &str) -> anyhow::Result<String> {
    let Address::Tcp(authority) = &address else {
        anyhow::bail!("{address} is not a TCP address");
    };
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("{what} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[test]
fn servers_that_are_far_apart_hold_what_comes_for_as_long_as_an_election_takes() {
    alone(Duration::from_secs(180), async |home| {
        let settings = Settings {
            flags: vec!["--raft-multiplier".into(), "3".into()],
            ..Settings::default()
        };
        let mut cluster = Cluster::with(home, 3, settings).await?;
        let leader = cluster.leader().await?;
        cluster.kill(leader).await?;
        // Once, and at one server: nobody asks again elsewhere. Nobody is elected for three seconds.
        let others = (0..3).filter(|place| *place != leader);
        let asked = others.flat_map(|place| {
            let address = &cluster.servers[place].address;
            ["PUT /v1/kv/held", "GET /v1/kv/other"].map(|what| tokio::spawn(ask_once(address.clone(), what)))
        });
        for answer in asked.collect::<Vec<_>>() {
            let answer = answer.await??;
            let code = answer.split(' ').nth(1);
            ensure!(matches!(code, Some("200" | "404")), "{answer}");
        }
        Ok(())
    });
}

#[test]
fn a_server_that_is_silent_costs_a_client_of_several_a_part_of_its_time_and_no_request() {
    test(async |home| {
        let server = Server::start(home).await?;
        // Connections are taken by the system, and nobody answers on them.
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let silent = Address::Tcp(listener.local_addr()?.to_string());
        let both = || {
            Client::new(
                vec![silent.clone(), server.address.clone()],
                None,
                Duration::from_secs(6),
            )
        };
        let options = WriteOptions::default();
        ensure!(both().put("a", "1", &options).await?);
        let read = both().get("a", Consistency::Default).await?;
        ensure!(read.value.is_some_and(|entry| *entry.value == *b"1"));
        Ok(())
    });
}

/// Counters that everybody counts up by compare-and-swap, through clients that know all servers.
struct Counters {
    stop: CancellationToken,
    clients: Vec<JoinHandle<anyhow::Result<u64>>>,
}

const COUNTERS: usize = 4;

impl Counters {
    fn start(cluster: &Cluster, clients: usize) -> Self {
        let stop = CancellationToken::new();
        let clients = (0..clients).map(|_| tokio::spawn(count(cluster.client(), stop.clone())));
        Self {
            clients: clients.collect(),
            stop,
        }
    }

    /// How often anybody was told that it counted.
    async fn end(self) -> anyhow::Result<u64> {
        self.stop.cancel();
        let mut counted = 0;
        for client in self.clients {
            counted += client.await??;
        }
        Ok(counted)
    }
}

/// Counts until it is stopped; any request that fails is an error.
async fn count(client: Client, stop: CancellationToken) -> anyhow::Result<u64> {
    let mut counted = 0;
    while !stop.is_cancelled() {
        let key = format!("counter/{}", rand::random_range(0..COUNTERS));
        let entry = client.get(&key, Consistency::Default).await?.value;
        let (now, cas) = match &entry {
            Some(entry) => (std::str::from_utf8(&entry.value)?.parse::<u64>()?, entry.modify_index.0),
            None => (0, 0),
        };
        let options = WriteOptions {
            cas: Some(cas),
            ..WriteOptions::default()
        };
        counted += u64::from(client.put(&key, (now + 1).to_string(), &options).await?);
    }
    Ok(counted)
}

#[test]
fn a_rolling_restart_fails_no_request_and_does_no_write_twice() {
    alone(Duration::from_secs(600), async |home| {
        let mut cluster = Cluster::start(home, 3).await?;
        let trial = Trial::begin(&cluster.addresses(), "trial").await?;
        let counters = Counters::start(&cluster, 8);
        for _ in 0..long(1, 5) {
            for place in 0..3 {
                let exit = cluster.servers[place].stop().await?;
                ensure!(
                    exit == Exit::Code(0),
                    "{exit:?}: {}",
                    cluster.servers[place].program.log()
                );
                cluster.restart(home, place).await?;
                cluster.all_vote().await?;
                trial.goes_on(100).await?;
            }
        }
        let counted = counters.end().await?;
        let mut there = 0;
        for number in 0..COUNTERS {
            let entry = cluster
                .client()
                .get(&format!("counter/{number}"), Consistency::Default)
                .await?;
            let entry = entry.value.context("it was counted up")?;
            there += std::str::from_utf8(&entry.value)?.parse::<u64>()?;
        }
        let tally = trial.end().await?;
        cluster.are_equal().await?;
        println!("counted {counted}; {tally}");
        assert_eq!(there, counted);
        assert_eq!(tally.troubles.failed, [] as [&str; 0]);
        assert_eq!(tally.troubles.failed_reads, [] as [&str; 0]);
        assert_eq!(tally.troubles.unknown, 0);
        Ok(())
    });
}

/// Consul's shortest TTL; a session ends when twice its TTL has passed without its client.
const TTL: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_secs(12);

async fn session(client: &Client, lock_delay: Duration) -> anyhow::Result<String> {
    let terms = SessionTerms {
        name: "failover".into(),
        ttl: TTL,
        lock_delay,
    };
    Ok(client.create_session(&terms, &WriteOptions::default()).await?)
}

async fn acquire(client: &Client, key: &str, session: &str) -> anyhow::Result<bool> {
    let options = WriteOptions::default();
    let acquired = client.store_locked(key, "1", Lock::Acquire(session), &options).await?;
    Ok(acquired.done)
}

/// `keyway kv lock` with a command that notes at which revision it ran, and when.
fn noting(home: &Home, cluster: &Cluster, name: &str, then: &str) -> anyhow::Result<Program> {
    let script = format!("echo $KEYWAY_LOCK_REVISION $(date +%s%N) >> notes; {then}");
    let flags = ["kv", "lock", "--ttl", "10s", "--lock-delay", "2s"];
    let command = ["jobs/noting", "--", "sh", "-c", &script];
    let servers: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let keyway = Keyway::new(home).addr(&servers.join(",")).timeout("60s");
    keyway.start(home, name, &[&flags[..], &command].concat())
}

/// What they noted, in the order in which they ran.
fn notes(home: &Home) -> Vec<(u64, u128)> {
    let text = home.read("notes").unwrap_or_default();
    let of = |line: &str| {
        let (revision, at) = line.split_once(' ')?;
        Some((revision.parse().ok()?, at.parse().ok()?))
    };
    text.lines().filter_map(of).collect()
}

/// Assertion 93 of the reference, and the lock-delay beside it; and the lock of a `keyway kv lock` that was killed.
#[test]
fn a_session_lives_its_full_time_from_a_failover_on_and_a_lock_delay_goes_on_through_it() {
    alone(Duration::from_secs(240), async |home| {
        let mut cluster = Cluster::start(home, 3).await?;
        let client = cluster.client();
        let mut holder = noting(home, &cluster, "holder", "exec sleep 600")?;
        holds("it holds its lock", async || notes(home).len() == 1).await?;
        let mut waiting = [
            noting(home, &cluster, "next-1", "true")?,
            noting(home, &cluster, "next-2", "true")?,
        ];
        let lasting = session(&client, Duration::ZERO).await?;
        ensure!(acquire(&client, "held", &lasting).await?);
        let made = Instant::now();
        let (ended, next) = (session(&client, DELAY).await?, session(&client, DELAY).await?);
        ensure!(acquire(&client, "delayed", &ended).await?);
        let leader = cluster.leader().await?;
        client.destroy_session(&ended, &WriteOptions::default()).await?;
        let freed = Instant::now();
        ensure!(!acquire(&client, "delayed", &next).await?, "the lock-delay begins");

        // At half of the TTL, as the reference has it.
        tokio::time::sleep_until(made + TTL / 2).await;
        let runs_on = holder.children();
        let held_until = SystemTime::now().duration_since(UNIX_EPOCH)?;
        holder.kill().await?;
        runs_on.iter().for_each(Process::kill);
        cluster.kill(leader).await?;
        let killed = Instant::now();
        client.put("goes", "on", &WriteOptions::default()).await?;
        let elected = Instant::now();

        let mut tries = 0;
        let freed_after = eventually_within(Duration::from_secs(40), "the lock-delay ends", async || {
            tries += 1;
            acquire(&client, "delayed", &next).await.ok()?.then(|| freed.elapsed())
        })
        .await?;
        // What the client measures begins a little later than what the store measures.
        let early = Duration::from_millis(500);
        ensure!(
            tries > 1 && freed_after + early >= DELAY,
            "{freed_after:?}, {tries} tries"
        );
        let held = client
            .get("held", Consistency::Default)
            .await?
            .value
            .context("it is there")?;
        ensure!(held.session.as_deref() == Some(&*lasting), "{held:?}");
        let gone = eventually_within(Duration::from_secs(60), "the session ends", async || {
            let held = client.get("held", Consistency::Default).await.ok()?.value;
            held.is_none().then(Instant::now)
        })
        .await?;
        let (at_least, at_most) = (gone - killed, gone - elected);
        println!("the lock-delay of {DELAY:?} took {freed_after:?} ({tries} tries), the session {at_least:?}");
        ensure!(
            at_least >= 2 * TTL,
            "{at_least:?}: it has its full time, twice its TTL, from the failover on"
        );
        ensure!(at_most < 2 * TTL + Duration::from_secs(10), "{at_most:?}");

        // A lock whose holder is gone goes to those who wait, one after the other, once its session and its delay are over.
        for one in &mut waiting {
            let exit = eventually_within(Duration::from_secs(60), "it has its turn", async || one.ended()).await?;
            ensure!(exit == Exit::Code(0), "{exit:?}: {}", one.log());
        }
        let notes = notes(home);
        ensure!(
            notes.len() == 3 && notes.is_sorted_by(|one, next| one.0 < next.0),
            "{notes:?}"
        );
        let early = (held_until + 2 * TTL + Duration::from_secs(2)).as_nanos();
        ensure!(notes[1].1 >= early, "{notes:?}: none before {early}");
        Ok(())
    });
}

/// Assertion 94 of the reference, with our own command.
#[test]
fn a_lock_that_ten_processes_want_has_one_holder_whoever_is_killed() {
    alone(Duration::from_secs(240), async |home| {
        let mut cluster = Cluster::start(home, 3).await?;
        let everywhere = cluster
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        // Whoever finds the folder there is not alone. The revision of the acquire is the fencing number.
        let script =
            "mkdir held || echo clash >> clashes; echo $KEYWAY_LOCK_REVISION >> revisions; sleep 0.1; rmdir held";
        let lock = ["kv", "lock", "--lock-delay", "0s", "jobs/n", "--", "sh", "-c", script];
        let count = |home: &Home| home.read("revisions").unwrap_or_default().lines().count();
        let mut all = Vec::new();
        for number in 0..10 {
            let one = Keyway::new(home).addr(&everywhere).timeout("40s");
            all.push(one.start(home, &format!("one-{number}"), &lock)?);
        }
        holds("one of them ran", async || count(home) >= 1).await?;
        // One that waits, and the leader.
        let waits = all.iter().position(|one| !one.log().contains("locked "));
        if let Some(place) = waits {
            all[place].kill().await?;
            all.remove(place);
        } else {
            note_left_out("all had run before one could be killed");
        }
        let leader = cluster.leader().await?;
        cluster.kill(leader).await?;
        for one in &mut all {
            let exit = eventually_within(Duration::from_secs(60), "it ends", async || one.ended()).await?;
            ensure!(exit == Exit::Code(0), "{exit:?}: {}", one.log());
        }
        ensure!(home.read("clashes").is_err(), "two held it");
        let revisions = home.read("revisions")?;
        let revisions: Vec<u64> = revisions.lines().map(str::parse).collect::<Result<_, _>>()?;
        ensure!(
            revisions.len() >= all.len() && revisions.is_sorted_by(|a, b| a < b),
            "{revisions:?}"
        );
        Ok(())
    });
}
