//! Values as text: Python's `str` and `repr`, and `json.dumps`.

use crate::error::Error;
use crate::limits::MAX_VALUE_DEPTH;
use crate::render::Renderer;
use crate::text::{Mark, Text, Writer};
use crate::value::{Callable, Value};

/// Python's `repr` of a float: the shortest digits that read back the same, with an exponent below 1e-4 and
/// from 1e16 on.
pub fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        return with_exponent(&format!("{value:e}"));
    }
    let text = format!("{value}");
    if text.contains('.') { text } else { text + ".0" }
}

/// Rust's `1.5e-7` as Python's `1.5e-07`.
pub(crate) fn with_exponent(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

impl<'a> Renderer<'a> {
    /// `str(value)`
    pub(crate) fn print(&self, out: &mut Writer, value: &Value<'a>) -> Result<(), Error> {
        match value {
            Value::Undefined(missing @ crate::value::Missing::Unsafe(..)) => Err(missing.error()),
            Value::Undefined(_) => Ok(()),
            Value::Text(text) => out.push_text(text),
            value => {
                match value {
                    Value::None => self.printed_none.set(true),
                    Value::List(_) | Value::Tuple(_) | Value::Dict(_) => self.printed_container.set(true),
                    _ => {}
                }
                self.print_repr(out, value, 0)
            }
        }
    }

    /// `str(value)`, without a copy where it is a text already.
    pub(crate) fn to_text(&self, value: &Value<'a>) -> Result<Text<'a>, Error> {
        if let Value::Text(text) = value {
            return Ok(text.clone());
        }
        let mut out = Writer::new(&self.meter)?;
        self.print(&mut out, value)?;
        Ok(out.finish())
    }

    /// `repr(value)`, `level` levels within another.
    pub(crate) fn print_repr(&self, out: &mut Writer, value: &Value<'a>, level: usize) -> Result<(), Error> {
        self.meter.step(1)?;
        if level > MAX_VALUE_DEPTH {
            let what = format!("a value that is printed nests more than {MAX_VALUE_DEPTH} levels deep");
            return Err(Error::Limit(what));
        }
        let mut plain = |text: &str| out.push(text, Mark::TEMPLATE);
        match value {
            Value::Undefined(_) => plain("Undefined"),
            Value::None => plain("None"),
            Value::Bool(value) => plain(if *value { "True" } else { "False" }),
            Value::Int(value) => plain(&value.to_string()),
            Value::Float(value) => plain(&float_repr(*value)),
            Value::Text(text) => {
                self.meter.read(text.len())?;
                print_quoted(out, text)
            }
            Value::List(list) => self.print_items(out, ["[", "]"], list, level),
            Value::Tuple(list) => {
                let end = if list.len() == 1 { ",)" } else { ")" };
                self.print_items(out, ["(", end], list, level)
            }
            Value::Dict(dict) => self.print_entries(out, dict.entries(), level),
            Value::Namespace(n) => {
                plain("<Namespace ")?;
                let entries = self.namespaces.borrow()[*n].clone();
                self.print_entries(out, &entries, level)?;
                out.push(">", Mark::TEMPLATE)
            }
            Value::Callable(callable) => match callable.kind() {
                Callable::Macro(of) => {
                    plain("<Macro ")?;
                    print_quoted(out, &Text::Borrowed(self.name(of.macro_.name), Mark::TEMPLATE))?;
                    out.push(">", Mark::TEMPLATE)
                }
                Callable::Global(name) => plain(&format!("<function {name}>")),
                Callable::Method(of, name) => {
                    plain(&format!("<built-in method {} of {} object>", name.as_str(), of.kind()))
                }
                Callable::Cycler(..) => plain("<Cycler>"),
                Callable::Joiner(..) => plain("<Joiner>"),
            },
            Value::Iterator(_) => plain("<generator object>"),
            Value::Loop(of) => plain(&format!("<LoopContext {}/{}>", of.index0.get() + 1, of.items.len())),
        }
    }

    fn print_items(
        &self,
        out: &mut Writer,
        brackets: [&str; 2],
        list: &crate::value::List<'a>,
        level: usize,
    ) -> Result<(), Error> {
        out.push(brackets[0], Mark::TEMPLATE)?;
        for n in 0..list.len() {
            if n > 0 {
                out.push(", ", Mark::TEMPLATE)?;
            }
            self.print_repr(out, &list.at(&self.meter, n)?, level + 1)?;
        }
        out.push(brackets[1], Mark::TEMPLATE)
    }

    fn print_entries(
        &self,
        out: &mut Writer,
        entries: &[(Value<'a>, Value<'a>)],
        level: usize,
    ) -> Result<(), Error> {
        out.push("{", Mark::TEMPLATE)?;
        for (n, (key, value)) in entries.iter().enumerate() {
            if n > 0 {
                out.push(", ", Mark::TEMPLATE)?;
            }
            self.print_repr(out, key, level + 1)?;
            out.push(": ", Mark::TEMPLATE)?;
            self.print_repr(out, value, level + 1)?;
        }
        out.push("}", Mark::TEMPLATE)
    }

    /// `json.dumps(value)`
    pub(crate) fn print_json(
        &self,
        out: &mut Writer,
        value: &Value<'a>,
        style: &JsonStyle,
        level: usize,
    ) -> Result<(), Error> {
        self.meter.step(1)?;
        let mut plain = |text: &str| out.push(text, Mark::TEMPLATE);
        match value {
            Value::None => plain("null"),
            Value::Bool(value) => plain(if *value { "true" } else { "false" }),
            Value::Int(value) => plain(&value.to_string()),
            Value::Float(value) => plain(&json_float(*value)),
            Value::Text(text) => print_json_string(out, text, style),
            Value::List(list) | Value::Tuple(list) => {
                plain("[")?;
                for n in 0..list.len() {
                    self.begin_item(out, style, level, n)?;
                    self.print_json(out, &list.at(&self.meter, n)?, style, level + 1)?;
                }
                self.end_items(out, style, level, list.len())?;
                out.push("]", Mark::TEMPLATE)
            }
            Value::Dict(dict) => {
                plain("{")?;
                let mut entries: Vec<&(Value, Value)> = dict.entries().iter().collect();
                if style.sorts_keys {
                    let mut failure = None;
                    entries.sort_by(|a, b| {
                        self.order(&a.0, &b.0).unwrap_or_else(|error| {
                            failure.get_or_insert(error);
                            std::cmp::Ordering::Equal
                        })
                    });
                    if let Some(error) = failure {
                        return Err(error);
                    }
                }
                for (n, (key, value)) in entries.iter().enumerate() {
                    self.begin_item(out, style, level, n)?;
                    let key = match key {
                        Value::Text(text) => text.clone(),
                        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                            let mut key_text = Writer::new(&self.meter)?;
                            self.print_json(&mut key_text, key, style, level)?;
                            key_text.finish()
                        }
                        other => {
                            let what = format!("a key of JSON cannot be a {}", other.kind());
                            return Err(Error::failed(what));
                        }
                    };
                    print_json_string(out, &key, style)?;
                    out.push_text(&style.key_separator)?;
                    self.print_json(out, value, style, level + 1)?;
                }
                self.end_items(out, style, level, entries.len())?;
                out.push("}", Mark::TEMPLATE)
            }
            other => Err(Error::failed(format!("a {} cannot be written as JSON", other.kind()))),
        }
    }

    fn begin_item(&self, out: &mut Writer, style: &JsonStyle, level: usize, n: usize) -> Result<(), Error> {
        if n > 0 {
            out.push_text(&style.item_separator)?;
        }
        self.begin_line(out, style, level + 1)
    }

    fn end_items(&self, out: &mut Writer, style: &JsonStyle, level: usize, n: usize) -> Result<(), Error> {
        if n == 0 { Ok(()) } else { self.begin_line(out, style, level) }
    }

    fn begin_line(&self, out: &mut Writer, style: &JsonStyle, level: usize) -> Result<(), Error> {
        let Some(indent) = &style.indent else { return Ok(()) };
        out.push("\n", Mark::TEMPLATE)?;
        out.push_repeated(indent, level)
    }
}

/// How JSON is written.
#[derive(Debug)]
pub(crate) struct JsonStyle<'a> {
    /// Of one level; `None` writes one line.
    pub indent: Option<Text<'a>>,
    /// Whether characters beyond ASCII become `\uXXXX`.
    pub is_ascii: bool,
    pub item_separator: Text<'a>,
    pub key_separator: Text<'a>,
    pub sorts_keys: bool,
}

impl JsonStyle<'_> {
    /// `json.dumps`' own, but for `ensure_ascii`.
    pub(crate) fn new() -> JsonStyle<'static> {
        JsonStyle {
            indent: None,
            is_ascii: false,
            item_separator: Text::Borrowed(", ", Mark::TEMPLATE),
            key_separator: Text::Borrowed(": ", Mark::TEMPLATE),
            sorts_keys: false,
        }
    }
}

fn json_float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value => float_repr(value),
    }
}

fn print_json_string(out: &mut Writer, text: &Text, style: &JsonStyle) -> Result<(), Error> {
    out.push("\"", Mark::TEMPLATE)?;
    for (run, mark) in text.runs(0..text.len()) {
        let mut begin = 0;
        for (at, c) in run.char_indices() {
            let escaped = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                c if c < ' ' || style.is_ascii && !c.is_ascii() => "",
                _ => continue,
            };
            out.push(&run[begin..at], mark)?;
            begin = at + c.len_utf8();
            if escaped.is_empty() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push(&format!("\\u{unit:04x}"), mark)?;
                }
            } else {
                out.push(escaped, mark)?;
            }
        }
        out.push(&run[begin..], mark)?;
    }
    out.push("\"", Mark::TEMPLATE)
}

/// `repr` of a string: in single quotes, unless it holds those and no double ones.
fn print_quoted(out: &mut Writer, text: &Text) -> Result<(), Error> {
    let string = text.as_str();
    let quote = if string.contains('\'') && !string.contains('"') { '"' } else { '\'' };
    out.push_char(quote, Mark::TEMPLATE)?;
    for (c, mark) in text.chars() {
        match c {
            '\\' => out.push("\\\\", mark)?,
            '\n' => out.push("\\n", mark)?,
            '\r' => out.push("\\r", mark)?,
            '\t' => out.push("\\t", mark)?,
            c if c == quote => {
                out.push("\\", mark)?;
                out.push_char(c, mark)?;
            }
            c if is_printable(c) => out.push_char(c, mark)?,
            c if (c as u32) < 0x100 => out.push(&format!("\\x{:02x}", c as u32), mark)?,
            c if (c as u32) < 0x10000 => out.push(&format!("\\u{:04x}", c as u32), mark)?,
            c => out.push(&format!("\\U{:08x}", c as u32), mark)?,
        }
    }
    out.push_char(quote, Mark::TEMPLATE)
}

/// Python's `str.isprintable` of one character, without its tables of characters that are not assigned.
pub(crate) fn is_printable(c: char) -> bool {
    let is_format = matches!(c as u32, 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890 | 0x891 | 0x8e2
        | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb
        | 0xe000..=0xf8ff | 0xfdd0..=0xfdef | 0xfffe | 0xffff | 0xe0001 | 0xe0020..=0xe007f | 0xf0000..);
    c == ' ' || !c.is_control() && !c.is_whitespace() && !is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats() {
        for (value, expected) in [
            (1e16, "1e+16"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (9999999999999998.0, "9999999999999998.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (-1.5e300, "-1.5e+300"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float_repr(value), expected);
        }
    }
}
