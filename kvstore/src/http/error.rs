//! Why a request is refused: a status and a plain text, as Consul's clients expect them.
//!
//! Clients repeat a request that got 500, and only that: so having no leader is 500, never 503.

use std::borrow::Cow;

use http::StatusCode;
use kvapi::Revision;
use kvapi::key::BadKey;

use crate::batch::ProposeError;
use crate::read::ReadError;
use crate::state::Unreadable;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) status: StatusCode,
    pub(super) text: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) refusal: Option<Refusal>,
}

/// What there was too much of, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Bytes of bodies that are being read.
    Bodies,
    /// Time that a body took.
    SlowBody,
    /// Bytes of answers that nobody takes.
    Answers,
    /// Writes that wait.
    Writes,
    /// Reads that wait.
    Reads,
    /// Keys and prefixes that are watched.
    Watches,
    /// Bytes on the disk.
    Disk,
}

impl Refusal {
    /// All of them, by their names, in the order above.
    pub(super) const NAMES: [&'static str; 7] =
        ["bodies", "slow_body", "answers", "writes", "reads", "watches", "disk"];
}

/// What an answer says besides status and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// The write may have happened.
    Unknown,
    /// The connection is of no use any more.
    Close,
    /// Without even a content type, as Consul refuses unprintable paths.
    Bare,
    /// The methods that are allowed.
    Allow(&'static str),
    /// The oldest revision that can be read.
    Oldest(Revision),
    /// How a write ended whose answer is forgotten, and at which revision.
    Ended {
        done: bool,
        revision: Revision,
    },
}

impl Error {
    pub(super) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            text: text.into(),
            kind: Kind::Plain,
            refusal: None,
        }
    }

    #[must_use]
    pub(super) fn refusal(self, refusal: Refusal) -> Self {
        Self {
            refusal: Some(refusal),
            ..self
        }
    }

    /// 400.
    pub(super) fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 403.
    pub(super) fn forbidden(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// 500, for what Consul does not count among bad requests.
    pub(super) fn internal(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    #[must_use]
    pub(super) fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Why a revision cannot be read.
    pub(super) fn unreadable(revision: Revision, reason: Unreadable) -> Self {
        match reason {
            Unreadable::Gone { oldest } => Self::new(
                StatusCode::GONE,
                format!("revision {revision} is no longer kept; the oldest kept is {oldest}"),
            )
            .kind(Kind::Oldest(oldest)),
            Unreadable::Ahead { newest } => Self::bad(format!(
                "revision {revision} has not been taken yet; the newest is {newest}"
            )),
        }
    }

    pub(super) fn no_leader() -> Self {
        Self::internal("No cluster leader")
    }
}

impl From<ProposeError> for Error {
    fn from(error: ProposeError) -> Self {
        match error {
            // Another server may take it: to a client a stopping server has no leader.
            ProposeError::NoLeader | ProposeError::Stopping => Self::no_leader(),
            ProposeError::Unknown(_) => Self::internal(error.to_string()).kind(Kind::Unknown),
            ProposeError::Overloaded => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).refusal(Refusal::Writes)
            }
            ProposeError::NoRoom(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()).refusal(Refusal::Disk)
            }
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoLeader | ReadError::Stopping => Self::no_leader(),
            ReadError::Overloaded => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).refusal(Refusal::Reads)
            }
        }
    }
}

impl From<BadKey> for Error {
    fn from(error: BadKey) -> Self {
        match error {
            BadKey::Empty => Self::bad("Missing key name"),
            BadKey::TooLong(_) => Self::bad(error.to_string()),
        }
    }
}
