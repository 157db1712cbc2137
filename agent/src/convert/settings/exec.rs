//! The `exec` block, and commands, signals and durations wherever they stand.

use super::{Command, Exec, Reading, blocks};
use crate::convert::hcl::{Entry, Value};
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
                "splay" => self.look(
                    one.line,
                    "`exec.splay`: a reload is not put off by chance",
                    "use `wait` if many instances must not reload at once",
                ),
                "env" => {
                    for inner in blocks(&one.value).into_iter().flatten() {
                        self.look(
                            inner.line,
                            format!(
                                "`exec.env.{}`: the program has the agent's environment, without its tokens",
                                inner.key
                            ),
                            "set it where the agent is started, or begin the command with `env`",
                        );
                    }
                }
                _ => self.unknown(one, "exec."),
            }
        }
    }

    /// Our name of a signal; empty for none.
    fn signal(&mut self, entry: &Entry) -> Option<String> {
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
