//! Some servers and the network between them, and what can be done to them from outside.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kvapi::Address;
use tempfile::TempDir;
use tokio::sync::Notify;
use turmoil::Sim;

use super::disk::Disk;
use super::{is_running, net};
use crate::chance::seeded;
use crate::config::Config;
use crate::node::Node;
use crate::server::Server;

/// How long a message is under way, in milliseconds: at least, and at most.
pub(super) const WAY: (u64, u64) = (2, 8);

/// How much time passes at once; within it each server runs by itself.
const TICK: Duration = Duration::from_millis(2);

/// Log entries after which a snapshot is made: so many that some are within a simulation.
const SNAPSHOT_EVERY: u64 = 40;

/// How long the servers may take to become a cluster.
const START: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct World {
    pub(super) sim: Sim<'static>,
    servers: Vec<Rc<Place>>,
    /// What must never be.
    pub(super) found: Rc<RefCell<Vec<String>>>,
    /// Bytes of logs that power cuts took.
    pub(super) lost: u64,
}

/// One server, whether it is up or not.
struct Place {
    number: usize,
    /// How many there are.
    count: usize,
    ip: IpAddr,
    dir: TempDir,
    disk: Disk,
    /// While it is up and open.
    node: RefCell<Option<Node>>,
    stopping: Cell<bool>,
    stop: Notify,
    hand_over: Notify,
    found: Rc<RefCell<Vec<String>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.disk.forget();
    }
}

/// Where a server is, or who is none.
pub(super) const fn ip(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 168, 0, number as u8 + 1))
}

/// Where the clients of servers come from: there are fewer servers.
pub(super) const CLIENTS: usize = 9;

/// Where so many servers are asked.
pub(super) fn addresses(servers: usize) -> Vec<Address> {
    (0..servers)
        .map(|number| Address::Tcp(format!("{}:8500", ip(number))))
        .collect()
}

impl World {
    /// Servers that are starting. What chance decides on this thread follows from the seed, until it is dropped.
    pub(super) fn new(seed: u64, count: usize, planted: Option<&'static str>) -> anyhow::Result<Self> {
        assert!(!is_running(), "one at a time");
        seeded::begin(Some(seed));
        super::PLANTED.set(planted);
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3600))
            .min_message_latency(Duration::from_millis(WAY.0))
            .max_message_latency(Duration::from_millis(WAY.1))
            .tcp_capacity(4096)
            .build();
        let found = Rc::<RefCell<Vec<String>>>::default();
        let mut servers = Vec::new();
        for number in 0..count {
            let dir = tempfile::tempdir()?;
            let place = Rc::new(Place {
                number,
                count,
                ip: ip(number),
                disk: Disk::new(dir.path()),
                dir,
                node: RefCell::default(),
                stopping: Cell::default(),
                stop: Notify::new(),
                hand_over: Notify::new(),
                found: Rc::clone(&found),
            });
            servers.push(Rc::clone(&place));
            sim.host(place.ip, move || {
                let place = Rc::clone(&place);
                async move {
                    place.run().await;
                    Ok(())
                }
            });
        }
        Ok(Self {
            sim,
            servers,
            found,
            lost: 0,
        })
    }

    /// How many servers there are.
    pub(super) fn count(&self) -> usize {
        self.servers.len()
    }

    /// Sets somebody to work who is no server.
    pub(super) fn client(&mut self, work: impl Future<Output = anyhow::Result<()>> + 'static) {
        self.sim.client(
            ip(CLIENTS),
            async move { work.await.map_err(|e| format!("{e:#}").into()) },
        );
    }

    /// How much time has passed.
    pub(super) fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// Lets a little time pass.
    pub(super) fn step(&mut self) -> anyhow::Result<()> {
        self.sim.step().map_err(|e| anyhow::anyhow!("{e}")).map(drop)
    }

    /// Lets time pass until something is so.
    pub(super) fn until(&mut self, what: &str, limit: Duration, so: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let end = self.elapsed() + limit;
        while !so(self) {
            anyhow::ensure!(self.elapsed() < end, "{what}: not within {limit:?}: {}", self.told());
            self.step()?;
        }
        Ok(())
    }

    /// Lets time pass until all servers vote and agree on it.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        self.until("the servers are a cluster", START, |world| {
            world.servers.iter().all(|place| {
                place
                    .status()
                    .is_some_and(|status| status.peers.len() == world.count() && status.leader.is_some())
            })
        })
    }

    /// Lets time pass up to a moment.
    pub(super) fn pass_until(&mut self, moment: Duration) -> anyhow::Result<()> {
        while self.elapsed() < moment {
            self.step()?;
        }
        Ok(())
    }

    pub(super) fn is_up(&mut self, number: usize) -> bool {
        self.sim.is_host_running(ip(number))
    }

    /// Whether all servers have recovered and opened their doors.
    pub(super) fn is_open(&self) -> bool {
        self.servers.iter().all(|place| place.node.borrow().is_some())
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.servers.iter().any(|place| place.stopping.get())
    }

    /// Ends a server as `kill -9` does.
    pub(super) fn kill(&mut self, number: usize) {
        let place = Rc::clone(&self.servers[number]);
        place.node.take();
        place.stopping.set(false);
        if self.is_up(number) {
            self.sim.crash(place.ip);
            place.disk.settle();
        }
    }

    /// Its disk is as a power cut leaves it.
    pub(super) fn lose(&mut self, number: usize) -> anyhow::Result<()> {
        self.lost += self.servers[number].disk.lose()?;
        Ok(())
    }

    pub(super) fn power_up(&mut self, number: usize) {
        let place = Rc::clone(&self.servers[number]);
        place.node.take();
        self.sim.bounce(place.ip);
    }

    pub(super) fn stop(&mut self, number: usize) {
        if self.is_up(number) {
            self.servers[number].stopping.set(true);
            self.servers[number].stop.notify_one();
        }
    }

    pub(super) fn hand_over(&self) {
        if let Some(number) = self.leader() {
            self.servers[number].hand_over.notify_one();
        }
    }

    /// Raft's newest term.
    pub(super) fn term(&self) -> u64 {
        let terms = self.servers.iter().filter_map(|place| place.status());
        terms.map(|status| status.term).max().unwrap_or_default()
    }

    /// Whether all servers have applied the same entries.
    pub(super) fn agrees(&self) -> bool {
        let applied: Option<Vec<u64>> = self.servers.iter().map(|place| Some(place.status()?.applied)).collect();
        applied.is_some_and(|applied| applied.iter().all(|index| *index == applied[0]))
    }

    /// Of servers that have applied the same: those whose state or history is not that of the first.
    pub(super) fn differences(&self) -> Vec<String> {
        let digest = |place: &Rc<Place>| place.node.borrow().as_ref().map(|node| node.view().digest());
        let first = digest(&self.servers[0]);
        let others = self.servers[1..].iter().filter(|place| digest(place) != first);
        others
            .map(|place| format!("server {} has another state than server 1", place.number + 1))
            .collect()
    }

    /// How the servers see themselves, for a person.
    fn told(&self) -> String {
        let told = self.servers.iter().map(|place| {
            let status = place.status().map(|status| {
                let voters: Vec<u64> = status.peers.iter().map(|(id, _)| *id).collect();
                let leader = status.leader.map(|(id, _)| id);
                format!(
                    "leader {leader:?}, term {}, applied {}, voters {voters:?}",
                    status.term, status.applied
                )
            });
            format!("{}: {}", place.number + 1, status.unwrap_or_else(|| "not open".into()))
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// Who leads: of those who think so the one of the newest term.
    pub(super) fn leader(&self) -> Option<usize> {
        let leading = self.servers.iter().filter_map(|place| {
            let status = place.status().filter(|status| status.is_leader)?;
            Some((status.term, place.number))
        });
        leading.max().map(|(_, number)| number)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for number in 0..self.count() {
            self.kill(number);
        }
        net::confine_nobody();
        seeded::begin(None);
        super::PLANTED.set(None);
    }
}

impl Place {
    fn status(&self) -> Option<crate::node::Status> {
        self.node.borrow().as_ref().map(Node::status)
    }

    fn config(&self) -> Config {
        let first = self.number == 0;
        Config {
            node_id: self.number as u64 + 1,
            http_addrs: vec![Address::Tcp("0.0.0.0:8500".into())],
            raft_addr: "0.0.0.0:8300".into(),
            advertise_raft: Some(format!("{}:8300", self.ip)),
            insecure_listen: true,
            bootstrap: first,
            join: if first { Vec::new() } else { addresses(self.count) },
            min_free: 0,
            snapshot_every: SNAPSHOT_EVERY,
            max_connections: Some(1000),
            ..Config::new(self.dir.path())
        }
    }

    /// A process: from its start until it is stopped. It must not end otherwise.
    async fn run(&self) {
        // Whoever asked for it before asked another process.
        for asked in [&self.stop, &self.hand_over] {
            let _ = asked.notified().now_or_never();
        }
        let server = match Server::start(self.config()).await {
            Ok(server) => server,
            Err(e) => {
                self.stopping.set(false);
                return self.found(&format!("does not start: {e:#}"));
            }
        };
        self.node.replace(Some(server.node().clone()));
        loop {
            tokio::select! {
                e = server.failed() => {
                    self.node.take();
                    self.stopping.set(false);
                    return self.found(&format!("ends by itself: {e:#}"));
                }
                () = self.hand_over.notified() => {
                    let node = server.node().clone();
                    tokio::spawn(async move { node.transfer_leader(None).await });
                }
                () = self.stop.notified() => break,
            }
        }
        self.node.take();
        if let Err(e) = server.stop().await {
            self.found(&format!("does not stop: {e:#}"));
        }
        self.stopping.set(false);
    }

    fn found(&self, what: &str) {
        self.found
            .borrow_mut()
            .push(format!("server {} {what}", self.number + 1));
    }
}
