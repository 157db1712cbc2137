//! What an agent can tell about itself, at one moment.
//!
//! The core makes a [`State`] when somebody asks; times are its own, and whoever tells them turns
//! them into a clock's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::render::Lack;
use crate::view::Revisions;

/// Revisions, and when they came to be what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Which.
    pub revisions: Revisions,
    /// When.
    pub at: Instant,
}

/// How far a template's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The file is in place, and the program was told.
    InPlace,
    /// It is being rendered, checked or put in place.
    OnItsWay,
    /// The store has not told yet what the template reads.
    WaitingForStore,
    /// These keys are not there.
    WaitingForKeys(Vec<Lack>),
    /// It cannot be rendered.
    Broken(String),
    /// It could be in place if others of the set could.
    Held,
    /// A check refused the set.
    Refused(String),
    /// The files cannot be written.
    Unwritable(String),
    /// The file is in place, and the program does not use it yet.
    NotApplied(Option<String>),
    /// The program did not take it: the file before it is back.
    PutBack(String),
    /// The file before it is being put back.
    PuttingBack,
}

/// A template and its file.
#[derive(Debug, Clone)]
pub struct TemplateState {
    /// The file.
    pub destination: String,
    /// How far it is.
    pub standing: Standing,
    /// Since when.
    pub since: Option<Instant>,
    /// Of which revision the file is; `None` before the first set.
    pub revisions: Option<Revisions>,
    /// What is in the file.
    pub text: Option<Arc<str>>,
}

/// The program's variables that come from keys.
#[derive(Debug, Clone)]
pub struct VariablesState {
    /// What they are called, before the first set nothing.
    pub names: Vec<String>,
    /// How far they are.
    pub standing: Standing,
    /// Since when.
    pub since: Option<Instant>,
    /// Of which revision they are; `None` before the first set.
    pub revisions: Option<Revisions>,
}

/// How it stands with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// It was not reached yet.
    #[default]
    Connecting,
    /// A server answers.
    Connected,
    /// Nobody answers.
    Away,
    /// A server answers, and does not allow to be watched.
    Refused,
}

/// The program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// It is not started before the first set is in place.
    NotStarted,
    /// It runs.
    Running,
    /// It was asked to stop.
    Stopping,
    /// It ended, and is started again after a pause.
    Pausing,
    /// It is not there.
    Gone,
}

/// How often things have happened.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Templates rendered, whatever came of it.
    pub renders: u64,
    /// Templates that could not be rendered, keys that are missing left out.
    pub broken: u64,
    /// Sets that were put in place and applied.
    pub applied: u64,
    /// Sets that a check refused.
    pub refused: u64,
    /// Sets that were put back.
    pub put_back: u64,
    /// Tries to write files that failed.
    pub unwritable: u64,
    /// Connections to the store after the first one.
    pub reconnects: u64,
    /// Starts of the program.
    pub starts: u64,
    /// From the arrival of a change until it was applied.
    pub latency: Histogram,
}

/// Durations, counted by size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    counts: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

/// The upper ends of a histogram's parts, in seconds.
pub const BOUNDS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0,
];

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        for (bound, count) in BOUNDS.iter().zip(&mut self.counts) {
            *count += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.seconds += seconds;
    }

    /// Each upper end, and how many were no longer.
    pub fn parts(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.into_iter().zip(self.counts)
    }

    /// How many, and their sum in seconds.
    #[must_use]
    pub fn sum(&self) -> (u64, f64) {
        (self.count, self.seconds)
    }
}

/// Everything that can be told, at one moment.
#[derive(Debug, Clone)]
pub struct State {
    /// The cluster followed; empty while unknown.
    pub cluster: String,
    /// What the store has shown.
    pub seen: Option<Mark>,
    /// What was rendered last, whatever came of it.
    pub rendered: Option<Mark>,
    /// What the program uses.
    pub applied: Option<Mark>,
    /// How it stands with the store.
    pub link: Link,
    /// Since when.
    pub link_since: Option<Instant>,
    /// Why, if it is away.
    pub link_reason: Option<String>,
    /// Every template.
    pub templates: Vec<TemplateState>,
    /// The program's variables, if any come from keys.
    pub variables: Option<VariablesState>,
    /// When what the files show was known to be current, if that is of the cache and the store has not told since.
    pub cached: Option<Instant>,
    /// What is waited for, and since when.
    pub waiting: Option<(String, Option<Instant>)>,
    /// The program; `None` if there is none to look after.
    pub child: Option<ChildState>,
    /// Since when it is in that state.
    pub child_since: Option<Instant>,
    /// How it ended the last time.
    pub last_exit: Option<(String, Instant)>,
    /// What was refused, put back or not applied last.
    pub refusal: Option<(Mark, String)>,
    /// What is tried again: why, how often it was tried, when next.
    pub trouble: Option<(String, u64, Option<Instant>)>,
    /// The first set is in place, and the program runs if there is one.
    pub ready: bool,
    /// It is about to end.
    pub ending: bool,
    /// How often things have happened.
    pub counts: Counts,
}
