//! A document in JSON.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::Bad;
use super::tree::{Kind, Node};

pub(super) fn write(tree: &Value) -> String {
    format!("{tree:#}\n")
}

pub(super) fn read(text: &str) -> Result<Node, Bad> {
    if text.trim().is_empty() {
        return Ok(node(Kind::Nothing));
    }
    serde_json::from_str(text).map_err(|e| Bad::at(Some(e.line()), without_place(&e.to_string())))
}

pub(super) fn check(text: &str) -> Result<(), Bad> {
    let checked: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    checked
        .map(drop)
        .map_err(|e| Bad::at(Some(e.line()), without_place(&e.to_string())))
}

/// The error without the line and column that serde_json puts behind it.
pub(super) fn without_place(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(what, _)| what)
}

fn node(kind: Kind) -> Node {
    Node { line: None, kind }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or an object")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(node(Kind::Text(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(node(Kind::Text(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(node(Kind::Text(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(node(Kind::Text(value.to_string())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        // JSON readers do not tell 1.10 from 1.1.
        Err(E::custom(format!(
            "the number {value} may have been written in another way; put it into quotes"
        )))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(node(Kind::Nothing))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        while items.next_element::<Node>()?.is_some() {}
        Ok(node(Kind::List))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(node(Kind::Map(fields)))
    }
}
