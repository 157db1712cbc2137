//! The loop: the one place that waits.
//!
//! It turns what happens into events for [`Core`] and performs the actions that come back. An
//! action that takes time is started here and comes back as an event, so a stop is heard while
//! files are being checked. At the end what can be cut short is, and what writes files is waited
//! for: nothing half done is left, and no command runs on.

mod behind;
mod keeping;
mod loading;
mod perform;
mod tells;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvapi::Client;
use kvapi::problem::{Problem, exit};
use kvapi::types::WatchEvent;
use kvapi::watch::{News, Watch};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::DropGuard;

use self::behind::Behind;
use self::keeping::Keeping;
use self::loading::Loading;
use self::tells::Tells;
pub(crate) use self::words::hint;
use crate::announce::Announce;
use crate::config::{Config, Destination};
use crate::core::{Core, Event, FileSet, Unfit};
use crate::journal::Journal;
use crate::load::{BigStack, Plan, Program};
use crate::policy::Wait;
use crate::quiescence::Quiescence;
use crate::reap::{Exit, Reaper};
use crate::render::Rendered;
use crate::seen::Seen;
use crate::signals::Signals;
use crate::sources::Sources;
use crate::transaction::{Promoted, Staged, Unplaced};
use crate::view::{Revisions, View};
use crate::work::Work;
use crate::{child, failpoint, leftovers, load, terminal, write};

/// How long template files have to be quiet before they are read again, and how long that is waited for: a
/// folder may never rest.
const EDITED: Wait = Wait {
    min: Duration::from_millis(100),
    max: Duration::from_secs(2),
};

/// What a task started by the loop brings back.
#[derive(Debug)]
enum Done {
    Event(Event),
    Rendered {
        rendered: Vec<Rendered>,
        /// The program, if it has read files that nobody watches yet.
        watch: Option<Arc<Program>>,
    },
    Staged(Result<Staged, Unfit>),
    Promoted(Result<Promoted, Unplaced>),
    Loaded {
        result: Result<Arc<Program>, Problem>,
        asked: bool,
    },
    Kept(std::io::Result<()>),
    Ended(Problem),
    /// Nobody is left in this process group.
    Swept(Pid),
}

/// See the module.
#[derive(Debug)]
pub struct Agent {
    plan: Plan,
    program: Arc<Program>,
    core: Core,
    client: Client,
    reaper: Reaper,
    journal: Journal,
    env: Arc<BTreeMap<String, String>>,
    signals: Signals,
    sources: Sources,
    /// When the template files are to be read again.
    edited: Quiescence,
    loading: Loading,
    watch: Option<Watch>,
    child: Option<(Pid, oneshot::Receiver<Exit>)>,
    /// How the last one ended.
    last: Option<Exit>,
    /// What stops it.
    stops: Option<mpsc::UnboundedReceiver<Signal>>,
    /// The agent was stopped with it, and is to go on with it.
    suspended: bool,
    /// The process group of the last child, if others are left in it.
    left: Option<Pid>,
    staged: Option<(Staged, FileSet)>,
    staging: Option<FileSet>,
    seen: Arc<Seen>,
    promoted: Option<Arc<Promoted>>,
    /// Dropped, it ends the probe that runs.
    probing: Option<DropGuard>,
    announce: Announce,
    behind: Behind,
    tells: Tells,
    keeping: Keeping,
    queue: VecDeque<Event>,
    renderer: BigStack,
    work: Work<Done>,
}

impl Agent {
    /// Completes what the last run left half done, clears away what it did not begin, and listens to signals;
    /// starts nothing yet.
    pub fn new(plan: Plan, program: Program, client: Client, reaper: Reaper) -> Result<Self, Problem> {
        make_folders(&program.config)?;
        let journal = Journal::claim(&program.config.state_dir)?;
        let left = journal.inherit(&program.config.files())?;
        leftovers::clear(&program.config, journal.folder());
        let tells = Tells::begin(&program.config, &client)?;
        let announce = Announce::begin(&program.config)?;
        let (cluster, floor, unapplied) = match left {
            Some(record) => (
                record.cluster,
                record.revisions,
                (!record.applied).then_some(record.owed),
            ),
            None => (String::new(), Revisions::default(), None),
        };
        if unapplied.is_some() {
            tracing::info!("the last run ended before {floor} was applied; it is applied now");
        }
        let program = Arc::new(program);
        Ok(Self {
            core: Core::new(Arc::clone(&program), View::above(cluster, floor), unapplied),
            sources: Sources::watch(&program),
            signals: Signals::listen().map_err(|e| Problem::new(exit::AGENT, format!("{e:#}")))?,
            env: Arc::new(load::variables()),
            renderer: BigStack::start()?,
            plan,
            program,
            client,
            reaper,
            journal,
            edited: Quiescence::new(EDITED),
            loading: Loading::default(),
            watch: None,
            child: None,
            last: None,
            stops: None,
            suspended: false,
            left: None,
            staged: None,
            staging: None,
            seen: Arc::default(),
            promoted: None,
            probing: None,
            announce,
            behind: Behind::default(),
            tells,
            keeping: Keeping::default(),
            queue: VecDeque::new(),
            work: Work::default(),
        })
    }

    /// Runs until the child has ended, the only set is in place, or somebody asked for the end;
    /// returns how the child ended, or with which code the agent does.
    pub async fn run(mut self) -> Result<Exit, Problem> {
        let ended = self.follow().await;
        self.still_current();
        self.work.finish().await;
        self.tells.end().await;
        let last = self.last;
        ended.map(|code| {
            last.filter(|last| last.code() == code)
                .unwrap_or(Exit::Code(code.into()))
        })
    }

    async fn follow(&mut self) -> Result<u8, Problem> {
        self.queue.push_back(Event::Tick);
        loop {
            while let Some(event) = self.queue.pop_front() {
                for action in self.core.on(event, Instant::now()) {
                    if let Some(code) = self.perform(action)? {
                        return Ok(code);
                    }
                }
            }
            self.tells.changed(self.core.version());
            self.wait().await?;
        }
    }

    /// Waits for the next thing to happen. Each branch is cancel-safe.
    async fn wait(&mut self) -> Result<(), Problem> {
        let deadlines = [self.core.deadline(), self.edited.deadline(), self.keeping.at];
        let deadline = deadlines.into_iter().flatten().min();
        tokio::select! {
            biased; // a flood of changes must not delay a stop, an exit or a deadline
            signal = self.signals.next() => self.signal(signal),
            exit = exited(&mut self.child) => self.exited(exit),
            signal = stopped(&mut self.stops) => self.stopped(signal),
            Some(done) = self.work.next() => self.take(done)?,
            () = until(deadline) => self.tick(),
            ask = self.tells.next() => self.answer(ask),
            news = news(&mut self.watch) => self.news(news),
            () = self.sources.next() => self.edited.touch(Instant::now()),
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::SIGTERM | Signal::SIGINT => {
                self.announce.stopping();
                self.queue.push_back(Event::Stop(signal));
            }
            Signal::SIGCONT if self.suspended => {
                self.suspended = false;
                self.child
                    .iter()
                    .for_each(|(pid, _)| terminal::continued(&self.reaper, *pid));
            }
            other if self.program.config.reload_signal == Some(other) => self.load(true),
            other => {
                let mapped = self.program.config.map_signal.get(&other);
                let passed = mapped.copied().unwrap_or(Some(other));
                self.queue.extend(passed.map(Event::Pass));
            }
        }
    }

    fn stopped(&mut self, signal: Signal) {
        if let Some((pid, _)) = &self.child {
            self.suspended |= terminal::stopped(&self.reaper, *pid, signal);
        }
    }

    fn exited(&mut self, exit: Exit) {
        let group = self.child.take().map(|(pid, _)| pid);
        self.stops = None;
        self.last = Some(exit);
        terminal::take();
        self.left = group.filter(|group| self.reaper.group_left(*group));
        if let Some(group) = self.left {
            let reaper = self.reaper.clone();
            self.work.start(async move {
                child::swept(&reaper, group).await;
                Done::Swept(group)
            });
        }
        self.queue.push_back(Event::Exited {
            code: exit.code(),
            told: exit.to_string(),
            left: self.left.is_some(),
        });
    }

    fn tick(&mut self) {
        if self.edited.take_due(Instant::now()) {
            self.load(false);
        }
        if self.keeping.at.is_some_and(|at| at <= Instant::now()) {
            self.still_current();
        }
        self.queue.push_back(Event::Tick);
    }

    fn news(&mut self, news: News) {
        let event = match news {
            News::Connected { address, cluster } => {
                tracing::debug!(%address, cluster, "connected");
                self.tells.address = Some(address.to_string());
                Event::Connected { cluster }
            }
            News::Event(event) => {
                if let WatchEvent::Change(change) = &event {
                    tracing::debug!(revision = %change.revision, keys = change.changes.len(), "changed");
                }
                Event::Stream(event)
            }
            News::Lost { reason } => Event::Lost {
                reason,
                everywhere: self.watch.as_ref().is_some_and(Watch::in_vain),
            },
            News::Refused { status, text } => refused(Problem::from(kvapi::Error::Refused { status, text })),
        };
        self.queue.push_back(event);
    }

    fn take(&mut self, done: Done) -> Result<(), Problem> {
        let event = match done {
            Done::Event(Event::Applied { attempt, result }) => {
                failpoint::reach("told");
                let result = result.map_err(|told| self.redacted(&told));
                Event::Applied { attempt, result }
            }
            Done::Event(Event::Probed { attempt, result }) => {
                let result = result.map_err(|told| self.redacted(&told));
                Event::Probed { attempt, result }
            }
            Done::Event(event) => event,
            Done::Rendered { rendered, watch } => {
                watch.iter().for_each(|program| self.sources.adopt(program));
                Event::Rendered(rendered)
            }
            Done::Staged(Ok(staged)) => {
                failpoint::reach("checked");
                let changed = staged.changed.clone();
                self.staged = self.staging.take().map(|set| (staged, set));
                Event::Checked(Ok(changed))
            }
            Done::Staged(Err(Unfit::Refused(told))) => Event::Checked(Err(Unfit::Refused(self.redacted(&told)))),
            Done::Staged(Err(reason)) => Event::Checked(Err(reason)),
            Done::Promoted(Ok(promoted)) => {
                self.core.draw(rand::random_range(0.0..=1.0));
                self.promoted = Some(Arc::new(promoted));
                Event::Promoted(Ok(()))
            }
            Done::Promoted(Err(Unplaced::AsBefore(reason))) => Event::Promoted(Err(reason)),
            Done::Promoted(Err(Unplaced::HalfWay(promoted, reason))) => {
                self.promoted = Some(Arc::new(promoted));
                Event::HalfWay(reason)
            }
            Done::Loaded { result, asked } => {
                self.loaded(result, asked);
                return Ok(());
            }
            Done::Kept(result) => {
                self.kept(result);
                return Ok(());
            }
            Done::Ended(problem) => return Err(problem),
            Done::Swept(group) if self.left == Some(group) => {
                self.left = None;
                Event::Swept
            }
            Done::Swept(_) => return Ok(()),
        };
        self.queue.push_back(event);
        Ok(())
    }
}

/// The folder of a file is made as the file asks for, also where the state folder is to lie in it.
fn make_folders(config: &Config) -> Result<(), Problem> {
    for template in &config.templates {
        if let Destination::File(path) = &template.destination
            && let Some(folder) = path.parent()
            && config.state_dir.starts_with(folder)
        {
            let unwritable = |e| {
                let told = format!("cannot write {}: {e}", template.shown);
                Problem::new(exit::AGENT, told).help(crate::words::WRITABLE)
            };
            fs::metadata(path)
                .map_or(Ok(()), |meta| write::ordinary(&meta))
                .map_err(unwritable)?;
            write::make_folder(folder, &template.looks).map_err(unwritable)?;
        }
    }
    Ok(())
}

/// A server that only has too much to do is as good as away.
fn refused(problem: Problem) -> Event {
    match problem.code {
        exit::UNAVAILABLE => Event::Lost {
            reason: problem.what,
            everywhere: true,
        },
        _ => Event::Denied(problem),
    }
}

async fn exited(child: &mut Option<(Pid, oneshot::Receiver<Exit>)>) -> Exit {
    match child {
        // The reaper lives as long as we do; an exit that it lost is told as a failure.
        Some((_, exit)) => exit.await.unwrap_or(Exit::Code(i32::from(exit::AGENT))),
        None => pending().await,
    }
}

async fn stopped(stops: &mut Option<mpsc::UnboundedReceiver<Signal>>) -> Signal {
    let signal = match stops {
        Some(stops) => stops.recv().await,
        None => None,
    };
    match signal {
        Some(signal) => signal,
        None => pending().await,
    }
}

async fn news(watch: &mut Option<Watch>) -> News {
    match watch {
        Some(watch) => watch.next().await,
        None => pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}
