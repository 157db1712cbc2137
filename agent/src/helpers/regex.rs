//! Helpers for regular expressions, of the syntax that Go has too. Matching takes time in
//! proportion to the text, whatever the expression.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::Function;
use crate::budget::fits;

/// A larger program is refused; it also bounds the time for each byte.
const MAX_PROGRAM: usize = 1 << 20;

/// So many compiled expressions are kept.
const KEPT: usize = 256;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("regexMatch", |call| {
        let (text, pattern) = (call.text(0)?, call.text(1)?);
        Ok(compiled(&pattern)?.is_match(&text).into())
    }),
    // `(regexFind s re group=1)`: what fits first, or nothing.
    ("regexFind", |call| {
        let (text, pattern) = (call.text(0)?, call.text(1)?);
        let group = call.count_option("group")?.unwrap_or(0);
        let found = compiled(&pattern)?.captures(&text);
        let part = found.and_then(|found| found.get(group).map(|part| part.as_str().to_owned()));
        Ok(part.unwrap_or_default().into())
    }),
    // `(regexReplace s re to)`: `$1` and `${name}` in it are groups.
    ("regexReplace", |call| {
        replace(&call.text(0)?, &call.text(1)?, &call.text(2)?)
    }),
];

/// All that fits, replaced.
pub(crate) fn replace(text: &str, pattern: &str, to: &str) -> Result<Value, String> {
    let mut replaced = String::new();
    let mut after = 0;
    for found in compiled(pattern)?.captures_iter(text) {
        let whole = found.get_match();
        let groups = to.matches('$').count().saturating_mul(whole.len());
        fits((replaced.len() + whole.start() - after + to.len()).saturating_add(groups))?;
        replaced.push_str(&text[after..whole.start()]);
        found.expand(to, &mut replaced);
        after = whole.end();
    }
    fits(replaced.len() + text.len() - after)?;
    replaced.push_str(&text[after..]);
    Ok(replaced.into())
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    static COMPILED: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut known = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = known.get(pattern) {
        return Ok(regex.clone());
    }
    let regex = RegexBuilder::new(pattern).size_limit(MAX_PROGRAM).build();
    let regex = regex.map_err(|error| format!("no regular expression: {error}"))?;
    if known.len() >= KEPT {
        known.clear();
    }
    known.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}
