//! Why a command ended without success, how that is said, and the exit code.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use puna::{EngineError, Error, ModelError, TemplateError};

use crate::shown::message_lines;

/// The end of a command that did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// It could not be done. The first line says what, further lines the facts and what to try.
    Failed(String),
    /// The arguments make no sense together.
    Usage(String),
    /// A guard found what it judged unsafe, and its verdict was to be the exit code.
    Unsafe,
    /// Ctrl-C.
    Interrupted,
    /// Whoever read standard output has enough, as `head` does.
    OutputClosed,
}

impl Failure {
    /// Says it, in the form of an error message, and gives the exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Failure::Failed(message) => {
                complain(&message);
                ExitCode::FAILURE
            }
            Failure::Usage(message) => {
                complain(&message);
                ExitCode::from(2)
            }
            Failure::Unsafe => ExitCode::from(3),
            Failure::Interrupted => ExitCode::from(130),
            Failure::OutputClosed => ExitCode::from(141),
        }
    }
}

/// Prints an error message on standard error.
pub fn complain(message: &str) {
    let mut stderr = io::stderr().lock();
    let coloured = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let label = if coloured { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
    // If even this fails, there is nobody left to tell.
    let _ = writeln!(stderr, "{label} {}", message_lines(message));
}

/// What the library says, and which flag of the program helps: the library does not know our flags.
pub fn message(error: &Error) -> String {
    let hint = match error {
        Error::NoTokenizer { .. } => "`puna score --ids` and `puna bench` need no text",
        Error::NoChatTemplate { .. } => "use --raw, and no --system",
        Error::Template(TemplateError::Syntax(_)) => "use --raw to continue a text without a template",
        Error::NoVision { may_have_projector: true, .. } => "give it with --mmproj FILE",
        Error::NotAGuard { .. } => "if it is one all the same, say which with --guard-version N",
        Error::Engine(EngineError::TooLong { model_max: Some(_), .. }) => "use a larger --ctx, or none",
        Error::Engine(EngineError::NoMemory { .. } | EngineError::Model(ModelError::PoolFull(_))) => {
            "use --kv f16 or q8_0, or --kv-dir DIR"
        }
        _ => return error.to_string(),
    };
    format!("{error}\n  {hint}")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Failed(message(&error))
    }
}

impl From<puna::FormatError> for Failure {
    fn from(error: puna::FormatError) -> Failure {
        Failure::Failed(error.to_string())
    }
}

/// The errors of writing to standard output; those of reading are turned into words where they happen.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Failed(format!("cannot write to standard output\n  {error}")),
        }
    }
}
