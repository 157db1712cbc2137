//! How it is told that files cannot be made: the same to whoever runs an agent and to whoever renders.

use kvapi::{Problem, codes};

use crate::environment;
use crate::render::Lack;

/// What to do where a file cannot be written.
pub const WRITABLE: &str = "let the agent's user write there, or name another destination";

/// Keys that have to be there and are not, and those that may have been meant.
#[must_use]
pub fn lacking(lacks: &[Lack], near: &[String]) -> Problem {
    let problem = Problem::of(&codes::NO_VALUE_FOR_TEMPLATE, format!("no such key: {}", places(lacks)));
    if near.is_empty() {
        return problem.help("put the key, or give the template a default=, or use --missing default");
    }
    near.iter()
        .fold(problem, |problem, near| problem.help(format!("did you mean `{near}`?")))
}

/// Each key with the place that reads it.
#[must_use]
pub fn places(lacks: &[Lack]) -> String {
    let told = lacks.iter().map(|lack| format!("`{}` ({})", lack.key, lack.place));
    told.collect::<Vec<_>>().join(", ")
}

/// A template that cannot be rendered; `told` has its place.
#[must_use]
pub fn broken(told: &str) -> Problem {
    Problem::of(&codes::BAD_TEMPLATE, held(told))
}

/// What cannot be rendered: a template, or the environment.
#[must_use]
pub fn held(told: &str) -> String {
    if told.starts_with(environment::PLACE) {
        told.to_owned()
    } else {
        format!("template {told}")
    }
}

/// A check that says no.
#[must_use]
pub fn refused(reason: String) -> Problem {
    Problem::of(&codes::CHECK_REFUSED, reason)
}
