//! A document as lines `NAME=value`, which a POSIX shell reads the same.

use super::{Bad, Item};

pub(super) fn write(items: &[Item]) -> Result<String, Bad> {
    let mut out = String::new();
    for item in items {
        let key = &item.key;
        let refuse = |why: &str| Err(Bad::new(format!("`{key}` {why}; use another form")));
        if !is_name(key) {
            return refuse("is no name of a variable (letters, digits and _)");
        }
        if item.flags != 0 {
            return refuse("has flags, which an environment file cannot hold");
        }
        let text = std::str::from_utf8(&item.value)
            .ok()
            .filter(|text| !text.contains('\0'));
        let Some(text) = text else {
            return refuse("is binary, which an environment file cannot hold");
        };
        out.push_str(&line(key, text));
    }
    Ok(out)
}

/// One variable, as a shell reads it.
pub(crate) fn line(name: &str, value: &str) -> String {
    format!("{name}={}\n", quote(value))
}

/// Whether it is a name that every shell takes for a variable.
pub(crate) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn quote(text: &str) -> String {
    let is_bare =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | ':' | '@' | '%' | '+' | ',' | '-');
    if text.chars().all(is_bare) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

pub(super) fn read(text: &str) -> Result<Vec<Item>, Bad> {
    let mut items = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = Some(1 + text[..text.len() - rest.len()].matches('\n').count());
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        if trimmed.len() < rest.len() {
            rest = trimmed;
            continue;
        }
        if rest.starts_with('#') {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        let statement = rest.strip_prefix("export ").unwrap_or(rest).trim_start();
        let end = statement.find(['=', '\n']).unwrap_or(statement.len());
        let name = &statement[..end];
        if !is_name(name) || !statement[end..].starts_with('=') {
            let shown: String = statement.lines().next().unwrap_or_default().chars().take(40).collect();
            return Err(Bad::at(line, format!("`{shown}` is not NAME=value")));
        }
        let (value, after) = word(&statement[end + 1..]).map_err(|what| Bad::at(line, format!("{name}: {what}")))?;
        items.push(Item {
            key: name.to_owned(),
            value: value.into(),
            flags: 0,
        });
        rest = after;
    }
    Ok(items)
}

/// One word of a shell, up to the end of the line, and what follows.
fn word(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    let mut quoted = None;
    while let Some((at, c)) = chars.next() {
        match (quoted, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quoted = None,
            (Some('\''), c) => value.push(c),
            (None, '\'' | '"') => quoted = Some(c),
            (_, '$' | '`') => return Err("nothing is put in for $ and `; write them in single quotes"),
            (Some(_), '\\') => match chars.next() {
                Some((_, c @ ('"' | '\\' | '$' | '`'))) => value.push(c),
                Some((_, '\n')) => {}
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            (None, '\\') => match chars.next() {
                Some((_, '\n')) | None => {}
                Some((_, c)) => value.push(c),
            },
            (Some(_), c) => value.push(c),
            (None, '\n') => return Ok((value, &text[at..])),
            (None, ' ' | '\t' | '\r') => {
                let rest = text[at..].trim_start_matches([' ', '\t', '\r']);
                if rest.is_empty() || rest.starts_with('\n') {
                    return Ok((value, rest));
                }
                if rest.starts_with('#') {
                    return Ok((value, rest.find('\n').map_or("", |end| &rest[end..])));
                }
                return Err("a value with spaces needs quotes");
            }
            (None, c) => value.push(c),
        }
    }
    match quoted {
        Some(_) => Err("the quotes are not closed"),
        None => Ok((value, "")),
    }
}
