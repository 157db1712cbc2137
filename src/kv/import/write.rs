//! The writing of an import: one transaction if all of it fits, else several, and then that is said.

use std::collections::VecDeque;

use http::StatusCode;
use kvapi::client::WriteOptions;
use kvapi::codes;
use kvapi::limits::Limits;
use kvapi::problem::exit;
use kvapi::types::{TxnError, TxnOp};
use kvapi::{Error, Problem};

use super::OnConflict;
use super::batch::{fitting, learn, size};
use crate::context::Context;
use crate::failure::Failure;
use crate::kv::at_once::at_once;
use crate::progress::Progress;
use crate::signals::{INTERRUPTED, Stop};

/// How many keys a message names.
const NAMED: usize = 5;

/// What has been done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) written: u64,
    pub(super) skipped: u64,
    pub(super) deleted: u64,
    pub(super) transactions: u64,
}

impl Done {
    fn ops(&self) -> u64 {
        self.written + self.skipped + self.deleted
    }
}

/// See the module.
pub(super) struct Writer<'a, 'b> {
    pub(super) context: &'b mut Context<'a>,
    pub(super) options: WriteOptions,
    pub(super) on_conflict: OnConflict,
    pub(super) limits: Limits,
    pub(super) total: u64,
    /// Whether it was said that this is more than one transaction.
    pub(super) said: bool,
    pub(super) done: Done,
}

impl Writer<'_, '_> {
    /// Writes what `next` gives.
    pub(super) async fn write(
        &mut self,
        mut next: impl FnMut() -> Result<Option<TxnOp>, Problem>,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let mut stop = Stop::listen()?;
        let mut queue = VecDeque::new();
        let mut queued = 0;
        let mut ended = false;
        loop {
            while !ended && queued <= self.limits.txn_bytes {
                match next()? {
                    Some(op) => {
                        queued += size(&op);
                        queue.push_back(op);
                    }
                    None => ended = true,
                }
            }
            let count = fitting(&queue, self.limits);
            if count == 0 {
                return Ok(());
            }
            if (!ended || count < queue.len()) && !self.said {
                // It takes less than it says.
                self.context.out.say(several(self.limits, self.total, None));
                self.said = true;
            }
            let batch: Vec<TxnOp> = queue.iter().take(count).cloned().collect();
            match self.send(&batch).await {
                Ok(()) => {
                    queued -= batch.iter().map(size).sum::<usize>();
                    queue.drain(..count);
                    progress.at(self.done.ops());
                    // What was sent is answered; here nothing is in doubt.
                    if !(ended && queue.is_empty()) && was_asked(&mut stop).await {
                        return Err(self.stopped(Problem::new(INTERRUPTED, "interrupted")).into());
                    }
                }
                Err(Sending::TooLarge(text)) if learn(&mut self.limits, &text) => {}
                Err(Sending::TooLarge(text)) => {
                    let problem = Problem::new(
                        exit::INVALID,
                        format!("the server takes no transaction of {count}: {text}"),
                    );
                    return Err(self.stopped(problem).into());
                }
                Err(Sending::Failed(problem)) => return Err(self.stopped(problem).into()),
            }
        }
    }

    /// One transaction; what may be there already is taken out of it if it is to be skipped.
    async fn send(&mut self, batch: &[TxnOp]) -> Result<(), Sending> {
        let mut batch = batch.to_vec();
        loop {
            if batch.is_empty() {
                return Ok(());
            }
            let sent = at_once(&self.context.client, &batch, &self.options).await;
            match sent.map_err(|error| refused(&batch, error))? {
                Ok(()) => {
                    self.count(&batch);
                    return Ok(());
                }
                Err(reasons) if self.on_conflict == OnConflict::Skip && is_about_existing(&batch, &reasons) => {
                    let before = batch.len();
                    let mut index = 0;
                    batch.retain(|_| {
                        index += 1;
                        !reasons.iter().any(|reason| reason.op_index == index - 1)
                    });
                    self.done.skipped += (before - batch.len()) as u64;
                }
                Err(reasons) => return Err(Sending::Failed(conflict(&batch, &reasons))),
            }
        }
    }

    fn count(&mut self, batch: &[TxnOp]) {
        let deleted = batch.iter().filter(|op| op.verb == "delete-cas").count() as u64;
        self.done.deleted += deleted;
        self.done.written += batch.len() as u64 - deleted;
        self.done.transactions += 1;
    }

    /// Why it ended, with what is done by then and how to go on.
    fn stopped(&self, problem: Problem) -> Problem {
        let Problem { code, what, .. } = &problem;
        if self.done.transactions == 0 && *code == exit::LEFT {
            return problem;
        }
        if self.done.transactions == 0 {
            return nothing_written(problem);
        }
        let (done, total) = (self.done.ops(), self.total);
        Problem::of(&codes::STOPPED_MIDWAY, format!("stopped after {done} of {total} keys: {what}")).help(
            "these are written and stay; the same command again goes on: what is equal by then is not written a second time",
        )
    }
}

async fn was_asked(stop: &mut Stop) -> bool {
    tokio::select! {
        biased;
        () = stop.next() => true,
        () = std::future::ready(()) => false,
    }
}

enum Sending {
    /// 413, with the server's words.
    TooLarge(String),
    Failed(Problem),
}

/// A problem before anything was written.
pub(super) fn nothing_written(problem: Problem) -> Problem {
    let mut help = problem.help;
    help.retain(|help| !help.contains("nothing was done"));
    let what = format!("nothing was written: {}", problem.what);
    Problem { what, help, ..problem }
}

/// Why a batch was not taken; a value that was alone in it is named.
fn refused(batch: &[TxnOp], error: Error) -> Sending {
    match (batch, error) {
        ([op], error @ Error::Refused { .. }) => {
            let problem = Problem::from(error);
            Sending::Failed(Problem {
                what: format!("`{}`: {}", op.key, problem.what),
                ..problem
            })
        }
        (_, Error::Refused { status, text }) if status == StatusCode::PAYLOAD_TOO_LARGE => Sending::TooLarge(text),
        (_, error) => Sending::Failed(error.into()),
    }
}

/// That an import is not all or nothing, and how it is cut; `transactions` is how many, as far as that is known.
pub(super) fn several(limits: Limits, keys: u64, transactions: Option<u64>) -> String {
    let Limits { txn_ops, txn_bytes, .. } = limits;
    let several = transactions.map_or_else(|| "several".to_owned(), |n| n.to_string());
    format!(
        "this is more than one transaction (at most {txn_ops} keys and {txn_bytes} bytes each): \
         the {keys} keys go in {several}, one after the other"
    )
}

/// Whether all that failed is keys that are there already.
fn is_about_existing(batch: &[TxnOp], reasons: &[TxnError]) -> bool {
    !reasons.is_empty()
        && reasons
            .iter()
            .all(|reason| batch.get(reason.op_index).is_some_and(|op| op.verb == "cas"))
}

pub(super) fn conflict(batch: &[TxnOp], reasons: &[TxnError]) -> Problem {
    let ops: Vec<&TxnOp> = reasons.iter().filter_map(|reason| batch.get(reason.op_index)).collect();
    let keys: Vec<String> = ops.iter().take(NAMED).map(|op| format!("`{}`", op.key)).collect();
    let more = ops.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    if ops.iter().any(|op| op.verb == "delete-cas") {
        return Problem::of(
            &codes::CHANGED,
            format!("changed while it was imported: {}{more}", keys.join(", ")),
        )
        .help("run the same command again");
    }
    Problem::of(&codes::EXISTS, format!("there already: {}{more}", keys.join(", ")))
        .help("to leave what is there use --on-conflict skip, to replace it --on-conflict overwrite")
}
