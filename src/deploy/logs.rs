//! `keyway deploy logs`: what instances have printed, and print.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use http_body_util::BodyExt as _;
use kvapi::Problem;
use kvapi::client::encode_key;
use kvapi::problem::exit;
use serde_json::json;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::sleep;

use super::changes::changes;
use super::scheduler::{Instance, Scheduler, app_id, no_app};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::signals::Stop;

/// Before a log that broke off is asked for again.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway deploy logs /web                      the last lines of each instance
  keyway deploy logs /web -f --prefix          and what comes, also from instances that come
  keyway deploy logs /web --tail 100 --instance web.instance-0b5f3c1e-...
  keyway deploy logs /web -f -o jsonl | jq .   one document per line

Ctrl-C ends -f with exit code 0. Exits with 1 if nothing runs.")]
pub(super) struct Logs {
    /// The app
    app: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// How many lines of each instance to begin with
    #[arg(long, value_name = "N", default_value_t = 10)]
    tail: usize,
    /// Only this instance, or task; the end of its name is enough
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,
    /// Say of each line whose it is
    #[arg(long)]
    prefix: bool,
}

/// A line, and whose it is.
struct Line {
    task: String,
    text: Vec<u8>,
}

impl Logs {
    pub(super) async fn run(self, context: Context<'_>, scheduler: &Scheduler) -> Outcome {
        let app = app_id(&self.app)?;
        let instances = self.chosen(scheduler.instances(&app).await?);
        if instances.is_empty() && !self.follow {
            if scheduler.app(&app).await?.is_none() {
                return Err(no_app(&app).into());
            }
            let problem = Problem::new(exit::NO, format!("nothing runs of {app}"));
            return Err(problem
                .help(format!("see why with   keyway deploy status {app}"))
                .into());
        }
        if !self.follow {
            for one in instances {
                let path = self.path(&one.task, self.tail, false);
                let mut lines = Lines::default();
                let mut body = match scheduler.open(&path, "text/plain").await {
                    Ok(response) => response.into_body(),
                    // It has printed nothing, or nothing is kept.
                    Err(problem) if problem.code == exit::NO => continue,
                    Err(problem) => return Err(problem.into()),
                };
                while let Some(frame) = body.frame().await {
                    let frame =
                        frame.map_err(|e| Problem::new(exit::UNAVAILABLE, format!("the log broke off: {e}")))?;
                    let Ok(data) = frame.into_data() else { continue };
                    for text in lines.push(&data) {
                        self.print(
                            context.out,
                            &Line {
                                task: one.task.clone(),
                                text,
                            },
                        )?;
                    }
                }
                if let Some(text) = lines.rest() {
                    self.print(context.out, &Line { task: one.task, text })?;
                }
            }
            return Ok(exit::OK);
        }
        let mut stop = Stop::listen()?;
        let mut changes = changes(scheduler);
        let (sender, mut coming) = channel(256);
        let mut followed: BTreeSet<String> = BTreeSet::new();
        let mut is_first = true;
        loop {
            tokio::select! {
                biased;
                () = stop.next() => return Ok(exit::OK),
                Some(line) = coming.recv() => self.print(context.out, &line)?,
                Some(()) = changes.recv() => {
                    // While no scheduler answers, what is followed already goes on.
                    let Ok(instances) = scheduler.instances(&app).await else { continue };
                    for one in self.chosen(instances) {
                        if followed.insert(one.task.clone()) {
                            // What came since is printed whole.
                            let tail = if is_first { self.tail } else { usize::from(u16::MAX) };
                            let path = self.path(&one.task, tail, true);
                            tokio::spawn(pump(scheduler.clone(), one.task, path, sender.clone()));
                        }
                    }
                    is_first = false;
                }
            }
        }
    }

    fn path(&self, task: &str, tail: usize, follow: bool) -> String {
        let follow = if follow { "&follow" } else { "" };
        format!("/v1/tasks/{}/logs?tail={tail}{follow}", encode_key(task))
    }

    fn chosen(&self, instances: Vec<Instance>) -> Vec<Instance> {
        let Some(wanted) = self.instance.as_deref() else {
            return instances;
        };
        let is_it = |one: &Instance| one.id.ends_with(wanted) || one.task.ends_with(wanted);
        instances.into_iter().filter(is_it).collect()
    }

    fn print(&self, out: &mut Out, line: &Line) -> Result<(), Failure> {
        if out.is_json() {
            let text = String::from_utf8_lossy(&line.text);
            return out.json_line(&json!({"task": line.task, "line": text}));
        }
        let mut bytes = match self.prefix {
            true => format!("{} | ", line.task).into_bytes(),
            false => Vec::new(),
        };
        bytes.extend_from_slice(&line.text);
        bytes.push(b'\n');
        out.bytes(&bytes)
    }
}

/// The lines of one task, to its end.
async fn pump(scheduler: Scheduler, task: String, path: String, sender: Sender<Line>) {
    let mut lines = Lines::default();
    let opened = loop {
        match scheduler.open(&path, "text/plain").await {
            Ok(response) => break response,
            Err(problem) if matches!(problem.code, exit::UNAVAILABLE | exit::TIMEOUT) => {
                if sender.is_closed() {
                    return;
                }
                sleep(PAUSE).await;
            }
            Err(_) => return,
        }
    };
    let mut body = opened.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        for text in lines.push(&data) {
            let line = Line {
                task: task.clone(),
                text,
            };
            if sender.send(line).await.is_err() {
                return;
            }
        }
    }
    if let Some(text) = lines.rest() {
        let _ = sender.send(Line { task, text }).await;
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.0.extend_from_slice(bytes);
        let Some(end) = self.0.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.0.split_off(end + 1);
        let whole = std::mem::replace(&mut self.0, rest);
        whole[..end].split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn rest(self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines_however_they_are_cut() {
        let mut lines = Lines::default();

        assert_eq!(lines.push(b"a\nb"), [b"a".to_vec()]);
        assert_eq!(lines.push(b"c\n\nd"), [b"bc".to_vec(), Vec::new()]);
        assert_eq!(lines.rest(), Some(b"d".to_vec()));
    }
}
