//! What follows a change: there, each template may have a command with a limit of its own, and the
//! program is reloaded beside it; here the nearest `on_change` counts, and there is one limit.

use std::time::Duration;

use super::agent_toml::{list, text};
use super::report::Finding;
use super::settings::{Command, Settings, Template};

/// How long a command may take where nothing is said; both agree.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What follows a change, as agent.toml has it.
pub(super) struct After {
    /// Of any file.
    pub on_change: Option<String>,
    /// Whether templates have their own.
    each: bool,
    /// How long a command may take.
    pub timeout: Option<Duration>,
}

impl After {
    /// Of all templates.
    pub(super) fn of(settings: &Settings, findings: &mut Vec<Finding>) -> Self {
        let mut after = Self {
            on_change: None,
            each: true,
            timeout: None,
        };
        if settings.exec.command.is_some() {
            after.on_change = Some(match settings.exec.reload_signal.as_deref() {
                None => text("restart"),
                Some("") => text("none"),
                Some(signal) => text(&format!("signal={signal}")),
            });
            after.each = settings.exec.reload_signal.as_deref() == Some("");
        }
        if !after.each {
            beside(settings, findings);
            return after;
        }
        after.timeout = timeout(settings, findings);
        if settings.exec.command.is_none() {
            let mut commands = settings.templates.iter().map(|template| template.command.as_ref());
            let first = commands.next().flatten().map(|(command, _)| command);
            let same = |other: Option<&(Command, usize)>| other.map(|(command, _)| command) == first;
            if first.is_some() && commands.all(same) {
                after.on_change = first.map(reaction);
                after.each = false;
            }
        }
        after
    }

    /// Of this template alone.
    pub(super) fn alone(&self, template: &Template) -> Option<String> {
        let (command, _) = template.command.as_ref().filter(|_| self.each)?;
        Some(reaction(command))
    }
}

fn reaction(command: &Command) -> String {
    match command {
        Command::Shell(line) => text(&format!("command={line}")),
        Command::List(words) => format!("{{ command = {} }}", list(words)),
    }
}

/// Commands beside the program's reload.
fn beside(settings: &Settings, findings: &mut Vec<Finding>) {
    for template in &settings.templates {
        let Some((command, line)) = &template.command else {
            continue;
        };
        let what = format!(
            "`{}` is run after a change of this file and beside the program's reload; here it would take its place",
            command.shell()
        );
        let remedy =
            "use it as `check`, or as `on_change` of this template with a command that reloads the program too";
        findings.push(Finding::look(&template.file, *line, what, remedy));
    }
}

/// The longest that one of them has; shorter ones are told.
fn timeout(settings: &Settings, findings: &mut Vec<Finding>) -> Option<Duration> {
    let limit = |template: &Template| template.timeout.map_or(TIMEOUT, |(limit, _)| limit);
    let commands = || settings.templates.iter().filter(|template| template.command.is_some());
    let longest = commands().map(limit).max()?;
    for template in commands().filter(|template| limit(template) < longest) {
        let command = template.command.as_ref().map_or(template.line, |(_, line)| *line);
        let line = template.timeout.map_or(command, |(_, line)| line);
        let what = format!(
            "a command that may take {} may take {} here, like all of them",
            kvapi::duration::format(limit(template)),
            kvapi::duration::format(longest)
        );
        findings.push(Finding::look(
            &template.file,
            line,
            what,
            "have the command limit itself with timeout(1)",
        ));
    }
    (longest != TIMEOUT).then_some(longest)
}
