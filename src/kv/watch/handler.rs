//! The command that is told of changes: started once for each batch of events, which stand as JSON lines
//! on its standard input.
//!
//! While it runs the stream is not read: nothing is queued here, and what came meanwhile is the next batch.

use std::io;
use std::process::Stdio;

use kvapi::Problem;
use kvapi::problem::exit;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::output::Out;
use crate::signals::{INTERRUPTED, Stop};
use crate::spawned::{PATIENCE, code, not_run, terminate_group};

/// How a run ended.
pub(super) enum Ran {
    /// By itself, with this code.
    Ended(u8),
    /// By a stop, and the whole watch is to end with this code.
    Stopped(u8),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Handler {
    program: String,
    arguments: Vec<String>,
}

impl Handler {
    /// `None` without a command.
    pub(super) fn new(command: Vec<String>) -> Option<Self> {
        let mut words = command.into_iter();
        Some(Self {
            program: words.next()?,
            arguments: words.collect(),
        })
    }

    /// Runs it to its end, or until a stop: then it is told to end, with everything that it has started, and
    /// waited for. A second stop kills it.
    pub(super) async fn run(&self, lines: &str, stop: &mut Stop, out: &mut Out) -> Result<Ran, Problem> {
        let mut child = self.start()?;
        let stdin = child.stdin.take();
        let told = async {
            if let Some(mut stdin) = stdin {
                // A command that does not read all of it is no mistake of ours.
                let _ = stdin.write_all(lines.as_bytes()).await;
            }
        };
        let finished = async {
            let ((), ended) = tokio::join!(told, child.wait());
            ended
        };
        let ended = tokio::select! {
            biased;
            () = stop.next() => None,
            ended = finished => Some(ended),
        };
        match ended {
            Some(ended) => ended
                .map(|status| Ran::Ended(code(status)))
                .map_err(|e| self.failed(&e)),
            None => {
                let waits = || {
                    out.say(format_args!(
                        "waiting for `{}` to end, at most {}; a second Ctrl-C kills it",
                        self.program,
                        kvapi::duration::format(PATIENCE)
                    ));
                };
                let in_order = terminate_group(&mut child, stop, waits).await;
                Ok(Ran::Stopped(if in_order { exit::OK } else { INTERRUPTED }))
            }
        }
    }

    fn start(&self) -> Result<Child, Problem> {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            // Ctrl-C is for us; the command and its children get TERM, as one group.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        child.map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &io::Error) -> Problem {
        not_run(&self.program, error)
    }
}
