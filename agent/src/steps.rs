//! Counts the turns of blocks and partials.
//!
//! Handlebars tells nobody when it renders the body of a block once more, or an empty partial. So
//! each body begins with a call of `STEP`, put there once it is parsed: what a render does is then
//! counted where it is done, and the error that ends it has the line.

use handlebars::TemplateError;
use handlebars::template::{Parameter, Template, TemplateElement, TemplateMapping};

use crate::helpers::reader::STEP;

/// Compiles a text so that its steps are counted.
pub fn compile(name: &str, text: &str) -> Result<Template, TemplateError> {
    let mut template = Template::compile_with_name(text, name.to_owned())?;
    let mut mark = Template::compile("{{step}}")?;
    for element in &mut mark.elements {
        if let TemplateElement::Expression(call) = element {
            call.name = Parameter::Name(STEP.to_owned());
        }
    }
    if let Some(at) = mark.mapping.first() {
        body(&mut template, &mark.elements, at);
    }
    Ok(template)
}

/// Marks a body, and all that are within it.
fn body(template: &mut Template, mark: &[TemplateElement], at: &TemplateMapping) {
    within(template, mark, at);
    let first = template.mapping.first().unwrap_or(at).clone();
    template.elements.splice(0..0, mark.iter().cloned());
    template.mapping.splice(0..0, mark.iter().map(|_| first.clone()));
}

fn within(template: &mut Template, mark: &[TemplateElement], at: &TemplateMapping) {
    for (place, element) in template.elements.iter_mut().enumerate() {
        let at = template.mapping.get(place).unwrap_or(at);
        match element {
            TemplateElement::HelperBlock(call) => {
                let once = matches!(call.name.as_name(), Some("if" | "unless"));
                match &mut call.template {
                    Some(inner) if once => within(inner, mark, at),
                    Some(inner) => body(inner, mark, at),
                    None => {}
                }
                if let Some(inverse) = &mut call.inverse {
                    within(inverse, mark, at);
                }
            }
            TemplateElement::PartialBlock(partial) | TemplateElement::DecoratorBlock(partial) => {
                if let Some(inner) = &mut partial.template {
                    body(inner, mark, at);
                }
            }
            _ => {}
        }
    }
}
