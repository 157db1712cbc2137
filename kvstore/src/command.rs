//! **The log contract**: what a log entry holds, and what comes back when it is applied.
//!
//! A log entry is one [`Proposal`]: the commands that were waiting when it was made, with the
//! leader's time. Everything here is written to disk and read by later versions: fields may be
//! added with a default, never removed or given another meaning; [`FORMAT`] says which reading
//! is meant.

use std::sync::Arc;

use bytes::Bytes;
use kvapi::{Key, Revision};
use serde::{Deserialize, Serialize};

use crate::state::Entry;
use crate::state::sessions::Terms;
use crate::state::staged::Piece;

/// The format of proposals that this version writes, and the newest that it reads.
pub const FORMAT: u16 = 1;

/// One log entry: commands that are applied in order, each by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// See [`FORMAT`].
    pub format: u16,
    /// The leader's clock, milliseconds since 1970. The only time that applying ever sees.
    pub at: u64,
    /// The commands.
    pub commands: Vec<Command>,
}

impl Proposal {
    /// About how many bytes it takes in the log and in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        FRAME + self.commands.iter().map(Command::weight).sum::<usize>()
    }
}

/// What a command or an operation takes beside its texts, in bytes.
pub(crate) const FRAME: usize = 64;

/// What the list of a tree's entries takes, at most: their values are shared with the state.
const TREE: usize = 2 << 20;

/// Operations of a small transaction.
const SMALL: usize = 64;

/// One write: it takes one revision or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Asked twice with the same id, it happens once.
    pub request: Option<RequestId>,
    /// Who writes, as the client claims.
    pub author: Option<Arc<str>>,
    /// Why.
    pub message: Option<Arc<str>>,
    /// What to do.
    pub action: Action,
}

/// Without a name or a word of anybody.
impl From<Action> for Command {
    fn from(action: Action) -> Self {
        Self {
            request: None,
            author: None,
            message: None,
            action,
        }
    }
}

impl Command {
    /// Whether it is carried out soon, whatever is there: it names the few keys that it changes.
    #[must_use]
    pub fn is_small(&self) -> bool {
        match &self.action {
            Action::Put { .. }
            | Action::Delete { .. }
            | Action::Acquire { .. }
            | Action::Release { .. }
            | Action::CreateSession { .. } => true,
            Action::Txn { ops } => {
                let tree = |op: &Op| matches!(op, Op::GetTree { .. } | Op::DeleteTree { .. });
                ops.len() <= SMALL && !ops.iter().any(tree)
            }
            Action::DeletePrefix { .. }
            | Action::Keep(_)
            | Action::Compact { .. }
            | Action::Retain(_)
            | Action::EndSession { .. }
            | Action::Stage { .. }
            | Action::Restore { .. } => false,
        }
    }

    /// About how many bytes it takes until it has its answer, the answer included: of a tree that
    /// a transaction shows, nobody knows how large it is.
    #[must_use]
    pub fn burden(&self) -> usize {
        let trees = match &self.action {
            Action::Txn { ops } => ops.iter().any(|op| matches!(op, Op::GetTree { .. })),
            _ => false,
        };
        self.weight() + if trees { TREE } else { 0 }
    }

    /// About how many bytes it takes in the log and in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let note = [&self.author, &self.message]
            .into_iter()
            .flatten()
            .map(|text| text.len())
            .sum::<usize>();
        let action = match &self.action {
            Action::Put { key, value, .. } => key.as_str().len() + value.len(),
            Action::Acquire {
                key, value, session, ..
            }
            | Action::Release {
                key, value, session, ..
            } => key.as_str().len() + value.len() + session.len(),
            Action::CreateSession { id, terms } => id.len() + terms.weight(),
            Action::EndSession { id } => id.len(),
            Action::Stage { restore, piece, .. } => restore.len() + piece.weight(),
            Action::Restore { restore, .. } => restore.len(),
            Action::Delete { key, .. } => key.as_str().len(),
            Action::DeletePrefix { prefix } => prefix.len(),
            Action::Txn { ops } => ops.iter().map(Op::weight).sum(),
            Action::Keep(_) | Action::Compact { .. } | Action::Retain(_) => 0,
        };
        FRAME + note + action
    }
}

/// An id that a client or a server gives to a write; any text of at most
/// [`MAX_REQUEST_ID_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub Arc<str>);

/// The longest request id, in bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 128;

impl Action {
    /// Tells this action from every other, so that an answer is given again only to the question
    /// that it was an answer to. The id of a new session is no part of the question, nor its server,
    /// which is the one that was asked unless another is named: a question is repeated elsewhere.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        use sha2::{Digest as _, Sha256};
        let packed = |action: &Self| rmp_serde::to_vec(action).expect("our own types have a form in MessagePack");
        let bytes = match self {
            Self::CreateSession { terms, .. } => packed(&Self::CreateSession {
                id: "".into(),
                terms: Terms {
                    node: "".into(),
                    ..terms.clone()
                },
            }),
            action => packed(action),
        };
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::digest(bytes)[..16]);
        Fingerprint(half)
    }
}

/// See [`Action::fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint([u8; 16]);

/// What a command does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Stores a value; with `cas` only if the key is at that revision (0: absent).
    Put {
        key: Key,
        value: Bytes,
        flags: u64,
        cas: Option<u64>,
    },
    /// Deletes a key; with `cas` only if it is at that revision.
    Delete { key: Key, cas: Option<u64> },
    /// Deletes every key that begins with the prefix. Keyway's own keys are spared unless the
    /// prefix itself begins with theirs.
    DeletePrefix { prefix: String },
    /// Several operations: all of them or none.
    Txn { ops: Vec<Op> },
    /// Changes how much history is kept.
    Keep(Limits),
    /// Forgets the history before a revision, which can be read itself.
    Compact { revision: Revision },
    /// Both at once, and only what it names: two that are under way do not undo each other.
    Retain(Retain),
    /// Stores a value and locks the key for a session.
    Acquire {
        key: Key,
        value: Bytes,
        flags: u64,
        session: Arc<str>,
    },
    /// Stores a value and gives the key's lock up, if that session holds it.
    Release {
        key: Key,
        value: Bytes,
        flags: u64,
        session: Arc<str>,
    },
    /// Begins a session under an id that nobody has.
    CreateSession { id: Arc<str>, terms: Terms },
    /// Ends a session, and with it its hold on every key.
    EndSession { id: Arc<str> },
    /// Puts a piece of a backup aside, to be restored.
    Stage {
        /// Which restore: a name that the backup's content gives.
        restore: Arc<str>,
        /// Its place among the pieces, from 0.
        part: u64,
        piece: Arc<Piece>,
    },
    /// Has what was put aside take the place of all keys and sessions.
    Restore {
        restore: Arc<str>,
        /// How many pieces there have to be.
        parts: u64,
        /// The backup's own revision.
        newest: Revision,
    },
}

/// What is to be different about the history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retain {
    /// See [`Limits::revisions`].
    pub revisions: Option<u64>,
    /// See [`Limits::versions`].
    pub versions: Option<u64>,
    /// See [`Limits::bytes`].
    pub bytes: Option<u64>,
    /// What stands before this revision is forgotten; it can be read itself.
    pub compact_to: Option<Revision>,
}

impl Retain {
    /// The limits as they are from now on.
    #[must_use]
    pub fn limits(&self, now: Limits) -> Limits {
        Limits {
            revisions: self.revisions.unwrap_or(now.revisions),
            versions: self.versions.unwrap_or(now.versions),
            bytes: self.bytes.unwrap_or(now.bytes),
        }
    }
}

/// One operation of a transaction. Consul's verbs, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    Set {
        key: Key,
        value: Bytes,
        flags: u64,
    },
    Cas {
        key: Key,
        value: Bytes,
        flags: u64,
        index: u64,
    },
    Get {
        key: Key,
    },
    /// A missing key gives an entry made of the request's own numbers.
    GetOrEmpty {
        key: Key,
        flags: u64,
        index: u64,
        session: Option<Arc<str>>,
    },
    GetTree {
        prefix: String,
    },
    Delete {
        key: Key,
    },
    DeleteCas {
        key: Key,
        index: u64,
    },
    DeleteTree {
        prefix: String,
    },
    CheckIndex {
        key: Key,
        index: u64,
    },
    CheckNotExists {
        key: Key,
    },
    /// Whether the key is there and held by this session; the empty one means by none.
    CheckSession {
        key: Key,
        session: Arc<str>,
    },
    /// As [`Action::Acquire`].
    Lock {
        key: Key,
        value: Bytes,
        flags: u64,
        session: Arc<str>,
    },
    /// As [`Action::Release`].
    Unlock {
        key: Key,
        value: Bytes,
        flags: u64,
        session: Arc<str>,
    },
}

impl Op {
    /// Whether the operation can change anything; a transaction without such is a read.
    #[must_use]
    pub const fn writes(&self) -> bool {
        match self {
            Self::Set { .. }
            | Self::Cas { .. }
            | Self::Lock { .. }
            | Self::Unlock { .. }
            | Self::Delete { .. }
            | Self::DeleteCas { .. }
            | Self::DeleteTree { .. } => true,
            Self::Get { .. }
            | Self::GetOrEmpty { .. }
            | Self::GetTree { .. }
            | Self::CheckIndex { .. }
            | Self::CheckNotExists { .. }
            | Self::CheckSession { .. } => false,
        }
    }
}

impl Op {
    fn weight(&self) -> usize {
        FRAME
            + match self {
                Self::Set { key, value, .. } | Self::Cas { key, value, .. } => key.as_str().len() + value.len(),
                Self::Lock {
                    key, value, session, ..
                }
                | Self::Unlock {
                    key, value, session, ..
                } => key.as_str().len() + value.len() + session.len(),
                Self::Get { key }
                | Self::GetOrEmpty { key, .. }
                | Self::Delete { key }
                | Self::DeleteCas { key, .. }
                | Self::CheckIndex { key, .. }
                | Self::CheckNotExists { key } => key.as_str().len(),
                Self::CheckSession { key, session } => key.as_str().len() + session.len(),
                Self::GetTree { prefix } | Self::DeleteTree { prefix } => prefix.len(),
            }
    }
}

/// How much history is kept. Replicated, so that every server keeps the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// All versions of this many of the newest revisions.
    pub revisions: u64,
    /// And this many of the newest versions of each key.
    pub versions: u64,
    /// And never more than this, keys and values together.
    pub bytes: u64,
}

impl Limits {
    /// What a client may ask for. A key that changes all the time has a list of its revisions, which
    /// is copied now and then; and all of the history is in memory.
    pub const MOST: Self = Self {
        revisions: 1_000_000,
        versions: 10_000,
        bytes: 16 << 30,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            revisions: 10_000,
            versions: 10,
            bytes: 256 << 20,
        }
    }
}

/// What a command answers. Remembered with its request id, so it is part of the format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The revision that the command took; the store's, if it changed nothing.
    pub revision: Revision,
    /// What came of it.
    pub outcome: Outcome,
}

/// See [`Reply`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Whether it was carried out: `false` is a compare-and-swap that lost.
    Done(bool),
    /// A transaction went through; what its operations show, in order.
    Shown(Vec<(Key, Arc<Entry>)>),
    /// A transaction failed and changed nothing: which operations, and Consul's words for why.
    Failed(Vec<(usize, String)>),
    /// The request id was used for another action before. Nothing was done.
    RequestReused,
    /// What is left of an answer that was too large to be remembered.
    Forgotten {
        /// Whether it was carried out; else it failed and changed nothing.
        done: bool,
    },
    /// A single write failed and changed nothing: Consul's words for why.
    Refused(String),
    /// The session of this id was created.
    Session(Arc<str>),
}

impl Reply {
    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        FRAME
            + match &self.outcome {
                Outcome::Done(_) | Outcome::RequestReused | Outcome::Forgotten { .. } => 0,
                Outcome::Shown(entries) => entries.iter().map(|(key, entry)| shown_weight(key, entry)).sum(),
                Outcome::Refused(what) => what.len(),
                Outcome::Session(id) => id.len(),
                Outcome::Failed(failed) => failed.iter().map(|(_, what)| FRAME + what.len()).sum(),
            }
    }
}

/// About how many bytes an entry takes in an answer.
pub(crate) fn shown_weight(key: &Key, entry: &Entry) -> usize {
    FRAME + key.as_str().len() + entry.value.len()
}
