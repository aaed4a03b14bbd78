//! The `puna` program: arguments in, text out.
//!
//! One file per command in `commands`; everything they do is done by the `puna` library. Results go to
//! standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 judged
//! unsafe (`guard --exit-code`), 129 the terminal was closed (SIGHUP), 130 interrupted, 131 told to quit
//! (SIGQUIT), 141 standard output was closed, 143 told to end (SIGTERM).

#![forbid(unsafe_code)]

mod answer;
mod args;
mod commands;
mod conversation;
mod environment;
mod failure;
mod input;
mod interrupt;
mod line_editor;
mod model_word;
mod names;
mod output;
mod progress;
mod report;
mod run_settings;
mod settings;
mod shown;
mod signals;
mod terminal;
mod units;

use std::process::ExitCode;

use failure::Failure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run() -> Result<(), Failure> {
    commands::answer_shell();
    let Some(command) = commands::parse()? else { return Ok(()) };
    signals::handle()?;
    command.run()
}
