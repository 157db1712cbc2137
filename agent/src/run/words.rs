//! What the agent says.

use std::time::Duration;

use kvapi::{Client, Consistency};

use super::{Agent, Done};
use crate::core::{Event, Level};
use crate::render::Lack;
use crate::view::Revisions;
use crate::{nearest, words};

/// Hints are worth this much waiting, before an exit.
const HINT: Duration = Duration::from_secs(2);

impl Agent {
    pub(super) fn lacking(&self, lacks: Vec<Lack>, fatal: bool) {
        let client = self.client.clone();
        let rev = self.core.about().map(|revisions| revisions.settings.0);
        self.work.start(async move {
            let mut near = Vec::new();
            for lack in &lacks {
                near.extend(hint(&client, &lack.key).await);
            }
            near.dedup();
            let problem = words::lacking(&lacks, &near);
            if fatal {
                return Done::Ended(problem);
            }
            let keys = if lacks.len() == 1 { "the key" } else { "the keys" };
            let hints = if near.is_empty() { Vec::new() } else { problem.help };
            let hints: String = hints.iter().map(|hint| format!("; {hint}")).collect();
            tracing::warn!(rev, "waiting for {keys} {}{hints}", words::places(&lacks));
            Done::Event(Event::Tick)
        });
    }
}

/// The key that may have been meant, among those in the same folder.
pub(crate) async fn hint(client: &Client, key: &str) -> Option<String> {
    let folder = key
        .rsplit_once('/')
        .map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let listed = tokio::time::timeout(HINT, client.keys(&folder, None, Consistency::Stale))
        .await
        .ok()?
        .ok()?;
    nearest::of(key, listed.value.iter().map(String::as_str)).map(str::to_owned)
}

/// A line about a set carries its revision.
pub(super) fn say(level: Level, text: &str, about: Option<Revisions>) {
    let rev = about.map(|revisions| revisions.settings.0);
    match level {
        Level::Info => tracing::info!(rev, "{text}"),
        Level::Warn => tracing::warn!(rev, "{text}"),
        Level::Error => tracing::error!(rev, "{text}"),
    }
}
