//! Texts fit for terminals, whatever names, paths and answers they hold.

use std::borrow::Cow;

use puna_formats::{steers_terminals, visible_lines};

/// An answer with one sign for each control character.
pub fn without_controls(text: &str) -> Cow<'_, str> {
    let is_bad = |c: char| steers_terminals(c) && !matches!(c, '\n' | '\t');
    if text.contains(is_bad) { text.replace(is_bad, "\u{FFFD}").into() } else { text.into() }
}

/// A message fit for standard error: its further lines are indented, so that none looks like another message,
/// and control characters are escapes, in a file too: what is in a message may decide what its reader does.
pub fn message_lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    for (i, line) in visible_lines(text).lines().enumerate() {
        let indent = if i > 0 && !line.starts_with("  ") { "  " } else { "" };
        let end = if i > 0 { "\n" } else { "" };
        lines += &format!("{end}{indent}{line}");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_spared() {
        assert_eq!(without_controls("a\tb\né"), "a\tb\né");
        assert_eq!(without_controls("\u{1b}[2Jx\r\u{9b}"), "\u{FFFD}[2Jx\u{FFFD}\u{FFFD}");
        assert_eq!(without_controls("\u{202e}a\u{2066}\u{7f}"), "\u{FFFD}a\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn no_line_of_a_message_looks_like_another_message() {
        assert_eq!(message_lines("cannot read `a`\n  why"), "cannot read `a`\n  why");
        assert_eq!(message_lines("a\nerror: b\n\u{1b}[2Jc\n"), "a\n  error: b\n  \\u{1b}[2Jc");
        assert_eq!(message_lines(""), "");
    }
}
