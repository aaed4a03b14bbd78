//! JSON written as Python's `json.dumps` writes it, in the formats that we write ourselves.
//!
//! The models were trained on such text, so its blanks count: `", "` and `": "` on one line, an indent of
//! so many blanks with `","` at the line ends, numbers in Python's spelling.

use std::fmt::Write;

use serde_json::{Number, Value};

/// How to write.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct JsonStyle {
    /// Blanks for each level; `None` writes one line.
    pub indent: Option<usize>,
    /// Whether characters beyond ASCII become `\uXXXX` (Python's default, but not the templates').
    pub ascii: bool,
}

/// `json.dumps(value, ensure_ascii=False)`
pub(crate) fn dumps(value: &Value) -> String {
    dumps_as(value, JsonStyle::default())
}

/// `json.dumps` in the given style.
pub(crate) fn dumps_as(value: &Value, style: JsonStyle) -> String {
    let mut out = String::new();
    write_value(&mut out, value, style, 0);
    out
}

// The depth is bounded by the parser that made the value.
fn write_value(out: &mut String, value: &Value, style: JsonStyle, level: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => write_string(out, text, style.ascii),
        Value::Array(items) => {
            write_items(out, ['[', ']'], style, level, items.iter(), |out, item| {
                write_value(out, item, style, level + 1);
            });
        }
        Value::Object(entries) => {
            write_items(out, ['{', '}'], style, level, entries.iter(), |out, (key, item)| {
                write_string(out, key, style.ascii);
                out.push_str(": ");
                write_value(out, item, style, level + 1);
            });
        }
    }
}

fn write_items<T>(
    out: &mut String,
    brackets: [char; 2],
    style: JsonStyle,
    level: usize,
    items: impl ExactSizeIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    let is_empty = items.len() == 0;
    let break_line = |out: &mut String, level: usize| {
        if let Some(indent) = style.indent.filter(|_| !is_empty) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * level));
        }
    };
    out.push(brackets[0]);
    for (n, item) in items.enumerate() {
        if n > 0 {
            out.push_str(if style.indent.is_some() { "," } else { ", " });
        }
        break_line(out, level + 1);
        write(out, item);
    }
    break_line(out, level);
    out.push(brackets[1]);
}

fn write_string(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}"); // writing to a String cannot fail
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A number as Python's `repr` spells it.
pub(crate) fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => puna_jinja::float_repr(value),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn as_python_writes_it() {
        let value = json!({"b": [1, 2.0, -0.5, 1e20, 1e-7, true, null], "a": {}, "é": "x\n\"\u{1}\u{7f}/🙂", "l": []});
        assert_eq!(
            dumps(&value),
            "{\"b\": [1, 2.0, -0.5, 1e+20, 1e-07, true, null], \"a\": {}, \"é\": \"x\\n\\\"\\u0001\u{7f}/🙂\", \"l\": []}"
        );
        let ascii = dumps_as(&json!("é🙂\u{7f}"), JsonStyle { ascii: true, indent: None });
        assert_eq!(ascii, "\"\\u00e9\\ud83d\\ude42\u{7f}\"");
        let indented =
            dumps_as(&json!({"a": [1, {}], "b": {"c": 2}}), JsonStyle { indent: Some(2), ascii: false });
        assert_eq!(indented, "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": 2\n  }\n}");
    }
}
