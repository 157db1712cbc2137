//! The settings of `keyway` itself: flag over environment over `./keyway.toml` over
//! `$XDG_CONFIG_HOME/keyway/config.toml` over `/etc/keyway/config.toml` over default.
//!
//! Flags and environment come merged out of clap as [`Globals`]; files come as [`File`], parsed, not
//! validated: a key that is not known is an error that names the nearest good one.
//! `CONSUL_HTTP_ADDR` is not read: to write into somebody's real Consul by surprise is worse than
//! to need `--addr`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::nearest;
use kvapi::problem::exit;
use kvapi::{Address, Client, Consistency, Problem};
use serde::Deserialize;

use crate::globals::{Globals, LogFormat, ProgressStyle, ReadMode};
use crate::output::{OutputFormat, Style};
use crate::paint::ColorChoice;

/// How long a request may take by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The keys that a file may have.
const KEYS: [&str; 9] = [
    "addr",
    "token_file",
    "output",
    "color",
    "progress",
    "utc",
    "timeout",
    "consistency",
    "log_format",
];

/// What holds for this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) addresses: Vec<Address>,
    /// Whether anyone named the addresses, rather than the default.
    pub(crate) addresses_named: bool,
    pub(crate) token: Option<String>,
    pub(crate) style: Style,
    pub(crate) progress: ProgressStyle,
    pub(crate) timeout: Duration,
    pub(crate) consistency: Consistency,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) log_format: LogFormat,
    /// Whether what would be written is only to be printed.
    pub(crate) dry_run: bool,
    pub(crate) yes: bool,
    pub(crate) no_input: bool,
}

impl Settings {
    /// Reads the files and decides.
    pub(crate) fn load(globals: Globals) -> Result<Self, Problem> {
        let mut files = Vec::new();
        for (path, of_project) in places() {
            match fs::read_to_string(&path) {
                Ok(text) => files.push(File::parse(&text, &path, of_project)?),
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(e) => return Err(Problem::new(exit::INVALID, format!("read {}: {e}", path.display()))),
            }
        }
        Self::decide(globals, files)
    }

    /// Flags and environment over the files in their order over the defaults.
    fn decide(globals: Globals, files: Vec<File>) -> Result<Self, Problem> {
        let file = files.into_iter().reduce(File::over).unwrap_or_default();
        let addr = globals.addr.or(file.addr);
        let addresses = Address::parse_list(addr.as_deref().unwrap_or(kvapi::address::DEFAULT))
            .map_err(|e| Problem::new(exit::USAGE, e))?;
        let token = match (globals.token, globals.token_file.or(file.token_file)) {
            (Some(token), _) => Some(token),
            (None, Some(path)) => Some(read_token(&path)?),
            (None, None) => None,
        };
        let mode = match (globals.stale, globals.consistent) {
            (true, _) => Some(ReadMode::Stale),
            (_, true) => Some(ReadMode::Consistent),
            _ => globals.consistency.or(file.consistency),
        };
        Ok(Self {
            addresses,
            addresses_named: addr.is_some(),
            token,
            style: Style {
                output: globals.output.or(file.output).unwrap_or_default(),
                template: globals.format,
                color: globals.color.or(file.color).unwrap_or_default(),
                no_headers: globals.no_headers,
                utc: globals.utc || file.utc.unwrap_or_default(),
                quiet: globals.quiet,
            },
            progress: globals.progress.or(file.progress).unwrap_or_default(),
            timeout: globals.timeout.or(file.timeout.map(|t| t.0)).unwrap_or(TIMEOUT),
            consistency: mode.map_or(Consistency::Default, Consistency::from),
            quiet: globals.quiet,
            verbose: globals.verbose,
            log_format: globals.log_format.or(file.log_format).unwrap_or_default(),
            dry_run: globals.dry_run,
            yes: globals.yes,
            no_input: globals.no_input,
        })
    }

    /// The store, as the agent wants to be told of it.
    pub(crate) fn connection(&self) -> agent::cli::Connection {
        agent::cli::Connection {
            addresses: self.addresses.clone(),
            token: self.token.clone(),
            timeout: self.timeout,
        }
    }

    /// A client of the store.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.addresses.clone(), self.token.clone(), self.timeout)
    }
}

/// The files, strongest first, and whether each is the project's.
fn places() -> Vec<(PathBuf, bool)> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let mut places = vec![("keyway.toml".into(), true)];
    places.extend(home.map(|home| (home.join("keyway/config.toml"), false)));
    places.push(("/etc/keyway/config.toml".into(), false));
    places
}

fn read_token(path: &Path) -> Result<String, Problem> {
    let text = fs::read_to_string(path)
        .map_err(|e| Problem::new(exit::USAGE, format!("read the token from {}: {e}", path.display())))?;
    Ok(text.trim().to_owned())
}

/// One file.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct File {
    addr: Option<String>,
    token_file: Option<PathBuf>,
    output: Option<OutputFormat>,
    color: Option<ColorChoice>,
    progress: Option<ProgressStyle>,
    utc: Option<bool>,
    timeout: Option<Timeout>,
    consistency: Option<ReadMode>,
    log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Timeout(Duration);

impl TryFrom<String> for Timeout {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        kvapi::duration::parse(&text).map(Self)
    }
}

impl File {
    fn parse(text: &str, path: &Path, of_project: bool) -> Result<Self, Problem> {
        let invalid = |what: String| Problem::new(exit::INVALID, format!("{}: {what}", path.display()));
        let at = |span: Option<std::ops::Range<usize>>, what: &str| {
            let line = span.map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            invalid(format!("line {line}: {what}"))
        };
        let table: toml::Table = toml::from_str(text).map_err(|e| at(e.span(), e.message()))?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let problem = invalid(format!("unknown key `{key}`"));
            return Err(match nearest::of(key, KEYS.into_iter()) {
                Some(good) => problem.help(format!("did you mean `{good}`?")),
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

    /// This file's word, else the other's.
    fn over(self, other: Self) -> Self {
        Self {
            addr: self.addr.or(other.addr),
            token_file: self.token_file.or(other.token_file),
            output: self.output.or(other.output),
            color: self.color.or(other.color),
            progress: self.progress.or(other.progress),
            utc: self.utc.or(other.utc),
            timeout: self.timeout.or(other.timeout),
            consistency: self.consistency.or(other.consistency),
            log_format: self.log_format.or(other.log_format),
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
    fn a_flag_beats_a_file_and_a_nearer_file_beats_a_farther_one() {
        let files = || {
            vec![
                file("addr = \"http://near\"").unwrap(),
                file("addr = \"http://far\"\ntimeout = \"3s\"\noutput = \"json\"").unwrap(),
            ]
        };
        let flags = Globals {
            output: Some(OutputFormat::Raw),
            ..Globals::default()
        };

        let settings = Settings::decide(flags, files()).unwrap();

        assert_eq!(settings.addresses, Address::parse_list("http://near").unwrap());
        assert_eq!(settings.timeout, Duration::from_secs(3));
        assert_eq!(settings.style.output, OutputFormat::Raw);
        let plain = Settings::decide(Globals::default(), Vec::new()).unwrap();
        assert_eq!(plain.addresses, Address::parse_list(kvapi::address::DEFAULT).unwrap());
        assert_eq!(plain.timeout, TIMEOUT);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest() {
        let problem = file("adr = \"x\"").unwrap_err();

        assert_eq!(
            problem.to_string(),
            "error: config.toml: unknown key `adr`\n  help: did you mean `addr`?"
        );
        assert_eq!(problem.code, exit::INVALID);
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
    }
}
