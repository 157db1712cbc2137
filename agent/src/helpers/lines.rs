//! Helpers for the layout of texts: margins, lengths, repetition.

use serde_json::Value;

use super::{Call, Function};
use crate::budget::fits;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("indent", indent),
    ("nindent", |call| {
        let text = every(&call.text(0)?, &margin(width(call)?)?)?;
        Ok(format!("\n{text}").into())
    }),
    ("trunc", |call| {
        let (text, length) = (call.text(0)?, call.count(1)?);
        Ok(text.chars().take(length).collect::<String>().into())
    }),
    ("repeat", |call| {
        let (text, times) = (call.text(0)?, call.count(1)?);
        fits(text.len().saturating_mul(times))?;
        Ok(text.repeat(times).into())
    }),
];

fn width(call: &Call<'_>) -> Result<usize, String> {
    match call.count_option("spaces")? {
        Some(width) => Ok(width),
        None => call.count(1),
    }
}

/// So many spaces.
pub(crate) fn margin(width: usize) -> Result<String, String> {
    if width > 256 {
        return Err("at most 256 spaces".to_owned());
    }
    Ok(" ".repeat(width))
}

/// `(indent s 4)`: spaces before every line but the first and empty ones; `(nindent s 4)`: a line
/// feed, and spaces before every line.
fn indent(call: &Call<'_>) -> Result<Value, String> {
    let (text, margin) = (call.text(0)?, margin(width(call)?)?);
    Ok(match text.split_once('\n') {
        None => text.into(),
        Some((first, rest)) => format!("{first}\n{}", every(rest, &margin)?).into(),
    })
}

/// The margin before every line that is not empty.
pub(crate) fn every(text: &str, margin: &str) -> Result<String, String> {
    let lines = text.matches('\n').count() + 1;
    fits(text.len() + lines.saturating_mul(margin.len()))?;
    let mut indented = String::with_capacity(text.len());
    for (place, line) in text.split('\n').enumerate() {
        if place > 0 {
            indented.push('\n');
        }
        if !line.is_empty() {
            indented.push_str(margin);
            indented.push_str(line);
        }
    }
    Ok(indented)
}
