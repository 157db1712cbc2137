//! `keyway kv get`: a value, an entry, or all below a prefix.

use agent::nearest;
use clap::Args;
use kvapi::problem::exit;
use kvapi::{Consistency, Entry, Problem};

use super::shown::Shown;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Out, table};
use crate::value::encode_base64;

/// Of a store with more keys than this no near one is suggested: to look for it would cost more
/// than it helps.
const KEYS_TO_SUGGEST_FROM: usize = 10_000;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv get app/greeting                   the value; on a pipe, its exact bytes
  keyway kv get -o json app/greeting           with revisions and flags
  keyway kv get --recurse app/                 every key below app/

Exits with 1 if there is no such key.")]
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
    /// Print this if there is no such key, and succeed
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["recurse", "keys", "detailed"])]
    default: Option<String>,
}

impl Get {
    pub(super) async fn run(mut self, context: Context<'_>) -> Outcome {
        let key = self.key.take().unwrap_or_default();
        if self.keys {
            self.keys(context, &key).await
        } else if self.recurse {
            self.tree(context, &key).await
        } else {
            self.one(context, &key).await
        }
    }

    async fn one(self, context: Context<'_>, key: &str) -> Outcome {
        let key = super::key(key)?;
        let found = context.client.get(key.as_str(), context.settings.consistency).await?;
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
                None => Err(missing(&context, key.as_str()).await.into()),
            };
        };
        match context.out.format {
            Format::Json | Format::Jsonl => context.out.json(&Shown::from(&entry))?,
            Format::Text if self.detailed => self.entry(context.out, &entry, true)?,
            Format::Text | Format::Raw if self.base64 => context.out.line(encode_base64(&entry.value))?,
            Format::Text | Format::Raw => context.out.value(&entry.value)?,
        }
        Ok(exit::OK)
    }

    async fn tree(self, context: Context<'_>, prefix: &str) -> Outcome {
        let list = context.client.list(prefix, context.settings.consistency).await?;
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

    async fn keys(self, context: Context<'_>, prefix: &str) -> Outcome {
        let separator = (!self.recurse && !self.separator.is_empty()).then_some(self.separator.as_str());
        let list = context
            .client
            .keys(prefix, separator, context.settings.consistency)
            .await?;
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

/// No such key, and which one may have been meant.
async fn missing(context: &Context<'_>, key: &str) -> Problem {
    let problem = Problem::new(exit::NO, format!("no such key `{key}`"));
    // Stale: a suggestion is not worth a round of the cluster.
    let known = context.client.keys("", None, Consistency::Stale).await;
    let known = known.map(|keys| keys.value).unwrap_or_default();
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
