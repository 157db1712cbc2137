//! Whether a program that ends by itself is started again.

use std::fmt;
use std::str::FromStr;

/// Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Its end is the agent's.
    #[default]
    Never,
    /// If it ended with another code than 0, and at most so often in a row.
    OnFailure(Option<u32>),
    /// However it ended.
    Always,
}

impl Restart {
    /// Whether it is started again, after so many starts that did not last.
    #[must_use]
    pub fn wanted(self, code: u8, failures: u32) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure(limit) => code != 0 && limit.is_none_or(|limit| failures < limit),
            Self::Always => true,
        }
    }
}

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = |number: &str| number.parse().ok().filter(|limit| *limit > 0);
        match text.split_once(':') {
            None if text == "never" || text == "no" => Ok(Self::Never),
            None if text == "always" => Ok(Self::Always),
            None if text == "on-failure" => Ok(Self::OnFailure(None)),
            Some(("on-failure", number)) if limit(number).is_some() => Ok(Self::OnFailure(limit(number))),
            _ => Err(format!(
                "`{text}` is no policy for restarts; give never, always, on-failure or on-failure:5"
            )),
        }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::OnFailure(None) => f.write_str("on-failure"),
            Self::OnFailure(Some(limit)) => write!(f, "on-failure:{limit}"),
            Self::Always => f.write_str("always"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_shown() {
        for text in ["never", "always", "on-failure", "on-failure:5"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        assert_eq!("no".parse(), Ok(Restart::Never));
        for text in [
            "",
            "on-failure:",
            "on-failure:0",
            "on-failure:x",
            "always:3",
            "unless-stopped",
        ] {
            assert!(text.parse::<Restart>().is_err(), "{text}");
        }
    }
}
