//! Helpers that read single keys, registered instances and the environment.

use serde_json::{Value, json};

use super::Call;
use super::folder::{at_least, text};
use super::reader::{Function, Reader};
use crate::trace::Origin;
use crate::view::{Cut, Found, SERVICES};

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("key", key),
    ("keyExists", key_exists),
    ("kv", kv),
    ("keyJson", key_json),
    ("revision", |reader, _| {
        let revision = reader.view().revisions().of(Cut::Settings);
        reader.trace(|tracer| tracer.read(Origin::Revision(revision)));
        Ok(revision.0.into())
    }),
    ("service", service),
    ("services", services),
    ("env", env),
    // consul-template's names, in its order.
    ("keyOrDefault", key_or_default),
    ("keyExistsGet", kv),
    ("mustEnv", env),
    ("envOrDefault", env_or_default),
];

/// `(key "a/b" default="x" emptyIsMissing=true base64=true)`: the key's value as text. The default
/// stands in for a key that is absent, not for one that is empty, unless that is asked for.
fn key(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    read(reader, call, call.text_option("default")?, call.flag("emptyIsMissing"))
}

/// `(keyOrDefault "a/b" "x")`: as in consul-template an empty value is missing too.
fn key_or_default(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    read(reader, call, Some(call.text(1)?), true)
}

fn read(
    reader: &Reader<'_>,
    call: &Call<'_>,
    default: Option<String>,
    empty_is_missing: bool,
) -> Result<Value, String> {
    let name = reader.name(call)?;
    match reader.get(&name) {
        Found::Entry(entry) if !(empty_is_missing && entry.value.is_empty()) => {
            if call.flag("base64") {
                return Ok(super::encode::base64(&entry.value).into());
            }
            text(entry)
                .map(Value::from)
                .ok_or_else(|| format!("the value of `{name}` is not UTF-8 text; base64=true gives it as base64"))
        }
        Found::Outside => Ok("".into()),
        Found::Entry(_) | Found::Absent => match default {
            Some(default) => Ok(default.into()),
            None => reader.lack(&name).map(|()| "".into()),
        },
    }
}

/// `(keyExists "a/b")`: of the same revision as `key`, so the two cannot contradict each other.
fn key_exists(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    Ok(matches!(reader.get(&reader.name(call)?), Found::Entry(_)).into())
}

/// `(kv "a/b")`: `{exists, value, revision, ...}`, of an absent key `{exists}` alone.
fn kv(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    Ok(match reader.get(&reader.name(call)?) {
        Found::Entry(entry) => {
            let mut item = super::folder::item(&entry.key, entry);
            item["exists"] = true.into();
            item
        }
        Found::Absent | Found::Outside => json!({ "exists": false }),
    })
}

/// `(keyJson "a/b" default="[]")`: the value, which is JSON.
fn key_json(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let value = key(reader, call)?;
    match value.as_str().unwrap_or_default() {
        // What is missing is told of already, and this pass thrown away.
        "" if !matches!(reader.get(&reader.name(call)?), Found::Entry(_)) => Ok(Value::Null),
        text => super::encode::from_json(text),
    }
}

/// `(service "web" min=1)`: the registered instances, as they were registered, each with its `id`.
fn service(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let prefix = format!("{SERVICES}{}/", call.text(0)?.trim_matches('/'));
    let mut items = Vec::new();
    for entry in reader.range(&prefix) {
        let value = serde_json::from_slice::<serde_json::Map<String, Value>>(&entry.value);
        let mut instance = value.map_err(|_| format!("key `{}` is not a JSON object", entry.key))?;
        instance.insert("id".into(), entry.key[prefix.len()..].into());
        items.push(Value::Object(instance));
    }
    at_least(reader, &prefix, items, call.count_option("min")?)
}

/// `(services min=1)`: all that have registered instances, `{name, first, instances}` each; the instances as `service` has
/// them, and the first of them by itself.
fn services(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    let mut items: Vec<Value> = Vec::new();
    for entry in reader.range(SERVICES) {
        let Some((name, id)) = entry.key[SERVICES.len()..].rsplit_once('/') else {
            return Err(format!("key `{}` names no instance", entry.key));
        };
        let value = serde_json::from_slice::<serde_json::Map<String, Value>>(&entry.value);
        let mut instance = value.map_err(|_| format!("key `{}` is not a JSON object", entry.key))?;
        instance.insert("id".into(), id.into());
        match items.last_mut().filter(|item| item["name"] == name) {
            Some(item) => item["instances"]
                .as_array_mut()
                .into_iter()
                .for_each(|all| all.push(instance.clone().into())),
            None => items.push(json!({ "name": name, "first": instance, "instances": [instance] })),
        }
    }
    at_least(reader, SERVICES, items, call.count_option("min")?)
}

/// `(env "NAME" default="x")`: a variable of the agent's environment.
fn env(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    variable(reader, call, call.text_option("default")?)
}

fn env_or_default(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    variable(reader, call, Some(call.text(1)?))
}

fn variable(reader: &Reader<'_>, call: &Call<'_>, default: Option<String>) -> Result<Value, String> {
    let name = call.text(0)?;
    reader.trace(|tracer| tracer.read(Origin::Variable(name.clone())));
    match (reader.env().get(&name), default) {
        (Some(value), _) => Ok(value.as_str().into()),
        (None, Some(default)) => Ok(default.into()),
        (None, None) => Err(format!("the environment has no `{name}`; set it or give default=")),
    }
}
