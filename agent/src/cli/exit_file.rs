//! `--exit-file`: how it ended, for somebody who is not its parent and comes later.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use kvapi::Problem;

use crate::reap::Exit;

/// How the program ended; without one, how the agent ends.
pub(super) fn of(ended: &Result<Exit, Problem>) -> Exit {
    match ended {
        Ok(exit) => *exit,
        Err(problem) => Exit::Code(problem.code.into()),
    }
}

/// Whoever reads the file reads all of it. It outlives the agent, and not a power cut: nobody who comes behind that asks.
pub(super) fn leave(file: &Path, exit: Exit) -> io::Result<()> {
    let text = match exit {
        Exit::Code(code) => format!("code {code}\n"),
        Exit::Signal(signal) => format!("signal {}\n", signal as i32),
    };
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    File::create(&new)?.write_all(text.as_bytes())?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use kvapi::problem::exit;
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn a_later_end_replaces_an_earlier_one_as_a_whole() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("exit");
        let read = || fs::read_to_string(&file).unwrap();
        leave(&file, Exit::Signal(Signal::SIGKILL)).unwrap();
        assert_eq!(read(), "signal 9\n");
        leave(&file, of(&Err(Problem::new(exit::AGENT, "no")))).unwrap();
        assert_eq!(read(), format!("code {}\n", exit::AGENT));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
