//! A health check's command beside a task's process.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::super::{Answer, TaskId};
use super::Processes;
use super::command::{self, Before};
use super::table::{self, Entry};

/// How much of the end of what a command wrote is of interest.
const OUTPUT: u64 = 4096;

impl Processes {
    /// See [`super::super::Driver::run_check`]. Environment and user are the task's own, as the kernel knows them.
    pub(in super::super) async fn run_check(
        &self,
        task: &TaskId,
        pid: i32,
        started: u64,
        line: &str,
        limit: Duration,
    ) -> anyhow::Result<Answer> {
        let environment = tokio::task::spawn_blocking(move || table::environment(pid)).await?;
        let user = user_of(pid).filter(|_| rustix::process::geteuid().is_root());
        let is_it = Entry::of(pid).is_some_and(|entry| entry.started == started && !entry.dead);
        anyhow::ensure!(is_it, "{} does not run", task.0);
        // Into memory, since a process that it leaves behind would hold a pipe open.
        let output = File::from(memfd_create("check", MemfdFlags::CLOEXEC)?);
        let before = Before {
            user: user.as_deref(),
            ..Before::default()
        };
        let words = ["/bin/sh", "-c", line].map(str::to_owned);
        let mut command = command::launcher(&self.0.settings.program, &before, &words);
        command
            .envs(environment.iter().filter_map(|line| line.split_once('=')))
            .current_dir(self.0.folder(task))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?);
        let child = Command::from(command).spawn().context("start the command of a check")?;
        let status = Leashed(child).within(limit).await?;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default();
        Ok(Answer {
            code: status.code().unwrap_or(128 + signal),
            output: end_of(output)?,
        })
    }
}

/// A command that ends, with everything in its group, when nobody waits for it any more.
#[derive(Debug)]
struct Leashed(Child);

impl Leashed {
    async fn within(mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        match tokio::time::timeout(limit, self.0.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => anyhow::bail!("it took longer than {} ms", limit.as_millis()),
        }
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        // It has a number only as long as nobody has collected it.
        let pid = self.0.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
            // Before it has made itself a group.
            let _ = self.0.start_kill();
        }
    }
}

fn end_of(mut file: File) -> io::Result<String> {
    let from = file.metadata()?.len().saturating_sub(OUTPUT);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(OUTPUT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// User and groups of a process, as the launcher takes them.
fn user_of(pid: i32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    // Effective ones, which are second.
    let (user, group) = (numbers("Uid:")?.get(1)?.clone(), numbers("Gid:")?.get(1)?.clone());
    let groups = numbers("Groups:")?.into_iter().filter(|other| *other != group);
    let groups: Vec<String> = std::iter::once(group.clone()).chain(groups).collect();
    Some(format!("{user}:{}", groups.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_the_user_that_it_has() {
        let me = i32::try_from(std::process::id()).unwrap();
        let numbers = user_of(me).unwrap();
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        assert!(
            numbers.starts_with(&format!("{}:{}", user.as_raw(), group.as_raw())),
            "{numbers}"
        );
    }
}
