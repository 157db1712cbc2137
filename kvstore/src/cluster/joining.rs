//! How a new server finds its cluster, and how one that has moved is found.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Method, StatusCode};
use kvapi::Address;
use kvapi::cluster::{ClusterStatus, Join};
use tokio_util::sync::CancellationToken;

use super::{ChangeError, Cluster};
use crate::clock;
use crate::net;
use crate::peer::ask::{Applicant, Ask};
use crate::peer::links::{Links, Me};
use crate::raft::Node;
use crate::store::Fatal;

/// How long one try may take, and the pause between two.
const TRY: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(300);

/// How often it is told that a cluster cannot be reached.
const TELL_EVERY: u32 = 15;

/// The cluster of some servers; asked until one answers.
pub(crate) async fn cluster_of(join: &[Address]) -> String {
    let client = net::client(join.to_vec(), TRY);
    let ask = async || {
        let path = "/v1/cluster";
        let reply = client.send(Method::GET, path, Bytes::new(), HeaderMap::new()).await;
        let reply = reply.map_err(|e| e.to_string())?;
        if reply.status != StatusCode::OK {
            return Err(String::from_utf8_lossy(&reply.body).into_owned());
        }
        let status: ClusterStatus = serde_json::from_slice(&reply.body).map_err(|e| e.to_string())?;
        Ok(status.cluster_id)
    };
    repeated(join, ask).await
}

/// Asks some servers to be let in, until one of them can answer.
pub(crate) async fn ask_to_join(join: &[Address], me: &Me) -> anyhow::Result<()> {
    let client = net::client(join.to_vec(), TRY);
    let body = Join {
        cluster_id: me.cluster.clone(),
        node_id: me.id,
        instance: me.instance.clone(),
        raft_addr: me.node.raft_addr.clone(),
        http_addr: me.node.http_addr.clone(),
    };
    let body: Bytes = serde_json::to_vec(&body)?.into();
    let ask = async || {
        let sent = client.send_again(Method::PUT, "/v1/cluster/join", body.clone());
        let reply = sent.await.map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        match reply.status {
            StatusCode::OK => Ok(Ok(())),
            StatusCode::CONFLICT | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => Ok(Err(text)),
            _ => Err(text),
        }
    };
    let joined = repeated(join, ask).await;
    joined.map_err(|reason| anyhow::anyhow!("the cluster does not take this server: {reason}"))
}

async fn repeated<T>(join: &[Address], ask: impl AsyncFn() -> Result<T, String>) -> T {
    let names: Vec<String> = join.iter().map(ToString::to_string).collect();
    let names = names.join(",");
    let mut tries = 0;
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(reason) if tries % TELL_EVERY == 0 => {
                tracing::warn!(reason, "waits for the cluster at {names}");
            }
            Err(_) => {}
        }
        tries += 1;
        clock::sleep(PAUSE).await;
    }
}

impl Cluster {
    /// Sees to it that the others find this server where it is, and that it finds them.
    pub(crate) async fn stay_found(self, fatal: Fatal, stopping: CancellationToken) {
        let found = async {
            tokio::join!(self.greet(), self.tell_where(fatal));
        };
        stopping.run_until_cancelled(found).await;
    }

    /// Says to every member once where this server is: one that has moved is not looked for there, and whoever
    /// stands for election next must find it.
    async fn greet(&self) {
        let me = self.links.me().id;
        let others = self.members.nodes().into_iter().filter(|(id, _)| *id != me);
        let greetings = others.map(|(id, node)| async move {
            self.links.learn(id, &node);
            while self.links.ask(id, &Ask::Here, TRY).await.is_err() {
                clock::sleep(PAUSE).await;
            }
        });
        join_all(greetings).await;
    }

    async fn tell_where(&self, fatal: Fatal) {
        let me = self.links.me().clone();
        let mut metrics = self.leadership.raft().server_metrics();
        let mut agreed = BTreeMap::new();
        loop {
            metrics.borrow_and_update();
            let nodes = self.members.nodes();
            hear_news(&self.links, &mut agreed, &nodes);
            let moved = nodes.get(&me.id).is_some_and(|node| *node != me.node);
            if moved {
                let applicant = Applicant {
                    id: me.id,
                    instance: me.instance.clone(),
                    cluster: me.cluster.clone(),
                    node: me.node.clone(),
                };
                match self.change(Ask::Admit(applicant)).await {
                    Ok(_) => {}
                    Err(ChangeError::Refused(reason)) => {
                        return fatal.report(format!("the cluster does not take this server: {reason}"));
                    }
                    Err(error) => tracing::warn!(%error, "the cluster does not know yet where this server is"),
                }
                clock::sleep(PAUSE).await;
            } else if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Who has moved since the last look is where the cluster has agreed that it is.
fn hear_news(links: &Links, agreed: &mut BTreeMap<u64, Node>, nodes: &BTreeMap<u64, Node>) {
    for (id, node) in nodes {
        match agreed.insert(*id, node.clone()) {
            None => links.learn(*id, node),
            Some(old) if old != *node => links.hear(*id, node),
            Some(_) => {}
        }
    }
}
