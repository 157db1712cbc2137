//! `keyway completions`: what a shell needs to complete commands and flags.

use clap::Args;
use clap_complete::Shell;
use kvapi::problem::exit;

use crate::failure::Outcome;
use crate::output::Out;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway completions bash > ~/.local/share/bash-completion/completions/keyway
  keyway completions zsh > ~/.zfunc/_keyway
  keyway completions fish > ~/.config/fish/completions/keyway.fish")]
pub(crate) struct Completions {
    /// Shell to write for
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, out: &mut Out) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::cli::command(), "keyway", &mut script);
        out.bytes(&script)?;
        Ok(exit::OK)
    }
}
