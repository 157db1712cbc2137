//! What is behind each line, for a person and for a program. Pure.

use serde_json::{Value, json};

use super::Preview;
use crate::config::Config;
use crate::diff::HIDDEN;
use crate::trace::Origin;

/// Where what is told stands at most.
const COLUMN: usize = 60;

/// Each line, and at its right the keys and revisions that it comes from.
#[must_use]
pub fn text(preview: &Preview, config: &Config) -> String {
    let mut told = String::new();
    for (id, file) in preview.files.iter().chain(&preview.variables).enumerate() {
        let of = preview
            .revision
            .map(|revision| format!(" (revision {revision})"))
            .unwrap_or_default();
        told.push_str(&format!("==> {}{of} <==\n", config.shown(id)));
        let shown = |number: usize, line| if file.trace.is_secret(number) { HIDDEN } else { line };
        let width = |line: &str| line.chars().count();
        let lines = || file.text.lines().enumerate();
        let column = lines().map(|(number, line)| width(shown(number, line)));
        let column = column.filter(|width| *width <= COLUMN).max().unwrap_or(0);
        for (number, line) in lines() {
            let origins: Vec<String> = file.trace.line(number).map(|one| one.told(preview)).collect();
            let line = shown(number, line);
            if origins.is_empty() {
                told.push_str(&format!("{line}\n"));
            } else {
                told.push_str(&format!("{line:column$}  # {}\n", origins.join(", ")));
            }
        }
    }
    told
}

/// The same as a document.
#[must_use]
pub fn document(preview: &Preview, config: &Config) -> Value {
    let lines = |file: &super::File| {
        let line = |(number, text): (usize, &str)| {
            let is_secret = file.trace.is_secret(number);
            json!({
                "line": number + 1,
                "text": if is_secret { Value::Null } else { text.into() },
                "secret": is_secret,
                "from": file.trace.line(number).map(|one| one.document(preview)).collect::<Vec<_>>(),
            })
        };
        file.text.lines().enumerate().map(line).collect::<Vec<_>>()
    };
    let file = |(id, file): (usize, &super::File)| json!({"file": config.shown(id), "lines": lines(file)});
    json!({
        "revision": preview.revision,
        "files": preview.files.iter().enumerate().map(file).collect::<Vec<_>>(),
        "variables": preview.variables.as_ref().map(lines),
    })
}

impl Origin {
    /// Values from a document have no revision that means anything.
    fn told(&self, preview: &Preview) -> String {
        match (self, preview.revision) {
            (Self::Key(name, Some(_)), None) => name.clone(),
            (Self::Prefix(prefix, Some(_)), None) => format!("{prefix}*"),
            _ => self.to_string(),
        }
    }

    fn document(&self, preview: &Preview) -> Value {
        let revision = |revision: &Option<_>| revision.filter(|_| preview.revision.is_some());
        match self {
            Self::Key(name, at) => json!({"key": name, "exists": at.is_some(), "revision": revision(at)}),
            Self::Prefix(prefix, at) => json!({"prefix": prefix, "revision": revision(at)}),
            Self::Revision(_) => json!({"revision": preview.revision}),
            Self::Variable(name) => json!({"env": name}),
            Self::File { path, secret } => json!({"file": path.display().to_string(), "secret": secret}),
        }
    }
}
