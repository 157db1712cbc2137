//! `keyway-launch`: what a process does of itself before it becomes the program that was asked for.
//!
//! Under this name our programs make themselves the leader of a session, join control groups, become a user, and then
//! become another program. The pid stays the same, so whoever started it knows it from the first moment on. To be the
//! program that it is, with other arguments, it has not to be started a second time: it stays and goes on with them.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use kvapi::Problem;
use kvapi::problem::exit;
use nix::unistd::{Gid, Uid, setgid, setgroups, setsid, setuid};

/// The name under which a program of ours does this and nothing else.
pub const NAME: &str = "keyway-launch";

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Files `cgroup.procs` of control groups.
    groups: Vec<PathBuf>,
    user: Option<User>,
    /// A variable of the program's environment that holds its own pid.
    pid_variable: Option<String>,
    /// The words are of the very program that this is.
    stays: bool,
    /// Never empty.
    words: Vec<OsString>,
}

#[derive(Debug, PartialEq, Eq)]
struct User {
    user: Uid,
    group: Gid,
    /// Beside its own.
    groups: Vec<Gid>,
}

/// The arguments, if the program was started under this name.
#[must_use]
pub fn asked(arguments: &[OsString]) -> Option<&[OsString]> {
    let (name, rest) = arguments.split_first()?;
    (name == NAME).then_some(rest)
}

/// Becomes the program. Returns the arguments to go on with, the program's name first, if it is to stay the one it is.
///
/// # Errors
///
/// If it cannot become what it is to be.
pub fn run(arguments: &[OsString]) -> Result<Vec<OsString>, Problem> {
    match Launch::parse(arguments) {
        Some(launch) => launch.perform(),
        None => Err(Problem::new(exit::USAGE, format!("{NAME} is started by the scheduler"))),
    }
}

impl Launch {
    fn parse(arguments: &[OsString]) -> Option<Self> {
        let mut launch = Self::default();
        let mut rest = arguments.iter();
        loop {
            match rest.next()?.to_str()? {
                "--group" => launch.groups.push(rest.next()?.into()),
                "--user" => launch.user = Some(User::parse(rest.next()?.to_str()?)?),
                "--stay" => launch.stays = true,
                "--pid" => launch.pid_variable = Some(rest.next()?.to_str()?.to_owned()),
                "--" => break,
                _ => return None,
            }
        }
        launch.words = rest.cloned().collect();
        (!launch.words.is_empty()).then_some(launch)
    }

    fn perform(self) -> Result<Vec<OsString>, Problem> {
        self.prepare()
            .map_err(|error| Problem::new(exit::NOT_EXECUTABLE, format!("cannot start: {error}")))?;
        if self.stays {
            return Ok(self.words);
        }
        Err(self.become_another())
    }

    /// Returns only if that cannot be.
    fn become_another(&self) -> Problem {
        let Some((program, arguments)) = self.words.split_first() else {
            return Problem::new(exit::USAGE, "there is no program to become");
        };
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(name) = &self.pid_variable {
            command.env(name, std::process::id().to_string());
        }
        let error = command.exec();
        let code = match error.kind() {
            io::ErrorKind::NotFound => exit::NOT_FOUND,
            _ => exit::NOT_EXECUTABLE,
        };
        Problem::new(code, format!("cannot start `{}`: {error}", program.display()))
    }

    fn prepare(&self) -> io::Result<()> {
        setsid()?;
        for group in &self.groups {
            let join = OpenOptions::new().write(true).open(group);
            join.and_then(|mut file| file.write_all(b"0"))
                .map_err(|error| io::Error::other(format!("{}: {error}", group.display())))?;
        }
        if let Some(User { user, group, groups }) = &self.user {
            let all: Vec<Gid> = std::iter::once(*group).chain(groups.iter().copied()).collect();
            setgroups(&all)?;
            setgid(*group)?;
            setuid(*user)?;
        }
        Ok(())
    }
}

impl User {
    /// `USER:GROUP[,GROUP...]`, all of them numbers.
    fn parse(text: &str) -> Option<Self> {
        let (user, groups) = text.split_once(':')?;
        let mut groups = groups.split(',').map(|group| group.parse().ok().map(Gid::from_raw));
        Some(Self {
            user: Uid::from_raw(user.parse().ok()?),
            group: groups.next()??,
            groups: groups.collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn only_the_name_makes_it_launch() {
        assert_eq!(asked(&words("keyway-launch -- true")), Some(&words("-- true")[..]));
        assert_eq!(asked(&words("keyway-agent launch -- true")), None);
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn everything_stands_before_two_dashes_and_the_program_behind_them() {
        let launch = Launch::parse(&words(
            "--group /g/cgroup.procs --user 7:8,9 --pid ME -- sh -c -- --user",
        ))
        .unwrap();
        assert_eq!(launch.groups, [PathBuf::from("/g/cgroup.procs")]);
        let user = launch.user.unwrap();
        assert_eq!((user.user.as_raw(), user.group.as_raw()), (7, 8));
        assert_eq!(user.groups, [Gid::from_raw(9)]);
        assert_eq!(launch.pid_variable.unwrap(), "ME");
        assert_eq!(launch.words, words("sh -c -- --user"));
        assert!(!launch.stays);
    }

    #[test]
    fn what_is_to_stay_goes_on_with_the_words() {
        let launch = Launch::parse(&words("--stay --group /g -- keyway agent run")).unwrap();
        assert!(launch.stays);
        assert_eq!(launch.words, words("keyway agent run"));
    }

    #[test]
    fn what_is_not_understood_is_no_launch() {
        for line in [
            "",
            "--",
            "true",
            "--user root:0 -- true",
            "--user 0 -- true",
            "--group --",
            "--what x -- true",
        ] {
            assert_eq!(Launch::parse(&words(line)), None, "{line}");
        }
    }
}
