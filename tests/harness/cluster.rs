//! Several servers of one cluster, with a proxy between them; each has an IP address of its own for the others.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use kvapi::cluster::ClusterStatus;
use kvapi::{Address, Client};
use nix::sys::signal::Signal;

use super::proxy::{Proxy, Way};
use super::{Home, Options, Server, eventually_within, long};

/// An election on a busy machine, catching up, becoming a voter: all of it comes, and none of it is measured here.
const PATIENCE: Duration = Duration::from_secs(40);

/// How many more than there are in the beginning can join later.
const LATER: usize = 40;

/// See the module. A server's number is its place, from 1.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
    pub(crate) proxy: Proxy,
    settings: Settings,
    /// The places of those that were removed.
    gone: BTreeSet<usize>,
}

/// How all servers of a cluster are started.
#[derive(Default, Clone)]
pub(crate) struct Settings {
    pub(crate) flags: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The folder of each server's data; one of the test's own if there is none.
    pub(crate) folders: Vec<PathBuf>,
}

impl Cluster {
    /// So many servers, once all of them vote.
    pub(crate) async fn start(home: &Home, count: usize) -> anyhow::Result<Self> {
        Self::with(home, count, Settings::default()).await
    }

    pub(crate) async fn with(home: &Home, count: usize, settings: Settings) -> anyhow::Result<Self> {
        let numbers: Vec<(u64, IpAddr)> = (1..).map(|id| (id, ip(id))).take(count + LATER).collect();
        let proxy = Proxy::start(&numbers).await?;
        let mut cluster = Self {
            servers: Vec::new(),
            proxy,
            settings,
            gone: BTreeSet::new(),
        };
        for _ in 0..count {
            cluster.join(home).await?;
        }
        cluster.all_vote().await?;
        Ok(cluster)
    }

    /// Starts one more server; it learns, and votes later.
    pub(crate) async fn join(&mut self, home: &Home) -> anyhow::Result<()> {
        let id = self.servers.len() as u64 + 1;
        let server = Server::with(home, self.options(home, id)?).await?;
        self.servers.push(server);
        Ok(())
    }

    pub(crate) fn options(&self, home: &Home, id: u64) -> anyhow::Result<Options> {
        let flags = ["--advertise-raft".to_owned(), self.proxy.address(id)?.to_string()];
        let data = usize::try_from(id - 1)
            .ok()
            .and_then(|place| self.settings.folders.get(place));
        let first = self.servers.first();
        let others = || {
            self.addresses()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        Ok(Options {
            data: Some(data.cloned().unwrap_or_else(|| home.path(&format!("data{id}")))),
            raft: Some(self.proxy.target(id)?.to_string()),
            join: first.filter(|_| id > 1).map(|_| (id.to_string(), others())),
            flags: flags.into_iter().chain(self.settings.flags.iter().cloned()).collect(),
            environment: self.settings.environment.clone(),
            ..Options::default()
        })
    }

    /// Where clients reach each that was not removed.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.present().map(|(_, server)| server.address.clone()).collect()
    }

    /// A client that knows all.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.addresses(), None, Duration::from_secs(10))
    }

    pub(crate) fn signal(&self, place: usize, signal: Signal) -> anyhow::Result<()> {
        self.servers[place].program.signal(signal)
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self, place: usize) -> anyhow::Result<()> {
        self.servers[place].program.kill().await
    }

    /// Starts one that has ended again, with the same arguments.
    pub(crate) async fn restart(&mut self, home: &Home, place: usize) -> anyhow::Result<()> {
        let id = place as u64 + 1;
        let options = self.options(home, id)?;
        self.servers[place].restart_with(home, options).await
    }

    /// Starts one in another folder, such as one that is empty.
    pub(crate) fn move_to(&mut self, place: usize, folder: PathBuf) {
        while self.settings.folders.len() <= place {
            let server = &self.servers[self.settings.folders.len()];
            self.settings.folders.push(server.data.clone());
        }
        self.servers[place].data.clone_from(&folder);
        self.settings.folders[place] = folder;
    }

    /// What happens between one and all others, from it and to it.
    pub(crate) fn around(&self, place: usize, from: Way, to: Way) {
        self.between(&[place], from, to);
    }

    /// What happens between some and all others, from them and to them.
    pub(crate) fn between(&self, some: &[usize], from: Way, to: Way) {
        for place in some {
            for other in (0..self.servers.len()).filter(|other| !some.contains(other)) {
                let (id, other) = (*place as u64 + 1, other as u64 + 1);
                self.proxy.set(id, other, from);
                self.proxy.set(other, id, to);
            }
        }
    }

    /// What each server says of the cluster; `None` of one that does not answer.
    async fn said(&self) -> Vec<Option<ClusterStatus>> {
        let ask = |server: &Server| {
            let client = server.client_within(Duration::from_secs(2));
            tokio::spawn(async move { client.cluster_status().await.ok() })
        };
        let asked: Vec<_> = self.servers.iter().map(ask).collect();
        let mut said = Vec::new();
        for one in asked {
            said.push(one.await.ok().flatten());
        }
        said
    }

    /// Who leads: a server that says so itself, and with it most of all.
    pub(crate) async fn leader(&self) -> anyhow::Result<usize> {
        eventually_within(patience(), "a leader", async || self.leads_now().await).await
    }

    async fn leads_now(&self) -> Option<usize> {
        let said: Vec<ClusterStatus> = self.said().await.into_iter().flatten().collect();
        let own = said.iter().filter(|status| status.leader == Some(status.node_id));
        let newest = own.max_by_key(|status| status.term)?;
        let agree = said.iter().filter(|status| status.leader == newest.leader).count();
        (agree * 2 > self.present().count()).then(|| usize::try_from(newest.node_id - 1).ok())?
    }

    /// Waits until every server is there, votes, and has applied what the leader has.
    pub(crate) async fn all_vote(&self) -> anyhow::Result<()> {
        let count = self.servers.len() - self.gone.len();
        let all = async || {
            let said = self.said().await;
            let present = said
                .into_iter()
                .enumerate()
                .filter(|(place, _)| !self.gone.contains(place));
            let said: Vec<ClusterStatus> = present.map(|(_, status)| status).collect::<Option<_>>()?;
            let leaders: BTreeSet<_> = said.iter().map(|status| status.leader).collect();
            let vote = |status: &ClusterStatus| {
                status.settled && status.servers.len() == count && status.servers.iter().all(|server| server.voter)
            };
            let most = said.iter().map(|status| status.applied_index).max()?;
            // While somebody writes, nobody is quite as far as the one who was asked last.
            let near = said.iter().all(|status| status.applied_index + 100 >= most);
            (leaders.len() == 1 && said[0].leader.is_some() && said.iter().all(vote) && near).then_some(())
        };
        eventually_within(patience(), "all servers vote and are as far", all).await
    }

    /// Once nobody writes: all servers have the same state and history, at the same entry of the log.
    pub(crate) async fn are_equal(&self) -> anyhow::Result<()> {
        let mut last = Vec::new();
        // Servers that differ at the same entry stay so.
        let equal = eventually_within(patience(), "all servers have the same", async || {
            last.clear();
            for (_, server) in self.present() {
                let status = server
                    .client_within(Duration::from_secs(5))
                    .cluster_digest()
                    .await
                    .ok()?;
                last.push((status.node_id, status.applied_index, status.revision, status.digest?));
            }
            let mut same = last
                .iter()
                .map(|(_, applied, revision, digest)| (applied, revision, digest));
            let first = same.next()?;
            same.all(|other| other == first).then_some(())
        })
        .await;
        equal.with_context(|| format!("{last:?}"))
    }

    /// The places of those that were not removed.
    pub(crate) fn places(&self) -> Vec<usize> {
        self.present().map(|(place, _)| place).collect()
    }

    /// The servers that were not removed, with their places.
    fn present(&self) -> impl Iterator<Item = (usize, &Server)> {
        let all = self.servers.iter().enumerate();
        all.filter(|(place, _)| !self.gone.contains(place))
    }

    /// Takes a server out of the cluster, whether it is there or not.
    pub(crate) async fn remove(&mut self, place: usize) -> anyhow::Result<()> {
        let address = self.proxy.address(place as u64 + 1)?;
        self.gone.insert(place);
        let path = format!("/v1/operator/raft/peer?address={address}");
        self.operate(Method::DELETE, &path).await
    }

    /// Has another server lead, whichever is best.
    pub(crate) async fn transfer(&self) -> anyhow::Result<()> {
        self.operate(Method::POST, "/v1/operator/raft/transfer-leader").await
    }

    async fn operate(&self, method: Method, path: &str) -> anyhow::Result<()> {
        let mut last = None;
        // Who was to be elected may not be in time on a busy machine; asked again, it is done.
        let done = eventually_within(patience(), path, async || {
            let asked = self.client().send_again(method.clone(), path, Bytes::new()).await;
            let done = asked.as_ref().is_ok_and(|reply| reply.status == StatusCode::OK);
            last = Some(asked);
            done.then_some(())
        });
        done.await.with_context(|| format!("{last:?}"))
    }
}

fn patience() -> Duration {
    long(PATIENCE, 3 * PATIENCE)
}

/// The address from which a server connects to the others. Other tests of this machine have others.
fn ip(id: u64) -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 250, low, 10 + u8::try_from(id).unwrap_or_default()).into()
}
