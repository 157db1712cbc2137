//! Helpers for texts and lists.

use serde_json::Value;

use super::{Call, Function, scalar};

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("lower", |call| Ok(call.text(0)?.to_lowercase().into())),
    ("upper", |call| Ok(call.text(0)?.to_uppercase().into())),
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
        Ok(call.text(0)?.replace(&call.text(1)?, &call.text(2)?).into())
    }),
    ("concat", |call| {
        (0..call.values().len())
            .map(|place| call.text(place))
            .collect::<Result<String, _>>()
            .map(Value::from)
    }),
    ("split", split),
    ("join", join),
    ("default", default),
    ("indent", indent),
    ("contains", contains),
    ("startsWith", |call| {
        Ok(call.text(0)?.starts_with(&call.text(1)?).into())
    }),
    ("endsWith", |call| Ok(call.text(0)?.ends_with(&call.text(1)?).into())),
    ("quote", |call| Ok(Value::String(call.text(0)?).to_string().into())),
    ("shellQuote", shell_quote),
];

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
    Ok(parts?.join(&separator).into())
}

/// `(default s "x")`: the second if the first is empty. For an absent key write `(key "a" default="x")`.
fn default(call: &Call<'_>) -> Result<Value, String> {
    let value = call.value(0)?;
    let empty = value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty);
    Ok(if empty { call.value(1)? } else { value }.clone())
}

/// `(indent s 4)`: spaces before every line but the first and empty ones.
fn indent(call: &Call<'_>) -> Result<Value, String> {
    let width = match call.count_option("spaces")? {
        Some(width) => width,
        None => call
            .text(1)?
            .parse()
            .map_err(|_| "argument 2 has to be a whole number".to_owned())?,
    };
    if width > 256 {
        return Err("at most 256 spaces".to_owned());
    }
    let margin = " ".repeat(width);
    let text = call.text(0)?;
    let mut lines = text.split('\n');
    let mut indented = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        indented.push('\n');
        if !line.is_empty() {
            indented.push_str(&margin);
        }
        indented.push_str(line);
    }
    Ok(indented.into())
}

/// `(contains x y)`: whether a list has the item, or a text the part.
fn contains(call: &Call<'_>) -> Result<Value, String> {
    let (whole, part) = (call.value(0)?, call.value(1)?);
    Ok(match whole.as_array() {
        Some(items) => items.contains(part).into(),
        None => call.text(0)?.contains(&call.text(1)?).into(),
    })
}

fn shell_quote(call: &Call<'_>) -> Result<Value, String> {
    let text = call.text(0)?;
    let quoted = shlex::try_quote(&text).map_err(|_| "a NUL byte cannot be quoted".to_owned())?;
    Ok(quoted.into())
}
