//! `keyway kv delete`: one key, several, or folders.
//!
//! Recursion goes by path segments: `delete -r app` takes `app` and `app/...`, never `apple`.

use std::collections::BTreeSet;

use clap::Args;
use kvapi::client::WriteOptions;
use kvapi::key::{is_own, is_under};
use kvapi::problem::exit;
use kvapi::types::TxnOp;
use kvapi::{Consistency, Problem};

use super::put::{author, lost};
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Up to this many keys go without a question.
const UNASKED: usize = 10;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv delete app/greeting                one key; that it is not there is no failure
  keyway kv delete -r app                      app and everything below app/, in one transaction
  keyway kv delete -r app --dry-run            only print what would go")]
pub(crate) struct Delete {
    /// Keys, or folders with --recurse
    #[arg(required_unless_present = "all", value_name = "KEY")]
    keys: Vec<String>,
    /// Delete everything below the keys too
    #[arg(short, long)]
    recurse: bool,
    /// Delete everything (but Keyway's own keys)
    #[arg(long, requires = "recurse", conflicts_with = "keys")]
    all: bool,
    /// Delete only if the key is at this revision
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["recurse", "cas"])]
    if_rev: Option<u64>,
    /// Delete only if the key is at --modify-index (`consul kv`'s spelling of --if-rev)
    #[arg(long, hide_short_help = true, requires = "modify_index", conflicts_with = "recurse")]
    cas: bool,
    /// See --cas
    #[arg(long, value_name = "REVISION", hide_short_help = true, requires = "cas")]
    modify_index: Option<u64>,
    /// Print the keys that would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

impl Delete {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let options = WriteOptions {
            cas: self.if_rev.or(self.modify_index),
            author: Some(author()),
            message: self.message.clone(),
            ..WriteOptions::default()
        };
        let doomed = self.doomed(&context).await?;
        if self.dry_run {
            report(&mut context, &doomed, false)?;
            return Ok(exit::OK);
        }
        if self.recurse {
            if doomed.len() > UNASKED {
                context.confirm(&format!("This deletes {} keys.", doomed.len()))?;
            }
            self.delete_trees(&context, &options).await?;
        } else {
            self.delete_keys(&context, &options).await?;
        }
        report(&mut context, &doomed, true)?;
        Ok(exit::OK)
    }

    /// The keys that go, in byte order; without --recurse those that were named, there or not.
    async fn doomed(&self, context: &Context<'_>) -> Result<BTreeSet<String>, Failure> {
        if !self.recurse {
            for key in &self.keys {
                super::key(key)?;
            }
            return Ok(self.keys.iter().cloned().collect());
        }
        let mut doomed = BTreeSet::new();
        for folder in self.folders()? {
            let below = context.client.keys(folder, None, Consistency::Default).await?.value;
            doomed.extend(below.into_iter().filter(|key| is_under(folder, key)));
        }
        Ok(doomed)
    }

    /// The folders without their last slash; `""` is everything, and only by --all.
    fn folders(&self) -> Result<Vec<&str>, Failure> {
        if self.all {
            return Ok(vec![""]);
        }
        let folders: Vec<&str> = self.keys.iter().map(|key| key.trim_end_matches('/')).collect();
        if folders.contains(&"") {
            return Err(Failure::new(
                exit::USAGE,
                "this names everything",
                "if that is meant, use   keyway kv delete --recurse --all",
            ));
        }
        Ok(folders)
    }

    async fn delete_trees(&self, context: &Context<'_>, options: &WriteOptions) -> Result<(), Failure> {
        if self.all {
            context.client.delete_prefix("", options).await?;
            return Ok(());
        }
        let mut ops = Vec::new();
        for folder in self.folders()? {
            // Keyway's own part has no key of its folder's name.
            if !is_own(&format!("{folder}/")) || is_own(folder) {
                ops.push(TxnOp::new("delete", folder));
            }
            ops.push(TxnOp::new("delete-tree", format!("{folder}/")));
        }
        transact(context, &ops, options).await
    }

    async fn delete_keys(&self, context: &Context<'_>, options: &WriteOptions) -> Result<(), Failure> {
        if let [key] = self.keys.as_slice() {
            let key = super::key(key)?;
            if !context.client.delete(key.as_str(), options).await? {
                return Err(lost(context, &key, options.cas.unwrap_or_default()).await.into());
            }
            return Ok(());
        }
        if options.cas.is_some() {
            return Err(Failure::new(
                exit::USAGE,
                "a revision goes with one key",
                "delete them one by one",
            ));
        }
        let ops: Vec<TxnOp> = self.keys.iter().map(|key| TxnOp::new("delete", key)).collect();
        transact(context, &ops, options).await
    }
}

/// All of them or none.
async fn transact(context: &Context<'_>, ops: &[TxnOp], options: &WriteOptions) -> Result<(), Failure> {
    match context.client.txn(ops, options).await? {
        Ok(_) => Ok(()),
        Err(reasons) => {
            let reasons: Vec<String> = reasons.into_iter().map(|reason| reason.what).collect();
            Err(Problem::new(exit::CONFLICT, format!("nothing was deleted: {}", reasons.join("; "))).into())
        }
    }
}

fn report(context: &mut Context<'_>, doomed: &BTreeSet<String>, is_done: bool) -> Result<(), Failure> {
    if context.out.is_json() {
        return context
            .out
            .json(&serde_json::json!({"keys": doomed, "deleted": is_done}));
    }
    if !is_done {
        return doomed.iter().try_for_each(|key| context.out.line(key));
    }
    match (doomed.len(), doomed.first()) {
        (1, Some(key)) => context.out.say(format_args!("deleted {key}")),
        (count, _) => context.out.say(format_args!("deleted {count} keys")),
    }
    Ok(())
}
