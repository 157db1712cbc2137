//! How a command ends that did not succeed.

use std::io;

use kvapi::Problem;
use kvapi::problem::exit;

/// What a subcommand returns: its exit code, or why it could not go on.
pub(crate) type Outcome = Result<u8, Failure>;

/// Why a command stops.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be told to the person, with its exit code.
    Told(Problem),
    /// Whoever read our output has gone (`keyway kv get a | head -c 1`): nothing to say, and not
    /// our failure.
    NobodyReads,
}

impl Failure {
    /// A problem with its remedy.
    pub(crate) fn new(code: u8, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told(Problem::new(code, what).help(help))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Told(problem)
    }
}

impl From<kvapi::Error> for Failure {
    fn from(error: kvapi::Error) -> Self {
        Self::Told(error.into())
    }
}

/// Errors of output; an error of input is given its words where it happens.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Told(Problem::new(exit::LEFT, format!("write the output: {error}"))),
        }
    }
}
