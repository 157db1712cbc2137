//! Helpers for TOML.

use serde_json::{Map, Value};

use super::{Call, Function};
use crate::budget::fits;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[("toToml", to_toml), ("parseToml", parse)];

/// `(toToml x)`: an object as a document, without a line feed at the end.
pub(crate) fn to_toml(call: &Call<'_>) -> Result<Value, String> {
    let mut text = ::toml::to_string(call.map(0)?).map_err(|_| {
        "TOML has no null, no number beyond 64 bits with a sign, and no list that mixes them".to_owned()
    })?;
    fits(text.len())?;
    text.truncate(text.trim_end_matches('\n').len());
    Ok(text.into())
}

/// `(parseToml (key "a"))`: dates and times become texts. An empty text is an error.
fn parse(call: &Call<'_>) -> Result<Value, String> {
    let text = call.text(0)?;
    if text.trim().is_empty() {
        return Err("there is nothing in it".to_owned());
    }
    let table: ::toml::Table = text.parse().map_err(|error: ::toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        format!("not TOML: line {line}: {}", error.message())
    })?;
    object(table).map(Value::Object)
}

fn object(table: ::toml::Table) -> Result<Map<String, Value>, String> {
    table
        .into_iter()
        .map(|(name, value)| Ok((name, plain(value)?)))
        .collect()
}

fn plain(value: ::toml::Value) -> Result<Value, String> {
    Ok(match value {
        ::toml::Value::String(text) => text.into(),
        ::toml::Value::Integer(number) => number.into(),
        ::toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .ok_or("infinite and undefined numbers are not taken")?
            .into(),
        ::toml::Value::Boolean(truth) => truth.into(),
        ::toml::Value::Datetime(moment) => moment.to_string().into(),
        ::toml::Value::Array(items) => items.into_iter().map(plain).collect::<Result<_, _>>()?,
        ::toml::Value::Table(table) => object(table)?.into(),
    })
}
