//! The kernel's table of processes, as `/proc` shows it.

use std::fs;
use std::time::Duration;

/// How long a process may take to become another program.
const PAUSE: Duration = Duration::from_millis(2);
const LOOKS: u32 = 500;

/// What identifies a process and those that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: i32,
    /// It has ended, and its parent has not collected it.
    pub(super) dead: bool,
    pub(super) group: i32,
    pub(super) session: i32,
    /// Clock ticks since boot: with the pid, it means this process and no other.
    pub(super) started: u64,
}

impl Entry {
    /// `None` if there is no such process.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// A line of `/proc/PID/stat`. The program's name is in parentheses, and may have any character in it.
    fn parse(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(" (")?;
        let (_, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            pid: pid.parse().ok()?,
            dead: matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// All processes that there are.
pub(super) fn all() -> Vec<Entry> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Entry::of).collect()
}

/// The words that a process was started with.
pub(super) fn words(pid: i32) -> Vec<String> {
    strings(&format!("/proc/{pid}/cmdline"))
}

/// The environment that a process was started with, as `NAME=value`. In the moment in which it becomes another program it
/// seems to have neither environment nor words: that moment is waited for to pass.
pub(super) fn environment(pid: i32) -> Vec<String> {
    for _ in 0..LOOKS {
        let environment = strings(&format!("/proc/{pid}/environ"));
        if !environment.is_empty() || !words(pid).is_empty() || is_over(pid) {
            return environment;
        }
        std::thread::sleep(PAUSE);
    }
    Vec::new()
}

/// Whether it has ended, or never was a program: what is the kernel's own has no session.
fn is_over(pid: i32) -> bool {
    Entry::of(pid).is_none_or(|entry| entry.dead || entry.session == 0)
}

/// The value of a variable among such.
pub(super) fn variable<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    environment
        .iter()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// Strings that each end with a zero byte. None of a process that has ended, or is not ours to look at.
fn strings(path: &str) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    let strings = bytes.split_inclusive(|byte| *byte == 0);
    strings
        .filter_map(|string| Some(String::from_utf8_lossy(string.strip_suffix(&[0])?).into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_any_character() {
        let line = "42 (a) S (b c) Z 1 40 39 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 7421 0 0 18446744073709551615";
        let entry = Entry {
            pid: 42,
            dead: true,
            group: 40,
            session: 39,
            started: 7421,
        };
        assert_eq!(Entry::parse(line), Some(entry));
        for line in ["", "42", "42 (a", "42 (a) S 1 1"] {
            assert_eq!(Entry::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_process_finds_itself() {
        let me = i32::try_from(std::process::id()).unwrap();
        let entry = Entry::of(me).unwrap();
        assert!(!entry.dead && entry.started > 0);
        assert!(all().contains(&entry));
        assert!(!words(me).is_empty());
        let path = std::env::var("PATH").unwrap();
        assert_eq!(variable(&environment(me), "PATH"), Some(path.as_str()));
    }
}
