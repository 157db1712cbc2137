//! Helpers that read what lies in a folder, and those that make another shape of it.

use kvapi::Entry;
use serde_json::{Map, Value, json};

use super::reader::{Function, Reader};
use super::{Call, encode, glob, map};

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("ls", |reader, call| ls(reader, call, None)),
    ("tree", |reader, call| tree(reader, call, None)),
    ("treeObject", |reader, call| {
        tree(reader, call, None).and_then(|items| map::explode(&items))
    }),
    ("keys", keys),
    // consul-template's names.
    ("safeLs", |reader, call| ls(reader, call, Some(1))),
    ("safeTree", |reader, call| tree(reader, call, Some(1))),
];

/// `(ls "a/b" dirs=true raw=true min=1)`: what lies directly in the folder, an item each; with
/// `dirs=true` its folders too, with a slash behind their `key`.
fn ls(reader: &Reader<'_>, call: &Call<'_>, least: Option<usize>) -> Result<Value, String> {
    let prefix = prefix(call)?;
    let mut items = Vec::new();
    let mut last_folder = None;
    for entry in reader.range(&prefix) {
        let rest = &entry.key[prefix.len()..];
        match rest.split_once('/') {
            None if entry.key.ends_with('/') => {}
            None => items.push(item(rest, entry)),
            Some((name, _)) if call.flag("dirs") && last_folder != Some(name) => {
                last_folder = Some(name);
                items.push(json!({ "key": format!("{name}/"), "path": format!("{prefix}{name}/"), "folder": true }));
            }
            Some(_) => {}
        }
    }
    at_least(reader, &prefix, items, call.count_option("min")?.or(least))
}

/// `(tree "a/b" glob="*/port" raw=true min=1)`: everything below the folder, `key` being the path
/// within it. In the glob `*` stands for a name or a part of one, `**` for any path.
fn tree(reader: &Reader<'_>, call: &Call<'_>, least: Option<usize>) -> Result<Value, String> {
    let prefix = prefix(call)?;
    let wanted = call.text_option("glob")?;
    let mut items = Vec::new();
    for entry in reader.range(&prefix) {
        let rest = &entry.key[prefix.len()..];
        let shown = wanted.as_ref().is_none_or(|pattern| glob::matches(pattern, rest));
        if shown && !entry.key.ends_with('/') {
            items.push(item(rest, entry));
        }
    }
    at_least(reader, &prefix, items, call.count_option("min")?.or(least))
}

/// `(keys "a/b")`: the whole names of all keys below a folder; `(keys m)`: the names in an object.
fn keys(reader: &Reader<'_>, call: &Call<'_>) -> Result<Value, String> {
    if call.value(0)?.is_object() {
        return map::keys(call);
    }
    let prefix = prefix(call)?;
    let names = reader.range(&prefix).into_iter().map(|entry| entry.key.as_str());
    let names: Vec<Value> = names.filter(|name| !name.ends_with('/')).map(Value::from).collect();
    at_least(reader, &prefix, names, call.count_option("min")?)
}

/// The prefix that is meant: of a folder, by path segments, so `app` is not a prefix of `apple`;
/// or with `raw=true` the text itself, by bytes, as it is to Consul.
fn prefix(call: &Call<'_>) -> Result<String, String> {
    let given = call.text(0)?;
    if call.flag("raw") {
        return Ok(given);
    }
    let name = given.trim_matches('/');
    Ok(if name.is_empty() {
        String::new()
    } else {
        format!("{name}/")
    })
}

/// One key as an object. A value that is no text is there as `base64` alone, so that it does not
/// stand in the way of its neighbours; whoever writes its `value` is told.
pub(crate) fn item(name: &str, entry: &Entry) -> Value {
    let mut item = Map::new();
    item.insert("key".into(), name.into());
    item.insert("path".into(), entry.key.as_str().into());
    match text(entry) {
        Some(text) => item.insert("value".into(), text.into()),
        None => item.insert("base64".into(), encode::base64(&entry.value).into()),
    };
    item.insert("flags".into(), entry.flags.into());
    item.insert("revision".into(), entry.modify_index.0.into());
    item.insert("createRevision".into(), entry.create_index.0.into());
    item.insert("lockIndex".into(), entry.lock_index.into());
    if let Some(session) = &entry.session {
        item.insert("session".into(), session.as_str().into());
    }
    Value::Object(item)
}

/// Values go in as text, so that `1.10` stays `1.10`.
pub(crate) fn text(entry: &Entry) -> Option<&str> {
    std::str::from_utf8(&entry.value).ok()
}

/// The items, if there are enough of them.
pub(crate) fn at_least(
    reader: &Reader<'_>,
    prefix: &str,
    items: Vec<Value>,
    least: Option<usize>,
) -> Result<Value, String> {
    if items.len() < least.unwrap_or(0) {
        reader.lack(&format!("{prefix}*"))?;
    }
    Ok(Value::Array(items))
}
