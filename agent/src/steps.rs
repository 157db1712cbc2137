//! Counts the turns of blocks and partials, and marks the tags where somebody wants to know what is behind
//! a line.
//!
//! Handlebars tells nobody when it renders the body of a block once more, or an empty partial. So
//! each body begins with a call of `STEP`, put there once it is parsed: what a render does is then
//! counted where it is done, and the error that ends it has the line. For a [`crate::trace`] there is a
//! call of `BEGIN` before each tag as well, and one of `END` behind it.
//!
//! What the parser has left room for in lists that grow no more is given back: with ten thousand tags that is
//! more than a megabyte.

use handlebars::template::{HelperTemplate, Parameter, Subexpression, Template, TemplateElement, TemplateMapping};
use handlebars::{Path, TemplateError};
use serde_json::{Value, json};

use crate::helpers::reader::{BEGIN, END, STEP};

/// Compiles a text so that its steps are counted, and its tags are marked if they are to be.
pub fn compile(name: &str, text: &str, traced: bool) -> Result<Template, TemplateError> {
    let mut template = Template::compile_with_name(text, name.to_owned())?;
    let marks = Marks {
        blank: Template::compile("{{step}}")?,
        traced,
    };
    if let Some(at) = marks.blank.mapping.first() {
        marks.body(&mut template, at);
    }
    Ok(template)
}

/// What is put in.
struct Marks {
    /// A tag to make others of.
    blank: Template,
    traced: bool,
}

impl Marks {
    fn mark(&self, name: &str, given: Option<Value>) -> Option<TemplateElement> {
        let mut mark = self.blank.elements.first()?.clone();
        if let TemplateElement::Expression(call) = &mut mark {
            call.name = Parameter::Name(name.to_owned());
            call.params.extend(given.map(Parameter::Literal));
        }
        Some(mark)
    }

    /// Marks a body, and all that are within it.
    fn body(&self, template: &mut Template, at: &TemplateMapping) {
        self.within(template, at);
        let first = template.mapping.first().unwrap_or(at).clone();
        let step = self.mark(STEP, None);
        template.mapping.splice(0..0, step.iter().map(|_| first.clone()));
        template.elements.splice(0..0, step);
        template.mapping.shrink_to_fit();
        template.elements.shrink_to_fit();
    }

    fn within(&self, template: &mut Template, at: &TemplateMapping) {
        for (place, element) in template.elements.iter_mut().enumerate() {
            let at = template.mapping.get(place).unwrap_or(at);
            match element {
                TemplateElement::Expression(call) => call.params.shrink_to_fit(),
                TemplateElement::HelperBlock(call) => {
                    let once = matches!(call.name.as_name(), Some("if" | "unless"));
                    match &mut call.template {
                        Some(inner) if once => self.within(inner, at),
                        Some(inner) => self.body(inner, at),
                        None => {}
                    }
                    if let Some(inverse) = &mut call.inverse {
                        self.within(inverse, at);
                    }
                }
                TemplateElement::PartialBlock(partial) | TemplateElement::DecoratorBlock(partial) => {
                    if let Some(inner) = &mut partial.template {
                        self.body(inner, at);
                    }
                }
                _ => {}
            }
        }
        if self.traced {
            self.surround(template, at);
        }
    }

    fn surround(&self, template: &mut Template, at: &TemplateMapping) {
        let elements = std::mem::take(&mut template.elements);
        let mapping = std::mem::take(&mut template.mapping);
        for (place, element) in elements.into_iter().enumerate() {
            let at = mapping.get(place).unwrap_or(at);
            let begin = about(&element).and_then(|given| self.mark(BEGIN, Some(given)));
            let end = begin.as_ref().and_then(|_| self.mark(END, None));
            for one in [begin, Some(element), end].into_iter().flatten() {
                template.elements.push(one);
                template.mapping.push(at.clone());
            }
        }
    }
}

/// The names that a tag uses, and those that it gives; of what is no tag, nothing.
fn about(element: &TemplateElement) -> Option<Value> {
    let mut uses = Vec::new();
    let mut binds = Value::Null;
    match element {
        TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => used(call, &mut uses),
        TemplateElement::HelperBlock(call) => {
            used(call, &mut uses);
            if call.name.as_name() == Some("let") {
                binds = call.hash.keys().map(String::as_str).collect();
            }
        }
        TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
            for given in partial.params.iter().chain(partial.hash.values()) {
                parameter(given, &mut uses);
            }
        }
        _ => return None,
    }
    Some(json!({ "uses": uses, "binds": binds }))
}

fn used(call: &HelperTemplate, uses: &mut Vec<String>) {
    let given = call.params.iter().chain(call.hash.values());
    for one in [&call.name].into_iter().chain(given) {
        parameter(one, uses);
    }
}

fn parameter(given: &Parameter, uses: &mut Vec<String>) {
    match given {
        Parameter::Subexpression(Subexpression { element, .. }) => {
            if let TemplateElement::Expression(call) = &**element {
                used(call, uses);
            }
        }
        Parameter::Path(Path::Relative((_, raw))) => uses.push(first(raw)),
        Parameter::Name(name) => uses.push(first(name)),
        _ => {}
    }
}

/// The name that a path begins with.
fn first(path: &str) -> String {
    let path = path.trim_start_matches("../").trim_start_matches("./");
    path.split(['.', '/', '[']).next().unwrap_or_default().to_owned()
}
