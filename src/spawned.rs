//! A `keyway` started as a process of its own, found by the first line it prints.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kvapi::problem::exit;
use kvapi::{Address, Problem};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::signals::Stop;

/// How long it may take to say that it is ready, and to stop.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What ends within this is not spoken of.
const SOON: Duration = Duration::from_millis(300);

/// See the module. [`Spawned::stop`] stops it in order; dropping it kills it.
pub(crate) struct Spawned {
    child: Child,
    /// Where it serves.
    pub(crate) address: Address,
    /// The line by which it said that it is ready.
    ready: String,
}

impl Spawned {
    /// Starts `keyway ARGS` in a process group of its own, so that Ctrl-C reaches us alone, and waits
    /// for `ready http=URL`.
    pub(crate) async fn start(args: Vec<OsString>) -> Result<Self, Problem> {
        let mut child = keyway()?
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("start keyway: {e}")))?;
        let stdout = child.stdout.take();
        let first_line = async {
            let mut line = String::new();
            if let Some(stdout) = stdout {
                BufReader::new(stdout).read_line(&mut line).await.ok()?;
            }
            let address = named(&line, "http=")?.split(',').next()?.parse().ok()?;
            Some((address, line))
        };
        let found = timeout(PATIENCE, first_line).await.ok().flatten();
        let (address, ready) = found.ok_or_else(|| {
            Problem::new(exit::UNAVAILABLE, "the process that was started did not become ready")
                .help("its own message is above; try again with -v")
        })?;
        Ok(Self { child, address, ready })
    }

    /// What it has said behind `name=` when it was ready.
    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        named(&self.ready, name)
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// KILL; returns when it is gone.
    pub(crate) async fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().await;
    }

    /// TERM, and after the patience KILL.
    pub(crate) async fn stop(mut self) {
        self.terminate(PATIENCE).await;
    }

    /// The same with a patience of its own, of one that is still to be spoken of.
    pub(crate) async fn terminate(&mut self, patience: Duration) {
        terminate_within(&mut self.child, patience).await;
    }
}

/// The rest of a word that begins so.
fn named<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name))
}

/// TERM, and after the usual patience KILL; returns when it is gone.
pub(crate) async fn terminate(child: &mut Child) {
    terminate_within(child, PATIENCE).await;
}

async fn terminate_within(child: &mut Child, patience: Duration) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended by itself just now.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if timeout(patience, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// TERM to the whole group of a child that leads one, and KILL after the patience, or when it is asked a
/// second time to stop. `waits` is called if it does not end soon. Whether it ended without KILL.
pub(crate) async fn terminate_group(child: &mut Child, stop: &mut Stop, waits: impl FnOnce()) -> bool {
    // It has not been waited for, so nobody else can have its number.
    let Some(group) = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw) else {
        return true;
    };
    // It may have ended by itself just now.
    let _ = killpg(group, Signal::SIGTERM);
    let asked_again = tokio::select! {
        biased;
        () = stop.next() => true,
        _ = child.wait() => return true,
        () = sleep(SOON) => false,
    };
    if !asked_again {
        waits();
        tokio::select! {
            biased;
            () = stop.next() => {}
            _ = child.wait() => return true,
            () = sleep(PATIENCE) => {}
        }
    }
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait().await;
    false
}

/// A program that could not be run, or waited for.
pub(crate) fn not_run(program: &str, error: &io::Error) -> Problem {
    let code = match error.kind() {
        io::ErrorKind::NotFound => exit::NOT_FOUND,
        _ => exit::NOT_EXECUTABLE,
    };
    Problem::new(code, format!("run `{program}`: {error}"))
        .help("what stands behind -- is a program and its arguments; for a shell line, write   -- sh -c '...'")
}

/// As a shell has it: 128+n if signal n ended it.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(signal).unwrap_or_default();
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// A command that runs this very program.
pub(crate) fn keyway() -> Result<Command, Problem> {
    let program =
        std::env::current_exe().map_err(|e| Problem::new(exit::BUG, format!("find the path of keyway itself: {e}")))?;
    let mut command = Command::new(program);
    // What was said to us was not said to it.
    for name in crate::cli::variables() {
        command.env_remove(name);
    }
    command
        .args(["--output", "text"])
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    Ok(command)
}

/// Thousands of connections need thousands of files; a server that we start inherits the limit.
pub(crate) fn allow_many_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it fails, the connections that do not fit will say so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
