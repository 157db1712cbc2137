//! `keyway cluster snapshot save`: takes a backup, checks it, gives it its name.

use std::io::Write as _;
use std::path::Path;

use kvapi::Problem;
use kvapi::problem::exit;
use serde::Serialize;

use super::contents;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::kv::files::{Whole, failed};

/// What `-o json` prints.
#[derive(Serialize)]
struct Saved {
    file: String,
    revision: u64,
    keys: u64,
    sessions: u64,
    bytes: u64,
}

pub(super) async fn run(context: Context<'_>, path: &Path) -> Outcome {
    if path.is_dir() {
        return Err(Failure::new(
            exit::INVALID,
            format!("{} is a folder", path.display()),
            "name a file in it",
        ));
    }
    let mut file = Whole::begin(path)?;
    let mut backup = context.client.backup(context.settings.consistency).await?;
    let mut bytes = 0;
    while let Some(piece) = backup.next().await? {
        file.write_all(&piece).map_err(|e| failed("write", path, &e))?;
        bytes += piece.len() as u64;
    }
    // As `consul snapshot save` does: what did not arrive whole gets no name.
    let found = contents(file.so_far())?;
    if found.revision != backup.revision {
        let what = format!(
            "the server said that the snapshot is of revision {}, and it is of {}",
            backup.revision, found.revision
        );
        return Err(Problem::new(exit::BUG, what).into());
    }
    file.finish()?;
    let saved = Saved {
        file: path.display().to_string(),
        revision: found.revision.0,
        keys: found.keys,
        sessions: found.count("sessions"),
        bytes,
    };
    if context.out.is_json() {
        context.out.json(&saved)?;
    } else {
        context.out.say(format_args!(
            "saved revision {} in {}: {} keys, {} sessions, {} bytes, checked",
            saved.revision, saved.file, saved.keys, saved.sessions, saved.bytes
        ));
    }
    Ok(exit::OK)
}
