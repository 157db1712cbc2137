//! **The contract of peers**: what one server asks of another beside Raft's own messages, and is told.
//!
//! It goes between servers of one cluster that may be a version apart while they are brought up to date:
//! variants may be added, never changed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::ProposeError;
use crate::command::{Command, Reply};
use crate::raft::{LogId, Node};

/// A server that wants to be a member, or to be found where it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applicant {
    /// Its number.
    pub id: u64,
    /// Its data folder.
    pub instance: String,
    /// The cluster that the folder is of.
    pub cluster: String,
    pub node: Node,
}

/// What one asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Ask {
    /// Of the leader: to carry out writes, each of which has a request id.
    Propose { commands: Vec<Command> },
    /// Of the leader: up to which log index a read that comes now has to see.
    ReadIndex,
    /// Of the leader: to give a session its full time again.
    Renew { session: Arc<str> },
    /// Of the leader: to be a member.
    Admit(Applicant),
    /// Of the leader: that a server be a member no more.
    Remove { server: u64 },
    /// Of the leader: to hand over to another.
    Transfer { to: Option<u64> },
    /// Of anybody: to know where the one that asks is, which it says with every request.
    Here,
    /// Of a follower: to stand for election now, if it is without a leader, or anyway.
    Stand { anyway: bool },
    /// Of a follower: how much of this snapshot it has already.
    Have { snapshot: String },
    /// Of anybody: how it stands.
    Standing,
    /// Of a server that votes: whether it is without a leader, and how much of the log it has.
    Opinion,
}

/// How a server stands, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub term: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// Milliseconds since it heard of the leader.
    pub contact_ms: u64,
    /// When it was started, milliseconds since 1970.
    pub started_ms: u64,
}

/// How a server sees that no leader is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// Whether it would have one elected.
    pub leaderless: bool,
    /// Whether it could be elected: one that leads stands for nothing, also if no majority answers it.
    pub follows: bool,
    /// The last entry of its log.
    pub log: Option<LogId>,
}

/// What one is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Told {
    Proposed(Vec<Result<Reply, ProposeError>>),
    ReadIndex(u64),
    /// `false` if the session is over.
    Renewed(bool),
    Done,
    /// Who leads now.
    Transferred(u64),
    Have(u64),
    Standing(Standing),
    Opinion(Opinion),
    /// It does not lead, or not any more. Nothing was done.
    NotLeader,
    /// Nothing was done, for this reason, and asking again will not help.
    Refused(String),
    /// What was asked may or may not have been done.
    Unknown(String),
}
