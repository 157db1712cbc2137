//! `--format TEMPLATE`: a Handlebars template over the JSON form of what a command prints.

use handlebars::{Handlebars, no_escape};
use kvapi::Problem;
use kvapi::problem::exit;
use serde_json::Value;

const NAME: &str = "--format";
const VARIABLE: &str = "KEYWAY_FORMAT";

/// A compiled template. Strict: a field that is not there is an error, not nothing.
pub(crate) struct Template {
    templates: Handlebars<'static>,
    /// The flag, or the variable that it came from.
    place: &'static str,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let is_from_variable = std::env::var(VARIABLE).is_ok_and(|said| said == text);
        let place = if is_from_variable { VARIABLE } else { NAME };
        let mut templates = Handlebars::new();
        templates.set_strict_mode(true);
        // The output is no HTML.
        templates.register_escape_fn(no_escape);
        agent::helpers::register(&mut templates);
        templates
            .register_template_string(NAME, text)
            .map_err(|e| Problem::new(exit::INVALID, format!("{place} is no template: {}", e.reason())))
            .map_err(|e| e.help("see   keyway help templates"))?;
        Ok(Self { templates, place })
    }

    /// The document through the template.
    pub(crate) fn render(&self, document: &Value) -> Result<String, Problem> {
        self.templates.render(NAME, document).map_err(|e| {
            let problem = Problem::new(exit::INVALID, format!("{}: {}", self.place, e.reason()));
            match document {
                Value::Object(fields) => {
                    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
                    problem.help(format!("the fields are {}", names.join(", ")))
                }
                _ => problem.help("look at the form with   -o json"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(text: &str, document: &Value) -> Result<String, Problem> {
        Template::parse(text)?.render(document)
    }

    #[test]
    fn a_template_sees_the_json_form_and_escapes_nothing() {
        let document = json!({"key": "a", "value": "<a=b> & \"c\"", "tags": [1, 2]});

        assert_eq!(
            render("{{key}}={{value}} {{json tags}}", &document).unwrap(),
            "a=<a=b> & \"c\" [1,2]"
        );
        assert_eq!(render("{{#each tags}}{{this}};{{/each}}", &document).unwrap(), "1;2;");
    }

    #[test]
    fn a_field_that_is_not_there_is_an_error_that_names_those_that_are() {
        let problem = render("{{vlaue}}", &json!({"key": "a", "value": "b"})).unwrap_err();

        assert_eq!(problem.code, exit::INVALID);
        assert!(problem.what.contains("vlaue"), "{problem}");
        assert!(problem.to_string().contains("key, value"), "{problem}");
        assert!(render("{{#if}}", &json!({})).is_err());
    }
}
