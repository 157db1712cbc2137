//! What a consul-template configuration asks for, read entry by entry: each is taken over, noted, or
//! listed for somebody to look at.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::hcl::{Entry, Text, Value};
use super::report::Finding;
use crate::policy::{self, Wait};

mod exec;
mod template;

/// What was asked for.
#[derive(Debug, Default)]
pub struct Settings {
    /// The templates, in order.
    pub templates: Vec<Template>,
    /// The program to look after.
    pub exec: Exec,
    /// As ours has it.
    pub wait: Option<String>,
    /// Whether a missing key ends the run.
    pub fails: bool,
    /// Where the agent's process id is written.
    pub pid_file: Option<String>,
    /// What makes it read its configuration again, where that is not HUP.
    pub reload_signal: Option<String>,
    /// What opens and closes an action, where a template does not say.
    pub delimiters: Option<(String, String)>,
}

/// A template.
#[derive(Debug, Default)]
pub struct Template {
    /// The configuration that names it.
    pub file: String,
    /// Where.
    pub line: usize,
    /// The template's file.
    pub source: Option<String>,
    /// The template itself.
    pub contents: Option<Text>,
    /// The file to write.
    pub destination: Option<String>,
    /// In octal.
    pub perms: Option<String>,
    /// Whom the file belongs to.
    pub user: Option<String>,
    /// The group that it belongs to.
    pub group: Option<String>,
    /// Whether the file before is kept.
    pub backup: bool,
    /// Whether it is an error that its folder is not there.
    pub needs_dirs: bool,
    /// What is run after a change, and its line.
    pub command: Option<(Command, usize)>,
    /// How long that may take, and the line.
    pub timeout: Option<(Duration, usize)>,
    /// What it has in place of the one for all, and its line.
    pub wait: Option<(String, usize)>,
    /// The folder that no file which it shows may lie outside of.
    pub sandbox: Option<String>,
    /// Functions that it may not call, and the line that says so.
    pub denied: Vec<(String, usize)>,
    /// What opens an action.
    pub left: Option<String>,
    /// What closes it.
    pub right: Option<String>,
}

/// The program to look after.
#[derive(Debug, Default)]
pub struct Exec {
    /// Program and arguments, if there is one.
    pub command: Option<Command>,
    /// A signal instead of a restart; empty for nothing at all.
    pub reload_signal: Option<String>,
    /// What asks it to stop.
    pub kill_signal: Option<String>,
    /// How long it may take.
    pub kill_timeout: Option<String>,
    /// The longest pause before it is told of new files; none if there is none.
    pub splay: Option<String>,
    /// Its variables.
    pub env: Env,
}

/// The program's variables.
#[derive(Debug, Default)]
pub struct Env {
    /// Nothing is inherited.
    pub pristine: bool,
    /// Given as they are.
    pub custom: BTreeMap<String, String>,
    /// Patterns of what may be inherited.
    pub allow: Vec<String>,
    /// Patterns of what may not.
    pub deny: Vec<String>,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// For `sh -c`.
    Shell(String),
    /// Program and arguments.
    List(Vec<String>),
}

impl Command {
    /// As a text for `sh -c`.
    pub fn shell(&self) -> String {
        match self {
            Self::Shell(text) => text.clone(),
            Self::List(words) => shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default(),
        }
    }

    /// As a program and its arguments: consul-template gives texts of several words to a shell.
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::List(words) => words.clone(),
            Self::Shell(text) if text.trim().contains(char::is_whitespace) => {
                vec!["sh".into(), "-c".into(), text.clone()]
            }
            Self::Shell(text) => vec![text.trim().to_owned()],
        }
    }
}

/// One configuration being read.
struct Reading<'a> {
    file: &'a str,
    findings: &'a mut Vec<Finding>,
}

/// Reads one configuration on top of those before it.
pub fn read(file: &str, entries: &[Entry], settings: &mut Settings, findings: &mut Vec<Finding>) {
    let mut reading = Reading { file, findings };
    for entry in entries {
        reading.top(entry, settings);
    }
}

/// The template that `-t SRC:DST[:COMMAND]` names.
pub fn flag(text: &str) -> Option<Template> {
    let mut parts = text.splitn(3, ':');
    let (source, destination) = (parts.next()?, parts.next()?);
    let command = parts.next().filter(|command| !command.is_empty());
    (!source.is_empty() && !destination.is_empty()).then(|| Template {
        file: "-t".into(),
        line: 1,
        source: Some(source.to_owned()),
        destination: Some(destination.to_owned()),
        command: command.map(|command| (Command::Shell(command.to_owned()), 1)),
        ..Template::default()
    })
}

/// The blocks of an entry: one, or JSON's list of them.
fn blocks(value: &Value) -> Vec<&[Entry]> {
    match value {
        Value::Object(entries) => vec![entries],
        Value::List(values) => values.iter().flat_map(blocks).collect(),
        _ => Vec::new(),
    }
}

impl Reading<'_> {
    fn look(&mut self, line: usize, what: impl Into<String>, remedy: &str) {
        self.findings.push(Finding::look(self.file, line, what, remedy));
    }

    fn note(&mut self, line: usize, what: impl Into<String>) {
        self.findings.push(Finding::note(self.file, line, what));
    }

    fn text(&mut self, entry: &Entry) -> Option<String> {
        match &entry.value {
            Value::Text(text) => Some(text.text.clone()),
            _ => {
                self.look(entry.line, format!("`{}` is no text", entry.key), "write it by hand");
                None
            }
        }
    }

    fn flag(&mut self, entry: &Entry) -> bool {
        match &entry.value {
            Value::Bool(truth) => *truth,
            Value::Text(text) => matches!(text.text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"),
            Value::Number(number) => number != "0",
            _ => false,
        }
    }

    fn top(&mut self, entry: &Entry, settings: &mut Settings) {
        let line = entry.line;
        match entry.key.as_str() {
            "template" => {
                for block in blocks(&entry.value) {
                    let template = self.template(block, line);
                    settings.templates.push(template);
                }
            }
            "exec" => {
                if let Value::Text(text) = &entry.value {
                    settings.exec.command = Some(Command::Shell(text.text.clone()));
                }
                for block in blocks(&entry.value) {
                    self.exec(block, &mut settings.exec);
                }
            }
            "wait" => {
                if let Some(wait) = self.wait(entry) {
                    settings.wait = Some(wait);
                }
            }
            "err_on_failed_lookup" => settings.fails = self.flag(entry),
            "default_delimiters" => {
                let (mut left, mut right) = ("{{".to_owned(), "}}".to_owned());
                for one in blocks(&entry.value).into_iter().flatten() {
                    match one.key.as_str() {
                        "left" => left = self.text(one).unwrap_or(left),
                        "right" => right = self.text(one).unwrap_or(right),
                        _ => self.unknown(one, "default_delimiters."),
                    }
                }
                settings.delimiters = Some((left, right));
            }
            "consul" => self.consul(entry),
            "log_level" | "block_query_wait" | "deduplicate" | "template_error_fatal" | "once" | "parse_only" => {
                let why = match entry.key.as_str() {
                    "log_level" => "what is logged is chosen by --log or KEYWAY_LOG",
                    "once" => "render once with `keyway agent once`",
                    "parse_only" => "check without rendering with `keyway agent validate`",
                    "template_error_fatal" => "an error leaves the files and the program as they are, and is told",
                    "deduplicate" => "many agents read one store without it",
                    _ => "reads are never stale, and nothing is asked in intervals",
                };
                self.note(line, format!("`{}` is left out: {why}", entry.key));
            }
            "max_stale" => self.look(
                line,
                "`max_stale` bounds there how far behind an answer of the store may be; here none is behind, and \
                 `max_stale` is how old the cache may be that a start without the store reads",
                "leave it out, or choose it for `cache_dir`",
            ),
            "reload_signal" => settings.reload_signal = self.reload_signal(entry),
            "kill_signal" => match self.signal(entry).as_deref() {
                Some("TERM" | "INT") => self.note(
                    line,
                    "`kill_signal` is left out: the agent itself is stopped by TERM and by INT",
                ),
                _ => self.look(
                    line,
                    "`kill_signal`: TERM and INT end the agent, and nothing else does",
                    "have it stopped by TERM",
                ),
            },
            "pid_file" => settings.pid_file = self.text(entry).filter(|path| !path.is_empty()),
            "syslog" | "log_file" => self.look(
                line,
                format!("`{}`: logs go to standard error", entry.key),
                "have them kept by whoever starts the agent, such as journald or the container's engine",
            ),
            "vault" | "nomad" | "nomad_variables" => {
                if !blocks(&entry.value).iter().all(|block| block.is_empty()) {
                    let what = format!("`{}`: there is one store, and it keeps no secrets", entry.key);
                    self.look(line, what, "have secrets mounted as files that the program reads");
                }
            }
            _ => self.unknown(entry, ""),
        }
    }

    fn unknown(&mut self, entry: &Entry, within: &str) {
        let what = format!("`{within}{}` is not known", entry.key);
        self.look(entry.line, what, "see whether it is needed");
    }

    fn consul(&mut self, entry: &Entry) {
        const ADDR: &str = "the store's address is given by --addr or KEYWAY_ADDR";
        if matches!(entry.value, Value::Text(_)) {
            self.note(entry.line, format!("`consul` is left out: {ADDR}"));
        }
        for one in blocks(&entry.value).into_iter().flatten() {
            match one.key.as_str() {
                "address" => self.note(one.line, format!("`consul.address` is left out: {ADDR}")),
                "retry" => self.retry(one),
                "transport" => self.note(
                    one.line,
                    "`consul.transport` is left out: the store is asked again until it answers, and the program runs on",
                ),
                "token" | "token_file" => self.look(
                    one.line,
                    format!("`consul.{}`: Consul's token opens nothing here", one.key),
                    "give the agent a token of this store by KEYWAY_TOKEN",
                ),
                _ => self.look(
                    one.line,
                    format!("`consul.{}` has no counterpart", one.key),
                    "reach the store by a unix socket or the loopback address",
                ),
            }
        }
    }

    /// Ours has no end, unless a time is given for the start.
    fn retry(&mut self, entry: &Entry) {
        for one in blocks(&entry.value).into_iter().flatten() {
            let endless = match one.key.as_str() {
                "attempts" => matches!(&one.value, Value::Number(number) if number == "0"),
                "enabled" => self.flag(one),
                "backoff" | "max_backoff" => {
                    let what = format!(
                        "`consul.retry.{}` is left out: pauses grow, and differ by chance",
                        one.key
                    );
                    self.note(one.line, what);
                    true
                }
                _ => {
                    self.unknown(one, "consul.retry.");
                    true
                }
            };
            if !endless {
                self.look(
                    one.line,
                    format!(
                        "`consul.retry.{}` ends consul-template after so many attempts, at any time; here the store is \
                         asked again until it answers, and the program runs on",
                        one.key
                    ),
                    "give `retry_for` a time if a start is to end without the store",
                );
            }
        }
    }

    /// Ours, unless it is HUP as here.
    fn reload_signal(&mut self, entry: &Entry) -> Option<String> {
        let name = self.signal(entry)?;
        match policy::signal(&name) {
            _ if name.is_empty() => Some("none".to_owned()),
            Ok(Signal::SIGHUP) => None,
            Ok(signal) if crate::signals::passed_on(signal) => Some(name),
            _ => {
                let what = format!("`reload_signal`: {name} means something else to the agent");
                self.look(entry.line, what, "choose another one such as USR1, or send it HUP");
                None
            }
        }
    }

    fn wait(&mut self, entry: &Entry) -> Option<String> {
        let mut wait = String::new();
        if let Value::Text(text) = &entry.value {
            wait.clone_from(&text.text);
        }
        let mut max = None;
        for one in blocks(&entry.value).into_iter().flatten() {
            match one.key.as_str() {
                "min" => wait = self.text(one)?,
                "max" => max = self.text(one),
                "enabled" if self.flag(one) => {}
                _ => self.look(
                    one.line,
                    format!("`wait.{}`: consul-template does not mind it either", one.key),
                    "leave out `wait` if it is not wanted",
                ),
            }
        }
        if let Some(max) = max {
            let _ = write!(wait, ":{max}");
        }
        match wait.parse::<Wait>() {
            Ok(_) => Some(wait),
            Err(why) => {
                self.look(entry.line, format!("`wait`: {why}"), "write it by hand");
                None
            }
        }
    }
}
