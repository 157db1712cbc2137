//! What a render reads from, and the record of what it has read.
//!
//! A read that cannot be answered gives an empty value and goes on, so that one pass finds all
//! that a template needs; the output of such a pass is thrown away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use handlebars::{Context, Handlebars, Helper, HelperDef, RenderContext, RenderError, RenderErrorReason, ScopedJson};
use kvapi::Key;
use kvapi::types::{Entry, Revision};
use serde_json::Value;

use super::file::{Content, Known, Place, Wanted};
use super::{Call, blocks, plain, reading};
use crate::budget::{Budget, weigh};
use crate::graph::Reads;
use crate::policy::Missing;
use crate::trace::{Origin, Trace, Tracer};
use crate::view::{Found, SERVICES, View};

/// A helper that reads.
pub(crate) type Function = fn(&Reader<'_>, &Call<'_>) -> Result<Value, String>;

/// What every block and partial begins with, once it is compiled: no template can call it by name.
pub(crate) const STEP: &str = " step";

/// What stands before and behind each tag of a template that is compiled for a [`Trace`].
pub(crate) const BEGIN: &str = " begin";
pub(crate) const END: &str = " end";

/// See the module.
pub struct Reader<'a> {
    view: &'a View,
    env: &'a BTreeMap<String, String>,
    missing: Missing,
    /// Fail at this missing key, so that the error carries its place.
    locate: Option<&'a str>,
    record: Mutex<Record>,
    scratch: Mutex<BTreeMap<String, Value>>,
    budget: Budget,
    job: &'a Budget,
    tracer: Option<Mutex<Tracer>>,
    files: Option<(&'a Known, &'a Place)>,
}

/// What a pass has found out.
#[derive(Debug, Default)]
pub struct Record {
    /// All that was read.
    pub reads: Reads,
    /// Keys, and prefixes ending in `*`, that have to be there and are not.
    pub missing: BTreeSet<String>,
    /// Whether something was read that the view does not know.
    pub outside: bool,
}

impl<'a> Reader<'a> {
    /// A reader of one view, for one template of a job.
    #[must_use]
    pub fn new(
        view: &'a View,
        env: &'a BTreeMap<String, String>,
        missing: Missing,
        locate: Option<&'a str>,
        job: &'a Budget,
    ) -> Self {
        Self {
            view,
            env,
            missing,
            locate,
            record: Mutex::default(),
            scratch: Mutex::default(),
            budget: Budget::template(),
            job,
            tracer: None,
            files: None,
        }
    }

    /// The same, recording what is behind each line.
    #[must_use]
    pub fn traced(self) -> Self {
        Self {
            tracer: Some(Mutex::default()),
            ..self
        }
    }

    /// The same, with what is known of files, and where the template's are.
    #[must_use]
    pub fn with_files(self, known: &'a Known, place: Option<&'a Place>) -> Self {
        Self {
            files: place.map(|place| (known, place)),
            ..self
        }
    }

    /// Where the template's files are.
    pub(crate) fn place(&self) -> Place {
        self.files.map(|(_, place)| place.clone()).unwrap_or_default()
    }

    /// What is known of a file; nothing if it has to be read first.
    pub(crate) fn file(&self, wanted: Wanted) -> Option<&Content> {
        let found = self.files.and_then(|(known, _)| known.get(&wanted));
        self.record(|record| {
            record.reads.files.insert(wanted);
            record.outside |= found.is_none();
        });
        found
    }

    /// What is behind each line, if that was recorded.
    pub(crate) fn take_trace(&self) -> Trace {
        self.trace(std::mem::take).unwrap_or_default().into_trace()
    }

    /// Tells the tracer, if there is one.
    pub(crate) fn trace<T>(&self, tell: impl FnOnce(&mut Tracer) -> T) -> Option<T> {
        let tracer = self.tracer.as_ref()?;
        Some(tell(&mut tracer.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// What was found out.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.record.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The view that is read.
    pub(crate) fn view(&self) -> &View {
        self.view
    }

    /// The agent's environment.
    pub(crate) fn env(&self) -> &BTreeMap<String, String> {
        self.env
    }

    /// Looks at what this render keeps under names.
    pub(crate) fn scratch<T>(&self, look: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> T {
        look(&mut self.scratch.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes steps from the template's budget and from the job's.
    pub(crate) fn step(&self, steps: u64) -> Result<(), String> {
        self.budget.step(steps)?;
        self.job.step(steps)
    }

    /// Takes bytes that a helper has made.
    pub(crate) fn made(&self, bytes: u64) -> Result<(), String> {
        self.budget.bytes(bytes)
    }

    /// Takes bytes that are written.
    pub(crate) fn written(&self, bytes: usize) -> Result<(), String> {
        self.job.bytes(bytes as u64)
    }

    fn record<T>(&self, write: impl FnOnce(&mut Record) -> T) -> T {
        write(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this pass is thrown away already: what it goes on with may be empty for that alone.
    fn is_lost(&self) -> bool {
        self.record(|record| record.outside || !record.missing.is_empty())
    }

    /// A name that can be a key's. What has no name in a lost pass is not known yet.
    pub(crate) fn name(&self, call: &Call<'_>) -> Result<String, String> {
        let name = call.text(0)?;
        match Key::new(&name) {
            Err(reason) if !self.is_lost() => Err(reason.to_string()),
            Ok(_) | Err(_) => Ok(name),
        }
    }

    /// Reads a key.
    pub(crate) fn get(&self, name: &str) -> Found<'_> {
        if Key::new(name).is_err() {
            return Found::Outside;
        }
        let found = self.view.get(name);
        self.trace(|tracer| {
            let revision = match found {
                Found::Entry(entry) => Some(entry.modify_index),
                Found::Absent | Found::Outside => None,
            };
            tracer.read(Origin::Key(name.to_owned(), revision));
        });
        self.record(|record| {
            record.reads.scope.keys.insert(name.to_owned());
            match found {
                Found::Entry(_) => {}
                Found::Absent => {
                    record.reads.absent.insert(name.to_owned());
                }
                Found::Outside => record.outside = true,
            }
        });
        found
    }

    /// Reads all that begins with a prefix, by bytes.
    pub(crate) fn range(&self, prefix: &str) -> Vec<&Entry> {
        // Everything there is would be asked for because the folder's name is not known yet.
        if prefix.is_empty() && self.is_lost() {
            return Vec::new();
        }
        let found = self.view.range(prefix);
        self.record(|record| {
            record.reads.scope.prefixes.insert(prefix.to_owned());
            record.outside |= found.is_none();
        });
        let entries: Vec<&Entry> = found.into_iter().flatten().collect();
        self.trace(|tracer| {
            let newest = entries.iter().map(|entry| entry.modify_index).max();
            tracer.read(Origin::Prefix(prefix.to_owned(), newest));
        });
        entries
    }

    /// What stands for something that has to be there and is not.
    pub(crate) fn lack(&self, what: &str) -> Result<(), String> {
        if self.locate == Some(what) {
            return Err(what.to_owned());
        }
        if self.missing != Missing::Default {
            self.record(|record| record.missing.insert(what.to_owned()));
        }
        Ok(())
    }
}

/// Puts the helpers into one render, those that read nothing too: their budget is the reader's.
pub(crate) fn bind<'rc>(reader: &'rc Reader<'rc>, context: &mut RenderContext<'_, 'rc>) {
    let plain = plain().map(|(name, function)| (name, Kind::Plain(*function)));
    for (name, kind) in plain.chain(reading().map(|(name, function)| (name, Kind::Reading(*function)))) {
        context.register_local_helper(name, Box::new(Bound { reader, kind }));
    }
    context.register_local_helper(STEP, Box::new(Step(reader)));
    if reader.tracer.is_some() {
        context.register_local_helper(BEGIN, Box::new(Begin(reader)));
        context.register_local_helper(END, Box::new(End(reader)));
    }
    context.register_local_helper(blocks::INDENTED, Box::new(blocks::Indented(Some(reader))));
}

enum Kind {
    Plain(super::Function),
    Reading(Function),
}

struct Bound<'a> {
    reader: &'a Reader<'a>,
    kind: Kind,
}

impl HelperDef for Bound<'_> {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        super::answer(helper, context, render, |call| {
            self.reader.step(1 + call.size() as u64 / 4096)?;
            let value = match self.kind {
                Kind::Plain(function) => function(call),
                Kind::Reading(function) => function(self.reader, call),
            }?;
            self.reader.made(weigh(&value))?;
            Ok(value)
        })
    }
}

/// One turn of a block or a partial.
struct Step<'a>(&'a Reader<'a>);

impl HelperDef for Step<'_> {
    fn call<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn handlebars::Output,
    ) -> handlebars::HelperResult {
        let this = || render.block().and_then(|block| block.base_value());
        self.0.trace(|tracer| {
            let item = this().and_then(|value| item(self.0.view, tracer, value));
            tracer.turn(item);
        });
        self.0.step(1).map_err(|reason| RenderErrorReason::Other(reason).into())
    }
}

/// The key of an item that a block goes over: of `ls`, `tree`, `keys` and `service`.
fn item(view: &View, tracer: &Tracer, value: &Value) -> Option<(String, Revision)> {
    let name = match (value.as_str(), value.get("path"), value.get("id")) {
        (Some(name), ..) => name.to_owned(),
        (_, Some(path), _) => path.as_str()?.to_owned(),
        (_, _, Some(id)) => {
            let prefix = tracer.prefixes().find(|prefix| prefix.starts_with(SERVICES))?;
            format!("{prefix}{}", id.as_str()?)
        }
        _ => return None,
    };
    match view.get(&name) {
        Found::Entry(entry) => Some((name, entry.modify_index)),
        Found::Absent | Found::Outside => None,
    }
}

/// A tag begins.
struct Begin<'a>(&'a Reader<'a>);

impl HelperDef for Begin<'_> {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn handlebars::Output,
    ) -> handlebars::HelperResult {
        let names = |what: &str| {
            helper
                .param(0)
                .and_then(|given| given.value()[what].as_array().cloned())
        };
        let uses = names("uses").unwrap_or_default();
        let binds = names("binds").map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        self.0
            .trace(|tracer| tracer.begin(uses.iter().filter_map(Value::as_str), binds));
        Ok(())
    }
}

/// A tag ends.
struct End<'a>(&'a Reader<'a>);

impl HelperDef for End<'_> {
    fn call<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn handlebars::Output,
    ) -> handlebars::HelperResult {
        self.0.trace(Tracer::end);
        Ok(())
    }
}
