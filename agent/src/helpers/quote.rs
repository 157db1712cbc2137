//! A value as one word of a format, so that it cannot end where it stands and say more.
//!
//! Each helper gives a text that the format's reader takes for exactly this value, on one line (a
//! shell's word may span lines, within its quotes), or refuses what the format cannot hold. A text
//! that needs no quotes has none where the format has bare words.

use serde_json::Value;

use super::Function;
use crate::budget::fits;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("json", |call| super::encode::to_json(call, false)),
    ("yaml", |call| checked(yaml(call.value(0)?))),
    ("toml", |call| checked(toml(call.value(0)?)?)),
    ("shell", |call| shell(&call.text(0)?)),
    ("haproxy", |call| checked(haproxy(&call.text(0)?)?)),
    ("nginx", |call| checked(nginx(&call.text(0)?, call.flag("variables"))?)),
    ("line", |call| line(call.text(0)?).map(Value::from)),
    // Older names.
    ("quote", |call| Ok(Value::String(call.text(0)?).to_string().into())),
    ("squote", |call| {
        let text = line(call.text(0)?)?;
        if text.contains('\'') {
            return Err("a single quote cannot stand in single quotes".to_owned());
        }
        Ok(format!("'{text}'").into())
    }),
    ("shellQuote", |call| shell(&call.text(0)?)),
];

fn checked(text: String) -> Result<Value, String> {
    fits(text.len())?;
    Ok(text.into())
}

/// YAML on one line: texts in double quotes, lists and objects in brackets.
pub(crate) fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) => crate::yaml::quoted(text),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(yaml))),
        Value::Object(fields) => {
            // A long name needs the explicit form: readers give up looking for its colon.
            let field = |(name, value): (&String, &Value)| {
                let mark = if name.len() > 900 { "? " } else { "" };
                format!("{mark}{}: {}", crate::yaml::quoted(name), yaml(value))
            };
            format!("{{{}}}", joined(fields.iter().map(field)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// TOML on one line: basic strings, arrays and inline tables.
pub(crate) fn toml(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::String(text) => basic(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml).collect::<Result<_, _>>()?;
            format!("[{}]", joined(items.into_iter()))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| Ok(format!("{} = {}", basic(name), toml(value)?));
            let fields: Vec<String> = fields.iter().map(field).collect::<Result<_, String>>()?;
            format!("{{{}}}", joined(fields.into_iter()))
        }
        Value::Null => return Err("TOML has no null".to_owned()),
        Value::Number(number) if number.as_i64().is_none() && number.as_u64().is_some() => {
            return Err("TOML has no whole number beyond 64 bits with a sign".to_owned());
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    })
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// JSON's escapes are a basic string's too, but TOML refuses DEL as it is.
fn basic(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// One word for a POSIX shell.
fn shell(text: &str) -> Result<Value, String> {
    let quoted = shlex::try_quote(text).map_err(|_| "a NUL byte cannot be quoted".to_owned())?;
    checked(quoted.into_owned())
}

/// Whether a word has only characters that mean nothing to the readers of configurations.
fn bare(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    !text.is_empty() && text.chars().all(plain)
}

/// One word for HAProxy (section 2.2 of its manual): within single quotes nothing is interpreted,
/// and a single quote itself stands outside of them behind a backslash. A line is a line whatever
/// is quoted, so control characters are refused.
pub(crate) fn haproxy(text: &str) -> Result<String, String> {
    no_control(text, "HAProxy")?;
    if bare(text) {
        return Ok(text.to_owned());
    }
    fits(text.len().saturating_mul(4))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// One parameter for nginx: within double quotes it knows `\"`, `\\`, `\t`, `\r`, `\n`. It has no
/// quoting for `$`, which begins a variable in many directives: `variables=true` lets it through.
pub(crate) fn nginx(text: &str, variables: bool) -> Result<String, String> {
    if !variables && text.contains('$') {
        return Err(
            "nginx has no quoting for `$`, which may begin a variable; variables=true lets it through".to_owned(),
        );
    }
    if bare(text) {
        return Ok(text.to_owned());
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\n' => quoted.push_str("\\n"),
            c => {
                no_control(c.encode_utf8(&mut [0; 4]), "nginx")?;
                quoted.push(c);
            }
        }
    }
    quoted.push('"');
    Ok(quoted)
}

/// A text that stays on its line: control characters are refused.
pub(crate) fn line(text: String) -> Result<String, String> {
    no_control(&text, "a line")?;
    Ok(text)
}

fn no_control(text: &str, whose: &str) -> Result<(), String> {
    match text
        .chars()
        .find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        Some(c) => Err(format!(
            "{whose} cannot hold the control character {}",
            c.escape_unicode()
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
