//! Processes: the supervised child, and commands that run for a moment.
//!
//! Each gets a process group of its own. A signal that asks for a reload is held back until the
//! program has a handler for it: sent a moment too early it would kill what it should reload.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use kvapi::problem::exit;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use crate::announce::NOTIFY_SOCKET;
use crate::environment::{Environment, variables};
use crate::policy::CommandLine;
use crate::reap::{Exit, Reaper, Started};
use crate::terminal;

/// How long a program may take to install its handler.
const HANDLER: Duration = Duration::from_secs(10);

/// How many looks in a row have to find a signal blocked, for it to be so on purpose.
const HELD: u32 = 20;

/// Starts the child with our input and output. The error carries the exit code: 126 or 127.
///
/// It inherits what `environment` lets it; `keyed` are its variables that come from keys.
pub fn start(
    reaper: &Reaper,
    words: &[String],
    environment: &Environment,
    keyed: Option<&str>,
) -> Result<Started, (u8, String)> {
    let Some((program, arguments)) = words.split_first() else {
        return Err((exit::USAGE, "there is no command to start".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    for (name, _) in std::env::vars_os() {
        if is_ours(&name) || !environment.inherits(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.envs(&environment.custom);
    command.envs(keyed.into_iter().flat_map(variables));
    let started = reaper.spawn_group(&mut command).map_err(|error| {
        let code = if error.kind() == io::ErrorKind::NotFound {
            exit::NOT_FOUND
        } else {
            exit::NOT_EXECUTABLE
        };
        (code, format!("cannot start `{program}`: {error}"))
    })?;
    terminal::give(reaper, started.pid);
    Ok(started)
}

/// Whether a variable is meant for the agent: what lets it into the store, or one of its flags.
fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // Word of readiness is the agent's to give.
    name == NOTIFY_SOCKET || name == "KEYWAY_TOKEN" || name == "KEYWAY_TOKEN_FILE" || name.starts_with("KEYWAY_AGENT_")
}

/// Returns when nobody is left in the process group of a child that has ended.
pub async fn swept(reaper: &Reaper, group: Pid) {
    // The kernel tells nobody when a group becomes empty.
    while reaper.group_left(group) {
        sleep(Duration::from_millis(5)).await;
    }
}

/// Sends a reload signal to the child itself, once it would survive it.
pub async fn reload(reaper: &Reaper, pid: Pid, signal: Signal) -> Result<(), String> {
    let until = Instant::now() + HANDLER;
    let mut held = 0;
    loop {
        match disposition(pid, signal) {
            None | Some(Disposition::Survives) => break,
            Some(Disposition::Held) if held == HELD => break,
            Some(Disposition::Held) => held += 1,
            Some(Disposition::Dies) => held = 0,
        }
        if Instant::now() >= until {
            return Err(format!("process {pid} has no handler for {signal} and would die of it"));
        }
        // The kernel tells nobody when a process changes how it takes a signal.
        sleep(Duration::from_millis(5)).await;
    }
    reaper
        .signal(pid, signal)
        .map_err(|error| format!("cannot send {signal} to process {pid}: {error}"))
}

/// What a signal would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposition {
    /// It is handled or ignored.
    Survives,
    /// It is blocked: for good by a program that waits for signals, for a moment by a shell that
    /// is starting a process.
    Held,
    /// It ends the process.
    Dies,
}

/// What a signal would do to a process now; `None` if nobody can tell.
fn disposition(pid: Pid, signal: Signal) -> Option<Disposition> {
    if matches!(
        signal,
        Signal::SIGCHLD | Signal::SIGURG | Signal::SIGWINCH | Signal::SIGCONT
    ) {
        return Some(Disposition::Survives);
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bit = 1u64 << (signal as u32 - 1);
    let has = |field: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some(u64::from_str_radix(mask.trim(), 16).ok()? & bit != 0)
    };
    Some(if has("SigCgt:")? || has("SigIgn:")? {
        Disposition::Survives
    } else if has("SigBlk:")? {
        Disposition::Held
    } else {
        Disposition::Dies
    })
}

/// Ends what is left of a command's process group when nobody waits for the command any more.
///
/// Once the command itself has ended this does nothing: what it left in the background was meant
/// to stay.
#[derive(Debug)]
struct Leash<'a> {
    reaper: &'a Reaper,
    group: Pid,
}

impl Drop for Leash<'_> {
    fn drop(&mut self) {
        let _ = self.reaper.signal_group(self.group, Signal::SIGKILL);
    }
}

/// Runs a command until it ends; the error tells what it said. After `limit`, or dropped before that, it
/// takes the command and its process group with it.
pub async fn run(
    reaper: &Reaper,
    line: &CommandLine,
    env: &BTreeMap<String, String>,
    limit: Duration,
) -> Result<(), String> {
    let (program, arguments) = line.program();
    let mut command = Command::new(program);
    command.args(arguments).envs(env).process_group(0);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut started = reaper
        .spawn(&mut command)
        .map_err(|error| format!("cannot start `{program}`: {error}"))?;
    let _leash = Leash {
        reaper,
        group: started.pid,
    };
    // Each pipe is read by a thread of its own: a command that fills one would wait for ever.
    let said = [drain(started.child.stdout.take()), drain(started.child.stderr.take())];
    let exit = match timeout(limit, started.exit).await {
        Ok(Ok(exit)) => exit,
        Ok(Err(_)) => return Err("its exit was lost".to_owned()),
        Err(_) => {
            let limit = kvapi::duration::format(limit);
            return Err(format!("it took longer than {limit} (command_timeout)"));
        }
    };
    if exit == Exit::Code(0) {
        return Ok(());
    }
    let mut told = format!("it {exit}");
    for pipe in said {
        // A background process may hold the pipe open.
        let text = timeout(Duration::from_secs(1), pipe)
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default();
        if !text.trim().is_empty() {
            told.push_str(": ");
            told.push_str(text.trim());
        }
    }
    Err(told)
}

/// The first 4 KiB of what comes through a pipe; the rest is read and dropped.
fn drain(pipe: Option<impl io::Read + Send + 'static>) -> tokio::sync::oneshot::Receiver<String> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut first = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(4096).read_to_end(&mut first);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        let _ = sender.send(String::from_utf8_lossy(&first).into_owned());
    });
    receiver
}
