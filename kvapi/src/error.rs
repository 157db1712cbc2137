//! Why a request has no answer.

use std::time::Duration;

use http::StatusCode;

use crate::address::Address;
use crate::types::Revision;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody could be asked, or nobody leads. Nothing was done; try again.
    #[error("{reason}{}", tried(addresses))]
    Unavailable {
        /// The addresses tried.
        addresses: Vec<Address>,
        /// What the last one said, with its address.
        reason: String,
    },
    /// A write was sent and its answer was lost: it may have happened. Read before repeating.
    #[error("the write may or may not have happened: {0}")]
    Unknown(String),
    /// No answer within the timeout, to something that changes nothing.
    #[error("no answer from {} within {}{}", names(addresses), crate::duration::format(*after), before(last.as_deref()))]
    Timeout {
        /// The addresses tried.
        addresses: Vec<Address>,
        /// The timeout.
        after: Duration,
        /// What the last try but one said.
        last: Option<String>,
    },
    /// The server refused. Repeating will not help.
    #[error("the server answered {status}{}", said(text))]
    Refused {
        /// The status.
        status: StatusCode,
        /// The body, as text.
        text: String,
    },
    /// A write whose answer was lost was sent again, and its end is known, but what it showed was too large for
    /// the server to remember.
    #[error("{}", ended(*done, *revision))]
    Ended {
        /// Whether it was carried out, once; else it changed nothing.
        done: bool,
        /// The revision that it took, or found if it changed nothing.
        revision: Option<Revision>,
    },
    /// What was asked for is no longer kept. A later revision can be read.
    #[error("revision {asked} is no longer kept; the oldest kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can be read.
        oldest: Revision,
    },
    /// The answer is not what the API says. Is it a Keyway server?
    #[error("{address} gave an answer that does not fit: {reason}")]
    BadAnswer {
        /// Who answered.
        address: Address,
        /// What is wrong with it.
        reason: String,
    },
}

fn names(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The list of addresses, where there is more than the one that the reason names.
fn tried(addresses: &[Address]) -> String {
    match addresses {
        [_] => String::new(),
        several => format!(" (the last of {})", names(several)),
    }
}

fn ended(done: bool, revision: Option<Revision>) -> String {
    let what = if done {
        "the write was carried out, once"
    } else {
        "nothing was done"
    };
    let at = revision.map_or_else(String::new, |revision| format!(", at revision {revision}"));
    format!("{what}{at}; the connection broke off before the answer came, and it was too large to be given again")
}

/// The server's words, if it had any.
fn said(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

/// What the last try said, for the message of a timeout.
fn before(last: Option<&str>) -> String {
    last.map_or_else(String::new, |last| format!("; before that: {last}"))
}
