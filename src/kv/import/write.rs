//! The writing of an import: one transaction if all of it fits, else several, and then that is said.

use std::collections::VecDeque;

use http::{HeaderMap, Method, StatusCode};
use kvapi::client::WriteOptions;
use kvapi::codes;
use kvapi::problem::exit;
use kvapi::types::{TxnError, TxnOp};
use kvapi::{Client, Error, Problem};
use serde_json::Value;

use super::OnConflict;
use super::batch::{Limits, fitting, size};
use crate::context::Context;
use crate::failure::Failure;
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
    pub(super) done: Done,
}

/// What the body of a transaction may have on this server; an older one does not say, and has Consul's.
pub(super) async fn limits(client: &Client) -> Limits {
    let mut limits = Limits::default();
    let about = client.send(Method::GET, "/v1/agent/self", bytes::Bytes::new(), HeaderMap::new());
    if let Ok(reply) = about.await
        && reply.status == StatusCode::OK
        && let Ok(about) = serde_json::from_slice::<Value>(&reply.body)
        && let Some(bytes) = about["DebugConfig"]["TxnMaxReqLen"].as_u64().filter(|&n| n > 0)
    {
        limits.bytes = usize::try_from(bytes).unwrap_or(limits.bytes);
    }
    limits
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
        let mut said = false;
        loop {
            while !ended && queued <= self.limits.bytes {
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
            if (!ended || count < queue.len()) && !said && self.limits.ops.is_some() {
                self.say_several();
                said = true;
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
                Err(Sending::TooLarge(text)) if self.limits.learn(&text) => {}
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

    fn say_several(&mut self) {
        let Limits { ops, bytes } = self.limits;
        let ops = ops.map_or_else(|| "any number of".to_owned(), |ops| format!("at most {ops}"));
        self.context.out.say(format_args!(
            "this is more than one transaction ({ops} keys and {bytes} bytes each): the {} keys are written in several, one after the other",
            self.total
        ));
    }

    /// One transaction; what may be there already is taken out of it if it is to be skipped.
    async fn send(&mut self, batch: &[TxnOp]) -> Result<(), Sending> {
        let mut batch = batch.to_vec();
        loop {
            if let [op] = batch.as_slice()
                && size(op) + 2 > self.limits.bytes
            {
                return self.put(op).await;
            }
            if batch.is_empty() {
                return Ok(());
            }
            match self.context.client.txn(&batch, &self.options).await? {
                Ok(_) => {
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

    /// A value that no transaction of this server can carry, alone.
    async fn put(&mut self, op: &TxnOp) -> Result<(), Sending> {
        let options = WriteOptions {
            flags: op.flags,
            cas: (op.verb == "cas").then_some(op.index),
            ..self.options.clone()
        };
        match self.context.client.put(&op.key, op.value.clone(), &options).await {
            Ok(true) => self.count(std::slice::from_ref(op)),
            Ok(false) if self.on_conflict == OnConflict::Skip => self.done.skipped += 1,
            Ok(false) => {
                let reasons = [TxnError {
                    op_index: 0,
                    what: String::new(),
                }];
                return Err(Sending::Failed(conflict(std::slice::from_ref(op), &reasons)));
            }
            Err(Error::Refused { status, text }) => {
                let problem = Problem::from(Error::Refused { status, text });
                return Err(Sending::Failed(Problem {
                    what: format!("`{}`: {}", op.key, problem.what),
                    ..problem
                }));
            }
            Err(e) => return Err(Sending::Failed(e.into())),
        }
        Ok(())
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
            let help = problem.help.iter().filter(|help| !help.contains("nothing was done"));
            let told = Problem::new(*code, format!("nothing was written: {what}"));
            return help.fold(told, Problem::help);
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

impl From<Error> for Sending {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { status, text } if status == StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge(text),
            error => Self::Failed(error.into()),
        }
    }
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
