//! `keyway kv ls`: keys as folders show them.

use clap::Args;
use kvapi::problem::exit;
use kvapi::{Entry, Revision};
use serde::Serialize;

use super::folder::Folder;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Layout, Out};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv ls                                 the top: keys, and folders with a / behind
  keyway kv ls app                             what is in app/
  keyway kv ls -lr app                         everything below app/, with sizes and revisions")]
pub(crate) struct Ls {
    /// Folder to list; nothing is the top
    #[arg(default_value = "")]
    folder: String,
    /// With size, revision and flags
    #[arg(short, long)]
    long: bool,
    /// Everything below, not only the next level
    #[arg(short, long)]
    recurse: bool,
}

/// A line of `-l`, and its JSON.
#[derive(Debug, Serialize)]
struct Row {
    key: String,
    /// Bytes of the value; of a folder, of all values below.
    size: usize,
    /// The newest revision; of a folder, of all keys below.
    mod_revision: Revision,
    flags: u64,
}

impl Ls {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        let folder = Folder::new(&self.folder);
        let long = match context.out.layout {
            Layout::Usual => self.long,
            Layout::Table => true,
            Layout::Names => false,
        };
        let count = if long {
            self.long(context, &folder).await?
        } else {
            self.short(context, &folder).await?
        };
        // As a test in a script: `if keyway kv ls app`.
        Ok(if count == 0 && !folder.is_everything() {
            exit::NO
        } else {
            exit::OK
        })
    }

    async fn short(&self, context: Context<'_>, folder: &Folder) -> Result<usize, Failure> {
        let found = folder.keys(&context.client, context.settings.consistency).await?;
        let keys = self.cut(folder, &found.value);
        match context.out.format {
            Format::Json => context
                .out
                .json(&serde_json::json!({"revision": found.revision, "keys": keys}))?,
            Format::Jsonl => keys.iter().try_for_each(|key| context.out.json(key))?,
            Format::Text | Format::Raw => keys.iter().try_for_each(|key| context.out.line(key))?,
        }
        nothing(context.out, folder, keys.len());
        Ok(keys.len())
    }

    async fn long(&self, context: Context<'_>, folder: &Folder) -> Result<usize, Failure> {
        let found = folder.entries(&context.client, context.settings.consistency).await?;
        let rows = self.rows(folder, &found.value);
        match context.out.format {
            Format::Json => context
                .out
                .json(&serde_json::json!({"revision": found.revision, "entries": rows}))?,
            Format::Jsonl => rows.iter().try_for_each(|row| context.out.json(row))?,
            Format::Text | Format::Raw => {
                let cells: Vec<Vec<String>> = rows
                    .iter()
                    .map(|row| {
                        vec![
                            row.size.to_string(),
                            row.mod_revision.to_string(),
                            row.flags.to_string(),
                            row.key.clone(),
                        ]
                    })
                    .collect();
                context.out.rows(&["SIZE", "REVISION", "FLAGS", "KEY"], &cells)?;
            }
        }
        nothing(context.out, folder, rows.len());
        Ok(rows.len())
    }

    /// The keys; without --recurse each cut behind the next slash, once.
    fn cut(&self, folder: &Folder, keys: &[String]) -> Vec<String> {
        let mut cut: Vec<String> = keys.iter().map(|key| self.shown(folder, key).to_owned()).collect();
        cut.dedup();
        cut
    }

    fn rows(&self, folder: &Folder, entries: &[Entry]) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for entry in entries {
            let shown = self.shown(folder, &entry.key);
            match rows.last_mut().filter(|row| row.key == shown) {
                Some(row) => {
                    row.size += entry.value.len();
                    row.mod_revision = row.mod_revision.max(entry.modify_index);
                }
                None => rows.push(Row {
                    key: shown.to_owned(),
                    size: entry.value.len(),
                    mod_revision: entry.modify_index,
                    flags: entry.flags,
                }),
            }
        }
        rows
    }

    /// A key as it is listed from the folder: whole, or up to the next slash.
    fn shown<'a>(&self, folder: &Folder, key: &'a str) -> &'a str {
        if self.recurse { key } else { folder.next_level(key) }
    }
}

fn nothing(out: &mut Out, folder: &Folder, count: usize) {
    if count == 0 {
        let place = if folder.is_everything() {
            "the store is empty".into()
        } else {
            format!("nothing is under `{folder}`")
        };
        out.say(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ls(folder: &str, recurse: bool, keys: &[&str]) -> Vec<String> {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let ls = Ls {
            folder: folder.into(),
            long: false,
            recurse,
        };
        ls.cut(&Folder::new(folder), &keys)
    }

    #[test]
    fn a_folder_is_listed_by_segments() {
        let below = ["a", "a/b", "a/b/c", "a/d"];

        assert_eq!(
            ls("", false, &["a", "a/b", "a/d", "ab/c", "é/x"]),
            ["a", "a/", "ab/", "é/"]
        );
        assert_eq!(ls("a", false, &below), ["a", "a/b", "a/b/", "a/d"]);
        assert_eq!(ls("a/", true, &below), below);
        assert_eq!(ls("é", false, &["é/x/y"]), ["é/x/"]);
    }
}
