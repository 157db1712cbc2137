//! What goes into the core and what comes out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kvapi::Problem;
use kvapi::types::WatchEvent;
use nix::sys::signal::Signal;

use super::Recalled;
use crate::graph::TemplateId;
use crate::load::Program;
use crate::policy::{CommandLine, Confirm};
use crate::render::{Lack, Rendered};
use crate::view::{Revisions, Scope, View};

/// Everything that can happen.
#[derive(Debug)]
pub enum Event {
    /// A server answered; it belongs to this cluster.
    Connected { cluster: String },
    /// The connection is gone, or could not be made; `everywhere` if no address is left to be tried.
    Lost { reason: String, everywhere: bool },
    /// A server answered, and refuses to be watched; waiting will not help.
    Denied(Problem),
    /// News of the stream that was asked for last.
    Stream(WatchEvent),
    /// What [`Action::Recall`] brought.
    Recalled(Recalled),
    /// What [`Action::Render`] brought.
    Rendered(Vec<Rendered>),
    /// What [`Action::Check`] brought: the templates whose files differ, or what was refused and why.
    Checked(Result<BTreeSet<TemplateId>, Unfit>),
    /// What [`Action::Promote`] brought. After an error all files are as before.
    Promoted(Result<(), String>),
    /// What it may bring too: some files are of that set, and could not be put back yet.
    HalfWay(String),
    /// What [`Action::Reload`] or [`Action::Run`] with this number brought.
    Applied { attempt: u64, result: Result<(), String> },
    /// What [`Action::Probe`] with this number brought.
    Probed { attempt: u64, result: Result<(), String> },
    /// What [`Action::PutBack`] brought.
    PutBack(Result<(), String>),
    /// The child runs.
    Started,
    /// The child could not be started.
    NotStarted { code: u8, reason: String },
    /// The child is gone; whether others of its process group are not.
    Exited { code: u8, told: String, left: bool },
    /// Those are gone as well.
    Swept,
    /// We are asked to end, by this signal.
    Stop(Signal),
    /// A signal that is the child's business.
    Pass(Signal),
    /// The configuration or a template was read again, and is good.
    Loaded(Arc<Program>),
    /// A deadline has passed.
    Tick,
}

/// Everything that can be done. Started, not waited for: what takes time comes back as an event.
#[derive(Debug)]
pub enum Action {
    /// Follow this part of the store, beginning with a snapshot, in place of what was followed.
    Watch(Scope),
    /// Read what an earlier run has kept.
    Recall,
    /// Keep what the files show, for a start while the store is away.
    Keep(Arc<View>),
    /// Render templates from one view.
    Render {
        program: Arc<Program>,
        ids: BTreeSet<TemplateId>,
        view: Arc<View>,
    },
    /// Stage a set beside its files, and check it.
    Check { program: Arc<Program>, set: FileSet },
    /// Put the staged set in place, and remember that the program is not told of these files yet.
    Promote { owed: Vec<String> },
    /// Put back what the last promotion replaced.
    PutBack,
    /// Start the child.
    Start,
    /// Signal the child's process group, or what it left of it.
    SignalGroup(Signal),
    /// Signal the child.
    SignalChild(Signal),
    /// Make the child read its files again.
    Reload { attempt: u64, signal: Signal },
    /// Run the reload command.
    Run { attempt: u64, command: CommandLine },
    /// Ask whether the program does well.
    Probe { attempt: u64, confirm: Confirm },
    /// The first set is in place, and the child runs.
    Ready,
    /// Nobody goes back any more to what was there before this set.
    Settled,
    /// Remember that what is in place is applied.
    Remember { cluster: String, revisions: Revisions },
    /// Say something.
    Say(Level, String),
    /// Say which keys a template waits for; if `fatal`, end with that.
    Lacking { lacks: Vec<Lack>, fatal: bool },
    /// End with this code.
    Exit(u8),
    /// End with this problem.
    Fail(Problem),
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Somebody should look.
    Warn,
    /// A set was refused, or something failed.
    Error,
}

/// Why a set cannot be put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// A check says no; another value may help.
    Refused(String),
    /// The files cannot be written; trying again may help.
    Unwritable(String),
}

/// All files of an agent, at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSet {
    /// Of which revision.
    pub revisions: Revisions,
    /// The cluster that revision belongs to.
    pub cluster: String,
    /// The texts, by [`TemplateId`].
    pub texts: Vec<Arc<str>>,
    /// Those that were rendered for it.
    pub rendered: BTreeSet<TemplateId>,
}
