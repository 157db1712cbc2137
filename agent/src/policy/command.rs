//! A command that is run for a moment: a check, or what makes a program read its files again.

use std::fmt;
use std::str::FromStr;

/// A text is for `sh -c`; a list is a program and its arguments, and needs no shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// What `sh -c` is given.
    Shell(String),
    /// The program, and each argument as it is.
    Words(Vec<String>),
}

/// What stands for the path of a staged file.
const PLACE: &str = "{}";

impl CommandLine {
    /// A program and its arguments.
    pub fn words(words: Vec<String>) -> Result<Self, String> {
        match words.first() {
            Some(program) if !program.is_empty() => Ok(Self::Words(words)),
            _ => Err("a command needs at least the name of a program".to_owned()),
        }
    }

    /// Whether it is to be run for each file.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.names(PLACE)
    }

    /// Whether it has this word.
    #[must_use]
    pub fn names(&self, word: &str) -> bool {
        match self {
            Self::Shell(line) => line.contains(word),
            Self::Words(words) => words.iter().any(|one| one.contains(word)),
        }
    }

    /// The same with a path where `{}` stands; quoted for a shell, as it is for a program.
    pub fn filled(&self, path: &str) -> Result<Self, String> {
        Ok(match self {
            Self::Shell(line) => {
                let quoted = shlex::try_quote(path).map_err(|e| e.to_string())?;
                Self::Shell(line.replace(PLACE, &quoted))
            }
            Self::Words(words) => Self::Words(words.iter().map(|word| word.replace(PLACE, path)).collect()),
        })
    }

    /// What is started.
    #[must_use]
    pub fn program(&self) -> (&str, Vec<&str>) {
        match self {
            Self::Shell(line) => ("/bin/sh", vec!["-c", line]),
            Self::Words(words) => {
                let mut words = words.iter().map(String::as_str);
                (words.next().unwrap_or_default(), words.collect())
            }
        }
    }
}

impl FromStr for CommandLine {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        if line.trim().is_empty() {
            return Err("the command is empty".to_owned());
        }
        Ok(Self::Shell(line.to_owned()))
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(line) => f.write_str(line),
            Self::Words(words) => f.write_str(&words.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_for_a_shell_and_left_alone_for_a_program() {
        let shell: CommandLine = "nginx -t -c {}".parse().unwrap();
        let words = CommandLine::words(["nginx", "-t", "-c", "{}"].map(String::from).into()).unwrap();

        assert!(shell.has_place() && words.has_place());
        assert_eq!(
            shell.filled("/a b").unwrap().program(),
            ("/bin/sh", vec!["-c", "nginx -t -c '/a b'"])
        );
        assert_eq!(
            words.filled("/a b").unwrap().program(),
            ("nginx", vec!["-t", "-c", "/a b"])
        );
        assert!(" ".parse::<CommandLine>().is_err() && CommandLine::words(Vec::new()).is_err());
    }
}
