//! `[confirm]`: who says that the program does well with new files.

use std::time::Duration;

use http::Uri;
use kvapi::Problem;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::invalid;
use super::raw::duration;
use crate::policy::{self, CommandLine, Confirm, Probe};

/// What is said about it; nothing is checked against the rest yet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfirm {
    /// A command that ends with 0.
    pub command: Option<CommandLine>,
    /// An address that answers well.
    #[serde(default, deserialize_with = "http")]
    pub http: Option<Uri>,
    /// The pause before each time.
    #[serde(default, deserialize_with = "duration")]
    pub interval: Option<Duration>,
    /// How long one may take.
    #[serde(default, deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// How often it may fail.
    pub attempts: Option<u32>,
}

impl RawConfirm {
    pub(super) fn check(self) -> Result<Confirm, Problem> {
        let probe = match (self.command, self.http) {
            (Some(command), None) => Probe::Command(command),
            (None, Some(uri)) => Probe::Http(uri),
            (Some(_), Some(_)) => {
                return Err(invalid("[confirm] has a command and an http URL".to_owned()).help("choose one of them"));
            }
            (None, None) => {
                return Err(invalid("[confirm] asks nobody".to_owned())
                    .help("give it a command, or http = \"http://127.0.0.1:8080/health\""));
            }
        };
        let attempts = self.attempts.unwrap_or(5);
        if attempts == 0 {
            return Err(invalid("[confirm] with attempts = 0 asks nobody".to_owned()).help("give 1 or more"));
        }
        Ok(Confirm {
            probe,
            interval: self.interval.unwrap_or(Duration::from_secs(1)),
            timeout: self.timeout.unwrap_or(Duration::from_secs(5)),
            attempts,
        })
    }
}

fn http<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uri>, D::Error> {
    let text = String::deserialize(deserializer)?;
    policy::http(&text).map(Some).map_err(D::Error::custom)
}
