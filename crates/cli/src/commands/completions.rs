//! `puna completions`: what a shell needs to complete our arguments.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::Cli;
use crate::failure::Failure;
use crate::output::print;

/// The variable by which a shell asks.
const ASKS: &str = "COMPLETE";

/// Print a completion script for a shell.
///
/// It asks the program itself for what fits, names of models included. After an update of the program, make it anew.
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
        let (shells, name) = (Shells::builtins(), self.shell.to_string());
        let missing = || Failure::Failed(format!("there is no completion script for {name}"));
        let shell = shells.completer(&name).ok_or_else(missing)?;
        let mut script = Vec::new();
        shell.write_registration(ASKS, "puna", "puna", "puna", &mut script)?;
        if self.shell == Shell::Bash {
            // Names of models have colons, at which bash would cut them.
            script.extend(b"COMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n");
        }
        print(&String::from_utf8_lossy(&script))
    }
}

/// Answers a shell that asks what fits, and ends the program then.
pub fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(ASKS).complete();
}
