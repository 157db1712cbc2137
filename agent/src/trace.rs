//! Which lines of a text come from which keys: recorded by the renderer when somebody asks.
//!
//! Templates that are compiled for it have a mark before and behind each tag (see [`crate::steps`]). What is
//! read between the two is behind all that is written between them: the value of a tag, and the whole body
//! of a block, which would not be there without what the block was given. Two things are finer: within
//! `each` over a folder a line comes from the item's key and not from the whole folder; and what `let` and
//! `set` name comes only with the tags that use the name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use kvapi::types::Revision;

/// Where something in a text comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A key; without a revision it is not there.
    Key(String, Option<Revision>),
    /// All that begins with a prefix, and the newest revision of it.
    Prefix(String, Option<Revision>),
    /// The revision that is rendered.
    Revision(Revision),
    /// A variable of the agent's environment.
    Variable(String),
    /// A file of this machine.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether what it holds is not to be shown.
        secret: bool,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name, Some(revision)) => write!(f, "{name}@{revision}"),
            Self::Key(name, None) => write!(f, "{name} (absent)"),
            Self::Prefix(prefix, Some(revision)) => write!(f, "{prefix}*@{revision}"),
            Self::Prefix(prefix, None) => write!(f, "{prefix}* (empty)"),
            Self::Revision(revision) => write!(f, "revision {revision}"),
            Self::Variable(name) => write!(f, "env {name}"),
            Self::File { path, secret: false } => write!(f, "file {}", path.display()),
            Self::File { path, secret: true } => write!(f, "secret file {}", path.display()),
        }
    }
}

/// What is behind each line of a text, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    lines: Vec<BTreeSet<Origin>>,
}

impl Trace {
    /// Of lines whose origins are known without a template.
    #[must_use]
    pub fn of(lines: Vec<BTreeSet<Origin>>) -> Self {
        Self { lines }
    }

    /// What is behind a line, counted from 0.
    pub fn line(&self, number: usize) -> impl Iterator<Item = &Origin> {
        self.lines.get(number).into_iter().flatten()
    }

    /// Whether a line shows something of a secret file.
    #[must_use]
    pub fn is_secret(&self, number: usize) -> bool {
        self.line(number).any(Origin::is_secret)
    }

    /// Whether any line does.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.lines.iter().flatten().any(Origin::is_secret)
    }
}

impl Origin {
    fn is_secret(&self) -> bool {
        matches!(self, Self::File { secret: true, .. })
    }

    /// Whether this key lies behind what was read.
    fn covers(&self, name: &str) -> bool {
        matches!(self, Self::Prefix(prefix, _) if name.starts_with(prefix.as_str()))
    }
}

/// What is between two marks.
#[derive(Debug, Default)]
struct Frame {
    reads: BTreeSet<Origin>,
    /// The item of this turn, and its revision.
    item: Option<(String, Revision)>,
    /// The names that it gives to what it read.
    binds: Option<BTreeSet<String>>,
}

/// Records while a template is rendered.
#[derive(Debug, Default)]
pub struct Tracer {
    frames: Vec<Frame>,
    names: BTreeMap<String, BTreeSet<Origin>>,
    lines: Vec<BTreeSet<Origin>>,
    /// How many bodies are kept before they are written.
    kept: usize,
}

impl Tracer {
    /// A tag begins that uses some names, and gives others to what it reads.
    pub fn begin<'a>(&mut self, uses: impl IntoIterator<Item = &'a str>, binds: Option<BTreeSet<String>>) {
        let mut reads = BTreeSet::new();
        for name in uses {
            let bound = self.frames.iter().rev().find(|frame| frame.binds(name));
            reads.extend(bound.iter().flat_map(|frame| &frame.reads).cloned());
        }
        self.frames.push(Frame {
            reads,
            item: None,
            binds,
        });
    }

    /// A tag ends.
    pub fn end(&mut self) {
        let ended = self.frames.pop();
        if let (true, Some(ended), Some(outer)) = (self.kept > 0, ended, self.frames.last_mut()) {
            outer.reads.extend(ended.shown());
        }
    }

    /// A body begins, perhaps once more, and this may be the item of the turn.
    pub fn turn(&mut self, item: Option<(String, Revision)>) {
        let covers = |frame: &&mut Frame, name: &str| frame.reads.iter().any(|read| read.covers(name));
        if let Some((name, revision)) = item
            && let Some(frame) = self.frames.last_mut().filter(|frame| covers(frame, &name))
        {
            frame.item = Some((name, revision));
        }
    }

    /// The prefixes that the innermost tag reads.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        let reads = self.frames.last().into_iter().flat_map(|frame| &frame.reads);
        reads.filter_map(|read| match read {
            Origin::Prefix(prefix, _) => Some(prefix.as_str()),
            _ => None,
        })
    }

    /// Something was read.
    pub fn read(&mut self, origin: Origin) {
        if let Some(frame) = self.frames.last_mut() {
            frame.reads.insert(origin);
        }
    }

    /// What is behind this place is kept under a name.
    pub fn name(&mut self, name: &str) {
        let behind = self.behind();
        self.names.entry(name.to_owned()).or_default().extend(behind);
    }

    /// What was kept under a name is used.
    pub fn named(&mut self, name: &str) {
        let known = self.names.get(name).cloned().unwrap_or_default();
        if let Some(frame) = self.frames.last_mut() {
            frame.reads.extend(known);
        }
    }

    /// What is written is kept for now, or no longer.
    pub fn keep(&mut self, on: bool) {
        self.kept = if on { self.kept + 1 } else { self.kept.saturating_sub(1) };
    }

    /// A text is written.
    pub fn wrote(&mut self, text: &str) {
        let behind = self.behind();
        for (place, part) in text.split('\n').enumerate() {
            if place > 0 || self.lines.is_empty() {
                self.lines.push(BTreeSet::new());
            }
            // A text that ends in a line break says nothing about the next line.
            if let Some(line) = self.lines.last_mut().filter(|_| !part.is_empty()) {
                line.extend(behind.iter().cloned());
            }
        }
    }

    /// What was recorded.
    #[must_use]
    pub fn into_trace(self) -> Trace {
        Trace { lines: self.lines }
    }

    fn behind(&self) -> BTreeSet<Origin> {
        let open = self.frames.iter().filter(|frame| frame.binds.is_none());
        open.flat_map(Frame::shown).collect()
    }
}

impl Frame {
    fn binds(&self, name: &str) -> bool {
        self.binds.as_ref().is_some_and(|names| names.contains(name))
    }

    /// Of a folder only the item of this turn.
    fn shown(&self) -> BTreeSet<Origin> {
        let Some((name, revision)) = &self.item else {
            return self.reads.clone();
        };
        let others = self.reads.iter().filter(|read| !read.covers(name)).cloned();
        others.chain([Origin::Key(name.clone(), Some(*revision))]).collect()
    }
}

#[cfg(test)]
mod tests;
