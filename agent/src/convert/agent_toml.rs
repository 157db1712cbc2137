//! agent.toml, written.

use std::fmt::Write as _;

use super::after::After;
use super::report::Finding;
use super::settings::{Env, Settings, Template};
use crate::helpers;

/// All of it but the templates.
pub(super) fn head(
    settings: &Settings,
    after: &After,
    from: &str,
    partials: bool,
    findings: &mut Vec<Finding>,
) -> String {
    let mut written = format!("# Converted from {from} by `keyway agent convert`.\n");
    let mut say = |name: &str, value: &str| {
        let _ = writeln!(written, "{name} = {value}");
    };
    if let Some(on_change) = &after.on_change {
        say("on_change", on_change);
    }
    if let Some(limit) = after.timeout {
        say("command_timeout", &text(&kvapi::duration::format(limit)));
    }
    if let Some(wait) = wait(settings, findings) {
        say("wait", &text(&wait));
    }
    if let Some(splay) = &settings.exec.splay {
        say("splay", &text(splay));
    }
    if settings.fails {
        say("missing", "\"fail\"");
    }
    if let Some(path) = &settings.pid_file {
        say("pid_file", &text(path));
    }
    if let Some(signal) = &settings.reload_signal {
        say("reload_signal", &text(signal));
    }
    if partials {
        say("partials", "\"partials\"");
    }
    let denied = denied(settings, findings);
    if !denied.is_empty() {
        say("deny_helpers", &list(&denied));
    }
    if let Some(command) = &settings.exec.command {
        let _ = write!(written, "\n[exec]\ncommand = {}\n", list(&command.words()));
        // What consul-template does where nothing is said.
        let signal = settings.exec.kill_signal.as_deref().unwrap_or("INT");
        let timeout = settings.exec.kill_timeout.as_deref().unwrap_or("30s");
        let _ = writeln!(
            written,
            "kill_signal = {}\nkill_timeout = {}",
            text(signal),
            text(timeout)
        );
        env(&mut written, &settings.exec.env);
    }
    written
}

fn env(written: &mut String, env: &Env) {
    let mut entries = Vec::new();
    if env.pristine {
        entries.push("pristine = true".to_owned());
    }
    for (name, patterns) in [("allow", &env.allow), ("deny", &env.deny)] {
        if !patterns.is_empty() {
            entries.push(format!("{name} = {}", list(patterns)));
        }
    }
    if !env.custom.is_empty() {
        let pair = |(name, value): (&String, &String)| format!("{name} = {}", text(value));
        let pairs: Vec<String> = env.custom.iter().map(pair).collect();
        entries.push(format!("custom = {{ {} }}", pairs.join(", ")));
    }
    if !entries.is_empty() {
        let _ = write!(written, "\n[exec.env]\n{}\n", entries.join("\n"));
    }
}

/// A template.
pub(super) fn table(written: &mut String, source: &str, destination: &str, template: &Template, after: &After) {
    let mut say = |name: &str, value: &str| {
        let _ = writeln!(written, "{name} = {value}");
    };
    say("\n[[template]]\nsource", &text(source));
    say("destination", &text(destination));
    let texts = [
        ("perms", &template.perms),
        ("user", &template.user),
        ("group", &template.group),
        ("sandbox", &template.sandbox),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            say(name, &text(value));
        }
    }
    if template.backup {
        say("backup", "true");
    }
    if template.needs_dirs {
        say("create_dirs", "false");
    }
    if let Some(on_change) = after.alone(template) {
        say("on_change", &on_change);
    }
}

/// There is one for all: that of the templates where they agree.
fn wait(settings: &Settings, findings: &mut Vec<Finding>) -> Option<String> {
    let own = |template: &Template| template.wait.as_ref().map(|(wait, _)| wait.clone());
    let mut waits = settings
        .templates
        .iter()
        .map(|template| own(template).or_else(|| settings.wait.clone()));
    let first = waits.next().flatten();
    if waits.all(|wait| wait == first) {
        return first;
    }
    for template in &settings.templates {
        if let Some((_, line)) = &template.wait {
            findings.push(Finding::look(
                &template.file,
                *line,
                "`wait` of one template: all files are of one revision",
                "choose one `wait` for all of them",
            ));
        }
    }
    settings.wait.clone()
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

/// A text, quoted.
pub(super) fn text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Texts.
pub(super) fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|one| text(one)).collect();
    format!("[{}]", texts.join(", "))
}
