//! What a person is told when something fails, and the exit codes: one table for `keyway` and
//! `keyway-agent`.

use std::fmt;

use crate::client;
use crate::codes::{self, Code};
use crate::types::header;

/// Exit codes of both programs. A child's own code and 128+n are passed through beside these.
pub mod exit {
    /// Done, or nothing to do.
    pub const OK: u8 = 0;
    /// The answer is no: no such key, there are differences.
    pub const NO: u8 = 1;
    /// Wrong usage.
    pub const USAGE: u8 = 2;
    /// Input is invalid: a template, a configuration, a value.
    pub const INVALID: u8 = 3;
    /// Not allowed.
    pub const DENIED: u8 = 4;
    /// Someone else was faster: a compare-and-swap lost.
    pub const CONFLICT: u8 = 5;
    /// Nobody answers or nobody leads; nothing was done, try again.
    pub const UNAVAILABLE: u8 = 6;
    /// A change failed and was rolled back.
    pub const ROLLED_BACK: u8 = 7;
    /// A change failed and was left as it is, or its outcome is unknown.
    pub const LEFT: u8 = 8;
    /// A bug of ours.
    pub const BUG: u8 = 70;
    /// A timeout passed.
    pub const TIMEOUT: u8 = 124;
    /// The agent failed before the child started.
    pub const AGENT: u8 = 125;
    /// The child's program cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The child's program was not found.
    pub const NOT_FOUND: u8 = 127;
}

/// A failure as it is told: what happened and what to do. Shown as
///
/// ```text
/// error[E0201]: no such key `app/prot`
///   help: did you mean `app/port`?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The exit code, from [`exit`].
    pub code: u8,
    /// The kind of failure, if it is one that is explained.
    pub id: Option<&'static str>,
    /// What happened, with the place and the value in it; lower case, no full stop.
    pub what: String,
    /// What to do, best first.
    pub help: Vec<String>,
}

impl Problem {
    /// A problem without a remedy yet; add it with [`Problem::help`].
    pub fn new(code: u8, what: impl Into<String>) -> Self {
        Self {
            code,
            id: None,
            what: what.into(),
            help: Vec::new(),
        }
    }

    /// A problem of a kind that is explained.
    pub fn of(kind: &Code, what: impl Into<String>) -> Self {
        Self {
            id: Some(kind.id),
            ..Self::new(kind.exit, what)
        }
    }

    /// Adds a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "error[{id}]: {}", self.what)?,
            None => write!(f, "error: {}", self.what)?,
        }
        for help in &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<client::Error> for Problem {
    fn from(error: client::Error) -> Self {
        use client::Error;
        let what = error.to_string();
        match error {
            Error::Unavailable { .. } => Self::of(&codes::UNAVAILABLE, what)
                .help("nothing was done; is the server running? Start one with `keyway dev`, or name it with --addr or KEYWAY_ADDR"),
            Error::Unknown(_) => Self::of(&codes::UNKNOWN_OUTCOME, what).help("read the key before you repeat the write"),
            Error::Timeout { .. } => Self::of(&codes::TIMED_OUT, what).help("give it longer with --timeout"),
            Error::Refused { status, ref text } => {
                let kind = match status.as_u16() {
                    401 | 403 => &codes::DENIED,
                    409 => &codes::CHANGED,
                    413 => &codes::TOO_LARGE,
                    429 | 500.. => &codes::UNAVAILABLE,
                    _ => &codes::REFUSED,
                };
                let problem = Self::of(kind, what);
                match status.as_u16() {
                    413 => problem.help("other limits are given to the server: --max-value-size, --max-txn-size, --max-txn-ops"),
                    // The server knows the header, and people the flag.
                    400 if text.contains(header::MESSAGE) => problem.help("say it in fewer words with -m"),
                    400 if text.contains(header::AUTHOR) => {
                        problem.help("give a shorter name with --author or KEYWAY_AUTHOR")
                    }
                    // Consul's manner: without a word.
                    400 if text.is_empty() => {
                        problem.help("a path carries no character that does not print, such as a line break in a key")
                    }
                    _ => problem,
                }
            }
            Error::Ended { done: true, .. } => {
                Self::new(exit::LEFT, what).help("do not repeat it; read what it would have shown")
            }
            Error::Ended { done: false, .. } => {
                Self::of(&codes::CHANGED, what).help("read the keys that it names, and try again")
            }
            Error::Compacted { oldest, .. } => Self::of(&codes::COMPACTED, what).help(format!(
                "read at revision {oldest} or later; how much is kept is shown and changed at /v1/history"
            )),
            Error::BadAnswer { .. } => {
                Self::of(&codes::BAD_ANSWER, what).help("is a Keyway or Consul server listening at this address?")
            }
        }
    }
}
