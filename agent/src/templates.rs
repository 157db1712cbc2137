//! Compiled templates.
//!
//! Texts come in; a registry that can be rendered comes out, or the first fault with its file and
//! line. Compiling is quadratic in the number of tags, so what has not changed is taken over from
//! the registry before. It reads no file: [`crate::load`] does.

use std::collections::BTreeMap;

use handlebars::template::Template;
use handlebars::{Handlebars, TemplateErrorReason, no_escape};
use kvapi::Problem;
use kvapi::codes;
use kvapi::problem::exit;

use crate::syntax::{self, Fault};
use crate::{helpers, lint, steps};

/// See the module.
#[derive(Debug)]
pub struct Templates {
    registry: Handlebars<'static>,
    names: Vec<String>,
    texts: BTreeMap<String, String>,
    choices: Choices,
}

/// How templates are compiled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// Helpers that no template may call: names, with `*` for any part of one.
    pub denied: Vec<String>,
    /// Whether what is behind each line can be told: see [`crate::trace`].
    pub traced: bool,
}

impl Templates {
    /// Compiles templates and partials, `(name, text)` each. The name is what errors show; a
    /// partial's is also what includes it.
    pub fn compile(
        mains: &[(String, String)],
        partials: &BTreeMap<String, String>,
        before: Option<&Self>,
    ) -> Result<Self, Problem> {
        Self::compile_with(mains, partials, before, Choices::default(), one_by_one)
    }

    /// The same, with choices. `each` is to [`Text::parse`] all that it is given: most of the work, and no
    /// text needs another.
    pub fn compile_with(
        mains: &[(String, String)],
        partials: &BTreeMap<String, String>,
        before: Option<&Self>,
        choices: Choices,
        each: impl FnOnce(&[Text<'_>]) -> Vec<Result<Template, Problem>>,
    ) -> Result<Self, Problem> {
        let before = before.filter(|old| old.choices.traced == choices.traced);
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(no_escape);
        helpers::register(&mut registry);
        let (mut texts, mut fresh) = (BTreeMap::new(), Vec::new());
        for (name, text) in mains.iter().map(|(name, text)| (name, text)).chain(partials) {
            match texts.get(name) {
                Some(known) if known == text => continue,
                Some(_) => {
                    return Err(Problem::new(exit::INVALID, format!("two templates are named `{name}`")));
                }
                None => texts.insert(name.clone(), text.clone()),
            };
            let old = before.filter(|old| old.texts.get(name) == Some(text));
            match old.and_then(|old| old.registry.get_template(name)) {
                Some(compiled) => registry.register_template(name, compiled.clone()),
                None => fresh.push(Text {
                    name,
                    text,
                    traced: choices.traced,
                }),
            }
        }
        for (text, compiled) in fresh.iter().zip(each(&fresh)) {
            registry.register_template(text.name, compiled?);
        }
        let names: Vec<String> = mains.iter().map(|(name, _)| name.clone()).collect();
        lint::check(&registry, &names, &choices.denied).map_err(|(name, fault)| problem(&name, &texts, &fault))?;
        Ok(Self {
            registry,
            names,
            texts,
            choices,
        })
    }

    /// The names of the templates, by [`crate::graph::TemplateId`].
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The registry, for [`crate::render`].
    pub(crate) fn registry(&self) -> &Handlebars<'static> {
        &self.registry
    }

    /// Whether all texts are the same.
    #[must_use]
    pub fn same_texts(&self, other: &Self) -> bool {
        self.texts == other.texts && self.names == other.names
    }

    /// Those with so many tags that compiling takes long.
    pub fn slow(&self) -> impl Iterator<Item = &str> {
        let slow = |text: &str| syntax::scan(text).is_ok_and(|tags| tags > syntax::MANY_TAGS);
        self.texts
            .iter()
            .filter(move |(_, text)| slow(text))
            .map(|(name, _)| name.as_str())
    }
}

/// Compiles them, one after another.
pub fn one_by_one(texts: &[Text<'_>]) -> Vec<Result<Template, Problem>> {
    texts.iter().map(Text::parse).collect()
}

/// One that is to be compiled.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    name: &'a str,
    text: &'a str,
    traced: bool,
}

impl Text<'_> {
    /// Compiles it, or tells its fault.
    pub fn parse(&self) -> Result<Template, Problem> {
        let texts = || BTreeMap::from([(self.name.to_owned(), self.text.to_owned())]);
        syntax::scan(self.text).map_err(|fault| problem(self.name, &texts(), &fault))?;
        steps::compile(self.name, self.text, self.traced).map_err(|error| {
            let reason = match error.reason() {
                TemplateErrorReason::InvalidSyntax(_) => "this is not Handlebars syntax".to_owned(),
                other => other.to_string(),
            };
            let line = error.pos().map_or(1, |at| at.0);
            problem(self.name, &texts(), &Fault { line, reason })
        })
    }
}

/// A fault with the line that it is in.
fn problem(name: &str, texts: &BTreeMap<String, String>, fault: &Fault) -> Problem {
    let line = texts
        .get(name)
        .and_then(|text| text.lines().nth(fault.line.saturating_sub(1)));
    let shown = line
        .map(|line| format!("\n  {} | {}", fault.line, line.trim_end()))
        .unwrap_or_default();
    Problem::of(
        &codes::BAD_TEMPLATE,
        format!("template {name}:{}: {}{shown}", fault.line, fault.reason),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(text: &str, partials: &[(&str, &str)]) -> Result<Templates, Problem> {
        let partials = partials
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        Templates::compile(&[("main".into(), text.into())], &partials, None)
    }

    fn refused(text: &str, partials: &[(&str, &str)], part: &str) {
        let problem = compile(text, partials).unwrap_err();
        assert!(problem.what.contains(part), "{}", problem.what);
        assert_eq!(problem.code, exit::INVALID);
    }

    #[test]
    fn partials_that_include_each_other_are_refused_at_load() {
        refused("{{> a}}", &[("a", "{{> b}}"), ("b", "x{{> a}}")], "a -> b -> a");
        refused("x", &[("a", "{{> a}}")], "a -> a");
        refused("{{> (key \"a\")}}", &[], "cannot be computed");
        refused("{{#*inline \"x\"}}{{> y}}{{/inline}}", &[], "inline partial `x`");
        assert!(compile("{{> a}}{{> b}}", &[("a", "{{> b}}"), ("b", "x")]).is_ok());
    }

    #[test]
    fn the_deepest_templates_that_are_taken_fit_on_the_stack() {
        let deep = |inner: &str| format!("{}{inner}{}", "{{#if true}}".repeat(60), "{{/if}}".repeat(60));
        let name = |n: usize| format!("p{n}");
        let partials: BTreeMap<String, String> = (0..30)
            .map(|n| {
                (
                    name(n),
                    deep(&if n < 29 {
                        format!("{{{{> {0}}}}}{{{{> {0}}}}}", name(n + 1))
                    } else {
                        "x".into()
                    }),
                )
            })
            .collect();
        let one = |n: usize| {
            (
                name(n),
                partials[&name(n)].replacen(&format!("{{{{> {}}}}}", name(n + 1)), "", 1),
            )
        };
        let once: BTreeMap<String, String> = (0..30).map(one).collect();

        // Twice as many at each level end as well, but are not to be rendered.
        let compiled = crate::load::on_big_stack(|| {
            Templates::compile(&[("main".into(), "{{> p0}}".into())], &partials, None)?;
            Templates::compile(&[("main".into(), "{{> p0}}".into())], &once, None)
        });

        let templates = compiled.unwrap().unwrap();
        let view = crate::view::View::default();
        let rendered = crate::load::on_big_stack(|| crate::render::render(&templates, 0, &view, &Default::default()));
        assert_eq!(rendered.unwrap().outcome.as_deref(), Ok("x"));
    }

    #[test]
    fn a_fault_is_named_with_its_line_before_anything_is_rendered() {
        refused("a\n{{#if tls}}x{{/if}}", &[], "main:2: `{{#if tls}}` tests a variable");
        refused(
            "a\n\n{{keyExist \"x\"}}",
            &[],
            "main:3: there is no helper `keyExist`; did you mean `keyExists`?",
        );
        refused(
            "a\n{{log (key \"x\")}}",
            &[],
            "main:2: there is no helper `log`: values stay out of logs",
        );
        refused("{{#if (key \"a\")}}\nx", &[], "main:1: `{{#if}}` is never closed");
        refused("ok\n{{key \"a\" = }}", &[], "main:2:");
        assert!(compile("{{#each (ls \"a\")}}{{#if value}}x{{/if}}{{/each}}", &[]).is_ok());
    }

    #[test]
    fn a_helper_that_is_denied_is_refused_with_its_line() {
        let refused = |text: &str, denied: &[&str]| {
            let choices = Choices {
                denied: denied.iter().map(|name| (*name).to_owned()).collect(),
                ..Choices::default()
            };
            let compiled = Templates::compile_with(
                &[("main".into(), text.into())],
                &BTreeMap::new(),
                None,
                choices,
                one_by_one,
            );
            compiled.err().map(|problem| problem.what).unwrap_or_default()
        };
        let told = refused("a\n{{upper (env \"HOME\")}}", &["env"]);
        assert!(
            told.contains("main:2: the helper `env` is denied by deny_helpers"),
            "{told}"
        );
        let told = refused("{{#each (ls \"a\")}}{{base64Decode this.value}}{{/each}}", &["base64*"]);
        assert!(told.contains("`base64Decode` is denied by `base64*`"), "{told}");
        assert!(refused("{{revision}}", &["rev*"]).contains("denied"));
        // The field of an item, not the helper.
        assert_eq!(refused("{{#each (ls \"a\")}}{{key}}{{/each}}", &["key"]), "");
    }

    #[test]
    fn what_has_not_changed_is_not_compiled_again() {
        let first = compile("a", &[("p", "b")]).unwrap();
        let second = Templates::compile(&[("main".into(), "a".into())], &BTreeMap::new(), Some(&first)).unwrap();
        assert!(!first.same_texts(&second));
        assert_eq!(second.names(), ["main"]);
    }
}
