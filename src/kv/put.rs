//! `keyway kv put`: stores a value, on a condition if one is given.

use bytes::Bytes;
use clap::Args;
use kvapi::client::WriteOptions;
use kvapi::lock::Lock;
use kvapi::problem::exit;
use kvapi::{Consistency, Entry, Key, Problem, codes};

use super::conflict::{self, Expected};
use super::side::{Difference, Side, Version, differences};
use crate::context::Context;
use crate::diff;
use crate::failure::{Failure, Outcome};
use crate::output::Layout;
use crate::value::{Source, decode_base64};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv put app/greeting hello             a text
  keyway kv put app/cert @cert.pem             a file; - is standard input; @@x is the text @x
  keyway kv put --if-rev 844 app/port 8443     only if nobody changed it since revision 844
  keyway kv put --dry-run app/port 8443        only show what would change

Exits with 5 if the condition does not hold.")]
pub(crate) struct Put {
    /// Key to write, such as app/web/port
    key: String,
    /// Value: a text, @FILE, - for standard input; nothing is the empty value
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,
    /// Write only if the key is at this revision; 0 means only if there is no such key
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["create", "cas", "if_value"])]
    if_rev: Option<u64>,
    /// Write only if this is the value now; written as VALUE is
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["create", "cas"], allow_hyphen_values = true)]
    if_value: Option<String>,
    /// Write only if there is no such key
    #[arg(long, conflicts_with = "cas")]
    create: bool,
    /// Write only if the key is at --modify-index (`consul kv`'s spelling of --if-rev)
    #[arg(long, hide_short_help = true)]
    cas: bool,
    /// See --cas
    #[arg(long, value_name = "REVISION", hide_short_help = true, requires = "cas")]
    modify_index: Option<u64>,
    /// Lock the key for --session, with the value
    #[arg(long, hide_short_help = true, requires = "session",
          conflicts_with_all = ["release", "if_rev", "if_value", "create", "cas"])]
    acquire: bool,
    /// Give up the lock that --session holds, with the value
    #[arg(long, hide_short_help = true, requires = "session",
          conflicts_with_all = ["if_rev", "if_value", "create", "cas"])]
    release: bool,
    /// Id of a session, for --acquire and --release
    #[arg(long, value_name = "ID", hide_short_help = true)]
    session: Option<String>,
    /// Opaque number to store with the value
    #[arg(long, value_name = "N", default_value_t = 0)]
    flags: u64,
    /// The value is base64; store what it stands for
    #[arg(long)]
    base64: bool,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Who, for the history: a claim that nobody checks; KEYWAY_AUTHOR or USER@HOST if nothing is said
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

impl Put {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let key = super::key_in_path(&self.key)?;
        let retry = self.retry();
        let value = self.value()?;
        let now = match (&self.if_value, context.settings.dry_run) {
            (None, false) => None,
            _ => Some(context.client.get(key.as_str(), Consistency::Default).await?.value),
        };
        let cas = match (&self.if_value, &now) {
            (Some(text), Some(now)) => {
                let wanted = Source::parse(Some(text)).read()?;
                let fits = now.as_ref().filter(|entry| entry.value == wanted);
                let Some(entry) = fits else {
                    return Err(conflict::lost(&context, &key, Expected::Value, &retry).await.into());
                };
                Some(entry.modify_index.0)
            }
            _ => self.cas(),
        };
        if context.settings.dry_run {
            let now = now.flatten();
            if let Some(expected) = cas.filter(|&cas| cas != now.as_ref().map_or(0, |entry| entry.modify_index.0)) {
                return Err(conflict::lost(&context, &key, Expected::Revision(expected), &retry)
                    .await
                    .into());
            }
            return would(&mut context, &key, value, self.flags, now);
        }
        let bytes = value.len();
        let options = WriteOptions {
            flags: self.flags,
            cas,
            author: Some(self.author.clone().unwrap_or_else(author)),
            message: self.message.clone(),
            ..WriteOptions::default()
        };
        let stored = match self.lock()? {
            Some(lock) => {
                let stored = context.client.store_locked(key.as_str(), value, lock, &options).await;
                let stored = stored.map_err(no_session)?;
                if !stored.done {
                    return Err(not_locked(&key, lock).into());
                }
                stored
            }
            None => context.client.store(key.as_str(), value, &options).await?,
        };
        if !stored.done {
            let expected = Expected::Revision(cas.unwrap_or_default());
            return Err(conflict::lost(&context, &key, expected, &retry).await.into());
        }
        if context.out.is_json() {
            context.out.json(&serde_json::json!({
                "key": key.as_str(), "written": true, "bytes": bytes, "revision": stored.revision,
            }))?;
        } else {
            let unit = if bytes == 1 { "byte" } else { "bytes" };
            let at = stored
                .revision
                .map_or_else(String::new, |at| format!(" at revision {at}"));
            context.out.say(format_args!("wrote {key} ({bytes} {unit}){at}"));
            if context.out.layout == Layout::Names {
                context.out.line(&key)?;
            }
        }
        Ok(exit::OK)
    }

    fn lock(&self) -> Result<Option<Lock<'_>>, Failure> {
        match (&self.session, self.acquire, self.release) {
            (None, ..) => Ok(None),
            (Some(session), true, _) => Ok(Some(Lock::Acquire(session))),
            (Some(session), _, true) => Ok(Some(Lock::Release(session))),
            (Some(_), false, false) => Err(Failure::new(
                exit::USAGE,
                "--session does nothing by itself",
                "add --acquire to lock the key, or --release to give the lock up",
            )),
        }
    }

    fn value(&self) -> Result<Bytes, Failure> {
        if self.value.as_deref() == Some("-") && self.if_value.as_deref() == Some("-") {
            return Err(Failure::new(
                exit::USAGE,
                "the value and --if-value cannot both be standard input",
                "put one of them into a file, and write @FILE",
            ));
        }
        let value = Source::parse(self.value.as_deref()).read()?;
        Ok(if self.base64 { decode_base64(&value)? } else { value })
    }

    /// The revision that the key must be at, if one is named.
    fn cas(&self) -> Option<u64> {
        match (self.if_rev, self.create || self.cas) {
            (Some(revision), _) => Some(revision),
            (None, true) => Some(self.modify_index.filter(|_| self.cas).unwrap_or(0)),
            (None, false) => None,
        }
    }

    /// This command without its condition, to be typed again.
    fn retry(&self) -> Vec<String> {
        let mut words: Vec<String> = ["keyway", "kv", "put", &self.key].map(str::to_owned).to_vec();
        words.extend(self.value.clone());
        if self.base64 {
            words.push("--base64".into());
        }
        if self.flags != 0 {
            words.extend(["--flags".into(), self.flags.to_string()]);
        }
        if let Some(message) = &self.message {
            words.extend(["-m".into(), message.clone()]);
        }
        words
    }
}

/// The key is another's, or nobody's.
fn not_locked(key: &Key, lock: Lock<'_>) -> Problem {
    match lock {
        Lock::Acquire(_) => Problem::of(
            &codes::LOCKED,
            format!("`{key}` is locked by another session, or its lock-delay is not over"),
        ),
        Lock::Release(session) => Problem::of(&codes::LOCKED, format!("`{key}` is not locked by session {session}")),
    }
    .help(format!("look at it with   keyway kv get -o json {key}"))
}

/// Consul answers 500 for a session that is not there, which else means that waiting helps.
fn no_session(error: kvapi::Error) -> Problem {
    match &error {
        kvapi::Error::Refused { text, .. } if text.contains("invalid session") => {
            Problem::of(&codes::REFUSED, error.to_string())
                .help("it is over, or never was; create one with PUT /v1/session/create")
        }
        _ => error.into(),
    }
}

/// What a put would change, without doing it.
fn would(context: &mut Context<'_>, key: &Key, value: Bytes, flags: u64, now: Option<Entry>) -> Outcome {
    let bytes = value.len();
    let before = Side::of(now.into_iter().collect(), "now".into());
    let mut after = Side {
        note: "dry run".into(),
        ..Side::default()
    };
    let version = Version {
        value,
        flags: Some(flags),
        revision: None,
    };
    after.versions.insert(key.to_string(), version);
    let difference = differences(&before, &after);
    let difference = difference.first();
    if context.out.is_json() {
        let shown = difference.map(Difference::shown);
        context.out.json(&serde_json::json!({
            "key": key.as_str(), "written": false, "dry_run": true, "bytes": bytes, "difference": shown,
        }))?;
    } else if let Some(difference) = difference {
        let text = diff::painted(context.out.paint, &difference.text());
        context.out.bytes(text.as_bytes())?;
    } else {
        context.out.say(format_args!("{key} is just that already"));
    }
    Ok(exit::OK)
}

/// Who writes, as far as this machine knows: a claim, for people. `KEYWAY_AUTHOR` names somebody else.
pub(crate) fn author() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    if let Some(author) = set("KEYWAY_AUTHOR") {
        return author;
    }
    let user = set("USER")
        .or_else(|| set("LOGNAME"))
        .unwrap_or_else(|| "someone".into());
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) if !host.trim().is_empty() => format!("{user}@{}", host.trim()),
        _ => user,
    }
}
