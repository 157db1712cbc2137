//! Everything that was given, checked against everything else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kvapi::Problem;
use kvapi::problem::exit;

use super::{
    Cache, Config, Destination, Looks, Raw, RawConfirm, RawTemplate, STATE, Set, Source, Telling, Template, invalid,
    signals,
};
use crate::environment::Environment;
use crate::helpers::encode::hex;
use crate::helpers::file::Place;
use crate::policy::{OnChange, Policy};

/// How long a check or a command may take, unless another time is given; consul-template's.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

impl Raw {
    /// Checks everything against everything.
    pub fn check(self, once: bool) -> Result<Config, Problem> {
        let telling = Telling::of(&self)?;
        let supervises = !once && !self.exec.command.is_empty();
        let on_change = match self.on_change {
            Some(chosen) => chosen,
            // As in consul-template: a program that was given no reload is started again.
            None if supervises => OnChange::Restart,
            None => OnChange::Nothing,
        };
        let reload = |on_change: &OnChange| matches!(on_change, OnChange::Signal(_) | OnChange::Restart);
        let cannot = |on_change: &OnChange| !supervises && !once && reload(on_change);
        if cannot(&on_change) {
            return Err(needs_program(&on_change, None));
        }
        let (reload_signal, map_signal) = signals::check(self.reload_signal, self.exec.map_signal)?;
        let environment = if supervises || self.prints {
            self.exec.env.check()?
        } else if self.exec.env.check()?.reads_keys() && !once {
            return Err(
                invalid("variables from keys need a program to have them".to_owned()).help("give it behind `--`")
            );
        } else {
            Environment::default()
        };
        let sets = self.set.iter().map(|set| Set {
            dir: set.dir.clone(),
            dir_mode: set.dir_mode,
            check: set.check.clone(),
        });
        let sets: Vec<Set> = sets.collect();
        let mut templates = Vec::new();
        for raw in self.template {
            templates.push(template(raw, None, self.sandbox.as_ref())?);
        }
        for (number, set) in self.set.into_iter().enumerate() {
            for mut raw in set.template {
                raw.on_change = raw.on_change.or_else(|| set.on_change.clone());
                templates.push(template(raw, Some((number, &sets[number].dir)), self.sandbox.as_ref())?);
            }
        }
        for one in &mut templates {
            if let Some(on_change) = one.on_change.as_ref().filter(|on_change| cannot(on_change)) {
                return Err(needs_program(on_change, Some(&one.shown)));
            }
            if once && one.on_change.as_ref().is_some_and(reload) {
                one.on_change = Some(OnChange::Nothing);
            }
        }
        // With a program it is a supervisor, if nothing else.
        if templates.is_empty() && !environment.reads_keys() && !supervises {
            let problem = Problem::new(exit::USAGE, "there is no template, and no program behind --");
            return Err(problem.help("give one with -t SRC:DST or in a file with -c, or variables with --env PREFIX"));
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
            splay: self.splay.unwrap_or(defaults.splay),
            confirm: self.confirm.map(RawConfirm::check).transpose()?,
            kill_signal: self.exec.kill_signal.unwrap_or(defaults.kill_signal),
            kill_timeout: self.exec.kill_timeout.unwrap_or(defaults.kill_timeout),
            restart: self.exec.restart.unwrap_or(defaults.restart),
            retry_for: self.retry_for.filter(|limit| !limit.is_zero()),
            once,
            supervises,
        };
        let name = name(&templates, &self.exec.command, &environment);
        let state_dir = self
            .state_dir
            .unwrap_or_else(|| state_dir(&templates, &sets, &name, self.here.as_deref()));
        let cache = self.cache_dir.map(|dir| Cache {
            file: dir.join(format!("agent-{name}.cache")),
            max_stale: self.max_stale,
        });
        if cache.is_none() && self.max_stale.is_some() {
            let problem = invalid("max_stale is how old a cache may be, and there is none".to_owned());
            return Err(problem.help("name a folder for it with cache_dir, or leave max_stale out"));
        }
        Ok(Config {
            policy,
            templates,
            sets,
            partials: self.partials,
            deny_helpers: self.deny_helpers,
            check: self.check,
            command_timeout: self.command_timeout.unwrap_or(COMMAND_TIMEOUT),
            command: if supervises { self.exec.command } else { Vec::new() },
            reload_signal,
            map_signal,
            environment,
            telling,
            pid_file: self.pid_file,
            ready_file: self.ready_file,
            exit_file: self.exit_file,
            state_dir,
            cache,
        })
    }
}

fn needs_program(on_change: &OnChange, shown: Option<&str>) -> Problem {
    let of = shown.map_or(String::new(), |shown| format!(" of {shown}"));
    invalid(format!("on-change {on_change}{of} needs a program to reload"))
        .help("give it behind `--`, or choose on-change none or command=...")
}

fn template(raw: RawTemplate, set: Option<(usize, &PathBuf)>, sandbox: Option<&PathBuf>) -> Result<Template, Problem> {
    let shown = match set {
        Some((_, dir)) => dir.join(&raw.destination),
        None => raw.destination.clone(),
    };
    let shown = shown.display().to_string();
    let looks = looks(&raw, set.is_some(), &shown)?;
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
    let folder = match &source {
        Source::File(path) => path.parent().map(Path::to_owned),
        Source::Inline(_) => None,
    };
    Ok(Template {
        place: Place {
            base: folder.unwrap_or(raw.base),
            sandbox: raw.sandbox.or_else(|| sandbox.cloned()),
        },
        source,
        destination,
        shown,
        looks,
        check: raw.check,
        on_change: raw.on_change,
    })
}

fn looks(raw: &RawTemplate, in_set: bool, shown: &str) -> Result<Looks, Problem> {
    let alone = [
        ("backup", raw.backup.is_some()),
        ("create_dirs", raw.create_dirs.is_some()),
        ("dir_mode", raw.dir_mode.is_some()),
    ];
    if let Some((name, _)) = alone.iter().find(|(_, given)| in_set && *given) {
        return Err(invalid(format!("{name} does not fit {shown}, which lies in a set"))
            .help("a set makes its folders itself, with the set's dir_mode, and keeps the one before"));
    }
    Ok(Looks {
        mode: raw.perms,
        user: raw.user.clone(),
        group: raw.group.clone(),
        backup: raw.backup.unwrap_or_default(),
        create_dirs: raw.create_dirs.unwrap_or(true),
        dir_mode: raw.dir_mode,
    })
}

/// A name of all destinations together, or of the program and its variables: several agents may share a folder.
fn name(templates: &[Template], command: &[String], environment: &Environment) -> String {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    let destinations = templates.iter().map(|template| &template.shown);
    let variables = command.iter().chain(&environment.prefixes);
    for part in destinations.chain(variables.filter(|_| templates.is_empty())) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize())[..12].to_owned()
}

/// Beside the first destination, else in the working directory.
fn state_dir(templates: &[Template], sets: &[Set], name: &str, here: Option<&Path>) -> PathBuf {
    let first = templates.iter().find_map(|template| match &template.destination {
        Destination::File(path) => path.parent(),
        Destination::InSet { set, .. } => sets[*set].dir.parent(),
        Destination::Stdout => None,
    });
    first.or(here).unwrap_or(Path::new("/")).join(format!("{STATE}{name}"))
}
