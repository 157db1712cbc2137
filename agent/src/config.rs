//! What the agent is to do: flags and files become one checked [`Config`].
//!
//! Files are TOML; an unknown or misspelt entry is an error that shows its line. Paths in a file
//! are relative to the file's folder, those of flags to the working directory. Lists of several
//! files append, single values of a later file replace those of an earlier one, and flags replace
//! both. Nothing is read here but the text that is handed in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kvapi::Problem;
use kvapi::problem::exit;
use nix::sys::signal::Signal;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::graph::TemplateId;
use crate::helpers::encode::hex;
use crate::policy::{self, Missing, OnChange, Policy, Wait};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What [`crate::core`] decides by.
    pub policy: Policy,
    /// The templates; a [`TemplateId`] is a place in this list.
    pub templates: Vec<Template>,
    /// Folders that are replaced as a whole.
    pub sets: Vec<PathBuf>,
    /// Where partials are.
    pub partials: Option<PathBuf>,
    /// Check of every file (with `{}`) or of the whole set.
    pub check: Option<String>,
    /// The child's program and arguments; empty if there is none.
    pub command: Vec<String>,
    /// Where the journal and staged files are.
    pub state_dir: PathBuf,
}

impl Config {
    /// What a template is called in messages: its destination.
    #[must_use]
    pub fn shown(&self, id: TemplateId) -> &str {
        self.templates.get(id).map_or("?", |template| template.shown.as_str())
    }
}

/// A template and where its text goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Where the text comes from.
    pub source: Source,
    /// Where it goes.
    pub destination: Destination,
    /// The destination, for messages.
    pub shown: String,
    /// The file's mode; else that of the old file, or 0644.
    pub mode: Option<u32>,
    /// Check of this file.
    pub check: Option<String>,
}

/// Where a template's text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The configuration itself.
    Inline(String),
}

/// Where a rendered text goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file of its own.
    File(PathBuf),
    /// A file in a folder that is replaced as a whole.
    InSet {
        /// Which of [`Config::sets`].
        set: usize,
        /// Its path in the folder.
        name: PathBuf,
    },
    /// Standard output.
    Stdout,
}

/// What was written in files or given as flags; nothing is checked against the rest yet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// What follows a change: `"none"`, `"signal=HUP"`, `"restart"`, `"command=..."`.
    pub on_change: Option<OnChange>,
    /// A command line for `sh -c`.
    pub check: Option<String>,
    /// What a missing key means.
    pub missing: Option<Missing>,
    /// `"MIN"` or `"MIN:MAX"`.
    pub wait: Option<Wait>,
    /// See [`Policy::settle`].
    #[serde(default, deserialize_with = "duration")]
    pub settle: Option<Duration>,
    /// Folder of partials; `NAME.hbs` is included by `{{> NAME}}`.
    pub partials: Option<PathBuf>,
    /// See [`Config::state_dir`].
    pub state_dir: Option<PathBuf>,
    /// The child.
    #[serde(default)]
    pub exec: RawExec,
    /// Templates with files of their own.
    #[serde(default)]
    pub template: Vec<RawTemplate>,
    /// Folders that are replaced as a whole.
    #[serde(default)]
    pub set: Vec<RawSet>,
    /// Texts are printed, so a template needs no destination.
    #[serde(skip)]
    pub prints: bool,
}

/// The child.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawExec {
    /// Program and arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// What asks it to stop.
    #[serde(default, deserialize_with = "signal")]
    pub kill_signal: Option<Signal>,
    /// How long it may take.
    #[serde(default, deserialize_with = "duration")]
    pub kill_timeout: Option<Duration>,
}

/// A template.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTemplate {
    /// The template's file.
    pub source: Option<PathBuf>,
    /// The template itself, instead of a file.
    pub contents: Option<String>,
    /// The file to write.
    pub destination: PathBuf,
    /// Octal, such as `"0640"`.
    #[serde(default, deserialize_with = "perms")]
    pub perms: Option<u32>,
    /// A command line for `sh -c`; `{}` is the staged file.
    pub check: Option<String>,
}

/// A folder that is replaced as a whole.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSet {
    /// The symlink that programs read through.
    pub dir: PathBuf,
    /// Its files; `destination` is relative to the folder.
    pub template: Vec<RawTemplate>,
}

impl Raw {
    /// Reads a file's text. `path` is where it was found.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Problem> {
        let mut raw: Self = toml::from_str(text).map_err(|error| {
            Problem::new(
                exit::INVALID,
                format!("{}: {}", path.display(), error.to_string().trim_end()),
            )
        })?;
        raw.resolve(path.parent().unwrap_or(Path::new("/")));
        Ok(raw)
    }

    /// Makes every path absolute.
    pub fn resolve(&mut self, folder: &Path) {
        let absolute = |path: &mut PathBuf| *path = folder.join(&path);
        self.partials.iter_mut().chain(&mut self.state_dir).for_each(absolute);
        for template in &mut self.template {
            template.source.iter_mut().for_each(absolute);
            absolute(&mut template.destination);
        }
        for set in &mut self.set {
            absolute(&mut set.dir);
            set.template
                .iter_mut()
                .filter_map(|template| template.source.as_mut())
                .for_each(absolute);
        }
    }

    /// Takes over what `later` says.
    pub fn merge(&mut self, later: Self) {
        fn over<T>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        over(&mut self.on_change, later.on_change);
        over(&mut self.check, later.check);
        over(&mut self.missing, later.missing);
        over(&mut self.wait, later.wait);
        over(&mut self.settle, later.settle);
        over(&mut self.partials, later.partials);
        over(&mut self.state_dir, later.state_dir);
        over(&mut self.exec.kill_signal, later.exec.kill_signal);
        over(&mut self.exec.kill_timeout, later.exec.kill_timeout);
        if !later.exec.command.is_empty() {
            self.exec.command = later.exec.command;
        }
        self.prints |= later.prints;
        self.template.extend(later.template);
        self.set.extend(later.set);
    }

    /// Checks everything against everything.
    pub fn check(self, once: bool) -> Result<Config, Problem> {
        let supervises = !once && !self.exec.command.is_empty();
        let on_change = match self.on_change {
            Some(chosen) => chosen,
            // As in consul-template: a program that was given no reload is started again.
            None if supervises => OnChange::Restart,
            None => OnChange::Nothing,
        };
        if !supervises && !once && matches!(on_change, OnChange::Signal(_) | OnChange::Restart) {
            return Err(invalid(format!("on-change {on_change} needs a program to reload"))
                .help("give it behind `--`, or choose on-change none or command=..."));
        }
        let sets: Vec<PathBuf> = self.set.iter().map(|set| set.dir.clone()).collect();
        let mut templates = Vec::new();
        for raw in self.template {
            templates.push(template(raw, None)?);
        }
        for (number, set) in self.set.into_iter().enumerate() {
            for raw in set.template {
                templates.push(template(raw, Some((number, &sets[number])))?);
            }
        }
        if templates.is_empty() {
            return Err(
                Problem::new(exit::USAGE, "there is no template").help("give one with -t SRC:DST or in a file with -c")
            );
        }
        for (place, one) in templates.iter().enumerate() {
            let twice =
                |other: &Template| other.destination == one.destination && one.destination != Destination::Stdout;
            if templates[..place].iter().any(twice) {
                return Err(invalid(format!("two templates write {}", one.shown)));
            }
        }
        if !self.prints && templates.iter().any(|one| one.destination == Destination::Stdout) {
            return Err(invalid("a template has to become a file".to_owned()).help("`agent render` prints texts"));
        }
        let defaults = Policy::default();
        let policy = Policy {
            on_change: if once && !matches!(on_change, OnChange::Command(_)) {
                OnChange::Nothing
            } else {
                on_change
            },
            missing: self.missing.unwrap_or(defaults.missing),
            wait: self.wait.unwrap_or(defaults.wait),
            settle: self.settle.unwrap_or(defaults.settle),
            kill_signal: self.exec.kill_signal.unwrap_or(defaults.kill_signal),
            kill_timeout: self.exec.kill_timeout.unwrap_or(defaults.kill_timeout),
            once,
            supervises,
        };
        let state_dir = self.state_dir.unwrap_or_else(|| state_dir(&templates, &sets));
        Ok(Config {
            policy,
            templates,
            sets,
            partials: self.partials,
            check: self.check,
            command: if supervises { self.exec.command } else { Vec::new() },
            state_dir,
        })
    }
}

/// `SRC:DST`, or `SRC` alone where the text goes to standard output.
pub fn template_flag(text: &str, output: bool) -> Result<RawTemplate, Problem> {
    let (source, destination) = match text.split_once(':') {
        Some((source, destination)) if !source.is_empty() && !destination.is_empty() => (source, destination),
        None if output && !text.is_empty() => (text, "-"),
        _ => {
            return Err(
                Problem::new(exit::USAGE, format!("`{text}` names no template and file"))
                    .help("give SRC:DST, such as nginx.conf.hbs:/etc/nginx/nginx.conf"),
            );
        }
    };
    Ok(RawTemplate {
        source: Some(source.into()),
        destination: destination.into(),
        ..RawTemplate::default()
    })
}

fn template(raw: RawTemplate, set: Option<(usize, &PathBuf)>) -> Result<Template, Problem> {
    let shown = match set {
        Some((_, dir)) => dir.join(&raw.destination),
        None => raw.destination.clone(),
    };
    let shown = shown.display().to_string();
    let source = match (raw.source, raw.contents) {
        (Some(path), None) => Source::File(path),
        (None, Some(text)) => Source::Inline(text),
        (Some(_), Some(_)) | (None, None) => {
            return Err(invalid(format!(
                "the template of {shown} needs either source or contents"
            )));
        }
    };
    let destination = match set {
        None if raw.destination.ends_with("-") => Destination::Stdout,
        None => Destination::File(raw.destination),
        Some((set, _)) => {
            let plain = |part| matches!(part, std::path::Component::Normal(_));
            if !raw.destination.components().all(plain) {
                return Err(invalid(format!("{shown} has to lie inside of its set's dir")));
            }
            Destination::InSet {
                set,
                name: raw.destination,
            }
        }
    };
    Ok(Template {
        source,
        destination,
        shown,
        mode: raw.perms,
        check: raw.check,
    })
}

/// Beside the first destination, named after all of them: several agents may share a folder.
fn state_dir(templates: &[Template], sets: &[PathBuf]) -> PathBuf {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for template in templates {
        hash.update(template.shown.as_bytes());
        hash.update([0]);
    }
    let first = templates.iter().find_map(|template| match &template.destination {
        Destination::File(path) => path.parent(),
        Destination::InSet { set, .. } => sets[*set].parent(),
        Destination::Stdout => None,
    });
    first
        .unwrap_or(Path::new("/"))
        .join(format!(".keyway-agent-{}", &hex(&hash.finalize())[..12]))
}

fn invalid(what: String) -> Problem {
    Problem::new(exit::INVALID, what)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    kvapi::duration::parse(&text).map(Some).map_err(D::Error::custom)
}

fn signal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Signal>, D::Error> {
    let text = String::deserialize(deserializer)?;
    policy::signal(&text).map(Some).map_err(D::Error::custom)
}

fn perms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(Some(mode)),
        _ => Err(D::Error::custom(format!(
            "`{text}` is not a mode; give it in octal, such as \"0640\""
        ))),
    }
}

#[cfg(test)]
mod tests;
