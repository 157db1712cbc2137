//! Helpers for objects.

use serde_json::{Map, Value};

use super::{Call, Function};

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("dict", dict),
    ("hasKey", |call| {
        let name = call.text(1)?;
        Ok(call.map(0)?.contains_key(&name).into())
    }),
    ("keys", keys),
    ("values", |call| Ok(call.map(0)?.values().cloned().collect())),
    ("pick", |call| chosen(call, true)),
    ("omit", |call| chosen(call, false)),
    ("merge", |call| merged(call, call.flag("override"), call.flag("deep"))),
    ("explode", |call| explode(call.value(0)?)),
    ("byKey", by_key),
];

/// `(dict "a" 1 "b" 2)` or `(dict a=1 b=2)`
fn dict(call: &Call<'_>) -> Result<Value, String> {
    if !call.values().len().is_multiple_of(2) {
        return Err("a name at the end has no value".to_owned());
    }
    let mut map = Map::new();
    for place in (0..call.values().len()).step_by(2) {
        map.insert(call.text(place)?, call.value(place + 1)?.clone());
    }
    for (name, value) in call.options() {
        map.insert(name.to_owned(), value.clone());
    }
    Ok(Value::Object(map))
}

/// `(keys m)`
pub(crate) fn keys(call: &Call<'_>) -> Result<Value, String> {
    Ok(call.map(0)?.keys().map(String::as_str).collect())
}

/// `(pick m "a" "b")`, `(omit m "a" "b")`
fn chosen(call: &Call<'_>, named: bool) -> Result<Value, String> {
    let names = call.texts(1)?;
    let wanted = call
        .map(0)?
        .iter()
        .filter(|(name, _)| names.contains(name) == named)
        .map(|(name, value)| (name.clone(), value.clone()));
    Ok(Value::Object(wanted.collect()))
}

/// `(merge a b override=true deep=true)`: all of `a`, and of `b` what `a` lacks, or what it has too.
pub(crate) fn merged(call: &Call<'_>, over: bool, deep: bool) -> Result<Value, String> {
    let mut all = call.map(0)?.clone();
    merge(&mut all, call.map(1)?, over, deep);
    Ok(Value::Object(all))
}

fn merge(all: &mut Map<String, Value>, more: &Map<String, Value>, over: bool, deep: bool) {
    for (name, value) in more {
        match (all.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(value)) if deep => merge(inner, value, over, deep),
            (Some(old), _) if over => *old = value.clone(),
            (Some(_), _) => {}
            (None, _) => {
                all.insert(name.clone(), value.clone());
            }
        }
    }
}

/// `(explode (tree "a"))`, or of an object with paths as names: `{a: {b: value}}`. A binary value
/// is `{"$base64": ..}`. A path that is a value and a folder is an error.
pub(crate) fn explode(value: &Value) -> Result<Value, String> {
    let mut root = Map::new();
    match value {
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                let path = item.get("key").and_then(Value::as_str);
                let path = path.ok_or_else(|| format!("item {} has no `key`", place + 1))?;
                let leaf = match (item.get("value"), item.get("base64")) {
                    (Some(value), _) => value.clone(),
                    (None, Some(bytes)) => Value::Object([("$base64".to_owned(), bytes.clone())].into_iter().collect()),
                    (None, None) => return Err(format!("item {} has no `value`", place + 1)),
                };
                insert(&mut root, path, leaf)?;
            }
        }
        Value::Object(fields) => {
            for (path, value) in fields {
                insert(&mut root, path, value.clone())?;
            }
        }
        _ => return Err("argument 1 has to be what `tree` gives, or an object".to_owned()),
    }
    Ok(Value::Object(root))
}

fn insert(root: &mut Map<String, Value>, path: &str, leaf: Value) -> Result<(), String> {
    let both = || format!("`{path}` is a value and a folder, or is there twice");
    let (folders, name) = path
        .rsplit_once('/')
        .map_or(("", path), |(folders, name)| (folders, name));
    let mut map = root;
    for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
        let inner = map.entry(folder).or_insert_with(|| Value::Object(Map::new()));
        map = inner.as_object_mut().ok_or_else(both)?;
    }
    if map.contains_key(name) {
        return Err(both());
    }
    map.insert(name.to_owned(), leaf);
    Ok(())
}

/// `(byKey (tree "a"))`: `{first part of the path: {the rest: item}}`.
fn by_key(call: &Call<'_>) -> Result<Value, String> {
    let mut groups = Map::new();
    for (place, item) in call.list(0)?.iter().enumerate() {
        let path = item.get("key").and_then(Value::as_str);
        let path = path.ok_or_else(|| format!("item {} has no `key`", place + 1))?;
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let group = groups.entry(first).or_insert_with(|| Value::Object(Map::new()));
        if let Some(group) = group.as_object_mut() {
            group.insert(rest.to_owned(), item.clone());
        }
    }
    Ok(Value::Object(groups))
}
