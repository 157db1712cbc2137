//! What the core decided is done, or started: what takes time comes back as an event.

use std::collections::BTreeSet;
use std::sync::Arc;

use kvapi::Problem;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;

use super::words::say;
use super::{Agent, Done};
use crate::child;
use crate::core::{Action, Event};
use crate::graph::{Reads, TemplateId};
use crate::load::Program;
use crate::parallel::{self, Kind};
use crate::reap::Reaper;
use crate::render::{Held, Rendered};
use crate::trace::Trace;
use crate::view::{Revisions, View};
use crate::{failpoint, probe, transaction};

impl Agent {
    /// Starts one action; a code means the end.
    pub(super) fn perform(&mut self, action: Action) -> Result<Option<u8>, Problem> {
        match action {
            Action::Watch(scope) => self.watch = Some(self.client.watch(scope.request())),
            Action::Recall => self.recall(),
            Action::Keep(view) => self.keep(view),
            Action::Render { program, ids, view } => {
                self.behind.add(&program, &view);
                self.render(program, ids, view);
            }
            Action::Check { program, set } => {
                self.staging = Some(set.clone());
                let (reaper, seen) = (self.reaper.clone(), Arc::clone(&self.seen));
                let state = self.journal.folder().to_owned();
                self.work.start_with(|stop| async move {
                    let staged = transaction::stage(program, set, &state, seen, &reaper, &stop).await;
                    staged.map(Done::Staged)
                });
            }
            Action::Promote { owed } => self.promote(owed),
            Action::PutBack => {
                self.probing = None;
                // It is kept until the next promotion: if this fails, it is tried again.
                let (promoted, journal) = (self.promoted.clone(), self.journal.clone());
                self.work.in_order(move || {
                    let result = promoted.map_or(Ok(()), |promoted| promoted.put_back(&journal));
                    Some(Done::Event(Event::PutBack(result.map_err(|e| e.to_string()))))
                });
            }
            Action::Start => self.start(),
            Action::SignalGroup(signal) => {
                self.send(signal, Reaper::signal_group);
                if signal != Signal::SIGKILL {
                    // What is stopped could not end.
                    self.send(Signal::SIGCONT, Reaper::signal_group);
                }
            }
            Action::SignalChild(signal) => self.send(signal, Reaper::signal),
            Action::Reload { attempt, signal } => {
                failpoint::reach("apply");
                let (reaper, pid) = (self.reaper.clone(), self.child.as_ref().map(|(pid, _)| *pid));
                self.work.start(async move {
                    let result = match pid {
                        Some(pid) => child::reload(&reaper, pid, signal).await,
                        None => Err("there is no process".to_owned()),
                    };
                    Done::Event(Event::Applied { attempt, result })
                });
            }
            Action::Run { attempt, command } => {
                failpoint::reach("apply");
                let (reaper, limit) = (self.reaper.clone(), self.program.config.command_timeout);
                self.work.start(async move {
                    let result = child::run(&reaper, &command, &[].into(), limit).await;
                    let result = result.map_err(|reason| format!("`{command}`: {reason}"));
                    Done::Event(Event::Applied { attempt, result })
                });
            }
            Action::Probe { attempt, confirm } => {
                let (reaper, ended) = (self.reaper.clone(), CancellationToken::new());
                self.probing = Some(ended.clone().drop_guard());
                self.work.start_with(|stop| async move {
                    let asked = ended.run_until_cancelled(probe::ask(&reaper, &confirm));
                    let result = stop.run_until_cancelled(asked).await.flatten()?;
                    Some(Done::Event(Event::Probed { attempt, result }))
                });
            }
            Action::Ready => self.announce.ready(),
            // Once the program uses the new files nobody goes back, and the old ones do not lie about.
            Action::Settled => self.promoted = None,
            Action::Remember { cluster, revisions } => {
                if let Some(at) = self.core.freshly_applied() {
                    self.tells.applied(at);
                }
                self.remember(cluster, revisions);
            }
            Action::Say(level, text) => say(level, &text, self.core.about()),
            Action::Lacking { lacks, fatal } => self.lacking(lacks, fatal),
            Action::Exit(code) => return Ok(Some(code)),
            Action::Fail(problem) => return Err(problem),
        }
        Ok(None)
    }

    fn render(&self, program: Arc<Program>, ids: BTreeSet<TemplateId>, view: Arc<View>) {
        let (around, bring) = (program.around(Arc::clone(&self.env)), self.work.bring());
        let within = Arc::clone(&program);
        let all: Vec<TemplateId> = ids.iter().copied().collect();
        let render = move || {
            let one = |id: &TemplateId, around: &_| (within.render(*id, &view, around), Trace::default());
            let each = |around: &_| parallel::each(&all, Kind::Template, |id| one(id, around));
            let (rendered, read_files) = within.files.complete(around, each);
            (rendered.into_iter().map(|(one, _)| one).collect(), read_files)
        };
        self.renderer
            .run(render, move |result: Result<(Vec<Rendered>, bool), Problem>| {
                let broken = |what: &str, id| Rendered {
                    id,
                    reads: Reads::default(),
                    outcome: Err(Held::Broken(what.to_owned())),
                };
                let (rendered, read_files) = result.unwrap_or_else(|problem| {
                    let all = ids.into_iter().map(|id| broken(&problem.what, id));
                    (all.collect(), false)
                });
                bring(Done::Rendered {
                    rendered,
                    watch: read_files.then_some(program),
                });
            });
    }

    fn promote(&mut self, owed: Vec<String>) {
        let Some((staged, set)) = self.staged.take() else {
            return;
        };
        self.promoted = None;
        let journal = self.journal.clone();
        self.work.in_order(move || {
            failpoint::reach("promote");
            Some(Done::Promoted(staged.promote(&set, owed, &journal)))
        });
    }

    fn remember(&mut self, cluster: String, revisions: Revisions) {
        let journal = self.journal.clone();
        self.work.in_order(move || {
            if let Err(error) = journal.applied(&cluster, revisions) {
                tracing::warn!(%error, "cannot note in the journal that {revisions} is applied; it will be applied again");
            }
            None
        });
    }

    fn start(&mut self) {
        failpoint::reach("apply");
        let (config, keyed) = (&self.program.config, self.core.environment());
        let started = child::start(&self.reaper, &config.command, &config.environment, keyed.as_deref());
        let event = match started {
            Ok(started) => {
                let rev = self.core.about().map(|revisions| revisions.settings.0);
                tracing::info!(rev, pid = started.pid.as_raw(), "started {}", config.command.join(" "));
                self.child = Some((started.pid, started.exit));
                self.stops = Some(started.stops);
                Event::Started
            }
            Err((code, reason)) => Event::NotStarted { code, reason },
        };
        self.queue.push_back(event);
    }

    fn send(&self, signal: Signal, send: fn(&Reaper, Pid, Signal) -> Result<(), nix::errno::Errno>) {
        let child = self.child.as_ref().map(|(pid, _)| *pid).or(self.left);
        if let Some(pid) = child
            && let Err(error) = send(&self.reaper, pid, signal)
        {
            // It is about to be told as gone.
            tracing::debug!(%error, %signal, "not sent");
        }
    }
}
