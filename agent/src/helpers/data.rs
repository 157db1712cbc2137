//! Helpers that read the view or the environment.
//!
//! Every read goes through a [`Reader`], which records it: key, prefix, or absence. A read that
//! cannot be answered gives an empty value and goes on, so that one pass finds all that a
//! template needs; the output of such a pass is thrown away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use handlebars::{Context, Handlebars, Helper, HelperDef, RenderContext, RenderError, ScopedJson};
use kvapi::Entry;
use serde_json::{Value, json};

use super::{Call, answer};
use crate::graph::Reads;
use crate::policy::Missing;
use crate::view::{Found, SERVICES, View};

type Function = fn(&Reader<'_>, &Call<'_>) -> Result<Value, String>;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("key", key),
    ("keyExists", key_exists),
    ("ls", ls),
    ("tree", tree),
    ("service", service),
    ("env", env),
];

/// What a render reads from, and what it has read.
pub struct Reader<'a> {
    view: &'a View,
    env: &'a BTreeMap<String, String>,
    missing: Missing,
    /// Fail at this missing key, so that the error carries its place.
    locate: Option<&'a str>,
    record: Mutex<Record>,
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
    /// A reader of one view.
    #[must_use]
    pub fn new(view: &'a View, env: &'a BTreeMap<String, String>, missing: Missing, locate: Option<&'a str>) -> Self {
        Self {
            view,
            env,
            missing,
            locate,
            record: Mutex::default(),
        }
    }

    /// What was found out.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.record.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn record<T>(&self, write: impl FnOnce(&mut Record) -> T) -> T {
        write(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self, name: &str) -> Found<'_> {
        let found = self.view.get(name);
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

    fn range(&self, prefix: &str) -> Vec<&Entry> {
        let found = self.view.range(prefix);
        self.record(|record| {
            record.reads.scope.prefixes.insert(prefix.to_owned());
            record.outside |= found.is_none();
        });
        found.into_iter().flatten().collect()
    }

    /// What stands for something that has to be there and is not.
    fn lack(&self, what: &str) -> Result<(), String> {
        if self.locate == Some(what) {
            return Err(what.to_owned());
        }
        if self.missing != Missing::Default {
            self.record(|record| record.missing.insert(what.to_owned()));
        }
        Ok(())
    }
}

/// Puts the helpers of this file into one render.
pub(crate) fn bind<'rc>(reader: &'rc Reader<'rc>, context: &mut RenderContext<'_, 'rc>) {
    for (name, function) in ALL {
        context.register_local_helper(
            name,
            Box::new(Bound {
                reader,
                function: *function,
            }),
        );
    }
}

struct Bound<'a> {
    reader: &'a Reader<'a>,
    function: Function,
}

impl HelperDef for Bound<'_> {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        // In `{{#each (ls "a")}}{{key}}` the field is meant, not the helper.
        if helper.params().is_empty() && helper.hash().is_empty() {
            let field = render
                .evaluate(context, &format!("this.{}", helper.name()))?
                .as_json()
                .clone();
            if !field.is_null() {
                return Ok(ScopedJson::Derived(field));
            }
        }
        answer(helper, |call| (self.function)(self.reader, call))
    }
}

/// `(key "a/b" default="x")`: the key's value as text. The default stands in for a key that is
/// absent, not for one that is empty.
fn key(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let name = call.text(0)?;
    match reader.get(&name) {
        Found::Entry(entry) => text(entry).map(Value::String),
        Found::Outside => Ok("".into()),
        Found::Absent => match call.text_option("default")? {
            Some(default) => Ok(default.into()),
            None => reader.lack(&name).map(|()| "".into()),
        },
    }
}

/// `(keyExists "a/b")`: of the same revision as `key`, so the two cannot contradict each other.
fn key_exists(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    Ok(matches!(reader.get(&call.text(0)?), Found::Entry(_)).into())
}

/// `(ls "a/b" dirs=true min=1)`: what lies directly in the folder, `{key, path, value, flags,
/// revision}` each; with `dirs=true` its folders too, with a slash behind their `key`.
fn ls(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let folder = folder(&call.text(0)?);
    let mut items = Vec::new();
    let mut last_folder = None;
    for entry in reader.range(&folder) {
        let rest = &entry.key[folder.len()..];
        match rest.split_once('/') {
            None if rest.is_empty() => {}
            None => items.push(item(rest, entry)?),
            Some((name, _)) if call.flag("dirs") && last_folder != Some(name) => {
                last_folder = Some(name);
                items.push(json!({ "key": format!("{name}/"), "path": format!("{folder}{name}/"), "folder": true }));
            }
            Some(_) => {}
        }
    }
    at_least(reader, call, &folder, items)
}

/// `(tree "a/b" raw=true min=1)`: everything below the folder, `key` being the path within it.
/// With `raw=true` the text is a prefix by bytes, as it is to Consul: `a/b` shows `a/bc` too.
fn tree(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let given = call.text(0)?;
    let prefix = if call.flag("raw") { given } else { folder(&given) };
    let entries = reader
        .range(&prefix)
        .into_iter()
        .filter(|entry| !entry.key.ends_with('/'));
    let items = entries
        .map(|entry| item(&entry.key[prefix.len()..], entry))
        .collect::<Result<_, _>>()?;
    at_least(reader, call, &prefix, items)
}

/// `(service "web" min=1)`: the registered instances, as they were registered, each with its `id`.
fn service(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let prefix = format!("{SERVICES}{}/", call.text(0)?.trim_matches('/'));
    let mut items = Vec::new();
    for entry in reader.range(&prefix) {
        let value = serde_json::from_slice::<serde_json::Map<String, Value>>(&entry.value);
        let mut instance = value.map_err(|e| format!("key `{}` is not a JSON object: {e}", entry.key))?;
        instance.insert("id".into(), entry.key[prefix.len()..].into());
        items.push(Value::Object(instance));
    }
    at_least(reader, call, &prefix, items)
}

/// `(env "NAME" default="x")`: a variable of the agent's environment.
fn env(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let name = call.text(0)?;
    match (reader.env.get(&name), call.text_option("default")?) {
        (Some(value), _) => Ok(value.as_str().into()),
        (None, Some(default)) => Ok(default.into()),
        (None, None) => Err(format!("the environment has no `{name}`; set it or give default=")),
    }
}

/// A folder by path segments: `app` is not a prefix of `apple`.
fn folder(name: &str) -> String {
    let name = name.trim_matches('/');
    if name.is_empty() {
        String::new()
    } else {
        format!("{name}/")
    }
}

fn item(name: &str, entry: &Entry) -> Result<Value, String> {
    Ok(json!({
        "key": name,
        "path": entry.key,
        "value": text(entry)?,
        "flags": entry.flags,
        "revision": entry.modify_index,
    }))
}

/// Values go in as text, so that `1.10` stays `1.10`.
fn text(entry: &Entry) -> Result<String, String> {
    String::from_utf8(entry.value.to_vec()).map_err(|_| format!("the value of `{}` is not UTF-8 text", entry.key))
}

fn at_least(reader: &Reader<'_>, call: &Call<'_>, prefix: &str, items: Vec<Value>) -> Result<Value, String> {
    if items.len() < call.count_option("min")?.unwrap_or(0) {
        reader.lack(&format!("{prefix}*"))?;
    }
    Ok(Value::Array(items))
}
