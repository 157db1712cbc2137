//! Settings as a tree of objects, and back.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Bad, Item, decode_base64, encode_base64};

/// Folders deeper than this stay in the name: every reader has its own idea of how deep is too deep.
const NESTED: usize = 20;

/// What stands for a value that is no text, or that has flags.
const TEXT: &str = "$text";
const BASE64: &str = "$base64";
const FLAGS: &str = "$flags";

/// A part of a document as a reader finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: Option<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text(String),
    Binary(Bytes),
    Map(Vec<(String, Node)>),
    List,
    Nothing,
}

/// The tree of these settings.
pub(super) fn build(items: &[Item]) -> Value {
    let keys: BTreeSet<&str> = items.iter().map(|item| item.key.as_str()).collect();
    let mut root = Map::new();
    for item in items {
        place(&mut root, &keys, item);
    }
    Value::Object(root)
}

fn place(root: &mut Map<String, Value>, keys: &BTreeSet<&str>, item: &Item) {
    let key = item.key.as_str();
    let mut folder = root;
    let mut start = 0;
    for (slash, _) in key.match_indices('/').take(NESTED) {
        if keys.contains(&key[..slash]) {
            break;
        }
        let name = escape(&key[start..slash]);
        let below = folder.entry(name).or_insert_with(|| Value::Object(Map::new()));
        // A value of this name would be the key that was looked for above.
        let Value::Object(below) = below else { return };
        folder = below;
        start = slash + 1;
    }
    folder.insert(escape(&key[start..]), leaf(item));
}

fn escape(name: &str) -> String {
    if name.starts_with('$') {
        format!("${name}")
    } else {
        name.to_owned()
    }
}

fn leaf(item: &Item) -> Value {
    let text = std::str::from_utf8(&item.value);
    if let (Ok(text), 0) = (text, item.flags) {
        return text.into();
    }
    let mut fields = Map::new();
    match text {
        Ok(text) => fields.insert(TEXT.into(), text.into()),
        Err(_) => fields.insert(BASE64.into(), encode_base64(&item.value).into()),
    };
    if item.flags != 0 {
        fields.insert(FLAGS.into(), item.flags.into());
    }
    Value::Object(fields)
}

/// The settings of a tree.
pub(super) fn flatten(root: Node) -> Result<Vec<Item>, Bad> {
    let mut items = Vec::new();
    match root.kind {
        Kind::Map(fields) => folder(fields, None, &mut items)?,
        Kind::Nothing => {}
        Kind::List => {
            return Err(Bad::at(
                root.line,
                "the document is a list; it should be names and values",
            ));
        }
        Kind::Text(_) | Kind::Binary(_) => {
            return Err(Bad::at(
                root.line,
                "the document is one value; it should be names and values",
            ));
        }
    }
    Ok(items)
}

fn folder(fields: Vec<(String, Node)>, path: Option<&str>, items: &mut Vec<Item>) -> Result<(), Bad> {
    for (name, node) in fields {
        let name = name.strip_prefix('$').unwrap_or(&name);
        let key = path.map_or_else(|| name.to_owned(), |path| format!("{path}/{name}"));
        let (value, flags) = match node.kind {
            Kind::Map(fields) if fields.iter().any(|(name, _)| is_special(name)) => special(&key, node.line, fields)?,
            Kind::Map(fields) => {
                folder(fields, Some(&key), items)?;
                continue;
            }
            kind => (value(&key, node.line, kind)?, 0),
        };
        items.push(Item { key, value, flags });
    }
    Ok(())
}

fn value(key: &str, line: Option<usize>, kind: Kind) -> Result<Bytes, Bad> {
    match kind {
        Kind::Text(text) => Ok(text.into()),
        Kind::Binary(bytes) => Ok(bytes),
        Kind::List => Err(Bad::at(
            line,
            format!("`{key}` is a list; a value is a text, so put it into quotes"),
        )),
        Kind::Nothing => Err(Bad::at(
            line,
            format!("`{key}` has no value; the empty text is \"\", and to delete it, leave out the whole line"),
        )),
        Kind::Map(_) => Err(Bad::at(line, format!("`{key}` is an object; a value is a text"))),
    }
}

fn is_special(name: &str) -> bool {
    name.starts_with('$') && !name.starts_with("$$")
}

/// An object that stands for one value.
fn special(key: &str, line: Option<usize>, fields: Vec<(String, Node)>) -> Result<(Bytes, u64), Bad> {
    let (mut bytes, mut flags) = (None, 0);
    for (name, node) in fields {
        let line = node.line.or(line);
        let found = match name.as_str() {
            TEXT => value(key, line, node.kind)?,
            BASE64 => {
                let text = value(key, line, node.kind)?;
                decode_base64(&text).map_err(|_| Bad::at(line, format!("`{key}` is not base64")))?
            }
            FLAGS => {
                let text = value(key, line, node.kind)?;
                let text = String::from_utf8_lossy(&text).into_owned();
                flags = text
                    .parse()
                    .map_err(|_| Bad::at(line, format!("`{key}` has the flags `{text}`, which is no number")))?;
                continue;
            }
            name => {
                let what =
                    format!("`{key}` has the name `{name}`; write {TEXT}, {BASE64} or {FLAGS}, or `${name}` for a key");
                return Err(Bad::at(line, what));
            }
        };
        if bytes.replace(found).is_some() {
            return Err(Bad::at(line, format!("`{key}` has two values")));
        }
    }
    let bytes = bytes.ok_or_else(|| Bad::at(line, format!("`{key}` has flags and no value")))?;
    Ok((bytes, flags))
}
