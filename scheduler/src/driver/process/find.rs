//! The tasks that are there when a scheduler starts.

use std::collections::{HashMap, HashSet};

use rustix::process::Signal;

use super::super::{End, Found, Handle, TaskId};
use super::sweep::Reach;
use super::table::{self, Entry};
use super::{FOLDER, Inner, LAUNCHER, Leader, PID, Processes, STAY, TASK};

/// Who is there of one task.
#[derive(Debug, Default)]
struct Present {
    leader: Option<Entry>,
    /// The sessions of those that have lost theirs.
    others: HashSet<i32>,
}

impl Processes {
    /// See [`super::super::Driver::find`]. What is left of a task whose leader has ended is ended as well.
    pub(in super::super) async fn find(&self) -> anyhow::Result<Vec<Found>> {
        let inner = std::sync::Arc::clone(&self.0);
        let look = move || (inner.present(), inner.sandboxes.tasks(), inner.groups.tasks());
        let (present, folders, groups) = tokio::task::spawn_blocking(look).await?;
        let mut tasks: HashSet<TaskId> = folders?.into_iter().collect();
        tasks.extend(present.keys().cloned());
        tasks.extend(groups);
        let mut found = Vec::new();
        for task in tasks {
            let there = present.get(&task);
            let leader = there.and_then(|present| present.leader);
            if let (None, Some(there)) = (leader, there) {
                for session in &there.others {
                    let gone = Leader::new(task.clone(), *session, 0);
                    self.0.sweeper.send(gone, Reach::Session, Signal::KILL).await;
                }
            }
            let ended = match leader {
                Some(_) => None,
                None => {
                    let told = self.0.sandboxes.told(&task).unwrap_or(End::Gone);
                    Some(Inner::cleared(&self.0, task.clone(), told).await)
                }
            };
            found.push(Found {
                task,
                handle: leader.map_or(Handle::Process { pid: 0, started: 0 }, |leader| Handle::Process {
                    pid: leader.pid,
                    started: leader.started,
                }),
                ended,
            });
        }
        found.sort_by(|a, b| a.task.cmp(&b.task));
        Ok(found)
    }
}

impl Inner {
    fn present(&self) -> HashMap<TaskId, Present> {
        let mut all: HashMap<TaskId, Present> = HashMap::new();
        for entry in table::all().into_iter().filter(|entry| !entry.dead) {
            let environment = table::environment(entry.pid);
            let (Some(task), Some(folder)) = (
                table::variable(&environment, TASK),
                table::variable(&environment, FOLDER),
            ) else {
                continue;
            };
            let task = TaskId(task.to_owned());
            if self.folder(&task).to_str() != Some(folder) {
                continue;
            }
            let present = all.entry(task).or_default();
            // What a leader is just about to start looks like itself, and founded no session.
            let known = present.leader.is_some_and(|leader| leader.session == leader.pid);
            if !known && leads(&entry, &environment) {
                present.leader = Some(entry);
            } else {
                present.others.insert(entry.session);
            }
        }
        all
    }
}

/// Whether this is its task's first process: what it started has the same environment.
fn leads(entry: &Entry, environment: &[String]) -> bool {
    match table::variable(environment, PID) {
        Some(pid) => pid.parse() == Ok(entry.pid),
        None => {
            let words = table::words(entry.pid);
            let mut words = words.iter().map(String::as_str);
            words.next() == Some(LAUNCHER) && matches!(words.next(), Some(STAY | "--pid"))
        }
    }
}
