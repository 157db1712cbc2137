//! `keyway kv watch`: every revision that touches what is watched, over every reconnect.
//!
//! A gap is never passed over in silence: if the store no longer keeps what was missed, the range
//! is printed as `compacted`, and after it the state as it is now.

mod handler;
mod session;

use std::time::Duration;

use clap::Args;
use kvapi::problem::exit;
use kvapi::types::{Change, Compacted, Snapshot, WatchEvent, WatchRequest};
use kvapi::{Problem, Revision};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::handler::{Handler, Ran};
use self::session::{Next, Session};
use super::past;
use super::shown::{Shown, author, change_json, on_one_line, plain};
use super::when::When;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Layout, Out};

/// A batch is handed over at the latest after this many pauses of --debounce.
const PAUSES: u32 = 10;

/// And at the latest when it is so long, in bytes.
const BATCH: usize = 8 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv watch app/                         every change below app/
  keyway kv watch --since 844 app/port         go on where you left off
  keyway kv watch --since 10m app/             what happened in the last ten minutes, and on
  keyway kv watch -o jsonl app/ | jq .         one JSON document per revision
  keyway kv watch app/ -- ./deploy.sh          a command for each batch of changes

CMD is started once for each batch of events, and they stand as JSON lines on its standard input.
What comes while it runs is the next batch. That it fails is said, and the watch goes on.

Every revision is shown, over every reconnect and restart of the server. If the store no longer
keeps what was missed, `compacted` says which revisions, and the state as it is now follows.
Ctrl-C ends the watch with exit code 0, and CMD with all that it has started; a second one kills it.
--once ends the watch with the exit code of CMD.")]
pub(crate) struct Watch {
    /// Keys; what ends in / is a prefix
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Take every target as a prefix, by bytes; "" is everything
    #[arg(long)]
    prefix: bool,
    /// Begin with what happened after this revision (844), time (2026-11-24T08:30:00Z) or so long ago (10m)
    #[arg(long, value_name = "REVISION|TIME")]
    since: Option<When>,
    /// Print the state at the start first
    #[arg(long, conflicts_with = "since")]
    initial: bool,
    /// End after the first event, or the first batch
    #[arg(long)]
    once: bool,
    /// Start CMD when nothing more has come for so long, or after ten times that
    #[arg(long, value_name = "DURATION", value_parser = kvapi::duration::parse, requires = "command")]
    debounce: Option<Duration>,
    /// Program to tell, and its arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Watch {
    pub(super) async fn run(mut self, context: Context<'_>) -> Outcome {
        let timeout = context.settings.timeout;
        let since = match self.since {
            Some(when) => Some(past::since(&context.client, when).await?),
            None => None,
        };
        let mut teller = Teller {
            out: context.out,
            shows_snapshots: self.initial,
            targets: self.targets.join(" "),
        };
        let handler = Handler::new(std::mem::take(&mut self.command));
        let (once, pause) = (self.once, self.debounce.unwrap_or_default());
        let mut session = Session::start(&context.client, self.request(since)?, timeout)?;
        loop {
            let event = match session.next(teller.out, None).await? {
                Next::Event(event) => event,
                Next::Quiet => continue,
                Next::Stop => return Ok(exit::OK),
            };
            let Some(handler) = &handler else {
                if teller.print(&event)? && once {
                    return Ok(exit::OK);
                }
                continue;
            };
            let mut batch = Batch::default();
            batch.take(&mut teller, &event);
            let latest = Instant::now() + pause * PAUSES;
            while batch.begun && batch.lines.len() < BATCH {
                // What was missed is told together with the state that follows it.
                let until = batch.whole.then(|| (Instant::now() + pause).min(latest));
                match session.next(teller.out, until).await? {
                    Next::Event(event) => batch.take(&mut teller, &event),
                    Next::Quiet => break,
                    Next::Stop => return Ok(exit::OK),
                }
            }
            if !batch.begun {
                continue;
            }
            match handler.run(&batch.lines, &mut session.stop, teller.out).await? {
                Ran::Stopped(code) => return Ok(code),
                Ran::Ended(code) if once => return Ok(code),
                Ran::Ended(0) => {}
                Ran::Ended(code) => teller.out.say(format_args!("the command ended with {code}")),
            }
        }
    }

    fn request(self, since: Option<Revision>) -> Result<WatchRequest, Problem> {
        let (prefixes, keys): (Vec<String>, Vec<String>) = self
            .targets
            .into_iter()
            .partition(|target| self.prefix || target.ends_with('/'));
        for key in &keys {
            super::key(key)?;
        }
        Ok(WatchRequest { keys, prefixes, since })
    }
}

/// What is handed to the command in one go.
#[derive(Default)]
struct Batch {
    lines: String,
    /// Whether there is something to tell.
    begun: bool,
    /// Whether the last event stands for itself.
    whole: bool,
}

impl Batch {
    fn take(&mut self, teller: &mut Teller<'_>, event: &WatchEvent) {
        if let Some((document, whole)) = teller.document(event) {
            self.lines.push_str(&format!("{document}\n"));
            self.begun = true;
            self.whole = whole;
        }
    }
}

/// Decides what is told, and how.
struct Teller<'a> {
    out: &'a mut Out,
    /// Whether the next snapshot is wanted: the first one by --initial, one after a gap always.
    shows_snapshots: bool,
    targets: String,
}

impl Teller<'_> {
    /// Whether the event is news, and whether it stands for itself: `compacted` does not, the state follows it.
    fn judge(&mut self, event: &WatchEvent) -> Option<bool> {
        let whole = match event {
            WatchEvent::Change(_) => Some(true),
            WatchEvent::Compacted(_) => Some(false),
            WatchEvent::Snapshot(_) if self.shows_snapshots => Some(true),
            WatchEvent::Snapshot(snapshot) => {
                let said = format!("watching {} from revision {}", self.targets, snapshot.revision);
                self.out.say(said);
                None
            }
            WatchEvent::Progress(_) | WatchEvent::End(_) => return None,
        };
        // From here on a snapshot means that something was missed.
        self.shows_snapshots = true;
        whole
    }

    /// The event as a JSON line, if it is news, and whether it stands for itself.
    fn document(&mut self, event: &WatchEvent) -> Option<(Value, bool)> {
        let whole = self.judge(event)?;
        let document = match event {
            WatchEvent::Change(change) => change_json(change),
            WatchEvent::Compacted(gap) => gap_json(gap),
            WatchEvent::Snapshot(snapshot) => snapshot_json(snapshot),
            WatchEvent::Progress(_) | WatchEvent::End(_) => return None,
        };
        Some((document, whole))
    }

    /// Prints the event; whether that was all there is to it.
    fn print(&mut self, event: &WatchEvent) -> Result<bool, Failure> {
        if self.out.is_json() {
            let Some((document, whole)) = self.document(event) else {
                return Ok(false);
            };
            self.out.json_line(&document)?;
            return Ok(whole);
        }
        let Some(whole) = self.judge(event) else {
            return Ok(false);
        };
        match event {
            WatchEvent::Change(change) => self.change(change)?,
            WatchEvent::Compacted(gap) => {
                let missed = missed(gap);
                self.out.line(format_args!(
                    "compacted: {missed} are no longer kept in full; the state now follows"
                ))?;
            }
            WatchEvent::Snapshot(snapshot) => self.snapshot(snapshot)?,
            WatchEvent::Progress(_) | WatchEvent::End(_) => {}
        }
        Ok(whole)
    }

    fn change(&mut self, change: &Change) -> Result<(), Failure> {
        if self.out.layout == Layout::Table {
            return self.table_rows(change);
        }
        for one in &change.changes {
            let (revision, key) = (change.revision, plain(&one.key));
            match &one.entry {
                Some(entry) => {
                    let value = on_one_line(&entry.value);
                    self.out.line(format_args!("{revision} put {key} {value}"))?;
                }
                None => self.out.line(format_args!("{revision} delete {key}"))?,
            }
        }
        Ok(())
    }

    /// `-o table`: with the time and who wrote it. What comes later is not known, so the columns are
    /// as wide as they usually have to be.
    fn table_rows(&mut self, change: &Change) -> Result<(), Failure> {
        let author = author(change).unwrap_or_else(|| "-".into());
        for one in &change.changes {
            let (revision, time) = (change.revision, self.out.time(change.at));
            let (op, value) = match &one.entry {
                Some(entry) => ("put", on_one_line(&entry.value)),
                None => ("delete", "-".into()),
            };
            let row = format!(
                "{revision:<9}  {time:<10}  {author:<26}  {op:<6}  {}  {value}",
                plain(&one.key)
            );
            self.out.line(row)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        let revision = snapshot.revision;
        for entry in &snapshot.entries {
            let value = on_one_line(&entry.value);
            self.out
                .line(format_args!("{revision} is {} {value}", plain(&entry.key)))?;
        }
        Ok(())
    }
}

/// The first revision that was missed. None before it made a change: that of an empty store is none.
fn first_missed(gap: &Compacted) -> Revision {
    gap.since.max(Revision::EMPTY).next()
}

/// The state of the last of them can still be read; what it changed, and what others did, no longer all of it.
fn missed(gap: &Compacted) -> String {
    match (first_missed(gap), gap.oldest) {
        (first, last) if first == last => format!("the changes of revision {first}"),
        (first, last) => format!("the changes of revisions {first} to {last}"),
    }
}

fn gap_json(gap: &Compacted) -> Value {
    json!({"event": "compacted", "from_revision": first_missed(gap), "to_revision": gap.oldest})
}

fn snapshot_json(snapshot: &Snapshot) -> Value {
    let entries: Vec<Shown<'_>> = snapshot.entries.iter().map(Shown::from).collect();
    json!({"event": "snapshot", "revision": snapshot.revision, "entries": entries})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use crate::output::tests::remembering;
    use kvapi::types::KeyChange;

    fn printed(format: Format, initial: bool, events: &[WatchEvent]) -> String {
        let (mut out, data, _) = remembering(format, false);
        let mut teller = Teller {
            out: &mut out,
            shows_snapshots: initial,
            targets: "a".into(),
        };
        for event in events {
            teller.print(event).unwrap();
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
            "compacted: the changes of revisions 6 to 8 are no longer kept in full; the state now follows\n9 is a 1\n"
        );
        let one = WatchEvent::Compacted(Compacted {
            since: Revision(2),
            oldest: Revision(3),
        });
        assert_eq!(
            printed(Format::Text, false, &[one]),
            "compacted: the changes of revision 3 are no longer kept in full; the state now follows\n"
        );
        let from_the_beginning = Compacted {
            since: Revision(0),
            oldest: Revision(3),
        };
        assert_eq!(
            gap_json(&from_the_beginning),
            json!({"event": "compacted", "from_revision": 2, "to_revision": 3})
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
            omitted: 0,
        };

        let text = printed(Format::Json, false, &[WatchEvent::Change(change)]);

        assert_eq!(text.lines().count(), 1);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["revision"], 7);
        assert_eq!(json["changes"][1], json!({"op": "delete", "key": "b"}));
    }
}
