//! `keyway cluster snapshot restore`: puts everything back as it is in a file.

use std::path::Path;

use kvapi::client::WriteOptions;
use kvapi::problem::exit;
use kvapi::{Error, Problem};
use serde::Serialize;

use super::contents;
use crate::context::Context;
use crate::failure::Outcome;
use crate::kv::put::author;

/// What `-o json` prints.
#[derive(Serialize)]
struct Restored {
    file: String,
    keys: u64,
    sessions: u64,
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

pub(super) async fn run(mut context: Context<'_>, path: &Path, message: Option<String>) -> Outcome {
    let found = contents(path)?;
    let (file, keys, sessions) = (path.display().to_string(), found.keys, found.count("sessions"));
    context.confirm(&format!(
        "Put {keys} keys and {sessions} sessions of {file} in the place of all that the cluster holds?"
    ))?;
    let options = WriteOptions {
        author: Some(author()),
        message,
        ..WriteOptions::default()
    };
    let revision = context.client.restore(path, &options).await.map_err(told)?;
    let restored = Restored {
        file,
        keys,
        sessions,
        revision: revision.map(|revision| revision.0),
        left_out: found.left_out(),
    };
    if let Some(left_out) = &restored.left_out {
        context.out.insist(left_out);
    }
    if context.out.is_json() {
        context.out.json(&restored)?;
    } else {
        let at = revision
            .map(|revision| format!(" at revision {revision}"))
            .unwrap_or_default();
        context
            .out
            .say(format_args!("restored {keys} keys and {sessions} sessions{at}"));
    }
    Ok(exit::OK)
}

/// A refusal is the server's last word here: nothing was done, and asking again does not help by itself.
fn told(error: Error) -> Problem {
    match error {
        Error::Unknown(_) => {
            let problem = Problem::from(error);
            Problem {
                help: vec!["look whether it happened:   keyway kv history / -n 1".into()],
                ..problem
            }
        }
        error => error.into(),
    }
}
