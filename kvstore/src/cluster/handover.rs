//! The leader makes another server lead.
//!
//! openraft 0.9 has no such thing, but all that is needed. The leader decides nothing more, waits until the
//! other one has all of its log, and falls silent. Once the others have not heard of it for the length of
//! its lease they may vote for another, and before they do so by themselves, the one that was chosen is told
//! to stand. Writes and reads wait meanwhile, as through an election, and are then taken to the new leader.

use std::cmp::Reverse;
use std::time::Duration;

use super::Cluster;
use crate::clock;
use crate::members::Member;
use crate::peer::ask::{Ask, Told};

/// How long the other one may take to have the whole log, of servers near each other.
const CATCH_UP: Duration = Duration::from_millis(300);

/// What the lease may seem to last longer to others: messages are under way.
const UNDER_WAY: Duration = Duration::from_millis(20);

/// How long an election may take, of servers near each other, and how often one is held: a vote may come a moment
/// before the lease is over.
const ELECTION: Duration = Duration::from_millis(200);
const ELECTIONS: usize = 3;

impl Cluster {
    /// Before the server stops: hands over, if there is somebody to hand over to. It waits for nothing that only a
    /// majority can give, since there may be none.
    pub(crate) async fn step_down(&self) {
        let turn = clock::timeout(self.near(CATCH_UP), self.turn.lock()).await;
        let told = match &turn {
            Ok(_) => self.hand_over(None).await,
            Err(_) => Told::Refused("the members are being changed".into()),
        };
        if !matches!(told, Told::Transferred(_)) {
            tracing::warn!(?told, "nobody has taken over; the others elect a leader by themselves");
        }
    }

    /// Hands over to a server, or to the one that has most of the log. [`Told::NotLeader`] if it has come to nothing
    /// and may be tried again.
    pub(super) async fn hand_over(&self, to: Option<u64>) -> Told {
        let me = self.links.me().id;
        let mut others: Vec<Member> = self
            .members
            .all()
            .servers
            .into_iter()
            .filter(|other| other.votes && other.id != me)
            .collect();
        if to == Some(me) {
            return Told::Transferred(me);
        }
        others.retain(|other| to.is_none_or(|to| other.id == to));
        others.sort_by_key(|other| Reverse(other.last_index));
        if others.is_empty() {
            return Told::Refused(to.map_or_else(
                || "cannot find peer".to_owned(),
                |to| format!("server {to} does not vote in this cluster, and cannot lead it"),
            ));
        }
        let Some(chosen) = self.first_that_answers(&others).await else {
            return Told::Refused("no server answers that could lead".to_owned());
        };
        // From here on nothing is decided, until it is dropped.
        let handing_over = self.leadership.hand_over();
        if clock::timeout(self.near(CATCH_UP), self.has_all(chosen)).await.is_err() {
            tracing::info!(to = chosen, "a server is behind, and cannot lead yet");
            return Told::NotLeader;
        }
        handing_over.fall_silent();
        clock::sleep(self.pace.lease() + self.near(UNDER_WAY)).await;
        for _ in 0..ELECTIONS {
            if let Err(error) = self
                .links
                .ask(chosen, &Ask::Stand { anyway: true }, self.near(ELECTION))
                .await
            {
                tracing::warn!(%error, "a server was to stand for election");
            }
            if let Ok(Some(leader)) = clock::timeout(self.near(ELECTION), self.leadership.passes()).await {
                tracing::info!(to = leader, "another server leads now");
                return Told::Transferred(leader);
            }
        }
        tracing::info!(to = chosen, "a server was not elected in time");
        Told::NotLeader
    }

    /// What takes so long among servers near each other.
    fn near(&self, time: Duration) -> Duration {
        time * u32::from(self.pace.multiplier())
    }

    /// One that is dead or stands still has as much of the log as ever.
    async fn first_that_answers(&self, others: &[Member]) -> Option<u64> {
        for other in others {
            if self.links.ask(other.id, &Ask::Here, self.near(CATCH_UP)).await.is_ok() {
                return Some(other.id);
            }
        }
        None
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
