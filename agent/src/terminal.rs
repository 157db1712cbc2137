//! The terminal: who has it, and what Ctrl-Z does.
//!
//! The program is in a process group of its own, which has the terminal. So Ctrl-Z stops the program and not
//! the agent, and a shell that started the agent would wait for ever. As one that has no agent between it and
//! the program would see it, the agent then stops too, and both go on with `fg` or `bg`. Where nobody could
//! continue it, as in a container, the kernel stops no program by a key; so there it goes on at once.

use std::io::{self, IsTerminal as _};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg};
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp, tcsetpgrp};

use crate::reap::Reaper;

/// Lets the program read from the terminal, if it is ours to give.
pub fn give(reaper: &Reaper, group: Pid) {
    if !has(getpgrp()) {
        return;
    }
    foreground(group);
    // It may have tried to read before it was allowed to, and was stopped for it.
    let _ = reaper.signal_group(group, Signal::SIGCONT);
}

/// Takes the terminal back from a program that is gone.
pub fn take() {
    if io::stdin().is_terminal() {
        foreground(getpgrp());
    }
}

/// The program was stopped. Whether the agent has stopped with it, and is to go on with it.
pub fn stopped(reaper: &Reaper, program: Pid, signal: Signal) -> bool {
    let by_terminal = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].contains(&signal);
    if !by_terminal || !io::stdin().is_terminal() || !is_stopped(program) {
        return false;
    }
    let (owns, orphaned) = (has(program), is_orphaned());
    let asked = signal == Signal::SIGTSTP;
    // It was stopped for using the terminal before it was given it, or by a key that nobody could undo.
    if !asked && (owns || has(getpgrp())) || asked && owns && orphaned {
        continued(reaper, program);
        return false;
    }
    if orphaned {
        return false;
    }
    tracing::debug!(%signal, "the program was stopped, and so is the agent");
    if owns {
        foreground(getpgrp());
    }
    // As the key would have: all that the shell has started together with the agent.
    killpg(getpgrp(), Signal::SIGSTOP).is_ok()
}

/// The agent goes on, and the program with it.
pub fn continued(reaper: &Reaper, program: Pid) {
    if has(getpgrp()) {
        foreground(program);
    }
    let _ = reaper.signal_group(program, Signal::SIGCONT);
}

/// Whether a process group has the terminal that is our input.
fn has(group: Pid) -> bool {
    let stdin = io::stdin();
    stdin.is_terminal() && tcgetpgrp(&stdin) == Ok(group)
}

fn is_stopped(process: Pid) -> bool {
    stat(process).is_some_and(|(state, _)| state == "T")
}

/// Whether nobody in our session looks after our process group, and could continue it.
fn is_orphaned() -> bool {
    let (group, session) = (getpgrp(), getsid(None));
    let mut above = Some(getppid());
    // Others of the group stand between us and the one that started it.
    while let Some(process) = above.filter(|process| getpgid(Some(*process)) == Ok(group)) {
        above = stat(process).map(|(_, parent)| parent);
    }
    above.is_none_or(|process| getsid(Some(process)) != session)
}

/// The state of a process, and its parent.
fn stat(process: Pid) -> Option<(String, Pid)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.to_owned();
    Some((state, Pid::from_raw(fields.next()?.parse().ok()?)))
}

fn foreground(group: Pid) {
    // From the background this raises SIGTTOU, which would stop us.
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTTOU);
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    if let Err(error) = tcsetpgrp(io::stdin(), group) {
        tracing::debug!(%error, "cannot hand over the terminal");
    }
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
}
