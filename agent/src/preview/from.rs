//! Where the values of a preview come from: a document, the store as it is, or the store as it was.

use std::collections::BTreeMap;
use std::time::Duration;

use kvapi::problem::exit;
use kvapi::types::{Entry, Revision, Snapshot, WatchEvent};
use kvapi::watch::News;
use kvapi::{Client, Consistency, Problem};
use tokio::time::{Instant, timeout_at};

use crate::document::Item;
use crate::nearest;
use crate::render::Lack;
use crate::run::hint;
use crate::view::{Scope, View};

/// See the module.
#[derive(Debug)]
pub enum From {
    /// These and no others.
    Values(Vec<Item>),
    /// What the store says, however long it may take to answer.
    Store(Client, Duration),
    /// What the store said at a revision.
    Past(Client, Revision),
}

impl From {
    /// What is known before anything is asked for.
    pub(super) fn first(&self) -> View {
        match self {
            Self::Values(items) => {
                let value = |item: &Item| (item.key.clone(), item.value.to_vec());
                View::fixed(items.iter().map(value))
            }
            Self::Store(..) | Self::Past(..) => View::default(),
        }
    }

    /// The revision that a view is of, if it is of one.
    pub(super) fn revision(&self, view: &View) -> Option<Revision> {
        match self {
            Self::Values(_) => None,
            Self::Past(_, revision) => Some(*revision),
            Self::Store(..) => Some(view.revisions().settings).filter(|revision| *revision > Revision::default()),
        }
    }

    /// All of a scope, at one revision.
    pub(super) async fn view(&self, scope: Scope) -> Result<View, Problem> {
        match self {
            Self::Values(_) => Ok(self.first()),
            Self::Store(client, limit) => now(client, scope, *limit).await,
            Self::Past(client, revision) => then(client, scope, *revision).await,
        }
    }

    /// The keys that may have been meant.
    pub(super) async fn near(&self, lacks: &[Lack]) -> Vec<String> {
        let mut near = Vec::new();
        for lack in lacks {
            near.extend(match self {
                Self::Values(items) => {
                    nearest::of(&lack.key, items.iter().map(|item| item.key.as_str())).map(str::to_owned)
                }
                Self::Store(client, _) | Self::Past(client, _) => hint(client, &lack.key).await,
            });
        }
        near.dedup();
        near
    }
}

async fn now(client: &Client, scope: Scope, limit: Duration) -> Result<View, Problem> {
    let until = Instant::now() + limit;
    let mut watch = client.watch(scope.request());
    let mut reason = "no answer".to_owned();
    while let Ok(news) = timeout_at(until, watch.next()).await {
        match news {
            News::Event(WatchEvent::Snapshot(snapshot)) => return taken(snapshot, scope),
            News::Refused { status, text } => {
                return Err(Problem::from(kvapi::Error::Refused { status, text }));
            }
            News::Lost { reason: told } => {
                if told != reason {
                    let limit = kvapi::duration::format(limit);
                    tracing::warn!("the store does not answer, waiting for at most {limit}: {told}");
                }
                reason = told;
            }
            News::Connected { .. } | News::Event(_) => {}
        }
    }
    let problem = Problem::new(exit::UNAVAILABLE, reason);
    let problem = problem.help("is the server running? Name it with --addr or KEYWAY_ADDR");
    Err(problem.help("no store is needed with --values FILE"))
}

async fn then(client: &Client, scope: Scope, revision: Revision) -> Result<View, Problem> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for name in &scope.keys {
        let found = client.get_at(name, Some(revision), Consistency::Default).await?;
        entries.extend(found.value.map(|entry| (entry.key.clone(), entry)));
    }
    for prefix in &scope.prefixes {
        let found = client.list_at(prefix, Some(revision), Consistency::Default).await?;
        entries.extend(found.value.into_iter().map(|entry| (entry.key.clone(), entry)));
    }
    let entries = entries.into_values().collect();
    taken(Snapshot { revision, entries }, scope)
}

fn taken(snapshot: Snapshot, scope: Scope) -> Result<View, Problem> {
    let mut view = View::default();
    view.replace(snapshot, scope)
        .map_err(|refusal| Problem::new(exit::UNAVAILABLE, refusal.to_string()))?;
    Ok(view)
}
