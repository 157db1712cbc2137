//! The leader makes another server lead.
//!
//! openraft 0.9 has no such thing, but all that is needed. The leader decides nothing more, waits until the
//! other one has all of its log, and falls silent. Once the others have not heard of it for the length of
//! its lease they may vote for another, and before they do so by themselves, the one that was chosen is told
//! to stand. Writes and reads wait meanwhile, as through an election, and are then taken to the new leader.

use std::time::Duration;

use super::Cluster;
use crate::clock;
use crate::members::Member;
use crate::peer::ask::{Ask, Told};

/// How long the other one may take to have the whole log.
const CATCH_UP: Duration = Duration::from_millis(300);

/// The leader's lease: openraft's `election_timeout_max`, and a little for messages that are under way.
const LEASE: Duration = Duration::from_millis(crate::raft::ELECTION_MS.1 + 20);

/// How long the election may take.
const ELECTION: Duration = Duration::from_millis(400);

impl Cluster {
    /// Hands over to a server, or to the one that has most of the log.
    pub(super) async fn hand_over(&self, to: Option<u64>) -> Told {
        let me = self.links.me().id;
        let others: Vec<Member> = self
            .members
            .all()
            .servers
            .into_iter()
            .filter(|other| other.votes && other.id != me)
            .collect();
        if to == Some(me) {
            return Told::Transferred(me);
        }
        let chosen = match to {
            Some(to) => others.iter().find(|other| other.id == to),
            None => others.iter().max_by_key(|other| other.last_index),
        };
        let Some(chosen) = chosen.map(|chosen| chosen.id) else {
            return Told::Refused(to.map_or_else(
                || "cannot find peer".to_owned(),
                |to| format!("server {to} does not vote in this cluster, and cannot lead it"),
            ));
        };
        // From here on nothing is decided, whatever comes of it.
        let handing_over = self.leadership.hand_over();
        let raft = self.leadership.raft();
        if clock::timeout(CATCH_UP, self.has_all(chosen)).await.is_err() {
            return Told::Refused(format!("server {chosen} is behind, and cannot lead yet"));
        }
        raft.runtime_config().heartbeat(false);
        clock::sleep(LEASE).await;
        let stood = self.links.ask(chosen, &Ask::Stand, ELECTION).await;
        let passed = clock::timeout(ELECTION, self.leadership.passes()).await;
        raft.runtime_config().heartbeat(true);
        drop(handing_over);
        match (passed, stood) {
            (Ok(Some(leader)), _) => {
                tracing::info!(to = leader, "another server leads now");
                Told::Transferred(leader)
            }
            (_, Err(error)) => Told::Refused(format!("nobody else leads: {error}")),
            (_, Ok(_)) => Told::Refused(format!("server {chosen} was not elected in time")),
        }
    }

    /// Waits until a server has our whole log.
    async fn has_all(&self, id: u64) {
        let mut metrics = self.leadership.raft().metrics();
        let _ = metrics
            .wait_for(|metrics| {
                let replication = metrics.replication.as_ref();
                let matched = replication
                    .and_then(|replication| replication.get(&id).copied())
                    .flatten();
                matched.map(|log_id| log_id.index) >= metrics.last_log_index
            })
            .await;
    }
}
