//! `puna completions`: what a shell needs to complete our arguments.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::failure::Failure;
use crate::output::print;

/// Print a completion script for a shell.
#[derive(Args)]
#[command(after_help = "\
Examples:
  puna completions bash > ~/.local/share/bash-completion/completions/puna
  puna completions zsh > ~/.zfunc/_puna
  puna completions fish > ~/.config/fish/completions/puna.fish")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    pub fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "puna", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}
