//! `keyway kv put`: stores a value, on a condition if one is given.

use clap::Args;
use kvapi::client::WriteOptions;
use kvapi::problem::exit;
use kvapi::{Consistency, Key, Problem};

use crate::context::Context;
use crate::failure::Outcome;
use crate::value::{Source, decode_base64};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv put app/greeting hello             a text
  keyway kv put app/cert @cert.pem             a file; - is standard input; @@x is the text @x
  keyway kv put --if-rev 844 app/port 8443     only if nobody changed it since revision 844

Exits with 5 if the condition does not hold.")]
pub(crate) struct Put {
    /// Key to write, such as app/web/port
    key: String,
    /// Value: a text, @FILE, - for standard input; nothing is the empty value
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,
    /// Write only if the key is at this revision; 0 means only if there is no such key
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["create", "cas"])]
    if_rev: Option<u64>,
    /// Write only if there is no such key
    #[arg(long, conflicts_with = "cas")]
    create: bool,
    /// Write only if the key is at --modify-index (`consul kv`'s spelling of --if-rev)
    #[arg(long, hide_short_help = true)]
    cas: bool,
    /// See --cas
    #[arg(long, value_name = "REVISION", hide_short_help = true, requires = "cas")]
    modify_index: Option<u64>,
    /// Opaque number to store with the value
    #[arg(long, value_name = "N", default_value_t = 0)]
    flags: u64,
    /// The value is base64; store what it stands for
    #[arg(long)]
    base64: bool,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Who, for the history; USER@HOST if nothing else is said
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

impl Put {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        let key = super::key(&self.key)?;
        let mut value = Source::parse(self.value.as_deref()).read()?;
        if self.base64 {
            value = decode_base64(&value)?;
        }
        let bytes = value.len();
        let options = self.options();
        if context.settings.dry_run {
            return would(context, &key, bytes, options.cas).await;
        }
        if !context.client.put(key.as_str(), value, &options).await? {
            return Err(lost(&context, &key, options.cas.unwrap_or_default()).await.into());
        }
        if context.out.is_json() {
            context
                .out
                .json(&serde_json::json!({"key": key.as_str(), "written": true, "bytes": bytes}))?;
        } else {
            let unit = if bytes == 1 { "byte" } else { "bytes" };
            context.out.say(format_args!("wrote {key} ({bytes} {unit})"));
        }
        Ok(exit::OK)
    }

    fn options(self) -> WriteOptions {
        let cas = match (self.if_rev, self.create || self.cas) {
            (Some(revision), _) => Some(revision),
            (None, true) => Some(self.modify_index.filter(|_| self.cas).unwrap_or(0)),
            (None, false) => None,
        };
        WriteOptions {
            flags: self.flags,
            cas,
            author: Some(self.author.unwrap_or_else(author)),
            message: self.message,
        }
    }
}

/// What a put would come to, without doing it.
async fn would(context: Context<'_>, key: &Key, bytes: usize, cas: Option<u64>) -> Outcome {
    let now = context.client.get(key.as_str(), Consistency::Default).await?.value;
    let now = now.map_or(0, |entry| entry.modify_index.0);
    if let Some(expected) = cas.filter(|&expected| expected != now) {
        return Err(lost(&context, key, expected).await.into());
    }
    if context.out.is_json() {
        let document = serde_json::json!({"key": key.as_str(), "written": false, "bytes": bytes});
        context.out.json(&document)?;
    } else {
        context.out.line(format_args!("would write {key} ({bytes} bytes)"))?;
    }
    Ok(exit::OK)
}

/// Who writes, as far as this machine knows: a claim, for people.
pub(super) fn author() -> String {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| "someone".into());
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) if !host.trim().is_empty() => format!("{user}@{}", host.trim()),
        _ => user,
    }
}

/// What to say when the compare-and-swap lost.
pub(super) async fn lost(context: &Context<'_>, key: &Key, expected: u64) -> Problem {
    let now = context.client.get(key.as_str(), Consistency::Default).await;
    let now = now.ok().map(|found| found.value.map(|entry| entry.modify_index));
    let (what, help) = match (expected, now) {
        (0, Some(Some(now))) => (
            format!("`{key}` is there already, at revision {now}"),
            format!("to replace just that, use   --if-rev {now}"),
        ),
        (_, Some(Some(now))) => (
            format!("`{key}` was changed: you expected revision {expected}, it is now {now}"),
            format!("look at it with   keyway kv get -o json {key}   and retry with   --if-rev {now}"),
        ),
        (_, Some(None)) => (
            format!("`{key}` is gone: you expected revision {expected}"),
            "to create it, use   --create".into(),
        ),
        (_, None) => (
            format!("`{key}` is not at revision {expected}"),
            format!("look at it with   keyway kv get -o json {key}"),
        ),
    };
    Problem::new(exit::CONFLICT, what).help(help)
}
