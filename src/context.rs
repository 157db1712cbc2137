//! What every command is given.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use kvapi::codes;
use kvapi::problem::exit;
use kvapi::{Client, Problem};

use crate::failure::Failure;
use crate::output::Out;
use crate::settings::Settings;

/// The settings of this run, the store, and where to print.
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) client: Client,
    pub(crate) out: &'a mut Out,
}

impl Context<'_> {
    /// Asks before something that cannot be taken back. `--yes` answers; without a terminal, or
    /// with `--no-input`, nobody can, and that is a refusal.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<(), Failure> {
        if self.settings.yes {
            return Ok(());
        }
        if self.settings.no_input || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let what = format!("{question} Nobody can be asked here; nothing was done");
            return Err(Problem::of(&codes::NOBODY_TO_ASK, what)
                .help("answer with --yes")
                .into());
        }
        let mut answer = String::new();
        let _ = write!(io::stderr(), "{question} [y/N] ");
        let _ = io::stdin().lock().read_line(&mut answer);
        if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Failure::new(
            exit::NO,
            "not confirmed, nothing was done",
            "answer with y, or use --yes",
        ))
    }
}
