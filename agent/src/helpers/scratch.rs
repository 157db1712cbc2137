//! Names that a template gives to values while it is rendered; forgotten when it ends.

use serde_json::{Map, Value};

use super::Call;
use super::reader::{Function, Reader};

/// The helpers of this file. Those that write give an empty text.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("set", |reader, call| put(reader, call, true)),
    ("setDefault", |reader, call| put(reader, call, false)),
    ("get", get),
    ("hasSet", |reader, call| {
        let name = call.text(0)?;
        reader.trace(|tracer| tracer.named(&name));
        Ok(reader.scratch(|names| names.contains_key(&name)).into())
    }),
    ("mapSet", |reader, call| map_put(reader, call, true)),
    ("mapSetDefault", |reader, call| map_put(reader, call, false)),
    ("mapValues", map_values),
];

/// `{{set "name" value}}`
fn put(reader: &Reader<'_>, call: &Call<'_>, over: bool) -> Result<Value, String> {
    let (name, value) = (call.text(0)?, call.value(1)?);
    reader.made(crate::budget::weigh(value))?;
    reader.trace(|tracer| tracer.name(&name));
    reader.scratch(|names| {
        if over || !names.contains_key(&name) {
            names.insert(name, value.clone());
        }
    });
    Ok("".into())
}

/// `(get "name" default="x")`
fn get(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let name = call.text(0)?;
    reader.trace(|tracer| tracer.named(&name));
    let value = reader.scratch(|names| names.get(&name).cloned());
    match (value, call.option("default")) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(format!("nothing has been set as `{name}`; use default= or setDefault")),
    }
}

/// `{{mapSet "name" "key" value}}`
fn map_put(reader: &Reader<'_>, call: &Call<'_>, over: bool) -> Result<Value, String> {
    let (name, key, value) = (call.text(0)?, call.text(1)?, call.value(2)?);
    reader.made(crate::budget::weigh(value) + key.len() as u64 + 48)?;
    reader.trace(|tracer| tracer.name(&name));
    reader.scratch(|names| {
        let map = names
            .entry(name.clone())
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
            .ok_or_else(|| format!("`{name}` has been set to something that is no object"))?;
        if over || !map.contains_key(&key) {
            map.insert(key, value.clone());
        }
        Ok("".into())
    })
}

/// `(mapValues "name")`: in the order of their keys; nothing if nothing was set.
fn map_values(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let name = call.text(0)?;
    reader.trace(|tracer| tracer.named(&name));
    reader.scratch(|names| match names.get(&name) {
        None => Ok(Value::Array(Vec::new())),
        Some(Value::Object(map)) => Ok(map.values().cloned().collect()),
        Some(_) => Err(format!("`{name}` has been set to something that is no object")),
    })
}
