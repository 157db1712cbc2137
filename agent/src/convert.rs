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
use std::fmt::Write as _;

use self::hcl::Fault;
use self::report::Finding;
use self::settings::{Command, Settings, Template};
use self::translate::Origin;
use crate::helpers;

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
        let _ = write!(
            tables,
            "\n[[template]]\nsource = {}\ndestination = {}\n",
            toml_text(&format!("{name}.hbs")),
            toml_text(&destination)
        );
        if let Some(perms) = &template.perms {
            let _ = writeln!(tables, "perms = {}", toml_text(perms));
        }
        if let Some(sandbox) = &template.sandbox {
            let _ = writeln!(tables, "sandbox = {}", toml_text(sandbox));
        }
    }
    let partials = converted.files.keys().any(|name| name.starts_with("partials/"));
    let head = head(settings, from, partials, &mut converted.findings);
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

/// All of agent.toml but the templates.
fn head(settings: &Settings, from: &str, partials: bool, findings: &mut Vec<Finding>) -> String {
    let mut text = format!("# Converted from {from} by `keyway agent convert`.\n");
    let mut say = |name: &str, value: &str| {
        let _ = writeln!(text, "{name} = {}", toml_text(value));
    };
    if let Some(on_change) = on_change(settings, findings) {
        say("on_change", &on_change);
    }
    if let Some(wait) = &settings.wait {
        say("wait", wait);
    }
    if settings.fails {
        say("missing", "fail");
    }
    if let Some(path) = &settings.pid_file {
        say("pid_file", path);
    }
    if partials {
        say("partials", "partials");
    }
    let denied = denied(settings, findings);
    if !denied.is_empty() {
        let names: Vec<String> = denied.iter().map(|name| toml_text(name)).collect();
        let _ = writeln!(text, "deny_helpers = [{}]", names.join(", "));
    }
    if let Some(command) = &settings.exec.command {
        let words: Vec<String> = command.words().iter().map(|word| toml_text(word)).collect();
        let _ = write!(text, "\n[exec]\ncommand = [{}]\n", words.join(", "));
        // What consul-template does where nothing is said.
        let signal = settings.exec.kill_signal.as_deref().unwrap_or("INT");
        let timeout = settings.exec.kill_timeout.as_deref().unwrap_or("30s");
        let _ = writeln!(
            text,
            "kill_signal = {}\nkill_timeout = {}",
            toml_text(signal),
            toml_text(timeout)
        );
    }
    text
}

/// What no template may call: there, each says it for itself.
fn denied(settings: &Settings, findings: &mut Vec<Finding>) -> Vec<String> {
    let mut denied = Vec::new();
    for template in &settings.templates {
        for (name, line) in &template.denied {
            // What is not here cannot be called.
            if !helpers::exists(name) || denied.contains(name) {
                continue;
            }
            if settings.templates.len() > 1 {
                let what = format!("`{name}` is denied to one template; here to all");
                findings.push(Finding::note(&template.file, *line, what));
            }
            denied.push(name.clone());
        }
    }
    denied
}

/// One thing follows a change: there, each template may have a command of its own.
fn on_change(settings: &Settings, findings: &mut Vec<Finding>) -> Option<String> {
    let commands: Vec<(&Template, &Command, usize)> = settings
        .templates
        .iter()
        .filter_map(|template| {
            template
                .command
                .as_ref()
                .map(|(command, line)| (template, command, *line))
        })
        .collect();
    let mut look = |template: &Template, line, command: &Command, why: &str, remedy: &str| {
        let what = format!("`{}` is run after a change of this file {why}", command.shell());
        findings.push(Finding::look(&template.file, line, what, remedy));
    };
    if settings.exec.command.is_some() {
        for (template, command, line) in commands {
            look(
                template,
                line,
                command,
                "and beside the program's reload; here one thing follows a change",
                "use it as `check`, or run the program and this in a script",
            );
        }
        return Some(match settings.exec.reload_signal.as_deref() {
            None => "restart".into(),
            Some("") => "none".into(),
            Some(signal) => format!("signal={signal}"),
        });
    }
    let (first, rest) = commands.split_first()?;
    let mut texts = vec![first.1.shell()];
    for (_, command, _) in rest {
        let text = command.shell();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if texts.len() > 1 || commands.len() < settings.templates.len() {
        for (template, command, line) in &commands {
            look(
                template,
                *line,
                command,
                "alone; here after one of any file",
                "see that running it more often does no harm, or make two configurations of it",
            );
        }
    }
    Some(format!("command={}", texts.join(" && ")))
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

fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}
