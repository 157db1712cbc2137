//! The helpers that templates may call: what they are named and how they get their arguments.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`reader`] | what is read, the record of it, and the budget |
//! | [`data`], [`folder`], [`scratch`] | single keys; folders; names within a template |
//! | [`text`], [`lines`], [`regex`] | texts |
//! | [`list`], [`map`], [`number`] | lists, objects, numbers |
//! | [`file`](mod@file) | files of this machine |
//! | [`encode`], [`yaml`], [`toml`] | documents and digests |
//! | [`quote`] | a value as one word of a format |
//! | [`alias`] | consul-template's names |
//! | [`blocks`] | helpers with a body |
//!
//! A helper is a function from a [`Call`] to a JSON value or to a reason why not. Values come
//! first and options are named: `{{join (ls "hosts") sep=","}}`. No reason quotes a value: it is
//! logged.

use std::collections::BTreeMap;

use handlebars::{Context, Handlebars, Helper, HelperDef, RenderContext, RenderError, RenderErrorReason, ScopedJson};
use serde_json::{Map, Value};

pub mod alias;
pub mod blocks;
pub mod data;
pub mod encode;
pub mod file;
pub mod folder;
pub(crate) mod glob;
pub mod lines;
pub mod list;
pub mod map;
pub mod number;
pub mod quote;
pub mod reader;
pub mod regex;
pub mod scratch;
pub mod text;
pub mod toml;
pub mod yaml;

/// What Handlebars brings along.
const BUILT_IN: &[&str] = &[
    "if",
    "unless",
    "each",
    "with",
    "lookup",
    "raw",
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "and",
    "or",
    "not",
    "len",
    "lowerCamelCase",
    "upperCamelCase",
    "snakeCase",
    "kebabCase",
    "shoutySnakeCase",
    "shoutyKebabCase",
    "titleCase",
    "trainCase",
];

/// A helper that reads nothing.
type Function = fn(&Call<'_>) -> Result<Value, String>;

fn plain() -> impl Iterator<Item = &'static (&'static str, Function)> {
    [
        text::ALL,
        lines::ALL,
        regex::ALL,
        list::ALL,
        map::ALL,
        number::ALL,
        encode::ALL,
        yaml::ALL,
        toml::ALL,
        quote::ALL,
        alias::ALL,
    ]
    .into_iter()
    .flatten()
}

fn reading() -> impl Iterator<Item = &'static (&'static str, reader::Function)> {
    [data::ALL, folder::ALL, scratch::ALL, file::ALL].into_iter().flatten()
}

/// Every name that a template may call, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    let own = plain().map(|(name, _)| *name).chain(reading().map(|(name, _)| *name));
    let mut all: Vec<&str> = BUILT_IN.iter().chain(blocks::ALL).copied().chain(own).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
}

/// Whether a template may call this.
#[must_use]
pub fn exists(name: &str) -> bool {
    BUILT_IN.contains(&name)
        || blocks::ALL.contains(&name)
        || plain().any(|(own, _)| *own == name)
        || reading().any(|(own, _)| *own == name)
}

/// Makes the helpers that read nothing known to a registry.
pub fn register(registry: &mut Handlebars<'static>) {
    for (name, function) in plain() {
        registry.register_helper(name, Box::new(Plain(*function)));
    }
    registry.register_helper("let", Box::new(blocks::Let));
    registry.register_helper(blocks::INDENTED, Box::new(blocks::Indented(None)));
}

struct Plain(Function);

impl HelperDef for Plain {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        answer(helper, context, render, self.0)
    }
}

/// Calls a function and names the helper if it fails.
fn answer<'rc>(
    helper: &Helper<'rc>,
    context: &'rc Context,
    render: &RenderContext<'_, 'rc>,
    function: impl Fn(&Call<'_>) -> Result<Value, String>,
) -> Result<ScopedJson<'rc>, RenderError> {
    // In `{{#each (ls "a")}}{{key}}` the field is meant, not the helper.
    if helper.params().is_empty() && helper.hash().is_empty() && !helper.is_block() {
        let field = render.evaluate(context, helper.name())?;
        if !field.is_missing() {
            return Ok(ScopedJson::Derived(field.as_json().clone()));
        }
    }
    let failed = |reason: String| RenderError::from(RenderErrorReason::Other(format!("`{}`: {reason}", helper.name())));
    let call = Call::of(helper).map_err(failed)?;
    function(&call).map(ScopedJson::Derived).map_err(failed)
}

/// The arguments of one call.
pub struct Call<'a> {
    values: Vec<&'a Value>,
    options: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Call<'a> {
    fn of(helper: &'a Helper<'_>) -> Result<Self, String> {
        let missing =
            |path: Option<&String>| format!("there is no variable `{}` here", path.map_or("?", String::as_str));
        let mut values = Vec::with_capacity(helper.params().len());
        for given in helper.params() {
            if given.is_value_missing() {
                return Err(missing(given.relative_path()));
            }
            values.push(given.value());
        }
        let mut options = BTreeMap::new();
        for (name, given) in helper.hash() {
            if given.is_value_missing() {
                return Err(missing(given.relative_path()));
            }
            options.insert(*name, given.value());
        }
        Ok(Self { values, options })
    }

    /// The argument at a place, from 0.
    pub fn value(&self, place: usize) -> Result<&'a Value, String> {
        self.values
            .get(place)
            .copied()
            .ok_or_else(|| format!("argument {} is missing", place + 1))
    }

    /// All arguments.
    #[must_use]
    pub fn values(&self) -> &[&'a Value] {
        &self.values
    }

    /// The argument at a place as text; numbers and booleans are written out.
    pub fn text(&self, place: usize) -> Result<String, String> {
        scalar(self.value(place)?).ok_or_else(|| format!("argument {} has to be a text", place + 1))
    }

    /// The argument at a place as a list.
    pub fn list(&self, place: usize) -> Result<&'a [Value], String> {
        let list = self.value(place)?.as_array();
        list.map(Vec::as_slice)
            .ok_or_else(|| format!("argument {} has to be a list", place + 1))
    }

    /// The argument at a place as an object.
    pub fn map(&self, place: usize) -> Result<&'a Map<String, Value>, String> {
        let map = self.value(place)?.as_object();
        map.ok_or_else(|| format!("argument {} has to be an object", place + 1))
    }

    /// The argument at a place as a count.
    pub fn count(&self, place: usize) -> Result<usize, String> {
        whole(self.value(place)?).ok_or_else(|| format!("argument {} has to be a whole number", place + 1))
    }

    /// All arguments from a place on, as texts.
    pub fn texts(&self, from: usize) -> Result<Vec<String>, String> {
        (from..self.values.len()).map(|place| self.text(place)).collect()
    }

    /// How long the arguments are: bytes of texts, items of lists and objects.
    #[must_use]
    pub fn size(&self) -> usize {
        let size = |value: &&Value| match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        };
        self.values.iter().map(size).sum()
    }

    /// All named options.
    pub fn options(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.options.iter().map(|(name, value)| (*name, *value))
    }

    /// A named option.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&'a Value> {
        self.options.get(name).copied()
    }

    /// A named option as text.
    pub fn text_option(&self, name: &str) -> Result<Option<String>, String> {
        self.option(name)
            .map(|value| scalar(value).ok_or_else(|| format!("{name}= has to be a text")))
            .transpose()
    }

    /// A named option that is on if it is `true`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.option(name)
            .is_some_and(|value| *value == Value::Bool(true) || value == "true")
    }

    /// A named option as a count.
    pub fn count_option(&self, name: &str) -> Result<Option<usize>, String> {
        self.option(name)
            .map(|value| whole(value).ok_or_else(|| format!("{name}= has to be a whole number")))
            .transpose()
    }
}

/// A value that has one written form.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A count, as a number or written out.
fn whole(value: &Value) -> Option<usize> {
    scalar(value)?.parse().ok()
}

#[cfg(test)]
mod tests;
