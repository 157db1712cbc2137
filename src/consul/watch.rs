//! `consul watch`: prints a key or what is below a prefix, or runs a command with it whenever it changes.

use std::process::Stdio;
use std::time::Duration;

use kvapi::Entry;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;

use super::ask::{Server, look};
use super::go::flags::{Flag, Parsed};
use super::go::{errno, json};
use super::lock;
use super::{Done, Stop, about, place, print, shown, stale, stop, words};
use crate::signals;
use crate::spawned::code;

pub(super) const FLAGS: &[Flag] = &[
    Flag::text("key", "Key to watch, with -type=key"),
    Flag::text("prefix", "Prefix to watch, with -type=keyprefix"),
    Flag::switch("shell", "Run the command by a shell (default true)"),
    Flag::text("type", "What is watched: key or keyprefix"),
];

/// After the first failure; it grows with the square of their number.
const AGAIN: Duration = Duration::from_secs(5);

/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(180);

/// An entry as Consul's client shows it, in its order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    key: String,
    create_index: u64,
    modify_index: u64,
    lock_index: u64,
    flags: u64,
    value: Option<String>,
    session: String,
}

impl From<Entry> for Shown {
    fn from(entry: Entry) -> Self {
        Self {
            key: entry.key,
            create_index: entry.create_index.0,
            modify_index: entry.modify_index.0,
            lock_index: entry.lock_index,
            flags: entry.flags,
            value: (!entry.value.is_empty()).then(|| crate::value::encode_base64(&entry.value)),
            session: entry.session.unwrap_or_default(),
        }
    }
}

/// What is watched.
enum Subject {
    Key(String),
    Prefix(String),
}

impl Subject {
    fn of(parsed: &Parsed) -> Result<Self, Stop> {
        let text = |name: &str| parsed.text(name).map(shown).filter(|text| !text.is_empty());
        match text("type").as_deref() {
            None => stop(format!("Watch type must be specified\n\n{}", words::WATCH)),
            Some("key") => match text("key") {
                Some(key) => Ok(Self::Key(key)),
                None => stop("Must specify a single key to watch"),
            },
            Some("keyprefix") => match text("prefix") {
                Some(prefix) => Ok(Self::Prefix(prefix)),
                None => stop("Must specify a single prefix to watch"),
            },
            Some(other) => stop(format!("Unsupported watch type: {other}")),
        }
    }

    /// What is there once that may have changed since the index, as JSON; and the index now.
    async fn look(
        &self,
        server: &mut Server,
        parsed: &Parsed,
        index: u64,
        pretty: bool,
    ) -> Result<(String, u64), String> {
        let mut asked = vec![("index", index.to_string())];
        asked.extend(stale(parsed));
        match self {
            Self::Key(key) => {
                let (entries, now) = look(server, key, &asked).await?;
                let entry = entries.into_iter().next().map(Shown::from);
                Ok((json::indented(&entry, pretty), now))
            }
            Self::Prefix(prefix) => {
                asked.push(("recurse", String::new()));
                let (entries, now) = look(server, prefix, &asked).await?;
                let entries: Vec<Shown> = entries.into_iter().map(Shown::from).collect();
                // An empty list of Go's that nobody has made is null.
                let entries = (!entries.is_empty()).then_some(entries);
                Ok((json::indented(&entries, pretty), now))
            }
        }
    }
}

pub(super) async fn run(parsed: &Parsed) -> Done {
    let subject = Subject::of(parsed)?;
    let mut server = Server::new(place(parsed)?);
    about(&mut server).await?;
    let mut signals = signals::Stop::listen().map_err(|problem| Stop::Said(problem.to_string()))?;
    tokio::select! {
        biased;
        () = signals.next() => Ok(()),
        done = follow(&subject, &mut server, parsed) => done,
    }
}

async fn follow(subject: &Subject, server: &mut Server, parsed: &Parsed) -> Done {
    let by_shell = !parsed.is_off("shell");
    let (mut index, mut failures) = (0, 0_u32);
    loop {
        match subject.look(server, parsed, index, parsed.words.is_empty()).await {
            Err(why) => {
                failures += 1;
                let pause = (AGAIN * failures.saturating_mul(failures)).min(LONGEST);
                eprintln!("Watch errored: {why}, retry in {}s", pause.as_secs());
                tokio::time::sleep(pause).await;
            }
            Ok((text, _)) if parsed.words.is_empty() => return print(text.as_bytes()),
            Ok((text, now)) => {
                failures = 0;
                if now != index {
                    handle(&parsed.words, by_shell, text, now).await?;
                }
                // One that went back is of another state.
                index = if now < index { 0 } else { now };
            }
        }
    }
}

/// Runs the command with what there is on its standard input.
async fn handle(words: &[Vec<u8>], by_shell: bool, text: String, index: u64) -> Done {
    let failed = |why: String| stop(format!("Error executing handler: {why}"));
    let Some(mut command) = lock::command(words, by_shell) else {
        return failed("there is none".to_owned());
    };
    command
        .env("CONSUL_INDEX", index.to_string())
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return failed(errno(&e)),
    };
    let input = child.stdin.take();
    let write = async {
        if let Some(mut input) = input {
            // Whoever does not read it has no use for it.
            let _ = input.write_all(format!("{text}\n").as_bytes()).await;
        }
    };
    let ((), status) = tokio::join!(write, child.wait());
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => failed(format!("exit status {}", code(status))),
        Err(e) => failed(errno(&e)),
    }
}
