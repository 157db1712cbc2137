//! What a program takes of the machine.

use std::fs;

use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Program;

/// Lets this process open as many files as it may. A test that needs more than there are says so.
pub(crate) fn open_files(needed: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    anyhow::ensure!(
        hard >= needed,
        "this test opens {needed} files, and the system allows {hard}; raise it with `ulimit -n`"
    );
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

impl Program {
    /// How much memory it has now, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.memory_line("VmRSS:")
    }

    fn memory_line(&self, name: &str) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let line = line.with_context(|| format!("no {name} in the status of process {}", self.pid()))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }
}
