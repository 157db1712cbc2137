//! `keyway kv get`: a value, an entry, or all below a prefix.

use std::time::Duration;

use agent::nearest;
use clap::Args;
use kvapi::client::At;
use kvapi::problem::exit;
use kvapi::{Consistency, Entry, Key, Problem, Revision, duration};

use super::past;
use super::shown::{Shown, on_one_line};
use super::target::Target;
use super::wait;
use super::when::{Time, When};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Layout, Out, table};
use crate::value::encode_base64;

/// Of a store with more keys than this no near one is suggested: to look for it would cost more
/// than it helps.
const KEYS_TO_SUGGEST_FROM: usize = 10_000;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv get app/greeting                   the value; on a pipe, its exact bytes
  keyway kv get -o json app/greeting           with revisions and flags
  keyway kv get --rev 844 app/greeting         as it was at revision 844; --at 10m: ten minutes ago
  keyway kv get --recurse app/                 every key below app/

Exits with 1 if there is no such key, and with 124 if --wait=DURATION waited in vain.")]
pub(crate) struct Get {
    /// Key to read; with --recurse or --keys, a prefix
    #[arg(required_unless_present_any = ["recurse", "keys"])]
    key: Option<String>,
    /// Print every key that begins with KEY, and its value
    #[arg(short, long)]
    recurse: bool,
    /// Print the keys that begin with KEY; without --recurse, cut behind the separator
    #[arg(long)]
    keys: bool,
    /// Where --keys cuts
    #[arg(long, default_value = "/", value_name = "TEXT", requires = "keys")]
    separator: String,
    /// Print revisions, flags and session with the value
    #[arg(long)]
    detailed: bool,
    /// Print values as base64
    #[arg(long)]
    base64: bool,
    /// Print the exact bytes on a terminal too, as -o raw does
    #[arg(long, conflicts_with_all = ["detailed", "base64", "recurse", "keys"])]
    raw: bool,
    /// As it was at this revision
    #[arg(long, value_name = "REVISION", conflicts_with = "at")]
    rev: Option<u64>,
    /// As it was at this time (2026-11-24T08:30:00Z) or so long ago (10m)
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
    /// Print this if there is no such key, and succeed
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["recurse", "keys", "detailed"])]
    default: Option<String>,
    /// Wait until there is such a key, for ever or for so long
    ///
    /// A key that is there is printed at once. To wait for a change of one that is there, use
    /// `keyway kv watch --once`.
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        value_parser = kvapi::duration::parse,
        conflicts_with_all = ["recurse", "keys", "rev", "at"]
    )]
    wait: Option<Option<Duration>>,
}

impl Get {
    pub(super) async fn run(mut self, context: Context<'_>) -> Outcome {
        let key = self.key.take().unwrap_or_default();
        let target = if self.keys || self.recurse {
            super::in_path(&key)?;
            Target::Below(key)
        } else {
            Target::Key(super::key_in_path(&key)?)
        };
        let when = self.rev.map(|rev| When::Revision(Revision(rev)));
        let revision = match when.or(self.at.map(When::At)) {
            Some(when) => Some(past::revision(&context.client, &target, when).await?),
            None => None,
        };
        match target {
            Target::Key(key) => self.one(context, &key, revision).await,
            Target::Below(prefix) if self.keys => self.keys(context, &prefix, revision).await,
            Target::Below(prefix) => self.tree(context, &prefix, revision).await,
        }
    }

    async fn one(self, context: Context<'_>, key: &Key, revision: Option<Revision>) -> Outcome {
        let mut found = context
            .client
            .get_at(key.as_str(), revision, context.settings.consistency)
            .await?;
        if let (None, Some(limit)) = (&found.value, self.wait) {
            found.value = wait::for_key(&context.client, key, limit).await?;
            if found.value.is_none() && self.default.is_none() {
                return Err(waited_in_vain(key, limit).into());
            }
        }
        let Some(entry) = found.value else {
            return match &self.default {
                Some(default) if context.out.is_json() => {
                    let shown = serde_json::json!({"key": key.as_str(), "value": default, "encoding": "utf-8", "is_default": true});
                    context.out.json(&shown)?;
                    Ok(exit::OK)
                }
                Some(default) => {
                    context.out.value(default.as_bytes())?;
                    Ok(exit::OK)
                }
                None => Err(missing(&context, key.as_str(), revision).await.into()),
            };
        };
        match context.out.format {
            Format::Json | Format::Jsonl => context.out.json(&Shown::from(&entry))?,
            Format::Text if context.out.layout == Layout::Names => context.out.line(&entry.key)?,
            _ if self.raw => context.out.bytes(&entry.value)?,
            Format::Text if self.detailed => self.entry(context.out, &entry, true)?,
            Format::Text | Format::Raw if self.base64 => context.out.line(encode_base64(&entry.value))?,
            Format::Text | Format::Raw => context.out.value(&entry.value)?,
        }
        Ok(exit::OK)
    }

    async fn tree(self, context: Context<'_>, prefix: &str, revision: Option<Revision>) -> Outcome {
        let consistency = context.settings.consistency;
        let list = context.client.list_at(prefix, revision, consistency).await?;
        match context.out.format {
            Format::Json => {
                let entries: Vec<Shown<'_>> = list.value.iter().map(Shown::from).collect();
                context
                    .out
                    .json(&serde_json::json!({"revision": list.revision, "entries": entries}))?;
            }
            Format::Jsonl => list
                .value
                .iter()
                .try_for_each(|entry| context.out.json(&Shown::from(entry)))?,
            Format::Text if context.out.layout == Layout::Names => {
                list.value.iter().try_for_each(|entry| context.out.line(&entry.key))?;
            }
            Format::Text if context.out.layout == Layout::Table => {
                let row = |entry: &Entry| {
                    let (key, revision) = (entry.key.clone(), entry.modify_index.to_string());
                    vec![key, revision, on_one_line(&entry.value)]
                };
                let rows: Vec<Vec<String>> = list.value.iter().map(row).collect();
                context.out.rows(&["KEY", "REVISION", "VALUE"], &rows)?;
            }
            Format::Text | Format::Raw => {
                for (i, entry) in list.value.iter().enumerate() {
                    self.entry(context.out, entry, i == 0)?;
                }
            }
        }
        Ok(exit::OK)
    }

    fn entry(&self, out: &mut Out, entry: &Entry, is_first: bool) -> Result<(), Failure> {
        if self.detailed {
            if !is_first {
                out.line("")?;
            }
            return self.details(entry).iter().try_for_each(|line| out.line(line));
        }
        out.line(format_args!("{}:{}", entry.key, self.text(entry)))
    }

    async fn keys(self, context: Context<'_>, prefix: &str, revision: Option<Revision>) -> Outcome {
        let separator = (!self.recurse && !self.separator.is_empty()).then_some(self.separator.as_str());
        let consistency = context.settings.consistency;
        let list = match revision {
            None => context.client.keys(prefix, separator, consistency).await?,
            Some(_) => {
                let list = context.client.list_at(prefix, revision, consistency).await?;
                At {
                    revision: list.revision,
                    value: cut(list.value, prefix, separator),
                }
            }
        };
        match context.out.format {
            Format::Json => context
                .out
                .json(&serde_json::json!({"revision": list.revision, "keys": list.value}))?,
            Format::Jsonl => list.value.iter().try_for_each(|key| context.out.json(key))?,
            Format::Text | Format::Raw => list.value.iter().try_for_each(|key| context.out.line(key))?,
        }
        Ok(exit::OK)
    }

    /// The value as text: what is no text is shown with replacement characters unless base64 is asked for.
    fn text(&self, entry: &Entry) -> String {
        if self.base64 {
            encode_base64(&entry.value)
        } else {
            String::from_utf8_lossy(&entry.value).into_owned()
        }
    }

    /// The lines that `consul kv get -detailed` prints.
    fn details(&self, entry: &Entry) -> Vec<String> {
        let row = |name: &str, value: String| vec![format!("{name:<15}"), value];
        table(&[
            row("CreateIndex", entry.create_index.to_string()),
            row("Flags", entry.flags.to_string()),
            row("Key", entry.key.clone()),
            row("LockIndex", entry.lock_index.to_string()),
            row("ModifyIndex", entry.modify_index.to_string()),
            row("Session", entry.session.clone().unwrap_or_else(|| "-".into())),
            row("Value", self.text(entry)),
        ])
    }
}

/// The keys, each up to and with the first separator behind the prefix, once.
fn cut(entries: Vec<Entry>, prefix: &str, separator: Option<&str>) -> Vec<String> {
    let cut = |key: String| match separator.and_then(|separator| {
        let at = key.get(prefix.len()..)?.find(separator)?;
        Some(prefix.len() + at + separator.len())
    }) {
        Some(end) => key[..end].to_owned(),
        None => key,
    };
    let mut keys: Vec<String> = entries.into_iter().map(|entry| cut(entry.key)).collect();
    keys.dedup();
    keys
}

fn waited_in_vain(key: &Key, limit: Option<Duration>) -> Problem {
    let limit = duration::format(limit.unwrap_or_default());
    Problem::new(exit::TIMEOUT, format!("there is no key `{key}` after {limit}"))
        .help("wait longer, or for ever with --wait alone; or name a --default")
}

/// No such key, and which one may have been meant.
async fn missing(context: &Context<'_>, key: &str, revision: Option<Revision>) -> Problem {
    if let Some(revision) = revision {
        return Problem::new(exit::NO, format!("there was no key `{key}` at revision {revision}"))
            .help(format!("see what happened to it with   keyway kv history {key}"));
    }
    let problem = Problem::of(&kvapi::codes::NO_SUCH_KEY, format!("no such key `{key}`"));
    // Stale: a suggestion is not worth a round of the cluster.
    let known = context
        .client
        .first_keys("", KEYS_TO_SUGGEST_FROM + 1, Consistency::Stale);
    let known = known.await.unwrap_or_default();
    if known.len() > KEYS_TO_SUGGEST_FROM {
        return problem;
    }
    let below = format!("{}/", key.trim_end_matches('/'));
    if known.iter().any(|other| other.starts_with(&below)) {
        return problem.help(format!("it is a folder; list it with   keyway kv ls {below}"));
    }
    match nearest::of(key, known.iter().map(String::as_str)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help("see what there is with   keyway kv ls"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_past_are_cut_as_the_server_cuts_those_of_now() {
        let entries = |keys: &[&str]| -> Vec<Entry> {
            let entry = |key: &&str| Entry {
                lock_index: 0,
                key: (*key).into(),
                flags: 0,
                value: "".into(),
                session: None,
                create_index: Revision(2),
                modify_index: Revision(2),
            };
            keys.iter().map(entry).collect()
        };
        let keys = ["foo/bar/baz", "foo/bar/zip", "foo/zap"];

        assert_eq!(cut(entries(&keys), "foo/", Some("/")), ["foo/bar/", "foo/zap"]);
        assert_eq!(cut(entries(&keys), "foo", Some("ba")), ["foo/ba", "foo/zap"]);
        assert_eq!(cut(entries(&keys), "foo/", None), keys);
    }
}
