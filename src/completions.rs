//! `keyway completions`: what a shell needs to complete commands and flags.

use clap::{Args, ValueEnum};
use clap_complete::shells::{Bash, Elvish, Fish, PowerShell, Zsh};
use clap_complete_nushell::Nushell;
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
    shell: For,
}

/// The shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum For {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
    Nushell,
}

impl Completions {
    pub(crate) fn run(self, out: &mut Out) -> Outcome {
        let mut script = Vec::new();
        let tree = &mut crate::cli::command();
        match self.shell {
            For::Bash => clap_complete::generate(Bash, tree, "keyway", &mut script),
            For::Zsh => clap_complete::generate(Zsh, tree, "keyway", &mut script),
            For::Fish => clap_complete::generate(Fish, tree, "keyway", &mut script),
            For::Elvish => clap_complete::generate(Elvish, tree, "keyway", &mut script),
            For::Powershell => clap_complete::generate(PowerShell, tree, "keyway", &mut script),
            For::Nushell => clap_complete::generate(Nushell, tree, "keyway", &mut script),
        }
        out.bytes(&script)?;
        Ok(exit::OK)
    }
}
