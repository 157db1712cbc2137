//! Colour, for those who look at a terminal.

use std::fmt::Display;

use clap::ValueEnum;
use serde::Deserialize;

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR or TERM=dumb says otherwise.
    #[default]
    Auto,
    Always,
    Never,
}

/// What the environment says about colour. Sources: no-color.org; bixense.com/clicolors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) no_color: bool,
    pub(crate) clicolor_force: bool,
    pub(crate) dumb: bool,
}

impl Environment {
    /// Reads NO_COLOR, CLICOLOR_FORCE and TERM; an empty variable says nothing.
    pub(crate) fn read() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            no_color: set("NO_COLOR").is_some(),
            clicolor_force: set("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            dumb: set("TERM").is_some_and(|term| term == "dumb"),
        }
    }
}

/// Paints or does not, for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint(bool);

impl Paint {
    /// The choice of a person outranks the environment, and that outranks what the stream is.
    pub(crate) fn new(choice: ColorChoice, environment: Environment, is_terminal: bool) -> Self {
        Self(match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if environment.no_color => false,
            ColorChoice::Auto if environment.clicolor_force => true,
            ColorChoice::Auto => is_terminal && !environment.dumb,
        })
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.wrap("1", &text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.wrap("2", &text)
    }

    pub(crate) fn red(self, text: impl Display) -> String {
        self.wrap("1;31", &text)
    }

    pub(crate) fn green(self, text: impl Display) -> String {
        self.wrap("32", &text)
    }

    pub(crate) fn cyan(self, text: impl Display) -> String {
        self.wrap("36", &text)
    }

    fn wrap(self, code: &str, text: &impl Display) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Environment = Environment {
        no_color: false,
        clicolor_force: false,
        dumb: false,
    };

    fn paints(choice: ColorChoice, environment: Environment, is_terminal: bool) -> bool {
        Paint::new(choice, environment, is_terminal).0
    }

    #[test]
    fn a_terminal_is_coloured_and_a_pipe_is_not() {
        assert!(paints(ColorChoice::Auto, PLAIN, true));
        assert!(!paints(ColorChoice::Auto, PLAIN, false));
        assert!(!paints(ColorChoice::Auto, Environment { dumb: true, ..PLAIN }, true));
    }

    #[test]
    fn the_flag_outranks_the_environment() {
        let no = Environment {
            no_color: true,
            ..PLAIN
        };
        let force = Environment {
            clicolor_force: true,
            ..PLAIN
        };

        assert!(paints(ColorChoice::Always, no, false));
        assert!(!paints(ColorChoice::Auto, no, true));
        assert!(!paints(ColorChoice::Never, force, true));
        assert!(paints(ColorChoice::Auto, force, false));
    }
}
