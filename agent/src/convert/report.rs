//! What a person is told about a conversion, line by line.

use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What was written is not the same yet: somebody has to look.
    Look,
    /// It is the same for the files that people have; here is where it could differ.
    Note,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file that was read.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// How much it matters.
    pub level: Level,
    /// What was found, and why it is told.
    pub what: String,
    /// What to do, if there is something.
    pub remedy: String,
}

impl Finding {
    /// Somebody has to look.
    pub fn look(file: &str, line: usize, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            level: Level::Look,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// Nobody has to look.
    pub fn note(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            level: Level::Note,
            what: what.into(),
            remedy: String::new(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Look => "look",
            Level::Note => "note",
        };
        write!(f, "{}:{}: {level}: {}", self.file, self.line, self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}
