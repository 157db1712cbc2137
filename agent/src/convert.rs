//! `agent convert`: a consul-template configuration and its Go templates become ours, where that is
//! exact; what is not is listed for somebody to look at.
//!
//! ```text
//!   HCL or JSON ──hcl──► settings ──────────────────────────────► agent.toml
//!   Go template ──go_lexer, go_parser──► translate ──emit──► *.hbs     + report
//!                                    functions, kinds, hbs
//! ```
//!
//! Nothing here touches a file: texts come in and go out. docs/decisions/0085 tells why it is made so.

use std::collections::BTreeMap;

use self::after::After;
use self::hcl::Fault;
use self::report::Finding;
use self::settings::{Settings, Template};
use self::translate::Origin;

mod after;
mod agent_toml;
pub mod emit;
pub mod functions;
pub mod go_lexer;
pub mod go_parser;
pub mod hbs;
pub mod hcl;
pub mod kinds;
pub mod report;
pub mod settings;
pub mod translate;

/// What is to be written, and what is to be told.
#[derive(Debug, Default)]
pub struct Converted {
    /// Path within the folder, and text.
    pub files: BTreeMap<String, String>,
    /// In the order of files and lines.
    pub findings: Vec<Finding>,
}

/// Reads configurations, `(name, text)` each, the later on top of the earlier.
pub fn read(configs: &[(String, String)]) -> Result<(Settings, Vec<Finding>), (String, Fault)> {
    let (mut settings, mut findings) = (Settings::default(), Vec::new());
    for (file, text) in configs {
        let entries = hcl::parse(text).map_err(|fault| (file.clone(), fault))?;
        settings::read(file, &entries, &mut settings, &mut findings);
    }
    Ok((settings, findings))
}

/// Translates what was read. `file` gives the text of a template's file, or why there is none.
pub fn convert(
    settings: &Settings,
    findings: Vec<Finding>,
    from: &str,
    file: impl Fn(&str) -> Result<String, String>,
) -> Result<Converted, (String, Fault)> {
    let mut converted = Converted {
        findings,
        ..Converted::default()
    };
    let mut tables = String::new();
    let after = After::of(settings, &mut converted.findings);
    let mut known: BTreeMap<(String, Origin), String> = BTreeMap::new();
    for template in &settings.templates {
        let Some((destination, shown, text, origin)) = origin(template, settings, &file, &mut converted.findings)
        else {
            continue;
        };
        let name = match known.get(&(text.clone(), origin.clone())) {
            Some(name) => name.clone(),
            None => {
                let name = free(&shown, &converted.files);
                let prefix = if settings.templates.len() > 1 {
                    format!("{}-", stem(&name))
                } else {
                    String::new()
                };
                let translated =
                    translate::translate(&text, &origin, &prefix).map_err(|fault| (origin.file.clone(), fault))?;
                converted.files.insert(format!("{name}.hbs"), translated.main);
                for (partial, text) in translated.partials {
                    converted.files.insert(format!("partials/{partial}.hbs"), text);
                }
                converted.findings.extend(translated.findings);
                known.insert((text, origin), name.clone());
                name
            }
        };
        if !destination.starts_with('/') {
            converted.findings.push(Finding::look(
                &template.file,
                template.line,
                format!("`{destination}` is relative: to agent.toml's folder here, to where it is started there"),
                "write the whole path",
            ));
        }
        agent_toml::table(&mut tables, &format!("{name}.hbs"), &destination, template, &after);
    }
    let partials = converted.files.keys().any(|name| name.starts_with("partials/"));
    let head = agent_toml::head(settings, &after, from, partials, &mut converted.findings);
    converted.files.insert("agent.toml".into(), head + &tables);
    let mut order: Vec<String> = Vec::new();
    for finding in &converted.findings {
        if !order.contains(&finding.file) {
            order.push(finding.file.clone());
        }
    }
    let place = |finding: &Finding| (order.iter().position(|file| *file == finding.file), finding.line);
    converted.findings.sort_by_key(place);
    Ok(converted)
}

/// Where a template goes, what its file is called, its text and where that was found.
fn origin(
    template: &Template,
    settings: &Settings,
    file: &impl Fn(&str) -> Result<String, String>,
    findings: &mut Vec<Finding>,
) -> Option<(String, String, String, Origin)> {
    let mut look =
        |what: String, remedy: &str| findings.push(Finding::look(&template.file, template.line, what, remedy));
    let Some(destination) = template.destination.clone().filter(|text| !text.is_empty()) else {
        look(
            "this template has no destination: it was rendered for what it does on the side".into(),
            "leave it out, or give it a file",
        );
        return None;
    };
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let (left, right) = settings.delimiters.clone().unwrap_or(("{{".into(), "}}".into()));
    let origin = |file: &str, line, lines| Origin {
        file: file.to_owned(),
        line,
        lines,
        left: template.left.clone().unwrap_or(left),
        right: template.right.clone().unwrap_or(right),
    };
    match (&template.source, &template.contents) {
        (Some(source), None) => match file(source) {
            Ok(text) => Some((destination, base(source), text, origin(source, 1, true))),
            Err(why) => {
                look(
                    format!("the template {source} cannot be read: {why}"),
                    "convert it again where it is",
                );
                None
            }
        },
        (None, Some(text)) => {
            let origin = origin(&template.file, text.line, text.heredoc);
            let shown = base(&destination);
            Some((destination, shown, text.text.clone(), origin))
        }
        _ => {
            look(
                "this template needs either `source` or `contents`".into(),
                "write it by hand",
            );
            None
        }
    }
}

/// `nginx.conf` of `nginx.conf.ctmpl`, and no name twice.
fn free(shown: &str, files: &BTreeMap<String, String>) -> String {
    const ENDS: &[&str] = &[".ctmpl", ".tmpl", ".tpl", ".tmp", ".template"];
    let base = ENDS
        .iter()
        .find_map(|end| shown.strip_suffix(end))
        .filter(|base| !base.is_empty())
        .unwrap_or(shown);
    let mut name = base.to_owned();
    let mut number = 2;
    while files.contains_key(&format!("{name}.hbs")) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

/// A file's name as a partial's may begin.
fn stem(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}
