//! What can be said about templates before any of them is rendered.
//!
//! Parsed templates come in, faults go out. Partials that include each other would overflow the
//! stack and end the process, so cycles and long chains are refused here; a helper that does not
//! exist and an `{{#if name}}` that could never be true are found here and not at night.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::template::{DecoratorTemplate, HelperTemplate, Parameter, Subexpression, Template, TemplateElement};
use handlebars::{Handlebars, Path};

use crate::helpers::{self, glob};
use crate::nearest;
use crate::syntax::{Fault, MAX_DEPTH};

/// Longest chain of partials that include partials.
const MAX_CHAIN: usize = 32;

/// The first fault among these templates, with the name of the template it is in. Of helpers that are denied
/// none may be called.
pub fn check(registry: &Handlebars<'_>, mains: &[String], denied: &[String]) -> Result<(), (String, Fault)> {
    let mut includes = BTreeMap::new();
    for (name, template) in registry.get_templates() {
        let mut walk = Walk {
            bound: usize::from(!mains.contains(name)),
            includes: BTreeSet::new(),
            depth: 0,
            denied,
        };
        walk.template(template).map_err(|fault| (name.clone(), fault))?;
        includes.insert(name.as_str(), walk.includes);
    }
    let mut ends = BTreeSet::new();
    for name in includes.keys() {
        chain(name, &includes, &mut Vec::new(), &mut ends)
            .map_err(|reason| ((*name).to_owned(), Fault { line: 1, reason }))?;
    }
    Ok(())
}

/// Follows what includes what; a name that is already on the path closes a cycle. What was found
/// to end from the same depth is not followed again.
fn chain<'a>(
    name: &'a str,
    includes: &'a BTreeMap<&str, BTreeSet<String>>,
    path: &mut Vec<&'a str>,
    ends: &mut BTreeSet<(&'a str, usize)>,
) -> Result<(), String> {
    if !ends.insert((name, path.len())) && !path.contains(&name) {
        return Ok(());
    }
    if path.contains(&name) || path.len() > MAX_CHAIN {
        path.push(name);
        return Err(format!("partials include each other: {}", path.join(" -> ")));
    }
    path.push(name);
    for next in includes.get(name).into_iter().flatten() {
        chain(next, includes, path, ends)?;
    }
    path.pop();
    Ok(())
}

/// A walk over one template.
struct Walk<'a> {
    /// How many blocks around us may have given names to values.
    bound: usize,
    includes: BTreeSet<String>,
    depth: usize,
    denied: &'a [String],
}

type Checked = Result<(), Fault>;

impl Walk<'_> {
    fn template(&mut self, template: &Template) -> Checked {
        self.depth += 1;
        if self.depth > 2 * MAX_DEPTH {
            return Err(Fault {
                line: 1,
                reason: format!("blocks nest deeper than {MAX_DEPTH}"),
            });
        }
        for (place, element) in template.elements.iter().enumerate() {
            let line = template.mapping.get(place).map_or(1, |at| at.0);
            self.element(element).map_err(|fault| Fault {
                line: if fault.line == 0 { line } else { fault.line },
                ..fault
            })?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn element(&mut self, element: &TemplateElement) -> Checked {
        match element {
            TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => self.call(call),
            TemplateElement::HelperBlock(call) => self.block(call),
            TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                self.partial(partial)
            }
            TemplateElement::DecoratorBlock(inline) | TemplateElement::DecoratorExpression(inline) => {
                self.inline(inline)
            }
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => Ok(()),
            _ => Ok(()),
        }
    }

    fn block(&mut self, call: &HelperTemplate) -> Checked {
        let name = call.name.as_name().unwrap_or_default();
        if matches!(name, "if" | "unless")
            && self.bound == 0
            && let Some(Parameter::Path(Path::Relative((_, raw)))) = call.params.first()
        {
            return Err(here(format!(
                "`{{{{#{name} {raw}}}}}` tests a variable, and there is none outside of a block, so it never holds; \
                 write `{{{{#{name} (key \"{raw}\")}}}}` or `(keyExists \"{raw}\")`"
            )));
        }
        self.call(call)?;
        let binds = usize::from(!matches!(name, "if" | "unless"));
        self.bound += binds;
        for inner in call.template.iter().chain(&call.inverse) {
            self.template(inner)?;
        }
        self.bound -= binds;
        Ok(())
    }

    fn call(&mut self, call: &HelperTemplate) -> Checked {
        let is_call = call.block || !call.params.is_empty() || !call.hash.is_empty();
        // A name with a space is a mark of ours.
        if let Some(name) = call.name.as_name().filter(|name| !name.starts_with(' ')) {
            if is_call {
                known(name)?;
            }
            self.allowed(name, is_call)?;
        }
        call.params
            .iter()
            .chain(call.hash.values())
            .try_for_each(|given| self.parameter(given))
    }

    /// A name alone may be a variable, which is nobody's to deny; where none can be, it is a call too.
    fn allowed(&self, name: &str, is_call: bool) -> Checked {
        let calls = is_call || (self.bound == 0 && helpers::exists(name));
        let by = self.denied.iter().find(|pattern| glob::matches(pattern, name));
        match by.filter(|_| calls) {
            Some(by) if by == name => Err(here(format!("the helper `{name}` is denied by deny_helpers"))),
            Some(by) => Err(here(format!("the helper `{name}` is denied by `{by}` of deny_helpers"))),
            None => Ok(()),
        }
    }

    fn parameter(&mut self, given: &Parameter) -> Checked {
        match given {
            Parameter::Subexpression(Subexpression { element, .. }) => self.element(element),
            _ => Ok(()),
        }
    }

    fn partial(&mut self, partial: &DecoratorTemplate) -> Checked {
        match &partial.name {
            Parameter::Subexpression(_) => {
                return Err(here(
                    "the name of a partial cannot be computed: nobody could tell whether it ends".into(),
                ));
            }
            name => {
                let name = name.as_name().unwrap_or_default();
                if name != "@partial-block" {
                    self.includes.insert(name.trim_matches(['[', ']', '\'']).to_owned());
                }
            }
        }
        partial
            .params
            .iter()
            .chain(partial.hash.values())
            .try_for_each(|given| self.parameter(given))?;
        self.inside(partial)
    }

    /// An inline partial's body counts as part of the template that it stands in, under any name:
    /// it may include what stands around it, but not a partial of its own name.
    fn inline(&mut self, inline: &DecoratorTemplate) -> Checked {
        let name = match inline.params.first() {
            Some(Parameter::Literal(value)) => value.as_str().unwrap_or_default().to_owned(),
            _ => return Err(here("`{{#*inline}}` needs a name in quotes".into())),
        };
        let before = std::mem::take(&mut self.includes);
        self.inside(inline)?;
        if let Some(inner) = self.includes.iter().next() {
            return Err(here(format!(
                "the inline partial `{name}` includes `{inner}`; make it a file of its own"
            )));
        }
        self.includes = before;
        Ok(())
    }

    fn inside(&mut self, partial: &DecoratorTemplate) -> Checked {
        self.bound += 1;
        if let Some(inner) = &partial.template {
            self.template(inner)?;
        }
        self.bound -= 1;
        Ok(())
    }
}

/// A fault whose line the caller knows.
fn here(reason: String) -> Fault {
    Fault { line: 0, reason }
}

/// What people look for and what there is instead.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "log",
        "values stay out of logs; to see one, put it into the template and look with `keyway agent render`",
    ),
    (
        "timestamp",
        "it would change with every render; `revision` changes with the settings",
    ),
    ("plugin", "a template runs no program; put its result into a key"),
    ("writeToFile", "each file is a template of its own"),
    ("executeTemplate", "include a partial: `{{> name}}`"),
    (
        "secret",
        "secrets are not managed here; `secretFile` shows a file that holds one",
    ),
    ("node", "there is no catalogue"),
    ("nodes", "there is no catalogue"),
    (
        "sockaddr",
        "give the address in the environment, and read it with `env`",
    ),
    ("printf", "use `format`: (format \"{}:{}\" host port)"),
    ("index", "use `lookup`"),
    ("le", "it is called `lte`"),
    ("ge", "it is called `gte`"),
];

fn known(name: &str) -> Checked {
    if helpers::exists(name) {
        return Ok(());
    }
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(gone, _)| *gone == name) {
        return Err(here(format!("there is no helper `{name}`: {instead}")));
    }
    let hint = nearest::of(name, helpers::names())
        .map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default();
    Err(here(format!("there is no helper `{name}`{hint}")))
}
