//! What a server does for the others, and has them do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};

use super::Node;
use crate::clock;
use crate::cluster::ChangeError;
use crate::command::Command;
use crate::leadership::Leader;
use crate::members::Member;
use crate::peer::ask::{Applicant, Ask, Standing, Told};
use crate::peer::{decode, encode};
use crate::raft::{Snapshot, TypeConfig, Vote};
use crate::read::ReadError;
use crate::store::{SnapshotFile, blocking};

/// How soon a leader is asked again.
const AGAIN: Duration = Duration::from_millis(20);

/// Of the other servers.
impl Node {
    /// An error while this server is not a member yet.
    pub(crate) fn must_be_member(&self) -> Result<(), String> {
        let admitted = self.inner.admitted.load(Ordering::SeqCst);
        admitted
            .then_some(())
            .ok_or_else(|| "this server is no member yet".to_owned())
    }

    /// Raft: entries, or a heartbeat.
    pub(crate) async fn append(&self, request: &[u8]) -> Result<Bytes, String> {
        let request: AppendEntriesRequest<TypeConfig> = decode(request)?;
        // Now, since the disk may take its time.
        if request.vote >= self.inner.raft.server_metrics().borrow().vote {
            self.inner.contact.heard();
        }
        let answer = self.inner.raft.append_entries(request).await;
        if matches!(&answer, Ok(answer) if !matches!(answer, AppendEntriesResponse::HigherVote(_))) {
            self.inner.contact.heard();
        }
        Ok(encode(&answer))
    }

    /// Raft: a server stands for election.
    pub(crate) async fn vote(&self, request: &[u8]) -> Result<Bytes, String> {
        let request: VoteRequest<u64> = decode(request)?;
        let answer = self.inner.raft.vote(request).await;
        if answer.as_ref().is_ok_and(|answer| answer.vote_granted) {
            self.inner.contact.voted();
        }
        Ok(encode(&answer))
    }

    /// A file for a snapshot that comes.
    pub(crate) async fn begin_receiving(&self) -> Result<SnapshotFile, String> {
        let file = self.inner.raft.begin_receiving_snapshot().await;
        file.map(|file| *file).map_err(|e| e.to_string())
    }

    /// Raft: a snapshot that has come. A damaged one is refused before anything rests on it.
    pub(crate) async fn install(&self, vote: Vote, snapshot: Snapshot) -> Result<Bytes, String> {
        let file = SnapshotFile::clone(&snapshot.snapshot);
        blocking(move || file.check()).await.map_err(|e| e.to_string())?;
        tracing::info!(snapshot = %snapshot.meta.snapshot_id, "a snapshot of another server is taken over");
        self.inner.contact.heard();
        Ok(encode(&self.inner.raft.install_full_snapshot(vote, snapshot).await))
    }

    /// What is asked beside that.
    pub(crate) async fn told(&self, ask: Ask) -> Told {
        match ask {
            Ask::Propose { commands } => self.carry_out(commands).await,
            Ask::ReadIndex => match self.inner.reads.index().await {
                Ok(Some(index)) => Told::ReadIndex(index),
                Ok(None) | Err(_) => Told::NotLeader,
            },
            // Whoever was told that a session has ended must not be able to renew it.
            Ask::Renew { session } => match self.inner.reads.index().await {
                Ok(Some(_)) => Told::Renewed(self.inner.expiry.renew(&session)),
                Ok(None) | Err(_) => Told::NotLeader,
            },
            Ask::Here => Told::Done,
            Ask::Standing => Told::Standing(self.standing()),
            Ask::Opinion => Told::Opinion(self.inner.candidacy.opinion()),
            // Who asked may have done so long ago, if this server stood still.
            Ask::Stand { anyway: false } if !self.inner.candidacy.opinion().leaderless => {
                Told::Refused("a leader is heard of here".into())
            }
            Ask::Stand { .. } => match self.inner.raft.trigger().elect().await {
                Ok(()) => Told::Done,
                Err(e) => Told::Refused(e.to_string()),
            },
            Ask::Have { .. } => Told::Refused("it is not asked for here".into()),
            ask @ (Ask::Admit(_) | Ask::Remove { .. } | Ask::Transfer { .. }) => self.inner.cluster.lead(ask).await,
        }
    }

    /// Writes that another server forwards: one hop, so only while this one leads.
    async fn carry_out(&self, commands: Vec<Command>) -> Told {
        if !self.inner.leadership.is_mine() {
            return Told::NotLeader;
        }
        let writes = commands.into_iter().map(|command| self.propose(command));
        Told::Proposed(join_all(writes).await)
    }
}

/// To the other servers.
impl Node {
    /// The client of a session is there, so the session has its full time again. `false` if it came too
    /// late.
    pub async fn renew_session(&self, id: &str) -> Result<bool, ReadError> {
        let deadline = clock::now() + self.inner.leadership.hold();
        loop {
            match self.inner.leadership.known(deadline).await {
                None => return Err(ReadError::NoLeader),
                Some(Leader::Me) => return Ok(self.inner.expiry.renew(id)),
                Some(Leader::Other(leader)) => {
                    let ask = Ask::Renew { session: id.into() };
                    let limit = deadline.saturating_duration_since(clock::now());
                    let asked = self.inner.links.ask(leader, &ask, limit);
                    let answer = self.inner.leadership.while_led_by(leader, asked).await;
                    if let Some(Ok(Told::Renewed(renewed))) = answer {
                        return Ok(renewed);
                    }
                }
            }
            if clock::now() >= deadline {
                return Err(ReadError::NoLeader);
            }
            clock::sleep(AGAIN).await;
        }
    }

    /// How this server stands.
    fn standing(&self) -> Standing {
        let status = self.status();
        Standing {
            term: status.term,
            last_index: self.log_index(),
            contact_ms: status.last_contact_ms,
            started_ms: self.started_ms(),
        }
    }

    /// How a server stands, if it says so within the limit.
    pub async fn standing_of(&self, member: &Member, limit: Duration) -> Option<Standing> {
        if member.id == self.inner.node_id {
            return Some(self.standing());
        }
        self.inner.links.learn(member.id, &member.node);
        match self.inner.links.ask(member.id, &Ask::Standing, limit).await {
            Ok(Told::Standing(standing)) => Some(standing),
            _ => None,
        }
    }

    /// Lets a server be a member, or be found where it is.
    pub async fn admit(&self, applicant: Applicant) -> Result<(), ChangeError> {
        self.inner.cluster.change(Ask::Admit(applicant)).await.map(drop)
    }

    /// Has a server be a member no more, for ever.
    pub async fn remove_server(&self, server: u64) -> Result<(), ChangeError> {
        self.inner.cluster.change(Ask::Remove { server }).await.map(drop)
    }

    /// Has another server lead: this one, or the one that has most of the log. Who leads then.
    pub async fn transfer_leader(&self, to: Option<u64>) -> Result<u64, ChangeError> {
        match self.inner.cluster.change(Ask::Transfer { to }).await? {
            Told::Transferred(leader) => Ok(leader),
            told => Err(ChangeError::Unknown(format!("the leader answers {told:?}"))),
        }
    }

    /// Before the server stops: has another one lead, if it leads itself and there is one.
    pub async fn step_down(&self) {
        if !self.inner.leadership.is_held() || self.inner.leadership.is_alone() {
            return;
        }
        self.inner.cluster.step_down().await;
    }
}
