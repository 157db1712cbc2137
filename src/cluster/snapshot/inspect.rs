//! `keyway cluster snapshot inspect`: what is in a backup.

use std::path::Path;

use kvapi::problem::exit;
use kvstore::archive::Format;
use serde::Serialize;

use super::contents;
use crate::context::Context;
use crate::failure::Outcome;

/// What `-o json` prints.
#[derive(Serialize)]
struct Inspected {
    file: String,
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    id: String,
    revision: u64,
    term: u64,
    bytes: u64,
    kinds: Vec<Kind>,
}

/// Records of one kind.
#[derive(Serialize)]
struct Kind {
    kind: String,
    count: u64,
    bytes: u64,
}

pub(super) fn run(context: Context<'_>, path: &Path) -> Outcome {
    let found = contents(path)?;
    let (format, cluster) = match found.format {
        Format::Keyway { cluster } => ("keyway", Some(cluster)),
        Format::Consul => ("consul", None),
    };
    let kinds = found.kinds.into_iter().map(|(kind, tally)| Kind {
        kind,
        count: tally.count,
        bytes: tally.bytes,
    });
    let inspected = Inspected {
        file: path.display().to_string(),
        format,
        cluster,
        id: found.meta.id,
        revision: found.revision.0,
        term: found.meta.term,
        bytes: found.meta.size,
        kinds: kinds.collect(),
    };
    let out = context.out;
    if out.is_json() {
        out.json(&inspected)?;
        return Ok(exit::OK);
    }
    let of = inspected
        .cluster
        .map(|id| format!(", of cluster {id}"))
        .unwrap_or_default();
    out.line(format_args!(
        "{} is a snapshot of {format}{of}, and whole",
        inspected.file
    ))?;
    out.line(format_args!(
        "revision {}, id {}, term {}",
        inspected.revision, inspected.id, inspected.term
    ))?;
    let rows: Vec<Vec<String>> = inspected
        .kinds
        .into_iter()
        .map(|kind| vec![kind.kind, kind.count.to_string(), kind.bytes.to_string()])
        .collect();
    out.rows(&["KIND", "COUNT", "BYTES"], &rows)?;
    Ok(exit::OK)
}
