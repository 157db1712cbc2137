//! What the user chose: when to render, what to do after a change, how to stop.
//!
//! Texts from flags and files come in, checked values go out; nothing behind this file parses
//! again. The words are consul-template's where it has them.

mod command;
mod confirm;
mod forms;
mod restart;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kvapi::duration;
use nix::sys::signal::Signal;
use serde::Deserialize;

pub use self::command::CommandLine;
pub use self::confirm::{Confirm, Probe, http};
pub use self::restart::Restart;

/// What follows when files were replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnChange {
    /// Nothing: the program notices by itself, or nobody needs to.
    Nothing,
    /// The child gets a signal.
    Signal(Signal),
    /// The child is stopped and started again.
    Restart,
    /// A command is run.
    Command(CommandLine),
}

impl FromStr for OnChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "none" => Ok(Self::Nothing),
            None if text == "restart" => Ok(Self::Restart),
            Some(("signal", name)) => Ok(Self::Signal(signal(name)?)),
            Some(("command", command)) => Ok(Self::Command(command.parse()?)),
            _ => Err(format!(
                "`{text}` is no reaction to a change; give none, restart, signal=HUP or command='nginx -s reload'"
            )),
        }
    }
}

impl fmt::Display for OnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Signal(signal) => write!(f, "signal={}", signal.as_str().trim_start_matches("SIG")),
            Self::Restart => f.write_str("restart"),
            Self::Command(command) => write!(f, "command={command}"),
        }
    }
}

/// A signal by name, with or without `SIG`, in any case.
pub fn signal(name: &str) -> Result<Signal, String> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    Signal::from_str(&full).map_err(|_| format!("`{name}` is not a signal; give one such as HUP, TERM or USR1"))
}

/// What a key that a template reads and the store has not means for its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// The set waits for the key; the files stay as they are.
    #[default]
    Wait,
    /// Before the child has started: exit with the key's name. After: as `wait`.
    Fail,
    /// It reads as the empty text.
    Default,
}

/// How long changes are gathered: `min` of quiet, but no longer than `max` after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wait {
    /// Quiet that ends a burst.
    pub min: Duration,
    /// The longest a burst may last; at least `min`.
    pub max: Duration,
}

impl FromStr for Wait {
    type Err = String;

    /// `MIN` or `MIN:MAX`; without `MAX` it is four times `MIN`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = match text.split_once(':') {
            None => (duration::parse(text)?, None),
            Some((min, max)) => (duration::parse(min)?, Some(duration::parse(max)?)),
        };
        Self::of(min, max)
    }
}

impl Wait {
    /// A wait of at least and at most so long.
    fn of(min: Duration, max: Option<Duration>) -> Result<Self, String> {
        let max = max.unwrap_or(min.saturating_mul(4));
        if max < min {
            return Err(format!(
                "a wait of {} to {} ends before it begins; give MIN:MAX with MIN <= MAX",
                duration::format(min),
                duration::format(max)
            ));
        }
        Ok(Self { min, max })
    }
}

/// All choices that [`crate::core`] decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What follows a change.
    pub on_change: OnChange,
    /// What a missing key means.
    pub missing: Missing,
    /// How long changes are gathered.
    pub wait: Wait,
    /// How long after an apply the files stay as they are, so that the program can read them.
    pub settle: Duration,
    /// The longest pause by chance between files in place and the program told of them.
    pub splay: Duration,
    /// Who says that the program does well with them.
    pub confirm: Option<Confirm>,
    /// What asks the child to stop.
    pub kill_signal: Signal,
    /// How long it may take before SIGKILL.
    pub kill_timeout: Duration,
    /// Whether a child that ends by itself is started again.
    pub restart: Restart,
    /// How long the store may be silent before the first set is in place; for ever if nothing is said.
    pub retry_for: Option<Duration>,
    /// End after the first set.
    pub once: bool,
    /// Whether there is a child to start.
    pub supervises: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            on_change: OnChange::Nothing,
            missing: Missing::Wait,
            wait: Wait::default(),
            settle: Duration::from_millis(100),
            splay: Duration::ZERO,
            confirm: None,
            kill_signal: Signal::SIGTERM,
            kill_timeout: Duration::from_secs(8),
            restart: Restart::Never,
            retry_for: None,
            once: false,
            supervises: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reactions_are_read_as_they_are_shown() {
        for text in ["none", "restart", "signal=HUP", "command=nginx -s reload"] {
            assert_eq!(text.parse::<OnChange>().unwrap().to_string(), text);
        }
        assert_eq!("signal=sigusr1".parse(), Ok(OnChange::Signal(Signal::SIGUSR1)));
        for text in ["", "reload", "signal", "signal=", "signal=NO", "command="] {
            assert!(text.parse::<OnChange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wait_without_an_end_lasts_four_times_as_long() {
        let wait: Wait = "2s".parse().unwrap();
        assert_eq!((wait.min.as_secs(), wait.max.as_secs()), (2, 8));
        assert!("3s:1s".parse::<Wait>().is_err());
        assert!("3".parse::<Wait>().is_err());
    }
}
