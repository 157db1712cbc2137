//! The `exec` block, and commands, signals and durations wherever they stand.

use super::{Command, Env, Exec, Reading, blocks};
use crate::convert::hcl::{Entry, Value};
use crate::document::is_name;
use crate::policy;

impl Reading<'_> {
    pub(super) fn command(&mut self, entry: &Entry) -> Option<Command> {
        match &entry.value {
            Value::Text(text) => Some(Command::Shell(text.text.clone())),
            Value::List(values) => {
                let words: Option<Vec<String>> = values
                    .iter()
                    .map(|value| match value {
                        Value::Text(text) => Some(text.text.clone()),
                        Value::Number(number) => Some(number.clone()),
                        _ => None,
                    })
                    .collect();
                match words.as_deref() {
                    // A list of one word is split by a shell, like a text.
                    Some([one]) => Some(Command::Shell(one.clone())),
                    Some([_, ..]) => words.map(Command::List),
                    _ => None,
                }
            }
            _ => None,
        }
        .filter(|command| !command.shell().trim().is_empty())
    }

    pub(super) fn exec(&mut self, block: &[Entry], exec: &mut Exec) {
        for one in block {
            match one.key.as_str() {
                "command" => exec.command = self.command(one).or(exec.command.take()),
                "reload_signal" => exec.reload_signal = self.signal(one),
                "kill_signal" => exec.kill_signal = self.signal(one).filter(|signal| !signal.is_empty()),
                "kill_timeout" => exec.kill_timeout = self.duration(one),
                "enabled" if self.flag(one) => {}
                "timeout" => self.note(
                    one.line,
                    "`exec.timeout` is left out: consul-template does not mind it either",
                ),
                "splay" => exec.splay = self.duration(one).filter(|splay| !is_zero(splay)),
                "env" => {
                    for inner in blocks(&one.value).into_iter().flatten() {
                        self.env(inner, &mut exec.env);
                    }
                }
                _ => self.unknown(one, "exec."),
            }
        }
    }

    fn env(&mut self, one: &Entry, env: &mut Env) {
        match one.key.as_str() {
            "pristine" => env.pristine = self.flag(one),
            "custom" => {
                for pair in self.texts(one) {
                    match pair.split_once('=').filter(|(name, _)| is_name(name)) {
                        Some((name, value)) => drop(env.custom.insert(name.to_owned(), value.to_owned())),
                        None => self.look(
                            one.line,
                            "`exec.env.custom`: one is no NAME=value with a name of letters, digits and _",
                            "rename it, or begin the command with `env`",
                        ),
                    }
                }
            }
            "allowlist" | "whitelist" => env.allow.extend(self.patterns(one)),
            "denylist" | "blacklist" => env.deny.extend(self.patterns(one)),
            _ => self.unknown(one, "exec.env."),
        }
    }

    /// Ours know `*` and `?`.
    fn patterns(&mut self, entry: &Entry) -> Vec<String> {
        let mut patterns = self.texts(entry);
        for pattern in patterns.extract_if(.., |pattern| pattern.contains(['[', '\\'])) {
            self.look(
                entry.line,
                format!("`exec.env.{}`: `{pattern}` has more than `*` and `?`", entry.key),
                "write the names one by one",
            );
        }
        patterns
    }

    fn texts(&mut self, entry: &Entry) -> Vec<String> {
        let mut texts = Vec::new();
        let values = match &entry.value {
            Value::List(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            match value {
                Value::Text(text) => texts.push(text.text.clone()),
                _ => self.look(
                    entry.line,
                    format!("`{}` has something that is no text", entry.key),
                    "write it by hand",
                ),
            }
        }
        texts
    }

    /// Our name of a signal; empty for none.
    pub(super) fn signal(&mut self, entry: &Entry) -> Option<String> {
        let name = self.text(entry)?;
        if matches!(name.as_str(), "" | "SIGNULL" | "NULL") {
            return Some(String::new());
        }
        match policy::signal(&name) {
            Ok(signal) => Some(signal.as_str().trim_start_matches("SIG").to_owned()),
            Err(why) => {
                self.look(entry.line, format!("`{}`: {why}", entry.key), "write it by hand");
                None
            }
        }
    }

    pub(super) fn duration(&mut self, entry: &Entry) -> Option<String> {
        let text = self.text(entry)?;
        match kvapi::duration::parse(&text) {
            Ok(_) => Some(text),
            Err(why) => {
                self.look(entry.line, format!("`{}`: {why}", entry.key), "write it by hand");
                None
            }
        }
    }
}

fn is_zero(duration: &str) -> bool {
    kvapi::duration::parse(duration).is_ok_and(|time| time.is_zero())
}
