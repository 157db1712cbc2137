//! `keyway kv import`: the settings of a document into the store.
//!
//! The document is read twice: once to check all of it, so that a mistake at its end writes nothing,
//! and once to write it. Of Consul's form only a piece is in memory at a time.

mod batch;
mod source;
mod write;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use clap::{Args, ValueEnum};
use kvapi::Problem;
use kvapi::client::WriteOptions;
use kvapi::limits::Limits;
use kvapi::problem::exit;
use kvapi::types::TxnOp;

use super::folder::Folder;
use super::put::author;
use super::stream;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;
use agent::document::{As, Item};
use batch::Plan;
use source::Source;
use write::{Done, Writer};

/// Up to this many keys are pruned without a question, as `kv delete` deletes them.
const UNASKED: usize = 10;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv import all.json                    what `consul kv export` or `keyway kv export` wrote
  consul kv export | keyway kv import -        from another store
  keyway kv import --prefix app --as yaml app.yaml --prune   make app/ what the file says

Exits with 5 if --on-conflict fail finds a key that is there.")]
pub(crate) struct Import {
    /// Document: a file, also as @FILE; - for standard input
    #[arg(value_name = "SRC")]
    source: String,
    /// Put every key below this one: `pre` and `pre/` both give pre/KEY
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Form of the document
    #[arg(long = "as", value_name = "FORM", default_value = "consul")]
    form: As,
    /// Delete what is below --prefix and not in the document
    #[arg(long, requires = "prefix")]
    prune: bool,
    /// What happens to a key that is there already
    #[arg(long, value_name = "WHAT", default_value = "overwrite")]
    on_conflict: OnConflict,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

/// What happens to a key that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnConflict {
    /// Nothing is written at all
    Fail,
    /// It stays as it is
    Skip,
    /// It gets the new value
    Overwrite,
}

impl Import {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let folder = self.prefix.as_deref().map(Folder::new);
        if self.prune && folder.as_ref().is_some_and(Folder::is_everything) {
            return Err(Failure::new(
                exit::USAGE,
                "--prune without a prefix would delete all that is not in the document",
                "name a folder with --prefix",
            ));
        }
        let mut source = Source::open(&self.source, self.form)?;
        let asked = context.client.limits().await;
        let limits = *asked.as_ref().unwrap_or(&Limits::default());
        let mut plan = Plan::new(limits);
        // A mistake of the document is told even if nobody answers.
        let total = self.check(&mut source, &mut plan)?;
        asked.map_err(|error| write::nothing_written(error.into()))?;
        source.rewind()?;
        let there = match &folder {
            Some(folder) if self.prune => self.survey(&context, folder).await?,
            folder if context.settings.dry_run => {
                self.survey(&context, folder.as_ref().unwrap_or(&Folder::new("")))
                    .await?
            }
            _ => There::default(),
        };
        if context.settings.dry_run {
            return self.would(context, &mut source, there, plan);
        }
        let doomed = self.doomed(&mut source, there)?;
        source.rewind()?;
        doomed.iter().for_each(|op| plan.add(op));
        let total = total + doomed.len() as u64;
        let in_several = plan.transactions > 1;
        if in_several {
            let how = write::several(limits, total, Some(plan.transactions));
            context.out.say(how);
        }
        if doomed.len() > UNASKED {
            context.confirm(&format!(
                "This deletes {} keys that are not in the document.",
                doomed.len()
            ))?;
        }
        let mut progress = Progress::new(context.settings, "import", Some(total));
        let mut writer = Writer {
            limits,
            options: WriteOptions {
                author: Some(author()),
                message: self.message.clone(),
                ..WriteOptions::default()
            },
            on_conflict: self.on_conflict,
            total,
            said: in_several,
            done: Done::default(),
            context: &mut context,
        };
        if self.on_conflict == OnConflict::Fail {
            self.look_for_conflicts(&mut source, &mut writer).await?;
        }
        let mut deletions = doomed.into_iter();
        let next = || {
            let item = source.next()?;
            Ok(item.map(|item| self.op(item)).or_else(|| deletions.next()))
        };
        writer.write(next, &mut progress).await?;
        let done = writer.done;
        progress.end(done.written + done.skipped + done.deleted);
        report(&mut context, &done)?;
        Ok(exit::OK)
    }

    /// Reads all of it and counts the transactions; how many settings there are.
    fn check(&self, source: &mut Source, plan: &mut Plan) -> Result<u64, Failure> {
        let mut total = 0;
        while let Some(item) = source.next()? {
            let key = self.key(&item.key);
            super::key(&key).map_err(|problem| {
                Problem::new(
                    exit::INVALID,
                    format!("{}: `{}`: {}", source.name(), item.key, problem.what),
                )
                .help("nothing was written")
            })?;
            plan.add(&self.op(item));
            total += 1;
        }
        Ok(total)
    }

    /// Where a key of the document goes.
    fn key(&self, key: &str) -> String {
        match self.prefix.as_deref().map(|prefix| prefix.trim_end_matches('/')) {
            None | Some("") => key.to_owned(),
            Some(prefix) => format!("{prefix}/{key}"),
        }
    }

    fn op(&self, item: Item) -> TxnOp {
        let verb = match self.on_conflict {
            OnConflict::Overwrite => "set",
            // At index 0: only if it is not there.
            OnConflict::Fail | OnConflict::Skip => "cas",
        };
        TxnOp {
            value: item.value,
            flags: item.flags,
            ..TxnOp::new(verb, self.key(&item.key))
        }
    }

    /// What is there now: revisions, and what to tell whether a value is equal.
    async fn survey(&self, context: &Context<'_>, folder: &Folder) -> Result<There, Failure> {
        let mut there = There::default();
        stream::entries(context.settings, &context.client, folder, None, |entry| {
            let print = fingerprint(&entry.value, entry.flags);
            there.0.insert(entry.key, (entry.modify_index.0, print));
            Ok(())
        })
        .await?;
        Ok(there)
    }

    /// The deletions of --prune, in byte order.
    fn doomed(&self, source: &mut Source, mut there: There) -> Result<Vec<TxnOp>, Failure> {
        if !self.prune {
            return Ok(Vec::new());
        }
        while let Some(item) = source.next()? {
            there.0.remove(&self.key(&item.key));
        }
        Ok(there.deletions())
    }

    /// `--on-conflict fail` of more than one transaction must find a conflict before it writes.
    async fn look_for_conflicts(&self, source: &mut Source, writer: &mut Writer<'_, '_>) -> Result<(), Failure> {
        let client = writer.context.client.clone();
        let mut checks = Vec::new();
        let mut bytes = 0;
        loop {
            let item = source.next()?;
            if let Some(item) = &item {
                let check = TxnOp::new("check-not-exists", self.key(&item.key));
                bytes += batch::size(&check);
                checks.push(check);
            }
            let is_full = checks.len() == 64 || bytes > writer.limits.txn_bytes / 2;
            if !checks.is_empty() && (is_full || item.is_none()) {
                if let Err(reasons) = client.txn(&checks, &WriteOptions::default()).await? {
                    let problem = write::conflict(&checks, &reasons);
                    let what = format!("nothing was written: {}", problem.what);
                    return Err(Problem { what, ..problem }.into());
                }
                checks.clear();
                bytes = 0;
            }
            if item.is_none() {
                source.rewind()?;
                return Ok(());
            }
        }
    }

    /// `--dry-run`: a line for each key that would be touched.
    fn would(&self, context: Context<'_>, source: &mut Source, mut there: There, mut plan: Plan) -> Outcome {
        let out = context.out;
        let (mut new, mut changed, mut equal, mut kept) = (0_u64, 0_u64, 0_u64, 0_u64);
        while let Some(item) = source.next()? {
            let key = self.key(&item.key);
            let print = fingerprint(&item.value, item.flags);
            let what = match there.0.remove(&key) {
                None => {
                    new += 1;
                    "create"
                }
                Some(_) if self.on_conflict != OnConflict::Overwrite => {
                    kept += 1;
                    "keep"
                }
                Some((_, old)) if old == print => {
                    equal += 1;
                    continue;
                }
                Some(_) => {
                    changed += 1;
                    "change"
                }
            };
            if !out.is_json() {
                out.line(format_args!("{what} {key}"))?;
            }
        }
        let doomed = if self.prune { there.deletions() } else { Vec::new() };
        doomed.iter().for_each(|op| plan.add(op));
        let transactions = plan.transactions;
        if out.is_json() {
            out.json(&serde_json::json!({
                "dry_run": true, "create": new, "change": changed, "equal": equal, "keep": kept, "delete": doomed.len(),
                "transactions": transactions,
            }))?;
        } else {
            doomed
                .iter()
                .try_for_each(|op| out.line(format_args!("delete {}", op.key)))?;
            let deleted = doomed.len();
            out.say(format_args!(
                "would create {new}, change {changed}, delete {deleted}; {equal} are equal, {kept} are there"
            ));
        }
        if transactions > 1 {
            let keys = new + changed + equal + kept + doomed.len() as u64;
            out.say(write::several(plan.limits, keys, Some(transactions)));
        }
        Ok(if kept > 0 && self.on_conflict == OnConflict::Fail {
            exit::CONFLICT
        } else {
            exit::OK
        })
    }
}

/// Keys that are there, each with its revision and a print of what it holds.
#[derive(Default)]
struct There(HashMap<String, (u64, u64)>);

impl There {
    /// What deletes them as they are, in byte order.
    fn deletions(self) -> Vec<TxnOp> {
        let deletion = |(key, (index, _))| TxnOp {
            index,
            ..TxnOp::new("delete-cas", key)
        };
        let mut deletions: Vec<TxnOp> = self.0.into_iter().map(deletion).collect();
        deletions.sort_by(|a, b| a.key.cmp(&b.key));
        deletions
    }
}

/// Equal for equal values, and as good as never for others.
fn fingerprint(value: &[u8], flags: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (value, flags).hash(&mut hasher);
    hasher.finish()
}

fn report(context: &mut Context<'_>, done: &Done) -> Result<(), Failure> {
    let Done {
        written,
        skipped,
        deleted,
        transactions,
    } = done;
    if context.out.is_json() {
        return context.out.json(&serde_json::json!({
            "written": written, "skipped": skipped, "deleted": deleted, "transactions": transactions,
        }));
    }
    let how = match transactions {
        0 => "nothing to write".to_owned(),
        1 => "in one transaction".to_owned(),
        n => format!("in {n} transactions"),
    };
    let skipped = match skipped {
        0 => String::new(),
        n => format!(", left {n} that were there"),
    };
    let deleted = match deleted {
        0 => String::new(),
        n => format!(", deleted {n}"),
    };
    context
        .out
        .say(format_args!("imported {written} keys{skipped}{deleted}: {how}"));
    Ok(())
}
