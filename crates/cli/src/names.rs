//! The names that shells complete.

use std::ffi::OsStr;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use puna_store::catalogue::KNOWN;

use crate::environment::{places, shelf};

/// Models of this machine, and files.
pub fn models() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let names = places().find().models.into_iter().map(|model| model.name);
        let mut fitting = starting(current, names);
        fitting.extend(PathCompleter::any().complete(current));
        fitting
    })
}

/// Models that were pulled.
pub fn pulled_models() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let models = shelf().map(|shelf| shelf.models()).unwrap_or_default();
        starting(current, models.into_iter().map(|model| model.name))
    })
}

/// Meta's models, elsewhere.
pub fn known_models() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let names = KNOWN.iter().flat_map(|known| [known.ollama, known.hub]).filter(|name| !name.is_empty());
        starting(current, names.map(str::to_owned))
    })
}

fn starting(current: &OsStr, names: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    // A name that would steer a terminal is not offered.
    let fits = |name: &String| name.starts_with(&*current) && !name.chars().any(char::is_control);
    names.filter(fits).map(CompletionCandidate::new).collect()
}
