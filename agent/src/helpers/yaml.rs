//! Helpers for YAML. What is written is quoted wherever a reader could take it for something else;
//! what is read has the types of YAML's core schema.

use granit_parser::{Event, Parser, ScalarStyle, StrInput, Tag};
use serde_json::{Map, Number, Value};

use super::{Call, Function};
use crate::budget::fits;

/// Deeper is no document of settings.
const DEEPEST: usize = 100;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[("toYaml", to_yaml), ("parseYaml", |call| from_yaml(&call.text(0)?))];

/// `(toYaml x indent=2)`: without a line feed at the end.
pub(crate) fn to_yaml(call: &Call<'_>) -> Result<Value, String> {
    let width = call.count_option("indent")?.unwrap_or(2);
    if !(1..=16).contains(&width) {
        return Err("indent= has to be from 1 to 16".to_owned());
    }
    let mut text = crate::yaml::indented(call.value(0)?, width);
    fits(text.len())?;
    text.truncate(text.trim_end_matches('\n').len());
    Ok(text.into())
}

/// `(parseYaml (key "a"))`: one document, without aliases; an empty text is an error.
pub(crate) fn from_yaml(text: &str) -> Result<Value, String> {
    let mut events = Events(Parser::new_from_str(text));
    let mut root = None;
    loop {
        match events.next()? {
            (_, Event::StreamEnd) => break,
            (_, Event::StreamStart | Event::DocumentEnd) => {}
            (_, Event::DocumentStart(..)) if root.is_none() => root = Some(events.node(0)?),
            (line, _) => return Err(at(line, "a second document begins here")),
        }
    }
    root.ok_or_else(|| "there is no document in it".to_owned())
}

fn at(line: usize, what: &str) -> String {
    format!("not YAML that is taken: line {line}: {what}")
}

struct Events<'a>(Parser<'a, StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(usize, Event<'a>), String> {
        loop {
            match self.0.next() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok((span.start.line(), event)),
                Some(Err(e)) => return Err(at(e.marker().line(), &e.info())),
                None => return Ok((1, Event::StreamEnd)),
            }
        }
    }

    fn node(&mut self, depth: usize) -> Result<Value, String> {
        let (line, event) = self.next()?;
        self.node_from(line, event, depth)
    }

    fn node_from(&mut self, line: usize, event: Event<'a>, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(at(line, "this is nested more than 100 deep"));
        }
        match event {
            Event::Scalar(text, style, _, tag) => scalar(line, &text, style, tag.as_deref()),
            Event::MappingStart(..) => self.fields(depth).map(Value::Object),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (_, Event::SequenceEnd) => return Ok(Value::Array(items)),
                        (line, event) => items.push(self.node_from(line, event, depth + 1)?),
                    }
                }
            }
            Event::Alias(_) => Err(at(line, "an alias (*name) is not taken")),
            _ => Err(at(line, "a value should be here")),
        }
    }

    fn fields(&mut self, depth: usize) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        loop {
            match self.next()? {
                (_, Event::MappingEnd) => return Ok(fields),
                (line, Event::Scalar(name, ..)) => {
                    let value = self.node(depth + 1)?;
                    if fields.insert(name.into_owned(), value).is_some() {
                        return Err(at(line, "this name is there twice"));
                    }
                }
                (line, _) => return Err(at(line, "a name should be here")),
            }
        }
    }
}

fn scalar(line: usize, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema_tag("str") => return Ok(text.into()),
        Some(_) => return Err(at(line, "a tag (!name) is not taken")),
        None => {}
    }
    if style != ScalarStyle::Plain {
        return Ok(text.into());
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        ".inf" | "+.inf" | "-.inf" | ".nan" | ".Inf" | ".NaN" | ".INF" | ".NAN" => {
            return Err(at(line, "infinite and undefined numbers are not taken"));
        }
        _ => number(text).map_or_else(|| text.into(), Value::Number),
    })
}

/// A number by the core schema: `12`, `-1.5`, `1e3`, `0x1F`, `0o17`.
fn number(text: &str) -> Option<Number> {
    let whole = |digits: &str, base: u32| u64::from_str_radix(digits, base).ok().map(Number::from);
    if let Some(digits) = text.strip_prefix("0x") {
        return whole(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return whole(digits, 8);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !digits.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let signed = text.parse::<i64>().ok().map(Number::from);
        return signed.or_else(|| whole(digits, 10).filter(|_| !text.starts_with('-')));
    }
    let fits = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    text.parse::<f64>().ok().filter(|_| fits).and_then(Number::from_f64)
}
