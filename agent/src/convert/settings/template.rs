//! A `template` block.

use std::time::Duration;

use super::{Reading, Template, blocks};
use crate::config::Owner;
use crate::convert::hcl::{Entry, Value};

impl Reading<'_> {
    pub(super) fn template(&mut self, block: &[Entry], line: usize) -> Template {
        let mut template = Template {
            file: self.file.to_owned(),
            line,
            ..Template::default()
        };
        for one in block {
            let line = one.line;
            match one.key.as_str() {
                "source" => template.source = self.text(one),
                "contents" => {
                    template.contents = match &one.value {
                        Value::Text(text) => Some(text.clone()),
                        _ => None,
                    }
                }
                "destination" => template.destination = self.text(one),
                "perms" => template.perms = self.perms(one),
                "command" => template.command = self.command(one).map(|command| (command, line)),
                "exec" => {
                    for inner in blocks(&one.value).into_iter().flatten() {
                        match inner.key.as_str() {
                            "command" => template.command = self.command(inner).map(|command| (command, inner.line)),
                            "timeout" => template.timeout = self.timeout(inner).or(template.timeout),
                            _ => self.look(
                                inner.line,
                                format!("`template.exec.{}` has no counterpart", inner.key),
                                "write it into the command",
                            ),
                        }
                    }
                }
                // The one of `exec` counts, wherever it stands.
                "command_timeout" => template.timeout = template.timeout.or_else(|| self.timeout(one)),
                "left_delimiter" => template.left = self.text(one),
                "right_delimiter" => template.right = self.text(one),
                "create_dest_dirs" => template.needs_dirs = !self.flag(one),
                "error_on_missing_key" => {
                    if !self.flag(one) {
                        self.note(
                            line,
                            "`error_on_missing_key` is left out: what is missing is always an error",
                        );
                    }
                }
                "error_fatal" => self.note(
                    line,
                    "`error_fatal` is left out: an error leaves the files and the program as they are, and is told",
                ),
                "backup" => template.backup = self.flag(one),
                "user" | "uid" => template.user = self.owner(one),
                "group" | "gid" => template.group = self.owner(one),
                "wait" => template.wait = self.wait(one).map(|wait| (wait, line)),
                "sandbox_path" => template.sandbox = self.text(one).filter(|path| !path.is_empty()),
                "function_denylist" | "function_blacklist" => {
                    if let Value::List(names) = &one.value {
                        let names = names.iter().filter_map(|name| match name {
                            Value::Text(name) => Some((name.text.clone(), line)),
                            _ => None,
                        });
                        template.denied.extend(names);
                    }
                }
                _ => self.unknown(one, "template."),
            }
        }
        template
    }

    fn timeout(&mut self, entry: &Entry) -> Option<(Duration, usize)> {
        let limit = kvapi::duration::parse(&self.duration(entry)?).ok()?;
        if limit.is_zero() {
            self.look(
                entry.line,
                format!("`{}`: a command without an end holds back all changes", entry.key),
                "choose how long it may take: `command_timeout`",
            );
            return None;
        }
        Some((limit, entry.line))
    }

    /// A name or a number; what is empty or negative asks for nothing.
    fn owner(&mut self, entry: &Entry) -> Option<String> {
        let text = match &entry.value {
            Value::Number(number) => number.clone(),
            _ => self.text(entry)?,
        };
        if text.is_empty() || text.parse::<i64>().is_ok_and(|number| number < 0) {
            return None;
        }
        match text.parse::<Owner>() {
            Ok(_) => Some(text),
            Err(why) => {
                self.look(entry.line, format!("`{}`: {why}", entry.key), "write it by hand");
                None
            }
        }
    }

    /// A number with a zero in front is octal, and one without is not.
    fn perms(&mut self, entry: &Entry) -> Option<String> {
        let (written, octal) = match &entry.value {
            Value::Text(text) => (text.text.clone(), true),
            Value::Number(number) => (number.clone(), number.starts_with('0')),
            _ => (String::new(), true),
        };
        let digits = written.trim_start_matches("0o");
        let mode = u32::from_str_radix(digits, if octal { 8 } else { 10 })
            .ok()
            .filter(|mode| *mode <= 0o7777);
        if !octal {
            let means = mode.map_or_else(|| "no mode".to_owned(), |mode| format!("the mode {mode:04o}"));
            self.look(
                entry.line,
                format!("`perms = {written}` is decimal, and so {means}"),
                "write what was meant into agent.toml",
            );
        }
        match mode {
            Some(mode) => Some(format!("{mode:04o}")),
            None => {
                self.look(
                    entry.line,
                    format!("`perms`: `{written}` is no mode"),
                    "write it by hand",
                );
                None
            }
        }
    }
}
