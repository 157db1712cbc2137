//! `keyway kv delete`: one key, several, or folders.
//!
//! What is reported is what was there just before: the store answers a delete of nothing like any other.

use std::collections::BTreeSet;

use clap::Args;
use kvapi::client::WriteOptions;
use kvapi::problem::exit;
use kvapi::types::TxnOp;
use kvapi::{Consistency, Problem};

use super::at_once::at_once;
use super::conflict::{self, Expected};
use super::folder::Folder;
use super::put::author;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Layout;

/// Up to this many keys go without a question.
const UNASKED: usize = 10;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv delete app/greeting                one key; that it is not there is no failure
  keyway kv delete -r app                      app and everything below app/, in one transaction
  keyway kv delete -r app --dry-run            only print what would go
  keyway kv delete --if-rev 844 app/port       only if nobody changed it since revision 844

Exits with 5 if the condition does not hold.")]
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
        let folders = self.folders()?;
        let doomed = self.doomed(&context, &folders).await?;
        let dry_run = context.settings.dry_run;
        if !dry_run && self.recurse {
            if doomed.keys.len() > UNASKED {
                context.confirm(&format!("This deletes {} keys.", doomed.keys.len()))?;
            }
            self.delete_trees(&context, &folders, &options).await?;
        } else if !dry_run {
            self.delete_keys(&context, &options).await?;
        } else if let ([key], Some(expected)) = (self.keys.as_slice(), options.cas) {
            let key = super::key_in_path(key)?;
            let now = context.client.get(key.as_str(), Consistency::Default).await?.value;
            if now.is_some_and(|entry| entry.modify_index.0 != expected) {
                return Err(conflict::lost(&context, &key, Expected::Revision(expected), &[])
                    .await
                    .into());
            }
        }
        self.report(&mut context, &doomed)?;
        Ok(exit::OK)
    }

    /// What is there of what was named.
    async fn doomed(&self, context: &Context<'_>, folders: &[Folder]) -> Result<Doomed, Failure> {
        let mut doomed = Doomed::default();
        for folder in folders {
            let keys = folder.keys(&context.client, Consistency::Default).await?.value;
            if keys.is_empty() && !folder.is_everything() {
                doomed.absent.insert(folder.to_string());
            }
            doomed.keys.extend(keys);
        }
        for key in self.keys.iter().filter(|_| !self.recurse) {
            let key = super::key_in_path(key)?;
            let found = context.client.get(key.as_str(), Consistency::Default).await?.value;
            let place = if found.is_some() {
                &mut doomed.keys
            } else {
                &mut doomed.absent
            };
            place.insert(key.into());
        }
        Ok(doomed)
    }

    /// The folders of --recurse; everything only by --all.
    fn folders(&self) -> Result<Vec<Folder>, Failure> {
        if self.all {
            return Ok(vec![Folder::new("")]);
        }
        let named = self.keys.iter().filter(|_| self.recurse);
        let folders: Vec<Folder> = named.map(|key| Folder::new(key)).collect();
        if folders.iter().any(Folder::is_everything) {
            return Err(Failure::new(
                exit::USAGE,
                "this names everything",
                "if that is meant, use   keyway kv delete --recurse --all",
            ));
        }
        Ok(folders)
    }

    async fn delete_trees(
        &self,
        context: &Context<'_>,
        folders: &[Folder],
        options: &WriteOptions,
    ) -> Result<(), Failure> {
        if self.all {
            context.client.delete_prefix("", options).await?;
            return Ok(());
        }
        let ops: Vec<TxnOp> = folders.iter().flat_map(Folder::deletion).collect();
        transact(context, &ops, options).await
    }

    async fn delete_keys(&self, context: &Context<'_>, options: &WriteOptions) -> Result<(), Failure> {
        if let [key] = self.keys.as_slice() {
            let key = super::key_in_path(key)?;
            if !context.client.delete(key.as_str(), options).await? {
                let retry = ["keyway", "kv", "delete", key.as_str()].map(str::to_owned);
                let expected = Expected::Revision(options.cas.unwrap_or_default());
                return Err(conflict::lost(context, &key, expected, &retry).await.into());
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

    fn report(&self, context: &mut Context<'_>, doomed: &Doomed) -> Result<(), Failure> {
        let Doomed { keys, absent } = doomed;
        if context.out.is_json() {
            let document = serde_json::json!({"keys": keys, "absent": absent, "deleted": !context.settings.dry_run});
            return context.out.json(&document);
        }
        let what = if self.recurse {
            "nothing was under"
        } else {
            "there was no key"
        };
        for name in absent {
            context.out.say(format_args!("{what} `{name}`"));
        }
        if context.settings.dry_run || context.out.layout == Layout::Names {
            return keys.iter().try_for_each(|key| context.out.line(key));
        }
        match (keys.len(), keys.first()) {
            (0, _) if !absent.is_empty() => {}
            (1, Some(key)) => context.out.say(format_args!("deleted {key}")),
            (count, _) => context.out.say(format_args!("deleted {count} keys")),
        }
        Ok(())
    }
}

/// All of them or none.
async fn transact(context: &Context<'_>, ops: &[TxnOp], options: &WriteOptions) -> Result<(), Failure> {
    match at_once(&context.client, ops, options).await? {
        Ok(()) => Ok(()),
        Err(reasons) => {
            let reasons: Vec<String> = reasons.into_iter().map(|reason| reason.what).collect();
            Err(Problem::of(
                &kvapi::codes::CHANGED,
                format!("nothing was deleted: {}", reasons.join("; ")),
            )
            .into())
        }
    }
}

/// What a deletion is about, in byte order.
#[derive(Default)]
struct Doomed {
    /// The keys that are there.
    keys: BTreeSet<String>,
    /// The keys and folders that were named and are not.
    absent: BTreeSet<String>,
}
