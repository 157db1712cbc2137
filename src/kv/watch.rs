//! `keyway kv watch`: every revision that touches what is watched, over every reconnect.
//!
//! A gap is never passed over in silence: if the store no longer keeps what was missed, the range
//! is printed as `compacted`, and after it the state as it is now.

use clap::Args;
use kvapi::problem::exit;
use kvapi::types::{Change, Compacted, Snapshot, WatchEvent, WatchRequest};
use kvapi::watch::News;
use kvapi::{Problem, Revision};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::shown::{Shown, on_one_line, time};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Layout, Out};
use crate::signals::Stop;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv watch app/                         every change below app/
  keyway kv watch --since 844 app/port         go on where you left off
  keyway kv watch -o jsonl app/ | jq .         one JSON document per revision

Ctrl-C ends it with exit code 0.")]
pub(crate) struct Watch {
    /// Keys; what ends in / is a prefix
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Take every target as a prefix, by bytes; "" is everything
    #[arg(long)]
    prefix: bool,
    /// Print what happened after this revision first
    #[arg(long, value_name = "REVISION")]
    since: Option<u64>,
    /// Print the state at the start first
    #[arg(long, conflicts_with = "since")]
    initial: bool,
    /// End after the first event
    #[arg(long)]
    once: bool,
}

impl Watch {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        let mut printer = Printer {
            out: context.out,
            shows_snapshots: self.initial,
            targets: self.targets.join(" "),
        };
        let once = self.once;
        let patience = Instant::now() + context.settings.timeout;
        let mut watch = context.client.watch(self.request()?);
        let mut stop = Stop::listen()?;
        let mut connected = false;
        let mut last_failure = String::new();
        loop {
            // Who is not there at the start is told at once; who goes away later is waited for.
            let until_connected = async {
                match connected {
                    false => timeout_at(patience, watch.next()).await.map_err(|_| ()),
                    true => Ok(watch.next().await),
                }
            };
            let news = tokio::select! {
                biased;
                () = stop.next() => return Ok(exit::OK),
                news = until_connected => news,
            };
            match news {
                Err(()) => return Err(never_connected(&last_failure).into()),
                Ok(News::Connected { address, .. }) => {
                    connected = true;
                    last_failure.clear();
                    tracing::info!(%address, "connected");
                }
                Ok(News::Lost { reason }) => {
                    if reason != last_failure {
                        printer.out.say(format_args!("no connection: {reason}; trying again"));
                    }
                    last_failure = reason;
                }
                Ok(News::Refused { status, text }) => return Err(kvapi::Error::Refused { status, text }.into()),
                Ok(News::Event(event)) => {
                    if printer.event(&event)? && once {
                        return Ok(exit::OK);
                    }
                }
            }
        }
    }

    fn request(self) -> Result<WatchRequest, Problem> {
        let (prefixes, keys): (Vec<String>, Vec<String>) = self
            .targets
            .into_iter()
            .partition(|target| self.prefix || target.ends_with('/'));
        for key in &keys {
            super::key(key)?;
        }
        Ok(WatchRequest {
            keys,
            prefixes,
            since: self.since.map(Revision),
        })
    }
}

fn never_connected(reason: &str) -> Problem {
    Problem::new(exit::UNAVAILABLE, format!("the watch did not begin: {reason}"))
        .help("is the server running? Start one with `keyway dev`, or name it with --addr or KEYWAY_ADDR")
}

struct Printer<'a> {
    out: &'a mut Out,
    /// Whether the next snapshot is wanted: the first one by --initial, one after a gap always.
    shows_snapshots: bool,
    targets: String,
}

impl Printer<'_> {
    /// Prints the event; whether there was something to print.
    fn event(&mut self, event: &WatchEvent) -> Result<bool, Failure> {
        match event {
            WatchEvent::Change(change) => self.change(change)?,
            WatchEvent::Compacted(compacted) => self.compacted(compacted)?,
            WatchEvent::Snapshot(snapshot) if self.shows_snapshots => self.snapshot(snapshot)?,
            WatchEvent::Snapshot(snapshot) => {
                let said = format!("watching {} from revision {}", self.targets, snapshot.revision);
                self.out.say(said);
                // From here on a snapshot means that something was missed.
                self.shows_snapshots = true;
                return Ok(false);
            }
            WatchEvent::Progress(_) | WatchEvent::End(_) => return Ok(false),
        }
        self.shows_snapshots = true;
        Ok(true)
    }

    fn change(&mut self, change: &Change) -> Result<(), Failure> {
        if self.out.is_json() {
            return self.out.json_line(&change_json(change));
        }
        if self.out.layout == Layout::Table {
            return self.table_rows(change);
        }
        for one in &change.changes {
            let revision = change.revision;
            match &one.entry {
                Some(entry) => {
                    let value = on_one_line(&entry.value);
                    self.out.line(format_args!("{revision} put {} {value}", one.key))?;
                }
                None => self.out.line(format_args!("{revision} delete {}", one.key))?,
            }
        }
        Ok(())
    }

    /// `-o table`: with the time and who wrote it. What comes later is not known, so the columns are
    /// as wide as they usually have to be.
    fn table_rows(&mut self, change: &Change) -> Result<(), Failure> {
        let author = change.author.as_deref().unwrap_or("-");
        for one in &change.changes {
            let (revision, time) = (change.revision, self.out.time(change.at));
            let (op, value) = match &one.entry {
                Some(entry) => ("put", on_one_line(&entry.value)),
                None => ("delete", "-".into()),
            };
            let row = format!("{revision:<9}  {time:<10}  {author:<16}  {op:<6}  {}  {value}", one.key);
            self.out.line(row)?;
        }
        Ok(())
    }

    fn compacted(&mut self, gap: &Compacted) -> Result<(), Failure> {
        let first = gap.since.next();
        if self.out.is_json() {
            let gap = json!({"event": "compacted", "from_revision": first, "to_revision": gap.oldest});
            return self.out.json_line(&gap);
        }
        self.out.line(format_args!(
            "compacted: revisions {first} to {} are no longer kept; the state now follows",
            gap.oldest
        ))
    }

    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        let revision = snapshot.revision;
        if self.out.is_json() {
            let entries: Vec<Shown<'_>> = snapshot.entries.iter().map(Shown::from).collect();
            let snapshot = json!({"event": "snapshot", "revision": revision, "entries": entries});
            return self.out.json_line(&snapshot);
        }
        for entry in &snapshot.entries {
            let value = on_one_line(&entry.value);
            self.out.line(format_args!("{revision} is {} {value}", entry.key))?;
        }
        Ok(())
    }
}

fn change_json(change: &Change) -> Value {
    let changes: Vec<Value> = change
        .changes
        .iter()
        .map(|one| match &one.entry {
            Some(entry) => json!({"op": "put", "entry": Shown::from(entry)}),
            None => json!({"op": "delete", "key": one.key}),
        })
        .collect();
    json!({
        "event": "change",
        "revision": change.revision,
        "time": time(change.at),
        "author": change.author,
        "message": change.message,
        "changes": changes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use crate::output::tests::remembering;
    use kvapi::types::KeyChange;

    fn printed(format: Format, initial: bool, events: &[WatchEvent]) -> String {
        let (mut out, data, _) = remembering(format, false);
        let mut printer = Printer {
            out: &mut out,
            shows_snapshots: initial,
            targets: "a".into(),
        };
        for event in events {
            printer.event(event).unwrap();
        }
        data.text()
    }

    fn snapshot(revision: u64) -> WatchEvent {
        let entry = kvapi::Entry {
            lock_index: 0,
            key: "a".into(),
            flags: 0,
            value: "1".into(),
            session: None,
            create_index: Revision(2),
            modify_index: Revision(2),
        };
        WatchEvent::Snapshot(Snapshot {
            revision: Revision(revision),
            entries: vec![entry],
        })
    }

    #[test]
    fn the_first_snapshot_is_printed_on_demand_and_one_after_a_gap_always() {
        let gap = WatchEvent::Compacted(Compacted {
            since: Revision(5),
            oldest: Revision(8),
        });

        assert_eq!(printed(Format::Text, false, &[snapshot(5)]), "");
        assert_eq!(printed(Format::Text, true, &[snapshot(5)]), "5 is a 1\n");
        assert_eq!(
            printed(Format::Text, false, &[snapshot(5), gap, snapshot(9)]),
            "compacted: revisions 6 to 8 are no longer kept; the state now follows\n9 is a 1\n"
        );
    }

    #[test]
    fn a_revision_is_one_line_of_json_with_all_its_changes() {
        let change = Change {
            revision: Revision(7),
            at: 0,
            author: None,
            message: None,
            changes: ["a", "b"]
                .map(|key| KeyChange {
                    key: key.into(),
                    entry: None,
                })
                .to_vec(),
        };

        let text = printed(Format::Json, false, &[WatchEvent::Change(change)]);

        assert_eq!(text.lines().count(), 1);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["revision"], 7);
        assert_eq!(json["changes"][1], json!({"op": "delete", "key": "b"}));
    }
}
