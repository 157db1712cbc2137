//! The token, from where it does not show: a file, or a person.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;

use kvapi::Problem;
use kvapi::problem::exit;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

pub(super) fn read(path: &Path) -> Result<String, Problem> {
    let text = fs::read_to_string(path)
        .map_err(|e| Problem::new(exit::USAGE, format!("read the token from {}: {e}", path.display())))?;
    Ok(text.trim().to_owned())
}

/// Asks for it on the terminal, whatever standard input is, and does not show what is typed.
pub(super) fn ask(no_input: bool) -> Result<String, Problem> {
    let refused = |what: String| Problem::new(exit::USAGE, what).help("name a file that holds it with --token-file");
    if no_input {
        return Err(refused("the token is to be asked for, and --no-input is given".into()));
    }
    let asked = || {
        let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        write!(terminal, "Token: ")?;
        let before = tcgetattr(&terminal).map_err(io::Error::from)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &hidden).map_err(io::Error::from)?;
        let mut line = String::new();
        let read = BufReader::new(&terminal).read_line(&mut line);
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &before).map_err(io::Error::from)?;
        writeln!(terminal)?;
        read?;
        Ok(line.trim().to_owned())
    };
    asked().map_err(|e: io::Error| refused(format!("nobody can be asked for the token here: {e}")))
}
