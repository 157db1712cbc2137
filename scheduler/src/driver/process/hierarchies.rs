//! Where the groups of tasks are, in the hierarchies of control groups that are mounted.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::TaskId;

/// What a hierarchy limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Version 2: everything.
    Unified,
    Memory,
    Cpu,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) kind: Kind,
    pub(super) folder: PathBuf,
}

impl Hierarchy {
    pub(super) fn of(&self, task: &TaskId) -> PathBuf {
        self.folder.join(&task.0)
    }
}

/// Below these the groups of all tasks of one scheduler are, by the name that it gives them.
pub(super) fn of_this_process(name: &str) -> Vec<Hierarchy> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let limits_memory = |mounted: &Path| {
        let controllers = fs::read_to_string(mounted.join("cgroup.controllers")).unwrap_or_default();
        controllers.split_whitespace().any(|controller| controller == "memory")
    };
    let mut found = hierarchies(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"), limits_memory);
    for hierarchy in &mut found {
        hierarchy.folder.push(name);
    }
    found
}

/// From what is mounted, and where this process is. A hierarchy of version 2 may be there and limit nothing: then those of
/// version 1 do.
fn hierarchies(mounts: &str, places: &str, limits_memory: impl Fn(&Path) -> bool) -> Vec<Hierarchy> {
    let unified = mounts.lines().find_map(|line| mount(line, "cgroup2", ""));
    if let Some((mounted, root)) = unified.filter(|(mounted, _)| limits_memory(mounted)) {
        // Beside this process: a group that has members hands nothing on to others below it.
        let place = below(&mounted, &root, place(places, ""));
        let folder = if place == mounted {
            &mounted
        } else {
            place.parent().unwrap_or(&mounted)
        };
        return vec![Hierarchy {
            kind: Kind::Unified,
            folder: folder.to_owned(),
        }];
    }
    let kinds = [(Kind::Memory, "memory"), (Kind::Cpu, "cpu")];
    let found = kinds.into_iter().filter_map(|(kind, controller)| {
        let (mounted, root) = mounts.lines().find_map(|line| mount(line, "cgroup", controller))?;
        Some(Hierarchy {
            kind,
            folder: below(&mounted, &root, place(places, controller)),
        })
    });
    found.collect()
}

/// Where a hierarchy is mounted, and what of it, if a line of mountinfo is about one with this controller.
fn mount(line: &str, filesystem: &str, controller: &str) -> Option<(PathBuf, String)> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(3);
    let (root, mounted) = (front.next()?, front.next()?);
    let mut back = back.split(' ');
    let has = |options: &str| controller.is_empty() || options.split(',').any(|option| option == controller);
    (back.next()? == filesystem && has(back.nth(1)?)).then(|| (mounted.into(), root.to_owned()))
}

/// The group that this process is in.
fn place<'a>(places: &'a str, controller: &str) -> &'a str {
    let found = places.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, place) = rest.split_once(':')?;
        controllers.split(',').any(|one| one == controller).then_some(place)
    });
    found.unwrap_or("/")
}

/// A group's folder; of a part of a hierarchy only what is in it can be seen.
fn below(mounted: &Path, root: &str, place: &str) -> PathBuf {
    let place = Path::new(place).strip_prefix(root).unwrap_or(Path::new(""));
    if place.as_os_str().is_empty() {
        mounted.to_owned()
    } else {
        mounted.join(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "41 30 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";

    fn found(mounts: &str, places: &str, limits: bool) -> Vec<(Kind, String)> {
        let all = hierarchies(mounts, places, |_| limits).into_iter();
        all.map(|one| (one.kind, one.folder.display().to_string())).collect()
    }

    #[test]
    fn of_version_2_tasks_are_beside_the_scheduler() {
        let places = "0::/system.slice/keyway.service\n";
        assert_eq!(
            found(V2, places, true),
            [(Kind::Unified, "/sys/fs/cgroup/system.slice".into())]
        );
        assert_eq!(found(V2, "0::/\n", true), [(Kind::Unified, "/sys/fs/cgroup".into())]);
    }

    #[test]
    fn of_version_1_tasks_are_below_the_scheduler_in_each_hierarchy() {
        let mounts = format!("{V1}\n{V2}");
        let places = "4:memory:/box/here\n1:cpu,cpuacct:/there\n0::/\n";
        let wanted = [
            (Kind::Memory, "/sys/fs/cgroup/memory/here".to_owned()),
            (Kind::Cpu, "/sys/fs/cgroup/cpu,cpuacct/there".to_owned()),
        ];
        assert_eq!(found(&mounts, places, false), wanted);
        assert_eq!(found("", places, false), []);
    }
}
