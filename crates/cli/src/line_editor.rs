//! Reading what the user types: line editing, history, texts of several lines.

use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::failure::Failure;
use crate::shown::without_controls;

const PROMPT: &str = ">>> ";
const PROMPT_INSIDE: &str = "... ";

/// Opens and closes a text of several lines.
const QUOTES: &str = "\"\"\"";

/// Entries kept in the history.
const MAX_HISTORY: usize = 1000;

/// What the user entered.
pub enum Entry {
    /// A text, perhaps of several lines.
    Text(String),
    /// Ctrl-C: nothing.
    Cancelled,
    /// Ctrl-D: no more.
    End,
}

/// A line editor with a history that outlives the program, where the system lets it.
pub struct LineEditor {
    editor: Editor<(), FileHistory>,
    history: Option<PathBuf>,
}

impl LineEditor {
    /// Fails only if the terminal cannot be used.
    pub fn new() -> Result<LineEditor, Failure> {
        let fail = |error: ReadlineError| Failure::Failed(format!("cannot use the terminal\n  {error}"));
        let config = Config::builder().max_history_size(MAX_HISTORY).map_err(fail)?.build();
        let mut editor = Editor::with_config(config).map_err(fail)?;
        let history = history_path();
        if let Some(path) = &history {
            // A history is a comfort: neither here nor later is it a reason to fail.
            let _ = editor.load_history(path);
        }
        Ok(LineEditor { editor, history })
    }

    /// The next entry; `initial` is there to be edited, as a whole.
    pub fn read(&mut self, initial: Option<&str>) -> Result<Entry, Failure> {
        let mut entry = Unfinished::default();
        let mut prompt = PROMPT;
        loop {
            let line = match initial {
                Some(text) => self.editor.readline_with_initial(prompt, (&without_controls(text), "")),
                None => self.editor.readline(prompt),
            };
            match line {
                Ok(line) if initial.is_some() => {
                    self.remember(&line);
                    return Ok(Entry::Text(line));
                }
                Ok(line) => {
                    if let Some(text) = entry.add(&line) {
                        self.remember(&text);
                        return Ok(Entry::Text(text));
                    }
                }
                Err(ReadlineError::Interrupted) => return Ok(Entry::Cancelled),
                // Of a text that is not finished, Ctrl-D ends that text alone.
                Err(ReadlineError::Eof) if entry.is_begun => return Ok(Entry::Cancelled),
                Err(ReadlineError::Eof) => return Ok(Entry::End),
                Err(error) => {
                    return Err(Failure::Failed(format!("cannot read from the terminal\n  {error}")));
                }
            }
            prompt = PROMPT_INSIDE;
        }
    }

    fn remember(&mut self, text: &str) {
        if text.trim().is_empty() || !self.editor.add_history_entry(text).unwrap_or(false) {
            return;
        }
        if let Some(path) = &self.history {
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = self.editor.append_history(path);
        }
    }
}

/// `puna/history` in the folder for state: `$XDG_STATE_HOME`, or `.local/state` at home.
fn history_path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("puna/history"))
}

/// An entry whose last line has not come.
#[derive(Default)]
struct Unfinished {
    lines: Vec<String>,
    is_begun: bool,
    is_quoted: bool,
}

impl Unfinished {
    /// Adds a line. Returns the text once it is complete.
    fn add(&mut self, line: &str) -> Option<String> {
        let mut line = line;
        if !std::mem::replace(&mut self.is_begun, true)
            && let Some(rest) = line.strip_prefix(QUOTES)
        {
            self.is_quoted = true;
            line = rest;
            if line.is_empty() {
                return None; // The text begins in the next line.
            }
        }
        let marked =
            if self.is_quoted { line.trim_end().strip_suffix(QUOTES) } else { line.strip_suffix('\\') };
        // Closing quotes end the text, a backslash goes on with it.
        let is_last = marked.is_some() == self.is_quoted;
        let line = marked.unwrap_or(line);
        if !(self.is_quoted && is_last && line.is_empty()) {
            self.lines.push(line.to_owned()); // Closing quotes alone are no line of their own.
        }
        is_last.then(|| std::mem::take(&mut self.lines).join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that the lines make, and how many of them it took.
    fn enter(lines: &[&str]) -> Option<(String, usize)> {
        let mut entry = Unfinished::default();
        lines.iter().enumerate().find_map(|(i, line)| Some((entry.add(line)?, i + 1)))
    }

    #[test]
    fn one_line() {
        assert_eq!(enter(&["hi", "no"]), Some(("hi".into(), 1)));
        assert_eq!(enter(&[""]), Some(("".into(), 1)));
    }

    #[test]
    fn a_backslash_goes_on() {
        assert_eq!(enter(&["a\\", "b\\", "c"]), Some(("a\nb\nc".into(), 3)));
        assert_eq!(enter(&["\\", "b"]), Some(("\nb".into(), 2)));
        assert_eq!(enter(&["a\\"]), None);
    }

    #[test]
    fn quotes_hold_any_lines() {
        assert_eq!(enter(&["\"\"\"", "a", "", "b\\", "\"\"\"", "no"]), Some(("a\n\nb\\".into(), 5)));
        assert_eq!(enter(&["\"\"\"", "", "a", "\"\"\""]), Some(("\na".into(), 4)));
        assert_eq!(enter(&["\"\"\"a", "b\"\"\""]), Some(("a\nb".into(), 2)));
        assert_eq!(enter(&["\"\"\"a\"\"\""]), Some(("a".into(), 1)));
        assert_eq!(enter(&["\"\"\"", "\"\"\""]), Some(("".into(), 2)));
        assert_eq!(enter(&["\"\"\"", "a"]), None);
    }
}
