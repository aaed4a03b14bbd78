//! Where the bytes of a file that is written go: to what its name leads to, as with every other program.
//!
//! Links are followed, to a file that is not there yet too, so that the link stays one. A named pipe or a
//! device takes the bytes as they come. Whatever else has the name is refused: nothing but a file is ever
//! replaced.

use std::fs::{File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Problem;
use crate::file_kind::irregular;

/// What a name leads to.
#[derive(Debug)]
pub(crate) enum Destination {
    /// A file, or a place where one can be.
    File {
        /// At the end of all links.
        path: PathBuf,
        /// What the file is now, if there is one.
        existing: Option<Metadata>,
    },
    /// What takes bytes as they come: a pipe, a terminal, a file that somebody has opened already.
    Stream(File),
}

/// As many as Linux follows.
const MAX_LINKS: usize = 40;

/// Finds what a name leads to. Opening a named pipe waits for somebody who reads it.
pub(crate) fn find(name: &Path) -> Result<Destination, Problem> {
    let mut path = name.to_owned();
    let mut n_links = 0;
    let existing = loop {
        let about = match std::fs::symlink_metadata(&path) {
            Ok(about) => about,
            Err(error) if error.kind() == ErrorKind::NotFound => break None,
            Err(error) => return Err(led_to(Problem::from_io(&error), name, &path)),
        };
        if !about.is_symlink() {
            break Some(about);
        }
        n_links += 1;
        if n_links > MAX_LINKS {
            return Err(Problem::not_a_model("is a link that leads back to itself"));
        }
        let folder = folder_of(&path);
        if folder.canonicalize().is_ok_and(|folder| folder.starts_with("/proc")) {
            // /dev/stdout and its like: the link names an open file in words that are no path. What is in the
            // file stays.
            return open_stream(OpenOptions::new().append(true), &path, name);
        }
        let target = std::fs::read_link(&path);
        path = folder.join(target.map_err(|error| led_to(Problem::from_io(&error), name, &path))?);
    };
    let Some(about) = existing else { return Ok(Destination::File { path, existing: None }) };
    let kind = about.file_type();
    if takes_bytes(&about) {
        return open_stream(OpenOptions::new().write(true), &path, name);
    }
    if let Some(fact) = irregular(kind) {
        return Err(led_to(Problem::not_a_model(fact), name, &path));
    }
    // A file that may not be written is not replaced either.
    let opened = OpenOptions::new().write(true).open(&path);
    opened.map_err(|error| led_to(Problem::from_io(&error), name, &path))?;
    Ok(Destination::File { path, existing: Some(about) })
}

/// The folder of a file, which for a plain name is the one that the program is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open_stream(options: &OpenOptions, path: &Path, name: &Path) -> Result<Destination, Problem> {
    let file = options.open(path).map_err(|error| led_to(Problem::from_io(&error), name, path))?;
    Ok(Destination::Stream(file))
}

#[cfg(unix)]
fn takes_bytes(about: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    about.file_type().is_fifo() || about.file_type().is_char_device()
}

#[cfg(not(unix))]
fn takes_bytes(_about: &Metadata) -> bool {
    false
}

/// Says where a link led.
pub(crate) fn led_to(problem: Problem, name: &Path, path: &Path) -> Problem {
    if path == name { problem } else { problem.about(format!("is a link to `{}`", path.display())) }
}
