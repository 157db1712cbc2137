//! Who is in the cluster, and how that changes at run time.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`roster`] | who may be a member, who may speak; pure |
//! | `membership` | Raft's membership: learners, voters, addresses |
//! | `handover` | the leader makes another one lead |
//! | `joining` | a new server finds its cluster; one that has moved says so |
//!
//! Whatever server is asked, the leader decides. A new server is a learner until it has caught up, and only
//! then votes: which is looked after by whoever leads, so that a leader's death in between leaves nobody behind.

mod handover;
pub(crate) mod joining;
mod membership;
pub mod roster;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex as Turn;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batcher, ProposeError};
use crate::clock;
use crate::command::{Action, Command};
use crate::leadership::{Leader, Leadership};
use crate::peer::ask::{Applicant, Ask, Told};
use crate::peer::links::{Links, PeerError};
use crate::raft::Pace;
use crate::read::Reads;
use crate::state::State;
use membership::Membership;
use roster::{Admission, Record};

/// How long a change of members may take.
const CHANGE: Duration = Duration::from_secs(10);

/// How soon a leader is asked again, and how often learners are looked at.
const AGAIN: Duration = Duration::from_millis(100);

/// Why the members were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Nothing was done.
    #[error("no cluster leader")]
    NoLeader,
    /// Nothing was done, and asking again will not help.
    #[error("{0}")]
    Refused(String),
    /// It may or may not have been done.
    #[error("it may or may not have been done: {0}; look with `keyway cluster status`")]
    Unknown(String),
}

/// See the module. Clones are the same.
#[derive(Clone)]
pub(crate) struct Cluster {
    leadership: Leadership,
    links: Links,
    reads: Reads,
    batcher: Batcher,
    members: Membership,
    pace: Pace,
    /// One change at a time.
    turn: Arc<Turn<()>>,
}

impl Cluster {
    pub(crate) fn new(leadership: Leadership, links: Links, reads: Reads, batcher: Batcher, pace: Pace) -> Self {
        Self {
            members: Membership::new(leadership.raft().clone()),
            leadership,
            links,
            reads,
            batcher,
            pace,
            turn: Arc::default(),
        }
    }

    /// Has the leader change something, wherever that is.
    pub(crate) async fn change(&self, ask: Ask) -> Result<Told, ChangeError> {
        let deadline = clock::now() + CHANGE;
        let mut maybe = None;
        loop {
            let told = match self.leadership.known(deadline).await {
                None => return Err(maybe.map_or(ChangeError::NoLeader, ChangeError::Unknown)),
                Some(Leader::Me) => Ok(self.lead(ask.clone()).await),
                Some(Leader::Other(id)) => {
                    let limit = deadline.saturating_duration_since(clock::now());
                    self.links.ask(id, &ask, limit).await
                }
            };
            match told {
                Ok(Told::Refused(reason)) => return Err(ChangeError::Refused(reason)),
                Ok(Told::Unknown(reason)) => maybe = Some(reason),
                Ok(Told::NotLeader) | Err(PeerError::Unreachable { .. } | PeerError::Refused { .. }) => {}
                Ok(told) => return Ok(told),
                Err(error @ PeerError::Lost { .. }) => maybe = Some(error.to_string()),
            }
            if clock::now() >= deadline {
                return Err(maybe.map_or(ChangeError::NoLeader, ChangeError::Unknown));
            }
            clock::sleep(AGAIN).await;
        }
    }

    /// As the leader: changes something, to its end, also if who asked goes away: a change of members has two steps.
    pub(crate) async fn lead(&self, ask: Ask) -> Told {
        let this = self.clone();
        let changed = tokio::spawn(async move { this.carry_out(ask).await }).await;
        changed.unwrap_or_else(|e| Told::Unknown(e.to_string()))
    }

    async fn carry_out(&self, ask: Ask) -> Told {
        if !self.leadership.is_mine() {
            return Told::NotLeader;
        }
        let _turn = self.turn.lock().await;
        // What was decided by the leader before must be seen.
        let Ok(state) = self.reads.linearizable().await else {
            return Told::NotLeader;
        };
        match ask {
            Ask::Admit(applicant) => self.admit(&state, applicant).await,
            Ask::Remove { server } => self.remove(server).await,
            Ask::Transfer { to } => self.hand_over(to).await,
            ask => Told::Refused(format!("a leader is not asked for {ask:?}")),
        }
    }

    async fn admit(&self, state: &State, applicant: Applicant) -> Told {
        let id = applicant.id;
        let (me, nodes) = (self.links.me(), self.members.nodes());
        let record = roster::entry(state, id);
        let admission = match roster::admit(&applicant, &me.cluster, &nodes, record.as_ref()) {
            Ok(admission) => admission,
            Err(refusal) => return Told::Refused(refusal.to_string()),
        };
        // The leader's own record is written with the first other one.
        let mut records = vec![(me.id, me.instance.clone())];
        if id != me.id {
            records.push((id, applicant.instance.clone()));
        }
        self.links.hear(id, &applicant.node);
        let changed = match admission {
            Admission::Known => Ok(()),
            Admission::Moved => self.members.move_to(id, applicant.node).await,
            Admission::New => {
                tracing::info!(server = id, at = %applicant.node, "a server joins");
                self.members.learn(id, applicant.node).await
            }
        };
        if let Err(told) = changed {
            return told;
        }
        if id == me.id {
            // It has moved, and perhaps it is alone: nobody has to be told from anybody.
            return Told::Done;
        }
        for (server, instance) in records {
            if roster::entry(state, server).is_none()
                && let Err(told) = self
                    .record(
                        server,
                        &Record {
                            instance,
                            removed: false,
                        },
                    )
                    .await
            {
                return told;
            }
        }
        Told::Done
    }

    async fn remove(&self, server: u64) -> Told {
        let me = self.links.me().id;
        let members = self.members.all();
        let Some(found) = members.get(server) else {
            return Told::Refused(format!("server {server} is not a member of this cluster"));
        };
        let voters = members.servers.iter().filter(|member| member.votes).count();
        if found.votes && voters == 1 {
            return Told::Refused(format!(
                "server {server} is the only one that votes, and cannot be removed"
            ));
        }
        if server == me {
            // Who comes to lead does the rest.
            return match self.hand_over(None).await {
                Told::Transferred(_) => Told::NotLeader,
                told => told,
            };
        }
        if let Err(told) = self.members.remove(server).await {
            return told;
        }
        tracing::info!(server, "a server was removed");
        self.mark_removed().await.map_or_else(|told| told, |()| Told::Done)
    }

    /// Writes into the roster who is a member no more.
    async fn mark_removed(&self) -> Result<(), Told> {
        let Ok(state) = self.reads.linearizable().await else {
            return Err(Told::Unknown("the leader changed".into()));
        };
        let nodes = self.members.nodes();
        let gone: Vec<_> = roster::all(&state)
            .filter(|(server, record)| !record.removed && !nodes.contains_key(server))
            .collect();
        for (server, record) in gone {
            self.record(
                server,
                &Record {
                    removed: true,
                    ..record
                },
            )
            .await?;
        }
        Ok(())
    }

    async fn record(&self, server: u64, record: &Record) -> Result<(), Told> {
        let value = serde_json::to_vec(record).expect("a text and a flag have a JSON form");
        let action = Action::Put {
            key: kvapi::Key::new(roster::key(server)).expect("a short key"),
            value: value.into(),
            flags: 0,
            cas: None,
        };
        let command = Command::from(action);
        self.batcher.propose(command).await.map(drop).map_err(|e| match e {
            ProposeError::NoLeader | ProposeError::Stopping => Told::NotLeader,
            e => Told::Unknown(e.to_string()),
        })
    }

    /// While this server leads: learners that have caught up are made to vote, and who was removed is
    /// written down, in case that the leader before could not.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let work = async {
            while self.leadership.begins().await {
                tokio::select! {
                    () = self.look_after_members() => {}
                    () = self.leadership.ends() => {}
                }
            }
        };
        stopping.run_until_cancelled(work).await;
    }

    async fn look_after_members(&self) {
        loop {
            let members = self.members.all();
            let learners = members.servers.iter().any(|member| !member.votes);
            if learners {
                let _turn = self.turn.lock().await;
                self.members.promote().await;
            } else {
                let _turn = self.turn.lock().await;
                let _ = self.mark_removed().await;
            }
            if learners {
                clock::sleep(AGAIN).await;
            } else {
                self.members.changed(&members).await;
            }
        }
    }
}
