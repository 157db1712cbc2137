//! One request on its way through a handler.

use http::{HeaderMap, HeaderValue, StatusCode};

use super::answer::{Answer, Freshness};
use super::caller::{Caller, message, request_id};
use super::error::{Error, Kind};
use super::golang::Query;
use super::params::Consistency;
use crate::command::{Action, Command, Outcome, Reply};
use crate::node::Node;

/// See the module.
pub(super) struct Call {
    pub(super) node: Node,
    pub(super) caller: Caller,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
}

impl Call {
    /// Whether JSON is to be indented.
    pub(super) fn pretty(&self) -> bool {
        self.query.has("pretty")
    }

    /// Carries out a write, once if it is asked twice.
    pub(super) async fn propose(&self, action: Action) -> Result<Reply> {
        self.propose_saying(action, || None).await
    }

    /// The same, with what the history is told if the client does not say why.
    pub(super) async fn propose_saying(&self, action: Action, why: impl FnOnce() -> Option<String>) -> Result<Reply> {
        let command = Command {
            request: request_id(&self.headers)?,
            author: self.caller.author.clone(),
            message: message(&self.headers)?.or_else(|| why().map(Into::into)),
            action,
        };
        let reply = self.node.propose(command).await?;
        match reply.outcome {
            Outcome::RequestReused => {
                let text = "the request id was used for another write before; give every write an id of its own";
                Err(Error::new(StatusCode::UNPROCESSABLE_ENTITY, text))
            }
            Outcome::Forgotten { done } => {
                let revision = reply.revision;
                let what = if done {
                    "was carried out, once"
                } else {
                    "failed and changed nothing"
                };
                let text = format!(
                    "the write {what}, at revision {revision}; its answer was too large to be remembered: \
                     read what it would have shown"
                );
                Err(Error::new(StatusCode::GONE, text).kind(Kind::Ended { done, revision }))
            }
            _ => Ok(reply),
        }
    }

    /// How fresh a read of this kind is.
    pub(super) fn freshness(&self, consistency: Consistency) -> Freshness {
        match consistency {
            Consistency::Linearizable => Freshness::NOW,
            Consistency::Stale => Freshness::of(&self.node),
        }
    }
}

/// The header that names the cluster.
pub(super) fn cluster_header(node: &Node) -> HeaderValue {
    HeaderValue::from_str(node.cluster_id()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What a handler gives.
pub(super) type Result<T = Answer> = std::result::Result<T, Error>;
