//! Texts for llguidance, and its messages for people.

/// A text in quotation marks, as Lark reads it.
pub(super) fn lark_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if (c as u32) < 0x20 || c == '\x7f' => quoted += &format!("\\u{:04x}", c as u32),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// What is wrong with an expression, in one line: the parser of expressions draws it over several.
pub(super) fn regex_fact(error: &str) -> String {
    error
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("error: "))
        .map_or_else(|| first_line(error), str::to_owned)
}

/// The first line of a message of llguidance; the rest is about itself.
pub(super) fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    match line.strip_prefix("panic: ") {
        Some(fact) => format!("it cannot be compiled: {fact}"),
        None if line == "NoExtensionBias" => "there is no answer of this form".into(),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(lark_string("a\"\\\n\u{7f}é"), r#""a\"\\\u000a\u007fé""#);
    }
}
