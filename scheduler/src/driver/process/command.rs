//! How a task becomes a process: the words that start it, and its environment.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::super::{Launch, Settings};
use super::{FOLDER, LAUNCHER, PID, STAY, TASK};
use crate::app;

/// Where programs are looked for, if nobody says otherwise, not even to the scheduler.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a process is to its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Role {
    /// Its first process, as another program than ours; it says so in its environment.
    Leads,
    /// Its first process, and our own program: it is not started twice.
    LeadsAsOurs,
    #[default]
    Helps,
}

/// What is to be done before a program starts.
#[derive(Debug, Default)]
pub(super) struct Before<'a> {
    pub(super) role: Role,
    /// In numbers.
    pub(super) user: Option<&'a str>,
    /// Files by which it joins control groups.
    pub(super) groups: &'a [std::path::PathBuf],
}

/// The words that a task is, with its agent if it has one; `None` if there is nothing to start.
/// Where the agent says how it ended is told to it.
pub(super) fn words(launch: &Launch, settings: &Settings, exit_file: &Path) -> Option<Vec<String>> {
    let program = match launch.command.as_ref()? {
        app::Command::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        app::Command::Args(words) if words.is_empty() => return None,
        app::Command::Args(words) => words.clone(),
    };
    let Some(agent) = &launch.agent else {
        return Some(program);
    };
    let mut words = vec![settings.program.to_string_lossy().into_owned()];
    words.extend_from_slice(&settings.agent);
    words.extend(["run".to_owned(), "--exit-file".to_owned()]);
    words.push(exit_file.to_string_lossy().into_owned());
    words.extend_from_slice(&agent.flags);
    words.push("--".to_owned());
    words.extend(program);
    Some(words)
}

/// A task's environment: what it is given, and the little that every program expects.
pub(super) fn environment(
    launch: &Launch,
    settings: &Settings,
    folder: &Path,
    home: Option<&str>,
) -> BTreeMap<String, String> {
    let folder = folder.to_string_lossy().into_owned();
    let mut all = BTreeMap::from([
        ("HOME".to_owned(), home.map_or_else(|| folder.clone(), str::to_owned)),
        ("MESOS_SANDBOX".to_owned(), folder.clone()),
        (
            "PATH".to_owned(),
            std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned()),
        ),
    ]);
    all.extend(
        settings
            .store
            .iter()
            .map(|store| ("KEYWAY_ADDR".to_owned(), store.clone())),
    );
    all.extend(launch.env.clone());
    all.extend(
        launch
            .secret_variables()
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    // By these it is found again: they are nobody else's to say.
    all.insert(TASK.to_owned(), launch.task.0.clone());
    all.insert(FOLDER.to_owned(), folder);
    all
}

/// A command that becomes the leader of a session, and then the words.
pub(super) fn launcher(program: &Path, before: &Before<'_>, words: &[String]) -> Command {
    let mut command = Command::new(program);
    command.arg0(LAUNCHER);
    match before.role {
        Role::Leads => command.args(["--pid", PID]),
        Role::LeadsAsOurs => command.arg(STAY),
        Role::Helps => &mut command,
    };
    for group in before.groups {
        command.arg("--group").arg(group);
    }
    if let Some(user) = before.user {
        command.args(["--user", user]);
    }
    command.arg("--").args(words).env_clear();
    command
}
