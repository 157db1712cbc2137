//! `keyway kv ls`: keys as folders show them.

use std::cmp::Reverse;

use clap::{Args, ValueEnum};
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
  keyway kv ls -lr app                         everything below app/, with sizes and revisions
  keyway kv ls -lr --sort rev app              what was changed last comes first

Exits with 1 if nothing is there.")]
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
    /// Order of the list; by size, revision or time the greatest comes first
    #[arg(long, value_name = "BY", default_value = "key")]
    sort: Sort,
}

/// What a list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Key,
    /// The revision of the last change
    Rev,
    /// Bytes of the value
    Size,
    /// When it was changed last: the same order as by revision
    Time,
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
        let count = if long || self.sort != Sort::Key {
            self.long(context, &folder, long).await?
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

    /// All that is known of each key, in the order that was asked for.
    async fn long(&self, context: Context<'_>, folder: &Folder, shows_columns: bool) -> Result<usize, Failure> {
        let found = folder.entries(&context.client, context.settings.consistency).await?;
        let mut rows = self.rows(folder, &found.value);
        self.sort(&mut rows);
        if context.out.is_json() {
            self.json(context.out, found.revision, &rows)?;
        } else if shows_columns {
            let cells = rows.iter().map(|row| {
                vec![
                    row.size.to_string(),
                    row.mod_revision.to_string(),
                    row.flags.to_string(),
                    row.key.clone(),
                ]
            });
            let cells: Vec<Vec<String>> = cells.collect();
            context.out.rows(&["SIZE", "REVISION", "FLAGS", "KEY"], &cells)?;
        } else {
            rows.iter().try_for_each(|row| context.out.line(&row.key))?;
        }
        nothing(context.out, folder, rows.len());
        Ok(rows.len())
    }

    fn json(&self, out: &mut Out, revision: Revision, rows: &[Row]) -> Result<(), Failure> {
        let lines = out.format == Format::Jsonl;
        if !self.long {
            let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
            return match lines {
                true => keys.iter().try_for_each(|key| out.json(key)),
                false => out.json(&serde_json::json!({"revision": revision, "keys": keys})),
            };
        }
        match lines {
            true => rows.iter().try_for_each(|row| out.json(row)),
            false => out.json(&serde_json::json!({"revision": revision, "entries": rows})),
        }
    }

    /// Equals stay in the order of their keys.
    fn sort(&self, rows: &mut [Row]) {
        match self.sort {
            Sort::Key => {}
            Sort::Size => rows.sort_by_key(|row| Reverse(row.size)),
            Sort::Rev | Sort::Time => rows.sort_by_key(|row| Reverse(row.mod_revision)),
        }
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
            sort: Sort::Key,
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

    #[test]
    fn the_greatest_comes_first() {
        let row = |key: &str, size, revision| Row {
            key: key.into(),
            size,
            mod_revision: Revision(revision),
            flags: 0,
        };
        let sorted = |sort| {
            let mut rows = [row("a", 2, 5), row("b", 9, 3), row("c", 2, 7)];
            let ls = Ls {
                folder: String::new(),
                long: true,
                recurse: true,
                sort,
            };
            ls.sort(&mut rows);
            rows.map(|row| row.key).concat()
        };

        assert_eq!(sorted(Sort::Key), "abc");
        assert_eq!(sorted(Sort::Size), "bac");
        assert_eq!(sorted(Sort::Rev), "cab");
        assert_eq!(sorted(Sort::Time), "cab");
    }
}
