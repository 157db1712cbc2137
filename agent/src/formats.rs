//! Bare values in formats that are known.
//!
//! A value that is put into a file as it is can end its line and begin another. Where the file's
//! name tells its format, each place that prints a value without one of the format's helpers can be
//! named. It is advice: a template may have its reasons, and `line` says so in the template.

use handlebars::template::{HelperTemplate, Parameter, Template, TemplateElement};

use crate::helpers;
use crate::syntax::Fault;
use crate::templates::Templates;

/// A format, and the helpers that give one word of it. The first is the one to name.
struct Format {
    name: &'static str,
    fits: fn(&str) -> bool,
    helpers: &'static [&'static str],
}

const FORMATS: &[Format] = &[
    Format {
        name: "JSON",
        fits: |path| path.ends_with(".json"),
        helpers: &["json", "toJson", "toJSON", "toJSONPretty", "quote"],
    },
    Format {
        name: "YAML",
        fits: |path| path.ends_with(".yaml") || path.ends_with(".yml"),
        helpers: &["yaml", "json", "toYaml", "toYAML", "toJson", "toJSON", "quote"],
    },
    Format {
        name: "TOML",
        fits: |path| path.ends_with(".toml"),
        helpers: &["toml", "toToml", "toTOML"],
    },
    Format {
        name: "nginx",
        fits: |path| path.contains("nginx") && path.ends_with(".conf"),
        helpers: &["nginx"],
    },
    Format {
        name: "HAProxy",
        fits: |path| path.contains("haproxy") && path.ends_with(".cfg"),
        helpers: &["haproxy"],
    },
    Format {
        name: "Redis",
        fits: |path| path.ends_with(".conf") && ["redis", "valkey", "sentinel"].iter().any(|name| path.contains(name)),
        helpers: &["line"],
    },
    Format {
        name: "a shell",
        fits: |path| [".env", ".envrc", ".sh"].iter().any(|end| path.ends_with(end)) || path.contains("/default/"),
        helpers: &["shell", "shellQuote"],
    },
];

/// What any format may have: its result is no value, or cannot end a line.
const HARMLESS: &[&str] = &[
    "line",
    "fail",
    "set",
    "setDefault",
    "mapSet",
    "mapSetDefault",
    "len",
    "revision",
    "add",
    "sub",
    "mul",
    "div",
    "mod",
    "min",
    "max",
    "round",
    "floor",
    "ceil",
    "parseInt",
    "parseUint",
    "parseFloat",
    "parseBool",
    "base64Encode",
    "sha256",
    "md5",
    "hmacSha256",
    "urlEncode",
    "keyExists",
    "contains",
    "eq",
    "ne",
    "lt",
    "lte",
    "gt",
    "gte",
    "not",
];

/// The bare values of a template that is written to this path, with their lines; of partials it is
/// not known where they end up.
#[must_use]
pub fn bare(templates: &Templates, name: &str, path: &str) -> Vec<Fault> {
    let path = path.to_ascii_lowercase();
    let format = FORMATS.iter().find(|format| (format.fits)(&path));
    let mut found = Vec::new();
    if let (Some(format), Some(template)) = (format, templates.registry().get_template(name)) {
        walk(template, format, 1, &mut found);
    }
    found
}

fn walk(template: &Template, format: &Format, outer: usize, found: &mut Vec<Fault>) {
    for (place, element) in template.elements.iter().enumerate() {
        let line = template.mapping.get(place).map_or(outer, |at| at.0);
        match element {
            TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => {
                if let Some(shown) = shown(call).filter(|_| !is_safe(call, format)) {
                    let (name, helper) = (format.name, format.helpers[0]);
                    let quoted = match helper {
                        "line" => String::new(),
                        _ => format!("{{{{{helper} (..)}}}}, or "),
                    };
                    let reason = format!(
                        "a bare value in {name}: {{{{{shown} ..}}}} could add lines; write {quoted}{{{{line (..)}}}} to \
                         have it as it is on its line"
                    );
                    found.push(Fault { line, reason });
                }
            }
            TemplateElement::HelperBlock(block) => {
                for inner in block.template.iter().chain(&block.inverse) {
                    walk(inner, format, line, found);
                }
            }
            TemplateElement::PartialBlock(block) | TemplateElement::DecoratorBlock(block) => {
                block.template.iter().for_each(|inner| walk(inner, format, line, found));
            }
            _ => {}
        }
    }
}

/// What is printed, by its name; nothing for a mark of our own and for a count.
fn shown(call: &HelperTemplate) -> Option<&str> {
    match &call.name {
        Parameter::Literal(_) => None,
        name => name
            .as_name()
            .filter(|name| !name.starts_with(' ') && !matches!(*name, "@index" | "@first" | "@last")),
    }
}

fn is_safe(call: &HelperTemplate, format: &Format) -> bool {
    let name = call.name.as_name().unwrap_or_default();
    let is_call = !call.params.is_empty() || !call.hash.is_empty();
    is_call && helpers::exists(name) && (format.helpers.contains(&name) || HARMLESS.contains(&name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn lines(text: &str, path: &str) -> Vec<usize> {
        let templates = Templates::compile(&[("t".into(), text.into())], &BTreeMap::new(), None).unwrap();
        bare(&templates, "t", path)
            .into_iter()
            .map(|fault| fault.line)
            .collect()
    }

    #[test]
    fn a_bare_value_is_named_with_its_line_where_the_format_is_known() {
        let text = "{{key \"a\"}}\n{{nginx (key \"a\")}}\n{{#each (ls \"b\")}}\n{{this.value}} {{@index}} {{line this.key}}\n{{/each}}\n{{len (ls \"b\")}}";
        assert_eq!(lines(text, "/etc/nginx/nginx.conf"), [1, 4]);
        assert_eq!(lines(text, "/etc/some.conf"), Vec::<usize>::new());
        assert_eq!(lines("{{json (key \"a\")}}{{yaml (key \"a\")}}", "x.json"), [1]);
        assert_eq!(
            lines("{{#if (key \"a\")}}\n{{upper (key \"a\")}}{{/if}}", "app.ENV"),
            [2]
        );
    }

    #[test]
    fn each_format_that_is_known_is_known_by_its_file() {
        for path in [
            "/etc/haproxy/haproxy.cfg",
            "/etc/nginx/conf.d/site.conf",
            "/etc/redis/redis.conf",
            "/etc/valkey/valkey.conf",
            "/run/app.env",
            "/etc/default/app",
            "/etc/app.yaml",
            "/etc/app.toml",
            "/etc/app.json",
            "/etc/prometheus/prometheus.yml",
            "/etc/prometheus/targets.json",
        ] {
            let text = "{{#if (keyExists \"a\")}}\n{{key \"a\"}}\n{{/if}}";
            let templates = Templates::compile(&[("t".into(), text.into())], &BTreeMap::new(), None).unwrap();
            let found = bare(&templates, "t", path);
            assert_eq!(found.first().map(|fault| fault.line), Some(2), "{path}");
            assert!(found[0].reason.contains("; write {{"), "{}", found[0].reason);
            assert_eq!(lines("{{line (key \"a\")}}", path), Vec::<usize>::new(), "{path}");
        }
    }

    #[test]
    fn the_ready_templates_have_no_bare_value() {
        for (name, text) in [
            ("nginx.conf", include_str!("../../templates/nginx.conf.hbs")),
            ("haproxy.cfg", include_str!("../../templates/haproxy.cfg.hbs")),
            ("haproxy-keys.cfg", include_str!("../../templates/haproxy-keys.cfg.hbs")),
            ("redis.conf", include_str!("../../templates/redis.conf.hbs")),
            ("app.env", include_str!("../../templates/app.env.hbs")),
            (
                "prometheus-targets.json",
                include_str!("../../templates/prometheus-targets.json.hbs"),
            ),
        ] {
            assert_eq!(lines(text, name), Vec::<usize>::new(), "{name}");
        }
    }
}
