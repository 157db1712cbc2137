//! `keyway kv history`: what was done to a key or below a prefix, by whom and why, newest first.

use std::collections::BTreeMap;

use clap::Args;
use kvapi::problem::exit;
use kvapi::types::{Change, KeyChange};
use kvapi::{Client, Entry, Problem, Revision};

use super::shown::{author, change_json, on_one_line, plain};
use super::side::{Side, differences};
use super::target::Target;
use crate::context::Context;
use crate::diff;
use crate::failure::{Failure, Outcome};
use crate::output::Format;

/// How many revisions are asked for at once.
const PAGE: usize = 100;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv history app/port                   who changed it, when and why
  keyway kv history --diff -n 3 app/port       the last three changes, as diffs
  keyway kv history app/                       every change below app/

An author is what the writer claims to be (--author, KEYWAY_AUTHOR): no server checks it.
Exits with 1 if nothing is kept of it.")]
pub(crate) struct History {
    /// Key; what ends in / is a prefix, and / alone is everything
    key: String,
    /// At most so many revisions, the newest; 0 is all that are kept
    #[arg(short = 'n', long = "limit", value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Show what each change changed
    #[arg(long, conflicts_with = "values")]
    diff: bool,
    /// Show the values
    #[arg(long)]
    values: bool,
}

impl History {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        let target = Target::parse(&self.key)?;
        let found = self.read(&context.client, &target).await?;
        if found.changes.is_empty() {
            return Err(nothing(&target).into());
        }
        let before = match self.diff {
            true => Before::of(&context.client, &found.changes).await?,
            false => Before::default(),
        };
        let out = context.out;
        match out.format {
            Format::Json => {
                let changes: Vec<_> = found.changes.iter().map(|change| self.json(change, &before)).collect();
                let document = serde_json::json!({
                    "key": target.as_str(), "oldest_revision": found.oldest, "changes": changes,
                });
                out.json(&document)?;
            }
            Format::Jsonl => {
                for change in &found.changes {
                    out.json_line(&self.json(change, &before))?;
                }
            }
            Format::Text | Format::Raw if self.diff => {
                for (i, change) in found.changes.iter().enumerate() {
                    let gap = if i == 0 { "" } else { "\n" };
                    let head = out.paint.bold(format_args!("revision {}", change.revision));
                    let who = author(change);
                    let words = [Some(out.time(change.at)), who, change.message.as_deref().map(plain)];
                    let words: Vec<String> = words.into_iter().flatten().collect();
                    out.line(format_args!("{gap}{head}  {}", words.join("  ")))?;
                    let text = diff::painted(out.paint, &before.diff(change));
                    out.bytes(text.as_bytes())?;
                }
            }
            Format::Text | Format::Raw => {
                let rows = found.changes.iter().flat_map(|change| {
                    let at = out.time(change.at);
                    let untold = (change.omitted > 0).then_some(None);
                    let each = change.changes.iter().map(Some).chain(untold);
                    each.map(move |one| (change, one, at.clone()))
                });
                let rows: Vec<Vec<String>> = rows
                    .map(|(change, one, at)| self.row(&target, change, one, at))
                    .collect();
                let head = self.head(&target);
                out.rows(&head, &rows)?;
            }
        }
        for change in found.changes.iter().filter(|change| change.omitted > 0) {
            let Change { revision, omitted, .. } = change;
            let before = revision.0.saturating_sub(1);
            out.say(format_args!(
                "revision {revision} changed {omitted} keys, more than one answer tells; name a longer prefix, or see \
                 them with   keyway kv diff {target} --rev {before}..{revision}"
            ));
        }
        if found.more {
            out.say(format_args!("there are older changes: --limit 0 shows all"));
        } else if !began(&target, &found.changes) {
            out.say("what was before is no longer kept");
        }
        Ok(exit::OK)
    }

    /// Page by page, so that no answer is large only because much is kept.
    async fn read(&self, client: &Client, target: &Target) -> Result<Found, Failure> {
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut found = Found::default();
        let mut before = None;
        loop {
            let wanted = (limit - found.changes.len()).min(PAGE);
            let page = client
                .history(target.as_str(), target.is_prefix(), Some(wanted), before)
                .await?;
            found.oldest = page.oldest;
            let last = page.changes.last().map(|change| change.revision);
            found.changes.extend(page.changes);
            if found.changes.len() == limit {
                found.more = page.more;
                return Ok(found);
            }
            if !page.more || last.is_none() {
                return Ok(found);
            }
            before = last;
        }
    }

    fn head(&self, target: &Target) -> Vec<&'static str> {
        let mut head = vec!["REVISION", "TIME", "AUTHOR", "OP", "SIZE"];
        if target.is_prefix() {
            head.push("KEY");
        }
        head.push("MESSAGE");
        if self.values {
            head.push("VALUE");
        }
        head
    }

    /// Of one key, or of all that are not told.
    fn row(&self, target: &Target, change: &Change, one: Option<&KeyChange>, at: String) -> Vec<String> {
        let entry = one.and_then(|one| one.entry.as_ref());
        let mut row = vec![
            change.revision.to_string(),
            at,
            author(change).unwrap_or_default(),
            one.map_or_else(String::new, |_| op(entry).to_owned()),
            entry.map_or_else(String::new, |entry| entry.value.len().to_string()),
        ];
        if target.is_prefix() {
            row.push(one.map_or_else(|| format!("({} keys)", change.omitted), |one| plain(&one.key)));
        }
        row.push(change.message.as_deref().map_or_else(String::new, plain));
        if self.values {
            row.push(entry.map_or_else(String::new, |entry| on_one_line(&entry.value)));
        }
        row
    }

    fn json(&self, change: &Change, before: &Before) -> serde_json::Value {
        let mut shown = change_json(change);
        if self.diff {
            shown["diff"] = match change.omitted {
                0 => before.diff(change).into(),
                _ => serde_json::Value::Null,
            };
        }
        shown
    }
}

#[derive(Default)]
struct Found {
    oldest: Revision,
    changes: Vec<Change>,
    more: bool,
}

fn op(entry: Option<&Entry>) -> &'static str {
    match entry {
        None => "delete",
        Some(entry) if entry.create_index == entry.modify_index => "create",
        Some(_) => "put",
    }
}

/// Whether the oldest change of each key is its beginning, as far as can be told.
fn began(target: &Target, changes: &[Change]) -> bool {
    let mut oldest: BTreeMap<&str, &KeyChange> = BTreeMap::new();
    for one in changes.iter().flat_map(|change| &change.changes) {
        oldest.insert(&one.key, one);
    }
    let begins = |one: &KeyChange| op(one.entry.as_ref()) == "create";
    target.is_prefix() || oldest.values().all(|one| begins(one))
}

fn nothing(target: &Target) -> Problem {
    let problem = Problem::new(exit::NO, format!("no change of `{target}` is kept"));
    match target {
        _ if kvapi::key::is_own(target.as_str()) => problem.help("Keyway's own keys have no history"),
        Target::Key(key) => problem.help(format!("for what is below it, use   keyway kv history {key}/")),
        Target::Below(_) => problem.help("see what there is with   keyway kv ls"),
    }
}

/// What stood there before each change.
#[derive(Default)]
struct Before(BTreeMap<(String, Revision), Option<Entry>>);

impl Before {
    /// Most of it is in the list itself; what is not is asked for, key by key.
    async fn of(client: &Client, changes: &[Change]) -> Result<Self, kvapi::Error> {
        let mut before = BTreeMap::new();
        let mut newer: BTreeMap<&str, Revision> = BTreeMap::new();
        let mut unknown: Vec<(&str, Revision)> = Vec::new();
        for change in changes {
            if change.omitted > 0 {
                // What is not told may have changed any of them.
                unknown.extend(std::mem::take(&mut newer));
            }
            for one in &change.changes {
                if let Some(revision) = newer.insert(&one.key, change.revision) {
                    before.insert((one.key.clone(), revision), one.entry.clone());
                }
            }
        }
        for (key, revision) in unknown.into_iter().chain(newer) {
            let created = changes
                .iter()
                .filter(|change| change.revision == revision)
                .flat_map(|change| &change.changes)
                .any(|one| one.key == key && op(one.entry.as_ref()) == "create");
            // A whole list has everything; a created key had nothing just before.
            let older = match created {
                true => None,
                false => client.history(key, false, Some(1), Some(revision)).await?.changes.pop(),
            };
            let entry = older.and_then(|change| change.changes.into_iter().find_map(|one| one.entry));
            before.insert((key.to_owned(), revision), entry);
        }
        Ok(Self(before))
    }

    fn diff(&self, change: &Change) -> String {
        let old = change.changes.iter().filter_map(|one| {
            let before = self.0.get(&(one.key.clone(), change.revision))?;
            before.clone()
        });
        let new = change.changes.iter().filter_map(|one| one.entry.clone());
        let before = Side::of(old.collect(), "before".into());
        let after = Side::of(new.collect(), format!("revision {}", change.revision));
        differences(&before, &after).iter().map(|one| one.text()).collect()
    }
}
