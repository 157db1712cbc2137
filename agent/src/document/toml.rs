//! A document in TOML.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Bad;
use super::tree::{Kind, Node};

pub(super) fn write(tree: Value) -> Result<String, Bad> {
    let toml::Value::Table(table) = convert(tree) else {
        return Err(Bad::new("the document is no table"));
    };
    toml::to_string_pretty(&table).map_err(|e| Bad::new(e.to_string()))
}

fn convert(value: Value) -> toml::Value {
    match value {
        Value::Object(fields) => {
            let table = fields.into_iter().map(|(name, value)| (name, convert(value)));
            toml::Value::Table(table.collect())
        }
        Value::String(text) => toml::Value::String(text),
        // Flags: TOML's numbers end at 63 bits.
        other => other
            .as_i64()
            .map_or_else(|| toml::Value::String(other.to_string()), toml::Value::Integer),
    }
}

pub(super) fn read(text: &str) -> Result<Node, Bad> {
    let table = DeTable::parse(text).map_err(|e| {
        let line = e.span().map(|span| line(text, span.start));
        Bad::at(line, e.message())
    })?;
    let kind = Kind::Map(fields(text, table.into_inner()));
    Ok(Node { line: None, kind })
}

fn fields(source: &str, table: DeTable<'_>) -> Vec<(String, Node)> {
    let field = |(name, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        let name: std::borrow::Cow<'_, str> = name.into_inner();
        (name.into_owned(), node(source, value))
    };
    table.into_iter().map(field).collect()
}

fn node(source: &str, value: Spanned<DeValue<'_>>) -> Node {
    let span = value.span();
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text.into_owned()),
        DeValue::Table(table) => Kind::Map(fields(source, table)),
        DeValue::Array(_) => Kind::List,
        // As it is written: 0x1f, 1_000 and 1.10 stay what they are.
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            Kind::Text(source.get(span.clone()).unwrap_or_default().to_owned())
        }
    };
    Node {
        line: Some(line(source, span.start)),
        kind,
    }
}

fn line(source: &str, at: usize) -> usize {
    1 + source.get(..at).map_or(0, |before| before.matches('\n').count())
}
