//! Control groups: what a task may use of memory and processors, and who is of it, whatever session they are in.
//!
//! Of version 2 there is one hierarchy, of version 1 one for each kind of limit. In either, tasks are beside or below the
//! scheduler, so that a limit which holds for the scheduler holds for them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use super::super::TaskId;
use super::grip::Grip;
use super::hierarchies::{self, Hierarchy, Kind};
use super::table::Entry;
use crate::app::Resources;

/// What the folders of all schedulers' groups begin with.
const PREFIX: &str = "keyway-";

/// From then on a group without members is nobody's who is about to start: its scheduler was killed, and none came behind it.
const OLD: Duration = Duration::from_mins(10);

/// How long killed processes have to be gone before a group can be removed.
const PAUSE: Duration = Duration::from_millis(5);
const LOOKS: u32 = 200;

/// See the module.
#[derive(Debug)]
pub(super) struct Groups {
    hierarchies: Vec<Hierarchy>,
    /// That there are none is said once.
    told: AtomicBool,
    /// The folder that all tasks' groups are in goes with the last of them, and not while one is made.
    making: Mutex<()>,
}

impl Groups {
    /// Those of the tasks whose folders are in this one: another scheduler on the machine has others.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let folder = fs::metadata(folder)?;
        let name = format!("{PREFIX}{}-{}", folder.dev(), folder.ino());
        let hierarchies = hierarchies::of_this_process(&name);
        let before = SystemTime::now().checked_sub(OLD);
        for parent in hierarchies.iter().filter_map(|hierarchy| hierarchy.folder.parent()) {
            before.iter().for_each(|before| clear_old(parent, *before));
        }
        Ok(Self {
            hierarchies,
            told: AtomicBool::new(false),
            making: Mutex::default(),
        })
    }

    /// The tasks that have groups, of whatever scheduler with this folder.
    pub(super) fn tasks(&self) -> Vec<TaskId> {
        let read = |hierarchy: &Hierarchy| fs::read_dir(&hierarchy.folder).ok();
        let entries = self.hierarchies.iter().filter_map(read).flatten().flatten();
        let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups
            .filter_map(|entry| entry.file_name().into_string().ok())
            .map(TaskId)
            .collect()
    }

    fn making(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a task's groups; the files by which its first process joins them. None where that cannot be.
    pub(super) fn create(&self, task: &TaskId, resources: &Resources) -> Vec<PathBuf> {
        let create = |hierarchy: &Hierarchy| create(hierarchy, task, resources);
        let created: io::Result<Vec<PathBuf>> = {
            let _making = self.making();
            self.hierarchies.iter().map(create).collect()
        };
        let why = match created {
            Ok(files) if !files.is_empty() => return files,
            Ok(_) => "no hierarchy of control groups is mounted".to_owned(),
            Err(error) => error.to_string(),
        };
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("tasks have no limits of memory and processors: {why}");
        }
        self.remove_empty(task);
        Vec::new()
    }

    /// Whether the kernel ended a process of a task because it had used up its memory.
    pub(super) fn out_of_memory(&self, task: &TaskId) -> bool {
        self.hierarchies.iter().any(|hierarchy| {
            let file = match hierarchy.kind {
                Kind::Unified => "memory.events",
                Kind::Memory => "memory.oom_control",
                Kind::Cpu => return false,
            };
            let text = fs::read_to_string(hierarchy.of(task).join(file)).unwrap_or_default();
            let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            count.is_some_and(|count| count != "0")
        })
    }

    /// Kills whoever is left in a task's groups, and removes them. Blocks until they are gone.
    pub(super) fn clear(&self, task: &TaskId) {
        for _ in 0..LOOKS {
            let left: Vec<i32> = self
                .hierarchies
                .first()
                .map(|first| members(&first.of(task)))
                .unwrap_or_default();
            if left.is_empty() && self.remove_empty(task) {
                return;
            }
            for pid in left {
                self.kill(task, pid);
            }
            std::thread::sleep(PAUSE);
        }
        tracing::warn!(task = %task.0, "its control group cannot be removed");
    }

    fn kill(&self, task: &TaskId, pid: i32) {
        let Some(entry) = Entry::of(pid) else { return };
        // Whoever has this number and this start is held; that this one is a member is seen only now.
        let grip = Grip::of(pid, entry.started).ok().flatten();
        let is_member = self
            .hierarchies
            .first()
            .is_some_and(|first| members(&first.of(task)).contains(&pid));
        if let (Some(grip), true) = (grip, is_member) {
            let _ = grip.signal(Signal::KILL);
        }
    }

    /// Whether none of a task's is left. With the last task's goes the folder that they are in.
    fn remove_empty(&self, task: &TaskId) -> bool {
        let _making = self.making();
        let removed = self
            .hierarchies
            .iter()
            .map(|hierarchy| match fs::remove_dir(hierarchy.of(task)) {
                Err(error) => error.kind() == io::ErrorKind::NotFound,
                Ok(()) => true,
            });
        // All of them, also after one that cannot be.
        let all = removed.filter(|removed| !removed).count() == 0;
        for hierarchy in &self.hierarchies {
            // It has others in it, or was never made.
            let _ = fs::remove_dir(&hierarchy.folder);
        }
        all
    }
}

/// Removes what schedulers that nobody followed have left: groups without members that were there before then.
fn clear_old(parent: &Path, before: SystemTime) {
    let within = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| entry.path()).collect()
    };
    let is_old = |folder: &Path| {
        let made = fs::metadata(folder).and_then(|folder| folder.modified());
        made.is_ok_and(|made| made < before)
    };
    let is_ours = |folder: &Path| {
        let name = folder.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(PREFIX))
    };
    for folder in within(parent).into_iter().filter(|folder| is_ours(folder)) {
        for group in within(&folder).into_iter().filter(|group| is_old(group)) {
            // One with members stays.
            let _ = fs::remove_dir(group);
        }
        if is_old(&folder) {
            let _ = fs::remove_dir(&folder);
        }
    }
}

fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn create(hierarchy: &Hierarchy, task: &TaskId, resources: &Resources) -> io::Result<PathBuf> {
    let group = hierarchy.of(task);
    if hierarchy.kind == Kind::Unified && !hierarchy.folder.exists() {
        fs::create_dir_all(&hierarchy.folder)?;
        // From the top on, or those below have nothing to hand on.
        for folder in [hierarchy.folder.parent(), Some(&*hierarchy.folder)]
            .into_iter()
            .flatten()
        {
            put(&folder.join("cgroup.subtree_control"), "+memory +cpu")?;
        }
    }
    fs::create_dir_all(&group)?;
    for (file, value) in limits(hierarchy.kind, resources) {
        put(&group.join(file), &value)?;
    }
    Ok(group.join("cgroup.procs"))
}

/// The files of a group that limit it, and what is in them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no machine has so much, and none has less than nothing"
)]
fn limits(kind: Kind, resources: &Resources) -> Vec<(&'static str, String)> {
    let memory = (resources.mem > 0.0).then(|| ((resources.mem * 1024.0 * 1024.0) as u64).to_string());
    // A processor is 1,024 shares; the kernel takes no less than two.
    let shares = ((resources.cpus * 1024.0) as u64).clamp(2, 1 << 18);
    // What version 2 calls a weight goes from 1 to 10,000, as shares go from 2 to 262,144.
    let weight = 1 + (shares - 2) * 9_999 / 262_142;
    match kind {
        Kind::Unified => {
            let memory = memory.map(|memory| ("memory.max", memory));
            memory.into_iter().chain([("cpu.weight", weight.to_string())]).collect()
        }
        Kind::Memory => memory
            .map(|memory| ("memory.limit_in_bytes", memory))
            .into_iter()
            .collect(),
        Kind::Cpu => vec![("cpu.shares", shares.to_string())],
    }
}

fn put(file: &Path, value: &str) -> io::Result<()> {
    let opened = OpenOptions::new().write(true).open(file);
    let written = opened.and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_groups_of_ours_that_have_no_members_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let all = ["keyway-1-2/web", "keyway-1-3/web/more", "other/web"].map(|group| home.path().join(group));
        all.iter().for_each(|group| fs::create_dir_all(group).unwrap());
        let there = || all.clone().map(|group| group.exists());
        let minute = Duration::from_mins(1);
        clear_old(home.path(), SystemTime::now() - minute);
        assert_eq!(there(), [true, true, true], "they are new");
        clear_old(home.path(), SystemTime::now() + minute);
        // What has something in it is as one with members.
        assert_eq!(there(), [false, true, true]);
        assert!(!home.path().join("keyway-1-2").exists());
    }

    #[test]
    fn limits_are_in_the_words_of_each_version() {
        let resources = Resources {
            cpus: 1.0,
            mem: 64.0,
            disk: 0.0,
            gpus: 0,
        };
        let all = |kind| -> Vec<String> {
            limits(kind, &resources)
                .into_iter()
                .map(|(file, value)| format!("{file}={value}"))
                .collect()
        };
        assert_eq!(all(Kind::Unified), ["memory.max=67108864", "cpu.weight=39"]);
        assert_eq!(all(Kind::Memory), ["memory.limit_in_bytes=67108864"]);
        assert_eq!(all(Kind::Cpu), ["cpu.shares=1024"]);
        let none = Resources {
            cpus: 0.0,
            mem: 0.0,
            ..resources
        };
        assert!(limits(Kind::Memory, &none).is_empty(), "no memory named is no limit");
        assert_eq!(limits(Kind::Cpu, &none), [("cpu.shares", "2".to_owned())]);
    }
}
