//! Helpers for texts.

use serde_json::Value;

use super::{Call, Function, scalar};
use crate::budget::fits;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("lower", |call| Ok(call.text(0)?.to_lowercase().into())),
    ("upper", |call| Ok(call.text(0)?.to_uppercase().into())),
    ("title", title),
    ("trim", trim),
    ("trimPrefix", |call| {
        let (text, prefix) = (call.text(0)?, call.text(1)?);
        Ok(text.strip_prefix(prefix.as_str()).unwrap_or(&text).into())
    }),
    ("trimSuffix", |call| {
        let (text, suffix) = (call.text(0)?, call.text(1)?);
        Ok(text.strip_suffix(suffix.as_str()).unwrap_or(&text).into())
    }),
    ("replace", |call| {
        replace(&call.text(0)?, &call.text(1)?, &call.text(2)?)
    }),
    ("concat", |call| {
        let parts = call.texts(0)?;
        fits(parts.iter().map(String::len).sum())?;
        Ok(parts.concat().into())
    }),
    ("split", split),
    ("splitToMap", split_to_map),
    ("join", join),
    ("default", default),
    ("contains", contains),
    ("startsWith", |call| {
        Ok(call.text(0)?.starts_with(&call.text(1)?).into())
    }),
    ("endsWith", |call| Ok(call.text(0)?.ends_with(&call.text(1)?).into())),
    ("format", format),
    // `{{fail "why" "where"}}`: ends the render with these words.
    ("fail", |call| Err(call.texts(0)?.join(" "))),
    ("basename", |call| {
        let path = call.text(0)?;
        Ok(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().into())
    }),
    ("dirname", |call| {
        let path = call.text(0)?;
        let folder = path.trim_end_matches('/').rsplit_once('/').map(|(folder, _)| folder);
        Ok(folder.unwrap_or_default().into())
    }),
];

/// `(title "ab cd")`: `Ab Cd`.
pub(crate) fn title(call: &Call<'_>) -> Result<Value, String> {
    let mut begins = true;
    let mut titled = String::new();
    for c in call.text(0)?.chars() {
        if std::mem::replace(&mut begins, !c.is_alphanumeric() && c != '\'') {
            titled.extend(c.to_uppercase());
        } else {
            titled.push(c);
        }
    }
    Ok(titled.into())
}

/// `(replace s from to)`
pub(crate) fn replace(text: &str, from: &str, to: &str) -> Result<Value, String> {
    if from.is_empty() {
        return Err("the text to replace is empty".to_owned());
    }
    let count = text.matches(from).count();
    fits(text.len() + count.saturating_mul(to.len()))?;
    Ok(text.replace(from, to).into())
}

/// `(splitToMap "a=1,b=2" item="," kv="=")`: `{a: "1", b: "2"}`; later ones win.
fn split_to_map(call: &Call<'_>) -> Result<Value, String> {
    let text = call.text(0)?;
    let mark = |name: &str, usual: &str| match call.text_option(name)? {
        Some(mark) if mark.is_empty() => Err(format!("{name}= is empty")),
        Some(mark) => Ok(mark),
        None => Ok(usual.to_owned()),
    };
    let (between, within) = (mark("item", ",")?, mark("kv", "=")?);
    let mut map = serde_json::Map::new();
    for (place, item) in text.split(&between).enumerate().filter(|(_, item)| !item.is_empty()) {
        let (name, value) = item
            .split_once(&within)
            .ok_or_else(|| format!("item {} has no `{within}`", place + 1))?;
        map.insert(name.to_owned(), value.into());
    }
    Ok(Value::Object(map))
}

/// `(format "{}:{}" host port)`: each `{}` is the next argument.
fn format(call: &Call<'_>) -> Result<Value, String> {
    let pattern = call.text(0)?;
    let values = call.texts(1)?;
    let parts: Vec<&str> = pattern.split("{}").collect();
    if parts.len() != values.len() + 1 {
        let (holes, given) = (parts.len() - 1, values.len());
        return Err(format!("there are {holes} `{{}}` and {given} values"));
    }
    fits(pattern.len() + values.iter().map(String::len).sum::<usize>())?;
    let mut text = parts[0].to_owned();
    for (value, part) in values.iter().zip(&parts[1..]) {
        text.push_str(value);
        text.push_str(part);
    }
    Ok(text.into())
}

/// `(trim s chars="/")`: without the white space, or those characters, at both ends.
fn trim(call: &Call<'_>) -> Result<Value, String> {
    let text = call.text(0)?;
    Ok(match call.text_option("chars")? {
        Some(chars) => text.trim_matches(|c| chars.contains(c)).into(),
        None => text.trim().into(),
    })
}

/// `(split s ",")`: the parts, none for an empty text.
fn split(call: &Call<'_>) -> Result<Value, String> {
    let (text, separator) = (call.text(0)?, call.text(1)?);
    if separator.is_empty() {
        return Err("the separator is empty".to_owned());
    }
    Ok(if text.is_empty() {
        Value::Array(Vec::new())
    } else {
        text.split(&separator).collect()
    })
}

/// `(join list ",")`, or `(join (ls "hosts") "," field="value")` for a list of objects.
fn join(call: &Call<'_>) -> Result<Value, String> {
    let separator = match call.values().get(1) {
        Some(_) => call.text(1)?,
        None => call.text_option("sep")?.unwrap_or_else(|| ",".to_owned()),
    };
    let field = call.text_option("field")?.unwrap_or_else(|| "value".to_owned());
    let parts: Result<Vec<String>, String> = call
        .list(0)?
        .iter()
        .map(|item| {
            let item = item.get(&field).filter(|_| item.is_object()).unwrap_or(item);
            scalar(item).ok_or_else(|| format!("an item has no `{field}` that is a text; name one with field="))
        })
        .collect();
    let parts = parts?;
    let marks = separator.len().saturating_mul(parts.len());
    fits(parts.iter().map(String::len).sum::<usize>().saturating_add(marks))?;
    Ok(parts.join(&separator).into())
}

/// `(default s "x")`: the second if the first is empty. For an absent key write `(key "a" default="x")`.
fn default(call: &Call<'_>) -> Result<Value, String> {
    let value = call.value(0)?;
    Ok(if is_empty(value) { call.value(1)? } else { value }.clone())
}

/// Whether nothing is in it; 0 and false are something.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `(contains x y)`: whether a list has the item, or a text the part.
pub(crate) fn contains(call: &Call<'_>) -> Result<Value, String> {
    let (whole, part) = (call.value(0)?, call.value(1)?);
    Ok(match whole.as_array() {
        Some(items) => items.contains(part).into(),
        None => call.text(0)?.contains(&call.text(1)?).into(),
    })
}
