//! What the agent says.

use std::time::Duration;

use kvapi::{Client, Consistency, Problem, codes};

use super::{Agent, Done};
use crate::core::{Event, Level};
use crate::nearest;
use crate::render::Lack;

/// Hints are worth this much waiting, before an exit.
const HINT: Duration = Duration::from_secs(2);

impl Agent {
    pub(super) fn lacking(&self, lacks: Vec<Lack>, fatal: bool) {
        let client = self.client.clone();
        self.work.start(async move {
            let mut told = Vec::with_capacity(lacks.len());
            let mut help = Vec::new();
            for lack in &lacks {
                told.push(format!("`{}` ({})", lack.key, lack.place));
                if let Some(near) = hint(&client, &lack.key).await {
                    help.push(format!("did you mean `{near}`?"));
                }
            }
            let keys = if told.len() == 1 { "the key" } else { "the keys" };
            let what = format!("no such key: {}", told.join(", "));
            let mut problem = Problem::of(&codes::NO_VALUE_FOR_TEMPLATE, what);
            help.dedup();
            problem.help.clone_from(&help);
            if fatal {
                return Done::Ended(problem);
            }
            tracing::warn!(
                "waiting for {keys} {}{}",
                told.join(", "),
                if help.is_empty() {
                    String::new()
                } else {
                    format!("; {}", help.join(" "))
                }
            );
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

pub(super) fn say(level: Level, text: &str) {
    match level {
        Level::Info => tracing::info!("{text}"),
        Level::Warn => tracing::warn!("{text}"),
        Level::Error => tracing::error!("{text}"),
    }
}
