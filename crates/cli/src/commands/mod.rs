//! The commands, one file each.

mod bench;
mod chat;
mod completions;
mod detokenize;
mod embed;
mod guard;
mod infill;
mod licence;
mod list;
mod models;
mod plan;
mod prompt;
pub mod pull;
mod run;
mod score;
mod serve;
mod show;
mod tokenize;
mod train;
mod web;

use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use puna_formats::{quote, steers_terminals, visible};

use crate::failure::Failure;
pub use completions::answer_shell;

/// Runs Meta's Llama models on this machine.
///
/// Without -m, a small model that is part of the program answers.
#[derive(Parser)]
#[command(
    name = "puna",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  puna run \"Once upon a time\"
  puna run Llama-3.2-1B-Instruct/ \"Why is the sky blue?\"
  puna chat model.gguf
  puna serve -m model.gguf                for clients of OpenAI, Ollama and Anthropic
  puna models                             Meta's models, and what fits this machine
  puna pull llama3.2:1b                   gets one
  puna list                               the models on this machine
  puna show -m model.gguf
  puna train stories.txt                  makes a small model of a text
  puna licence llama3.1                   what it grants and asks for

Environment:
  PUNA_MODEL    the model where -m is not given
  PUNA_THREADS  the threads where --threads is not given
  PUNA_ISA      instruction set: scalar, avx2, avx512, amx or neon (default: the best one here)
  NO_COLOR      no colours

Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    judged unsafe (guard --exit-code)
  129  the terminal was closed (SIGHUP)
  130  interrupted (Ctrl-C)
  131  told to quit (SIGQUIT)
  141  standard output was closed
  143  told to end (SIGTERM)"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// The command that the arguments ask for. What is wrong with them is said without the control characters
/// that they may hold: they may be names of files that somebody else chose. `None` where help was asked for, and
/// given.
pub fn parse() -> Result<Option<Command>, Failure> {
    let error = match Cli::try_parse() {
        Ok(cli) => return Ok(Some(cli.command)),
        Err(error) => error,
    };
    let arguments: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    // Who knows other programs may leave out the command.
    let first = arguments.get(1).map(String::as_str).unwrap_or_default();
    if error.kind() == ErrorKind::InvalidSubcommand && std::path::Path::new(first).exists() {
        let first = quote(first);
        let hint = format!("to run it: puna run {first}; puna help lists the commands");
        return Err(Failure::Usage(format!("{first} is not a command\n  {hint}")));
    }
    // Where a model is named by -m alone, whoever knows `run FILE` gives it without.
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && std::path::Path::new(argument).exists()
    {
        let argument = quote(argument);
        return Err(Failure::Usage(format!(
            "no file or folder is expected here, but there is {argument}\n  -m names the model: -m {argument}"
        )));
    }
    if !error.use_stderr() {
        // Help, or the version.
        error.print()?;
        std::io::stdout().flush()?;
        return Ok(None);
    }
    if arguments.iter().any(|argument| argument.contains(steers_terminals)) {
        // The same mistake, made with arguments fit to be shown.
        let shown = arguments.iter().map(|argument| visible(argument).into_owned());
        Cli::try_parse_from(shown).err().unwrap_or_else(|| Cli::command().error(error.kind(), "")).exit();
    }
    error.exit()
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    Run(run::Run),
    Chat(run::Chat),
    Serve(serve::Serve),
    Infill(infill::Infill),
    Guard(guard::Guard),
    Score(score::Score),
    Embed(embed::Embed),
    Tokenize(tokenize::Tokenize),
    Detokenize(detokenize::Detokenize),
    Prompt(prompt::Prompt),
    Pull(pull::Pull),
    List(list::List),
    Models(models::Models),
    #[command(name = "rm")]
    Remove(pull::Remove),
    Verify(pull::Verify),
    Gc(pull::Gc),
    Show(show::Show),
    #[command(visible_alias = "license")]
    Licence(licence::LicenceOf),
    Bench(bench::Bench),
    Train(train::Train),
    Plan(plan::Plan),
    Completions(completions::Completions),
}

impl Command {
    /// Does it.
    pub fn run(&self) -> Result<(), Failure> {
        match self {
            Command::Run(run) => run.run(),
            Command::Chat(chat) => chat.run(),
            Command::Serve(serve) => serve.run(),
            Command::Infill(infill) => infill.run(),
            Command::Guard(guard) => guard.run(),
            Command::Score(score) => score.run(),
            Command::Embed(embed) => embed.run(),
            Command::Tokenize(tokenize) => tokenize.run(),
            Command::Detokenize(detokenize) => detokenize.run(),
            Command::Prompt(prompt) => prompt.run(),
            Command::Pull(pull) => pull.run(),
            Command::List(list) => list.run(),
            Command::Models(models) => models.run(),
            Command::Remove(remove) => remove.run(),
            Command::Verify(verify) => verify.run(),
            Command::Gc(gc) => gc.run(),
            Command::Show(show) => show.run(),
            Command::Licence(licence) => licence.run(),
            Command::Bench(bench) => bench.run(),
            Command::Train(train) => train.run(),
            Command::Plan(plan) => plan.run(),
            Command::Completions(completions) => completions.run(),
        }
    }
}
