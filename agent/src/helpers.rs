//! The helpers that templates may call: what they are named and how they get their arguments.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`data`] | what reads the view and the environment, and records the reading |
//! | [`text`] | text and lists |
//! | [`encode`] | JSON and base64 |
//!
//! A helper is a function from a [`Call`] to a JSON value or to a reason why not. Values come
//! first and options are named: `{{join (ls "hosts") sep=","}}`.

use std::collections::BTreeMap;

use handlebars::{Context, Handlebars, Helper, HelperDef, RenderContext, RenderError, RenderErrorReason, ScopedJson};
use serde_json::Value;

pub mod data;
pub mod encode;
pub mod text;

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

type Function = fn(&Call<'_>) -> Result<Value, String>;

/// Every name that a template may call.
pub fn names() -> impl Iterator<Item = &'static str> {
    let own = text::ALL.iter().chain(encode::ALL).map(|(name, _)| *name);
    BUILT_IN
        .iter()
        .copied()
        .chain(own)
        .chain(data::ALL.iter().map(|(name, _)| *name))
}

/// Makes the helpers that read nothing known to a registry.
pub fn register(registry: &mut Handlebars<'static>) {
    for (name, function) in text::ALL.iter().chain(encode::ALL) {
        registry.register_helper(name, Box::new(Plain(*function)));
    }
}

struct Plain(Function);

impl HelperDef for Plain {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        answer(helper, self.0)
    }
}

/// Calls a function and names the helper if it fails.
fn answer<'rc>(
    helper: &Helper<'rc>,
    function: impl Fn(&Call<'_>) -> Result<Value, String>,
) -> Result<ScopedJson<'rc>, RenderError> {
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
        self.text_option(name)?
            .map(|text| text.parse().map_err(|_| format!("{name}= has to be a whole number")))
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
