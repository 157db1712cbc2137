//! A template and a view become a text, and a record of what was read.
//!
//! Rendering the same template over the same view gives the same result. Values go in as text;
//! there is no escaping and no variable that is silently empty. The caller sees to a stack of
//! [`STACK`] bytes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use handlebars::{Context, Output, RenderContext, RenderError, Renderable as _};

use crate::budget::{Budget, fits};
use crate::graph::{Reads, TemplateId};
use crate::helpers::file::{Known, Place};
use crate::helpers::reader::{Reader, bind};
use crate::policy::Missing;
use crate::templates::Templates;
use crate::trace::Trace;
use crate::view::View;

/// Stack that the deepest template allowed by [`crate::lint`] needs, with plenty to spare.
pub const STACK: usize = 64 << 20;

/// So many missing keys are told with their place; each takes another pass.
const MAX_PLACES: usize = 32;

/// What came of one template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Which one.
    pub id: TemplateId,
    /// What it read, whatever came of it.
    pub reads: Reads,
    /// The text, or why there is none.
    pub outcome: Result<String, Held>,
}

/// Why there is no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It reads what the view does not know yet.
    Outside,
    /// Keys have to be there and are not.
    Missing(Vec<Lack>),
    /// It cannot be rendered with these values; with place and reason.
    Broken(String),
}

/// A key that is missing, or a prefix (with `*` behind it) with too little below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// The key.
    pub key: String,
    /// Where it is read: `template:line`.
    pub place: String,
}

/// What a render needs beside the view.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The agent's environment.
    pub env: Arc<BTreeMap<String, String>>,
    /// What a missing key means.
    pub missing: Missing,
    /// What is known of files.
    pub files: Arc<Known>,
    /// Where each template's files are.
    pub places: Arc<[Place]>,
    /// What all templates of this job may take together.
    pub job: Arc<Budget>,
}

/// Renders one template.
#[must_use]
pub fn render(templates: &Templates, id: TemplateId, view: &View, around: &Surroundings) -> Rendered {
    let reader = reader(view, id, around, None);
    read(templates, id, view, around, reader).0
}

/// Renders one template, and tells what is behind each line, if the templates were compiled for that.
#[must_use]
pub fn traced(templates: &Templates, id: TemplateId, view: &View, around: &Surroundings) -> (Rendered, Trace) {
    let reader = reader(view, id, around, None).traced();
    read(templates, id, view, around, reader)
}

fn reader<'a>(view: &'a View, id: TemplateId, around: &'a Surroundings, locate: Option<&'a str>) -> Reader<'a> {
    Reader::new(view, &around.env, around.missing, locate, &around.job).with_files(&around.files, around.places.get(id))
}

fn read(
    templates: &Templates,
    id: TemplateId,
    view: &View,
    around: &Surroundings,
    reader: Reader<'_>,
) -> (Rendered, Trace) {
    let result = pass(templates, id, &reader);
    let trace = reader.take_trace();
    let record = reader.into_record();
    let outcome = if record.outside {
        Err(Held::Outside)
    } else if !record.missing.is_empty() {
        let lacks = record
            .missing
            .iter()
            .enumerate()
            .map(|(count, key)| match count {
                0..MAX_PLACES => locate(templates, id, view, around, key),
                _ => Lack {
                    key: key.clone(),
                    place: templates.names()[id].clone(),
                },
            })
            .collect();
        Err(Held::Missing(lacks))
    } else {
        result.map_err(|error| Held::Broken(told(&error)))
    };
    let rendered = Rendered {
        id,
        reads: record.reads,
        outcome,
    };
    (rendered, trace)
}

/// Renders once more, up to the read of the missing key: only an error knows its place.
fn locate(templates: &Templates, id: TemplateId, view: &View, around: &Surroundings, key: &str) -> Lack {
    let reader = reader(view, id, around, Some(key));
    let place = match pass(templates, id, &reader) {
        Err(error) => place(&error),
        Ok(_) => templates.names()[id].clone(),
    };
    Lack {
        key: key.to_owned(),
        place,
    }
}

fn pass(templates: &Templates, id: TemplateId, reader: &Reader<'_>) -> Result<String, RenderError> {
    let registry = templates.registry();
    let name = &templates.names()[id];
    let template = registry
        .get_template(name)
        .ok_or_else(|| handlebars::RenderErrorReason::TemplateNotFound(name.clone()))?;
    let nothing = Context::wraps(serde_json::json!({}))?;
    let mut context = RenderContext::new(template.name.as_ref());
    bind(reader, &mut context);
    let mut out = Limited {
        text: String::new(),
        reader,
    };
    template.render(registry, &nothing, &mut context, &mut out)?;
    Ok(out.text)
}

fn place(error: &RenderError) -> String {
    let name = error.template_name.as_deref().unwrap_or("?");
    error
        .line_no
        .map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"))
}

fn told(error: &RenderError) -> String {
    use handlebars::RenderErrorReason::MissingVariable;
    let reason = match error.reason() {
        MissingVariable(Some(name)) if name.ends_with("value") => {
            format!("there is no variable `{name}`; a key's value that is no text has none, and stands in `base64`")
        }
        MissingVariable(Some(name)) => format!("there is no variable `{name}`; is it a key? Write (key \"{name}\")"),
        other => other.to_string(),
    };
    format!("{}: {reason}", place(error))
}

/// An output with an end.
struct Limited<'a> {
    text: String,
    reader: &'a Reader<'a>,
}

impl Output for Limited<'_> {
    fn write(&mut self, part: &str) -> io::Result<()> {
        fits(self.text.len() + part.len()).map_err(io::Error::other)?;
        self.reader.written(part.len()).map_err(io::Error::other)?;
        self.reader.trace(|tracer| tracer.wrote(part));
        self.text.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
