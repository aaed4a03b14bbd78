//! Text from files, paths and requests, fit to be shown on a terminal.
//!
//! A control character could retitle the window, hide lines or forge new ones; an override of the writing
//! direction lets a text look like another. They are shown as escapes, `\u{1b}`. What a newline may do depends
//! on the place: a name is one line, a message has several.

use std::borrow::Cow;
use std::path::Path;

/// Whether a terminal could take the character for a command, or show what follows it in another order.
pub fn steers_terminals(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// A text on one line, every control character as an escape.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A text of several lines, every control character but the ends of lines and tabs as an escape.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// A path as [`visible`] text; bytes that are not UTF-8 are shown as `�`.
pub fn visible_path(path: &Path) -> String {
    visible(&path.to_string_lossy()).into_owned()
}

/// A name from elsewhere, fit for a message: in backticks, control characters escaped, cut when it is long.
pub fn quote(name: &str) -> String {
    const SHOWN_CHARS: usize = 120;
    let shown: String = name.chars().take(SHOWN_CHARS).collect();
    let end = if name.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    format!("`{}{end}`", visible(&shown))
}

fn escaped(text: &str, is_allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_bad = |c: char| steers_terminals(c) && !is_allowed(c);
    if !text.contains(is_bad) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_bad(c) { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_escaped() {
        assert_eq!(visible("naïve 🙂 \"a\\b\""), "naïve 🙂 \"a\\b\"");
        assert_eq!(visible("a\nb\t\r\u{1b}[2J\u{7f}\u{9b}"), "a\\nb\\t\\r\\u{1b}[2J\\u{7f}\\u{9b}");
        assert_eq!(visible("\u{202e}gpj.exe\u{2066}\u{2029}"), "\\u{202e}gpj.exe\\u{2066}\\u{2029}");
        assert_eq!(visible_lines("a\n\tb\r\u{1b}"), "a\n\tb\\r\\u{1b}");
        assert_eq!(visible_path(Path::new("a\n\u{1b}[31m.gguf")), "a\\n\\u{1b}[31m.gguf");
        let all = (0..0x3000).filter_map(char::from_u32).filter(|c| steers_terminals(*c));
        for c in all.map(String::from).map(|text| visible(&text).into_owned()) {
            assert!(c.starts_with('\\') && !c.contains(steers_terminals), "{c:?}");
        }
    }

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(quote("blk.0\u{1b}[2J"), "`blk.0\\u{1b}[2J`");
        let long = quote(&"x".repeat(1_000_000));
        assert!(long.chars().count() == 123 && long.ends_with("…`"));
    }
}
