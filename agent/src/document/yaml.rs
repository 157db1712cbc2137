//! A document in YAML, read from its events, so that a value is the text as it was written.

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::tree::{Kind, Node};
use super::{Bad, decode_base64};

/// Deeper is no document of settings.
const DEEPEST: usize = 100;

pub(super) fn read(text: &str) -> Result<Node, Bad> {
    let mut events = Events(Parser::new_from_str(text));
    let mut root = None;
    loop {
        let (line, event) = events.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if root.is_none() => root = Some(events.node(0)?),
            Event::DocumentStart(..) => return Err(Bad::at(Some(line), "a second document begins here; one is taken")),
            _ => return Err(Bad::at(Some(line), "this does not belong here")),
        }
    }
    Ok(root.unwrap_or(Node {
        line: None,
        kind: Kind::Nothing,
    }))
}

pub(super) fn check(text: &str) -> Result<(), Bad> {
    let mut events = Events(Parser::new_from_str(text));
    while !matches!(events.next()?.1, Event::StreamEnd) {}
    Ok(())
}

struct Events<'a>(Parser<'a, granit_parser::StrInput<'a>>);

impl<'a> Events<'a> {
    /// The next event that is not a comment, and its line.
    fn next(&mut self) -> Result<(usize, Event<'a>), Bad> {
        loop {
            match self.0.next() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok((span.start.line(), event)),
                Some(Err(e)) => return Err(Bad::at(Some(e.marker().line()), e.info())),
                None => return Ok((1, Event::StreamEnd)),
            }
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, Bad> {
        let (line, event) = self.next()?;
        self.node_from(line, event, depth)
    }

    fn node_from(&mut self, line: usize, event: Event<'a>, depth: usize) -> Result<Node, Bad> {
        if depth > DEEPEST {
            return Err(Bad::at(Some(line), format!("this is nested more than {DEEPEST} deep")));
        }
        let kind = match event {
            Event::Scalar(text, style, _, tag) => scalar(line, &text, style, tag.as_deref())?,
            Event::MappingStart(_, _, tag) => {
                plain(line, tag.as_deref())?;
                Kind::Map(self.fields(depth)?)
            }
            Event::SequenceStart(..) => {
                self.skip_list(depth)?;
                Kind::List
            }
            Event::Alias(_) => {
                let what = "an alias (*name) is not taken; write the value out, or put a leading * into quotes";
                return Err(Bad::at(Some(line), what));
            }
            _ => return Err(Bad::at(Some(line), "a value should be here")),
        };
        Ok(Node { line: Some(line), kind })
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<(String, Node)>, Bad> {
        let mut fields = Vec::new();
        loop {
            let (line, event) = self.next()?;
            match event {
                Event::MappingEnd => return Ok(fields),
                Event::Scalar(name, _, _, tag) => {
                    plain(line, tag.as_deref())?;
                    let mut value = self.node(depth + 1)?;
                    // An empty value begins where the next line does.
                    if value.kind == Kind::Nothing {
                        value.line = Some(line);
                    }
                    fields.push((name.into_owned(), value));
                }
                _ => return Err(Bad::at(Some(line), "a name should be here")),
            }
        }
    }

    fn skip_list(&mut self, depth: usize) -> Result<(), Bad> {
        loop {
            match self.next()? {
                (_, Event::SequenceEnd) => return Ok(()),
                (line, event) => drop(self.node_from(line, event, depth + 1)?),
            }
        }
    }
}

fn scalar(line: usize, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Kind, Bad> {
    if tag.is_some_and(|tag| tag.to_string().ends_with("binary")) {
        let packed: String = text.split_whitespace().collect();
        let bytes = decode_base64(packed.as_bytes());
        return Ok(Kind::Binary(
            bytes.map_err(|_| Bad::at(Some(line), "!!binary is not base64"))?,
        ));
    }
    let is_text = plain(line, tag)?;
    let is_nothing = style == ScalarStyle::Plain && !is_text && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    Ok(if is_nothing {
        Kind::Nothing
    } else {
        Kind::Text(text.to_owned())
    })
}

/// Whether a tag says that this is a text; of other tags only those that YAML itself has are taken.
fn plain(line: usize, tag: Option<&Tag>) -> Result<bool, Bad> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.core_suffix().is_some() => Ok(tag.is_yaml_core_schema_tag("str")),
        Some(tag) => {
            let what = format!("the tag {tag} is not known; put a leading ! into quotes");
            Err(Bad::at(Some(line), what))
        }
    }
}
