//! What is written in files and given as flags, before it is checked against the rest.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kvapi::Problem;
use kvapi::problem::exit;
use nix::sys::signal::Signal;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{MaybeSignal, Owner, RawConfirm, RawEnvironment, telling, unknown};
use crate::policy::{self, CommandLine, Missing, OnChange, Restart, Wait};

/// What was written in files or given as flags; nothing is checked against the rest yet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// What follows a change: `"none"`, `"signal=HUP"`, `"restart"`, `"command=..."`.
    pub on_change: Option<OnChange>,
    /// A command line for `sh -c`, or a list.
    pub check: Option<CommandLine>,
    /// How long a check or a command may take.
    #[serde(default, deserialize_with = "duration")]
    pub command_timeout: Option<Duration>,
    /// What a missing key means.
    pub missing: Option<Missing>,
    /// `"MIN"` or `"MIN:MAX"`.
    pub wait: Option<Wait>,
    /// See [`crate::policy::Policy::settle`].
    #[serde(default, deserialize_with = "duration")]
    pub settle: Option<Duration>,
    /// See [`crate::policy::Policy::splay`].
    #[serde(default, deserialize_with = "duration")]
    pub splay: Option<Duration>,
    /// Who says that the program does well with new files.
    pub confirm: Option<RawConfirm>,
    /// Folder of partials; `NAME.hbs` is included by `{{> NAME}}`.
    pub partials: Option<PathBuf>,
    /// Helpers that no template may call: names, with `*` for any part of one.
    #[serde(default)]
    pub deny_helpers: Vec<String>,
    /// The folder that no file which a template shows may lie outside of.
    pub sandbox: Option<PathBuf>,
    /// The socket that tells how the agent is.
    pub status: Option<PathBuf>,
    /// An address that tells it too.
    #[serde(default, deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// That address may be one that others reach.
    pub insecure_listen: Option<bool>,
    /// A key of the store tells it too.
    pub report: Option<bool>,
    /// What the agent is called there.
    #[serde(default, deserialize_with = "name")]
    pub name: Option<String>,
    /// Where the agent's pid is written.
    pub pid_file: Option<PathBuf>,
    /// What is made once everything is in place.
    pub ready_file: Option<PathBuf>,
    /// Where it is written how it ended.
    pub exit_file: Option<PathBuf>,
    /// See [`super::Config::state_dir`].
    pub state_dir: Option<PathBuf>,
    /// The folder where the last good values are kept.
    pub cache_dir: Option<PathBuf>,
    /// How old they may be.
    #[serde(default, deserialize_with = "duration")]
    pub max_stale: Option<Duration>,
    /// See [`crate::policy::Policy::retry_for`].
    #[serde(default, deserialize_with = "duration")]
    pub retry_for: Option<Duration>,
    /// What makes the agent read its configuration again, or `"none"`.
    pub reload_signal: Option<MaybeSignal>,
    /// The child.
    #[serde(default)]
    pub exec: RawExec,
    /// Templates with files of their own.
    #[serde(default)]
    pub template: Vec<RawTemplate>,
    /// Folders that are replaced as a whole.
    #[serde(default)]
    pub set: Vec<RawSet>,
    /// The working directory, where there is no file to put anything beside.
    #[serde(skip)]
    pub here: Option<PathBuf>,
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
    /// Whether it is started again when it ends by itself.
    pub restart: Option<Restart>,
    /// What it gets in place of a signal that came to the agent, or `"none"`.
    #[serde(default)]
    pub map_signal: BTreeMap<String, MaybeSignal>,
    /// Its variables.
    #[serde(default)]
    pub env: RawEnvironment,
}

/// A template.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTemplate {
    /// The template's file.
    pub source: Option<PathBuf>,
    /// The folder that no file which it shows may lie outside of.
    pub sandbox: Option<PathBuf>,
    /// Where the configuration was found.
    #[serde(skip)]
    pub base: PathBuf,
    /// The template itself, instead of a file.
    pub contents: Option<String>,
    /// The file to write.
    pub destination: PathBuf,
    /// Octal, such as `"0640"`.
    #[serde(default, deserialize_with = "perms")]
    pub perms: Option<u32>,
    /// Whom the file belongs to: a name or a number.
    pub user: Option<Owner>,
    /// The group that it belongs to.
    pub group: Option<Owner>,
    /// Whether the old file is kept with `.bak` behind its name.
    pub backup: Option<bool>,
    /// Whether its folder is made.
    pub create_dirs: Option<bool>,
    /// Octal: the mode of folders that are made.
    #[serde(default, deserialize_with = "perms")]
    pub dir_mode: Option<u32>,
    /// A command line for `sh -c`, or a list; `{}` is the staged file.
    pub check: Option<CommandLine>,
    /// What follows a change of this file.
    pub on_change: Option<OnChange>,
}

/// A folder that is replaced as a whole.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSet {
    /// The symlink that programs read through.
    pub dir: PathBuf,
    /// Octal: the mode of its folders.
    #[serde(default, deserialize_with = "perms")]
    pub dir_mode: Option<u32>,
    /// A command line for `sh -c`, or a list; `{}` is the staged folder.
    pub check: Option<CommandLine>,
    /// What follows a change of its files.
    pub on_change: Option<OnChange>,
    /// Its files; `destination` is relative to the folder.
    pub template: Vec<RawTemplate>,
}

impl RawTemplate {
    fn placed(&mut self, folder: &Path) {
        if self.base.as_os_str().is_empty() {
            folder.clone_into(&mut self.base);
        }
        self.sandbox.iter_mut().for_each(|path| *path = folder.join(&*path));
    }
}

impl Raw {
    /// Reads a file's text. `path` is where it was found.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Problem> {
        let mut raw: Self = toml::from_str(text).map_err(|error| {
            let told = format!("{}: {}", path.display(), error.to_string().trim_end());
            let problem = Problem::new(exit::INVALID, told);
            match unknown::help(error.message()) {
                Some(help) => problem.help(help),
                None => problem,
            }
        })?;
        raw.resolve(path.parent().unwrap_or(Path::new("/")));
        Ok(raw)
    }

    /// Makes every path absolute.
    pub fn resolve(&mut self, folder: &Path) {
        let absolute = |path: &mut PathBuf| *path = folder.join(&path);
        let single = [
            &mut self.partials,
            &mut self.state_dir,
            &mut self.sandbox,
            &mut self.status,
            &mut self.pid_file,
            &mut self.ready_file,
            &mut self.exit_file,
            &mut self.cache_dir,
        ];
        single.into_iter().flatten().for_each(absolute);
        for template in &mut self.template {
            template.source.iter_mut().for_each(absolute);
            template.placed(folder);
            absolute(&mut template.destination);
        }
        for set in &mut self.set {
            absolute(&mut set.dir);
            set.template.iter_mut().for_each(|template| template.placed(folder));
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
        over(&mut self.command_timeout, later.command_timeout);
        over(&mut self.missing, later.missing);
        over(&mut self.wait, later.wait);
        over(&mut self.settle, later.settle);
        over(&mut self.splay, later.splay);
        over(&mut self.confirm, later.confirm);
        over(&mut self.partials, later.partials);
        over(&mut self.sandbox, later.sandbox);
        over(&mut self.state_dir, later.state_dir);
        over(&mut self.status, later.status);
        over(&mut self.listen, later.listen);
        over(&mut self.insecure_listen, later.insecure_listen);
        over(&mut self.report, later.report);
        over(&mut self.name, later.name);
        over(&mut self.pid_file, later.pid_file);
        over(&mut self.ready_file, later.ready_file);
        over(&mut self.exit_file, later.exit_file);
        over(&mut self.cache_dir, later.cache_dir);
        over(&mut self.max_stale, later.max_stale);
        over(&mut self.retry_for, later.retry_for);
        over(&mut self.exec.kill_signal, later.exec.kill_signal);
        over(&mut self.exec.kill_timeout, later.exec.kill_timeout);
        over(&mut self.exec.restart, later.exec.restart);
        over(&mut self.here, later.here);
        over(&mut self.reload_signal, later.reload_signal);
        self.exec.map_signal.extend(later.exec.map_signal);
        self.exec.env.merge(later.exec.env);
        if !later.exec.command.is_empty() {
            self.exec.command = later.exec.command;
        }
        self.deny_helpers.extend(later.deny_helpers);
        self.prints |= later.prints;
        self.template.extend(later.template);
        self.set.extend(later.set);
    }
}

/// `SRC:DST`, `SRC:DST:COMMAND`, or `SRC` alone where the text goes to standard output.
pub fn template_flag(text: &str, output: bool) -> Result<RawTemplate, Problem> {
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next();
    let (source, destination, command) = match (part(), part(), part()) {
        (Some(source), Some(destination), command) if !source.is_empty() && !destination.is_empty() => {
            (source, destination, command)
        }
        (Some(source), None, None) if output && !source.is_empty() => (source, "-", None),
        _ => {
            return Err(
                Problem::new(exit::USAGE, format!("`{text}` names no template and file")).help(
                    "give SRC:DST or SRC:DST:COMMAND, such as nginx.conf.hbs:/etc/nginx/nginx.conf:'nginx -s reload'",
                ),
            );
        }
    };
    let command = command.map(str::parse).transpose();
    let command = command.map_err(|told: String| Problem::new(exit::USAGE, format!("`{text}`: {told}")))?;
    Ok(RawTemplate {
        source: Some(source.into()),
        destination: destination.into(),
        on_change: command.map(OnChange::Command),
        ..RawTemplate::default()
    })
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    kvapi::duration::parse(&text).map(Some).map_err(D::Error::custom)
}

fn signal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Signal>, D::Error> {
    let text = String::deserialize(deserializer)?;
    policy::signal(&text).map(Some).map_err(D::Error::custom)
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    telling::listen(&text).map(Some).map_err(D::Error::custom)
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    telling::name(&text).map(Some).map_err(D::Error::custom)
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
