//! Words that may be a model: a file, a folder, or a name. Where a prompt may stand as well, nobody who writes a
//! path, or a name as models have, means a prompt.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use puna_formats::quote;
use puna_store::catalogue;
use puna_store::name::ModelName;

use crate::args::model_named;
use crate::failure::Failure;

/// The model that a word names; an error where it names a file that is not one. Where it `must` be a model, any
/// name is looked for.
pub fn model_of(word: &OsStr, must: bool) -> Result<Option<PathBuf>, Failure> {
    let text = word.to_string_lossy();
    // Blanks around a path came with it when it was copied.
    let path = if Path::new(word).exists() { Path::new(word) } else { Path::new(text.trim()) };
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    // What is wrong with a folder is said when it is opened.
    if path.is_dir() {
        return Ok(Some(path.to_owned()));
    }
    if path.exists() {
        let name = path.to_string_lossy().to_lowercase();
        let ends = [".gguf", ".safetensors", ".pth", "config.json", "params.json", ".index.json"];
        let is_model = ends.iter().any(|end| name.ends_with(end)) || puna::is_model_file(path);
        return if is_model { Ok(Some(path.to_owned())) } else { Err(not_a_prompt(word)) };
    }
    let may_be_name = must || !text.contains(char::is_whitespace);
    if may_be_name { model_named(text.trim()) } else { Ok(None) }
}

/// Whether a file is meant, and no name.
fn looks_like_file(text: &str) -> bool {
    let text = text.to_lowercase();
    [".gguf", ".safetensors", ".pth", ".bin", ".json"].iter().any(|end| text.ends_with(end))
        || text.starts_with(['/', '.', '~'])
}

/// Whether nobody would say this to a model.
pub fn looks_like_path(word: &OsStr) -> bool {
    let text = word.to_string_lossy().to_lowercase();
    let text = text.trim();
    let ends = [".gguf", ".safetensors", ".pth", ".bin", ".txt", ".md", ".json"];
    let begins = ["/", "./", "../", "~/"];
    let is_file = ends.iter().any(|end| text.ends_with(end));
    let begins_so = begins.iter().any(|begin| text.starts_with(begin));
    if text.contains(char::is_whitespace) {
        return is_file && begins_so;
    }
    // `owner/name`, `name:tag`, `name3.2`, an address.
    let is_inside = |at: usize| {
        let (before, after) = (text[..at].chars().next_back(), text[at + 1..].chars().next());
        before.is_some_and(char::is_alphanumeric) && after.is_some_and(|c| c.is_alphanumeric() || c == '/')
    };
    let has_sign = text.char_indices().any(|(at, c)| matches!(c, '/' | ':' | '.') && is_inside(at));
    text.len() > 1 && (is_file || begins_so || has_sign || text.ends_with(std::path::MAIN_SEPARATOR))
}

/// Refuses a text that is the path of something: it would be taken by the letter. `instead` says what takes its
/// content.
pub fn check_is_no_path(text: &str, instead: &str) -> Result<(), Failure> {
    let may_be = looks_like_path(OsStr::new(text)) && Path::new(text).exists();
    if !may_be {
        return Ok(());
    }
    let fact = format!("{} is a file or folder, and would be taken as a text", quote(text));
    Err(Failure::Usage(format!("{fact}\n  -m names a model, {instead}")))
}

/// A file that stands where a prompt may.
pub fn not_a_prompt(word: &OsStr) -> Failure {
    Failure::Usage(format!(
        "{} is a file, but not a model\n  --prompt-file takes its text as the prompt; -m names a model",
        quote(&word.to_string_lossy())
    ))
}

/// A name that nothing has.
pub fn no_model(name: &OsStr) -> Failure {
    let text = name.to_string_lossy();
    let near = catalogue::nearest(&text);
    let may_be = ModelName::parse(&text).is_ok() && !looks_like_file(&text);
    let elsewhere = match (may_be, near.as_slice()) {
        (true, near) => {
            let known = catalogue::named(&text).is_some() || near.is_empty();
            let others =
                if known { String::new() } else { format!("; names like it are {}", near.join(", ")) };
            format!("\n  `puna pull {text}` gets it, if it is there, and so does --pull{others}")
        }
        (false, []) => String::new(),
        (false, near) => format!("\n  there are {}, which --pull gets", near.join(", ")),
    };
    Failure::Usage(format!(
        "there is no model {}\n  there is no such file or folder, and `puna list` has no model of this name\n  a \
         prompt of several words goes in quotes, one that looks like a name is given with -m MODEL, or by a pipe{elsewhere}",
        quote(&text)
    ))
}
