//! `keyway kv revert`: puts a key, or everything below a prefix, back as it was. One transaction, and
//! only if none of it was changed in between.

use std::collections::BTreeSet;

use clap::Args;
use http::StatusCode;
use kvapi::client::WriteOptions;
use kvapi::problem::exit;
use kvapi::types::TxnOp;
use kvapi::{Problem, Revision};

use super::at_once::at_once;
use super::conflict::{self, Expected};
use super::folder::Folder;
use super::past;
use super::put::author;
use super::side::{Difference, differences};
use super::target::Target;
use super::when::When;
use crate::context::Context;
use crate::diff;
use crate::failure::{Failure, Outcome};

/// Up to this many keys go without a question.
const UNASKED: usize = 10;

/// How many smaller reverts are proposed when one is too large.
const PARTS: usize = 5;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv revert app/port --to 844           the key as it was at revision 844
  keyway kv revert app/ --to 10m --dry-run     show what would come back of ten minutes ago
  keyway kv revert app/ --to 844 -m 'bad release'

All in one transaction: it exits with 5, and has done nothing, if one of the keys was changed
meanwhile. What was created since is deleted. A revert is a change like any other.")]
pub(crate) struct Revert {
    /// Key; what ends in / is a prefix, and / alone is everything
    key: String,
    /// Revision (844), time (2026-11-24T08:30:00Z) or how long ago (10m) to go back to
    #[arg(long, value_name = "REVISION|TIME")]
    to: When,
    /// Why, for the history [default: revert to revision N]
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

impl Revert {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let target = Target::parse(&self.key)?;
        let to = past::revision(&context.client, &target, self.to).await?;
        // The present first: what changes after it is a conflict, not a surprise.
        let now = past::side(&context.client, &target, None).await?;
        let then = past::side(&context.client, &target, Some(to)).await?;
        if then.versions.is_empty() && now.versions.is_empty() {
            let what = format!("there is nothing at `{target}`, and there was nothing at revision {to}");
            return Err(Failure::new(
                exit::NO,
                what,
                format!("see what happened with   keyway kv history {target}"),
            ));
        }
        let changes = differences(&now, &then);
        let dry_run = context.settings.dry_run;
        if !dry_run && !changes.is_empty() {
            if changes.len() > UNASKED {
                context.confirm(&format!("This sets back {} keys to revision {to}.", changes.len()))?;
            }
            self.write(&context, &target, to, &changes).await?;
        }
        report(&mut context, &target, to, &changes)
    }

    async fn write(
        &self,
        context: &Context<'_>,
        target: &Target,
        to: Revision,
        changes: &[Difference<'_>],
    ) -> Result<(), Failure> {
        let ops: Vec<TxnOp> = changes.iter().map(op).collect();
        let options = WriteOptions {
            author: Some(author()),
            message: Some(
                self.message
                    .clone()
                    .unwrap_or_else(|| format!("revert to revision {to}")),
            ),
            ..WriteOptions::default()
        };
        let errors = match at_once(&context.client, &ops, &options).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(errors)) => errors,
            Err(kvapi::Error::Refused { status, text }) if status == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(too_large(target, to, changes, &text).into());
            }
            Err(error) => return Err(error.into()),
        };
        let lost = errors.first().and_then(|error| ops.get(error.op_index));
        let Some(lost) = lost else {
            return Err(Problem::of(&kvapi::codes::CHANGED, "nothing was set back").into());
        };
        let key = super::key(&lost.key)?;
        let mut problem = conflict::lost(context, &key, Expected::Revision(lost.index), &[]).await;
        let others = match errors.len() {
            1 => String::new(),
            n => format!(", and {} more like it", n - 1),
        };
        problem.what = format!("nothing was set back: {}{others}", problem.what);
        let again = format!("look again with keyway kv revert {target} --to {to} --dry-run");
        Err(problem.help(again).into())
    }
}

/// A change that is only made if the key is still as it was seen: `cas` and `delete-cas` check and write in one.
fn op(change: &Difference<'_>) -> TxnOp {
    let index = change.before.and_then(|before| before.revision).unwrap_or_default().0;
    let (verb, value, flags) = match change.after {
        Some(after) => ("cas", after.value.clone(), after.flags.unwrap_or_default()),
        None => ("delete-cas", bytes::Bytes::new(), 0),
    };
    TxnOp {
        value,
        flags,
        index,
        ..TxnOp::new(verb, change.key)
    }
}

/// The server's limit, and the parts in which it goes.
fn too_large(target: &Target, to: Revision, changes: &[Difference<'_>], reason: &str) -> Problem {
    let what = match changes {
        [one] => format!(
            "`{}` is more than the server takes, so nothing was done: {reason}",
            one.key
        ),
        several => format!(
            "{} changes are more than one transaction takes, so nothing was done: {reason}",
            several.len()
        ),
    };
    let problem = Problem::of(&kvapi::codes::TOO_LARGE, what);
    let folder = Folder::new(target.as_str());
    let parts: BTreeSet<&str> = changes.iter().map(|change| folder.next_level(change.key)).collect();
    if parts.len() == 1 && parts.iter().all(|part| !part.ends_with('/')) {
        return problem;
    }
    let shown = parts.iter().take(PARTS);
    let problem = shown.fold(
        problem.help("do it in parts, each a transaction of its own:"),
        |problem, part| problem.help(format!("  keyway kv revert {part} --to {to}")),
    );
    match parts.len().saturating_sub(PARTS) {
        0 => problem,
        more => problem.help(format!("  and {more} more")),
    }
}

fn report(context: &mut Context<'_>, target: &Target, to: Revision, changes: &[Difference<'_>]) -> Outcome {
    let dry_run = context.settings.dry_run;
    let out = &mut context.out;
    if out.is_json() {
        let shown: Vec<_> = changes.iter().map(Difference::shown).collect();
        out.json(&serde_json::json!({
            "key": target.as_str(), "to_revision": to, "reverted": !dry_run && !changes.is_empty(), "differences": shown,
        }))?;
        return Ok(exit::OK);
    }
    if dry_run {
        for change in changes {
            let text = diff::painted(out.paint, &change.text());
            out.bytes(text.as_bytes())?;
        }
    }
    let count = |n: usize| {
        if n == 1 {
            "1 key".to_owned()
        } else {
            format!("{n} keys")
        }
    };
    match changes.len() {
        0 => out.say(format_args!("{target} is as it was at revision {to} already")),
        n if dry_run => out.say(format_args!("this would set back {} to revision {to}", count(n))),
        n => {
            for change in changes {
                let verb = if change.after.is_some() { "set back" } else { "deleted" };
                out.say(format_args!("{verb} {}", change.key));
            }
            out.say(format_args!("set back {} to revision {to}", count(n)));
        }
    }
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::side::Side;
    use kvapi::Entry;

    fn side(pairs: &[(&str, &'static str, u64)]) -> Side {
        let entry = |(key, value, revision): &(&str, &'static str, u64)| Entry {
            lock_index: 0,
            key: (*key).into(),
            flags: 3,
            value: (*value).into(),
            session: None,
            create_index: Revision(2),
            modify_index: Revision(*revision),
        };
        Side::of(pairs.iter().map(entry).collect(), String::new())
    }

    #[test]
    fn each_operation_checks_the_revision_that_was_seen() {
        let (now, then) = (
            side(&[("a", "2", 9), ("new", "1", 8)]),
            side(&[("a", "1", 4), ("gone", "1", 5)]),
        );

        let ops: Vec<_> = differences(&now, &then).iter().map(op).collect();

        let told: Vec<_> = ops
            .iter()
            .map(|op| (op.verb.as_str(), op.key.as_str(), op.index, op.flags))
            .collect();
        assert_eq!(
            told,
            [("cas", "a", 9, 3), ("cas", "gone", 0, 3), ("delete-cas", "new", 8, 0)]
        );
    }

    #[test]
    fn what_is_too_large_is_proposed_in_parts() {
        let (now, then) = (
            side(&[]),
            side(&[("app/a/x", "1", 2), ("app/a/y", "1", 2), ("app/b", "1", 2)]),
        );

        let problem = too_large(
            &Target::parse("app/").unwrap(),
            Revision(7),
            &differences(&now, &then),
            "too many",
        );

        assert_eq!(
            problem.help[1..],
            ["  keyway kv revert app/a/ --to 7", "  keyway kv revert app/b --to 7"]
        );
    }
}
