//! The processes of instances, by the kernel's table: what a scheduler says of them is not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill as send};
use nix::unistd::{Pid, getsid};

/// What a process of an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// On its way to become one of the others.
    Coming,
    Agent,
    Server,
}

/// Whose processes are looked for.
#[derive(Debug, Clone)]
pub(crate) enum Whose {
    /// Of tasks that work below a folder.
    Below(PathBuf),
    /// Of these tasks.
    Tasks(BTreeSet<String>),
}

/// A process of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The work folder of its task, or its name.
    task: String,
    pub(crate) part: Part,
}

/// Who there is, kept from one look to the next: of a process that was known only its being there is looked at.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// `None` is a stranger.
    known: BTreeMap<u32, Option<Member>>,
    /// Those that were on both lists of the last look.
    stayed: BTreeSet<u32>,
}

impl Census {
    /// Reads the table twice, one list right after the other. Reading one takes time, in which some end and others begin; but
    /// who is on both was there between the two, and who was there between the two is on one of them, unless it lived no longer
    /// than they take.
    pub(crate) fn look(&mut self, whose: &Whose) {
        let first: BTreeSet<u32> = pids().collect();
        let second: BTreeSet<u32> = pids().collect();
        let there = &first | &second;
        self.stayed = &first & &second;
        self.known.retain(|pid, _| there.contains(pid));
        for pid in there {
            let known = self.known.entry(pid).or_default();
            if known.as_ref().is_none_or(|member| member.part == Part::Coming) {
                *known = member(pid, whose);
            }
        }
    }

    pub(crate) fn of(&self, part: Part) -> Vec<u32> {
        let all = self
            .known
            .iter()
            .filter_map(|(pid, known)| Some((pid, known.as_ref()?)));
        all.filter(|(_, member)| member.part == part)
            .map(|(pid, _)| *pid)
            .collect()
    }

    /// How many instances had a process between the two lists of the last look: no fewer than these.
    pub(crate) fn at_least(&self) -> usize {
        self.tasks(|pid| self.stayed.contains(&pid))
    }

    /// The same: no more than these.
    pub(crate) fn at_most(&self) -> usize {
        self.tasks(|_| true)
    }

    /// How many tasks have one of these processes.
    fn tasks(&self, is_one: impl Fn(u32) -> bool) -> usize {
        let members = self.known.iter().filter(|(pid, _)| is_one(**pid));
        let tasks = members.filter_map(|(_, known)| known.as_ref().map(|member| &member.task));
        tasks.collect::<BTreeSet<_>>().len()
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn member(pid: u32, whose: &Whose) -> Option<Member> {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let variable = |name: &[u8]| {
        let mut all = environ.split(|byte| *byte == 0);
        std::str::from_utf8(all.find_map(|part| part.strip_prefix(name))?).ok()
    };
    let task = match whose {
        Whose::Below(folder) => variable(b"KEYWAY_TASK_DIR=").filter(|task| Path::new(task).starts_with(folder)),
        Whose::Tasks(tasks) => variable(b"KEYWAY_TASK=").filter(|task| tasks.contains(*task)),
    }?;
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let part = match words.split(|byte| *byte == 0).nth(1) {
        // What it is just about to start looks like itself, and founded no session.
        Some(b"--stay" | b"agent" | b"run") if founded_a_session(pid) => Part::Agent,
        Some(b"demo-app") => Part::Server,
        _ => Part::Coming,
    };
    let task = task.into();
    Some(Member { task, part })
}

fn founded_a_session(pid: u32) -> bool {
    let pid = i32::try_from(pid).map(Pid::from_raw);
    pid.is_ok_and(|pid| getsid(Some(pid)) == Ok(pid))
}

/// KILL to all processes of instances whose tasks work below a folder.
pub(crate) fn kill(folder: &Path) {
    let whose = Whose::Below(folder.into());
    for pid in pids().filter(|pid| member(*pid, &whose).is_some()) {
        if let Ok(pid) = i32::try_from(pid) {
            // It may have ended by itself just now.
            let _ = send(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn who_has_gone_since_the_last_look_is_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let whose = Whose::Below(folder.path().into());
        let start = |task: &str| {
            let mut sleep = Command::new("sleep");
            sleep
                .arg("1000")
                .env("KEYWAY_TASK_DIR", folder.path().join(task))
                .spawn()
                .unwrap()
        };
        let mut all = [start("a"), start("a"), start("b")];
        let mut census = Census::default();

        census.look(&whose);
        assert_eq!((census.at_least(), census.at_most()), (2, 2));

        for child in &mut all[1..] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        census.look(&whose);
        assert_eq!((census.at_least(), census.at_most()), (1, 1));
        all[0].kill().unwrap();
        all[0].wait().unwrap();
    }

    #[test]
    fn who_is_on_one_list_alone_was_there_or_was_not() {
        let member = |task: &str| {
            let part = Part::Server;
            Some(Member {
                task: task.into(),
                part,
            })
        };
        let census = Census {
            known: [
                (1, member("a")),
                (2, member("a")),
                (3, member("b")),
                (4, None),
                (5, member("c")),
            ]
            .into(),
            stayed: [2, 3, 4].into(),
        };

        assert_eq!((census.at_least(), census.at_most()), (2, 3));
    }
}
