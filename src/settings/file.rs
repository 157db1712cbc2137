//! One layer of settings: what one file, the flags, the environment or a context say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::nearest;
use kvapi::Problem;
use kvapi::codes;
use serde::Deserialize;

use crate::globals::{Globals, LogFormat, ProgressStyle, ReadMode};
use crate::output::OutputFormat;
use crate::paint::ColorChoice;

/// The keys that a file may have.
pub(crate) const KEYS: [&str; 10] = [
    "addr",
    "token_file",
    "context",
    "output",
    "color",
    "progress",
    "utc",
    "timeout",
    "consistency",
    "log_format",
];

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct File {
    pub(crate) addr: Option<String>,
    /// Never from a file: a token in a file has a file of its own.
    #[serde(skip)]
    pub(crate) token: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) context: Option<String>,
    pub(crate) output: Option<OutputFormat>,
    pub(crate) color: Option<ColorChoice>,
    pub(crate) progress: Option<ProgressStyle>,
    pub(crate) utc: Option<bool>,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) consistency: Option<ReadMode>,
    pub(crate) log_format: Option<LogFormat>,
}

/// A duration with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Timeout(pub(crate) Duration);

impl TryFrom<String> for Timeout {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        kvapi::duration::parse(&text).map(Self)
    }
}

impl File {
    /// What a file says: parsed, not validated. A key that is not known is an error that names the
    /// nearest good one.
    pub(crate) fn parse(text: &str, path: &Path, of_project: bool) -> Result<Self, Problem> {
        let invalid = |what: String| Problem::of(&codes::BAD_SETTINGS, format!("{}: {what}", path.display()));
        let at = |span: Option<std::ops::Range<usize>>, what: &str| {
            let line = span.map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            invalid(format!("line {line}: {what}"))
        };
        let table: toml::Table = toml::from_str(text).map_err(|e| at(e.span(), e.message()))?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let problem = invalid(format!("unknown key `{key}`"));
            return Err(match nearest::of(key, KEYS.into_iter()) {
                Some(good) => problem.help(format!("did you mean `{good}`?")),
                None if key == "token" => {
                    problem.help("put the token into a file of its own, and name that as token_file")
                }
                None => problem.help(format!("the keys are {}", KEYS.join(", "))),
            });
        }
        // A folder that was cloned must not make us send a token.
        if of_project && table.contains_key("token_file") {
            return Err(invalid("`token_file` is not taken from a project's file".into())
                .help("put it into ~/.config/keyway/config.toml, or set KEYWAY_TOKEN_FILE"));
        }
        toml::from_str(text).map_err(|e| at(e.span(), e.message()))
    }

    /// What the flags, or the variables, say: those of which `says` is true.
    pub(crate) fn of(globals: &Globals, says: impl Fn(&str) -> bool) -> Self {
        let mode = match (globals.stale && says("stale"), globals.consistent && says("consistent")) {
            (true, _) => Some(ReadMode::Stale),
            (_, true) => Some(ReadMode::Consistent),
            _ => globals.consistency.filter(|_| says("consistency")),
        };
        Self {
            addr: globals.addr.clone().filter(|_| says("addr")),
            token: globals.token.clone().filter(|_| says("token")),
            token_file: globals.token_file.clone().filter(|_| says("token_file")),
            context: globals.context.clone().filter(|_| says("context")),
            output: globals.output.filter(|_| says("output")),
            color: globals.color.filter(|_| says("color")),
            progress: globals.progress.filter(|_| says("progress")),
            utc: Some(globals.utc).filter(|_| says("utc")),
            timeout: globals.timeout.map(Timeout).filter(|_| says("timeout")),
            consistency: mode,
            log_format: globals.log_format.filter(|_| says("log_format")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<File, Problem> {
        File::parse(text, Path::new("config.toml"), false)
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest() {
        let problem = file("adr = \"x\"").unwrap_err();

        assert_eq!(problem.what, "config.toml: unknown key `adr`");
        assert_eq!(problem.help, ["did you mean `addr`?"]);
        assert_eq!(problem.id, Some("E0101"));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        assert!(
            file("addr = \"a\"\ntimeout = \"10\"")
                .unwrap_err()
                .what
                .starts_with("config.toml: line 2: `10` is not")
        );
        assert!(file("\n= 1").unwrap_err().what.starts_with("config.toml: line 2: "));
        assert!(
            file("output = \"xml\"")
                .unwrap_err()
                .what
                .contains("unknown variant `xml`")
        );
    }

    #[test]
    fn a_project_cannot_name_a_token() {
        assert!(File::parse("token_file = \"/etc/shadow\"", Path::new("keyway.toml"), true).is_err());
        assert!(file("token = \"secret\"").is_err());
    }
}
