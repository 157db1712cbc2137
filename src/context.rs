//! What every command is given.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use kvapi::codes;
use kvapi::problem::exit;
use kvapi::{Client, Problem};

use crate::failure::Failure;
use crate::output::Out;
use crate::settings::Settings;
use crate::signals::{INTERRUPTED, Stop};

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
        if self.must_ask(question)? {
            decided(answer(question))
        } else {
            Ok(())
        }
    }

    /// [`Context::confirm`] where Ctrl-C no longer ends the program by itself: here it is an answer too.
    pub(crate) async fn confirm_or_stop(&mut self, question: &str) -> Result<(), Failure> {
        if !self.must_ask(question)? {
            return Ok(());
        }
        let mut stop = Stop::listen()?;
        let question = question.to_owned();
        // The thread may wait for ever for its line; nobody waits for it.
        let answer = tokio::task::spawn_blocking(move || answer(&question));
        tokio::select! {
            () = stop.next() => Err(Problem::new(INTERRUPTED, "interrupted, nothing was done").into()),
            yes = answer => decided(yes.unwrap_or(false)),
        }
    }

    fn must_ask(&self, question: &str) -> Result<bool, Failure> {
        if self.settings.yes {
            return Ok(false);
        }
        if self.settings.no_input || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let what = format!("{question} Nobody can be asked here; nothing was done");
            return Err(Problem::of(&codes::NOBODY_TO_ASK, what)
                .help("answer with --yes")
                .into());
        }
        Ok(true)
    }
}

fn answer(question: &str) -> bool {
    let mut answer = String::new();
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let _ = io::stdin().lock().read_line(&mut answer);
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

fn decided(yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    Err(Failure::new(
        exit::NO,
        "not confirmed, nothing was done",
        "answer with y, or use --yes",
    ))
}
