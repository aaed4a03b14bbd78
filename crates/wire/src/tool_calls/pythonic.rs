//! Calls in Python's syntax, `name(key="value", n=1)`, character by character.
//!
//! The scanner finds where a call ends; what is between its parentheses is read when it is complete. A quotation mark
//! ends a string only where a comma, a bracket, a colon or the end comes after it: Llama's own template writes builtin
//! calls with marks inside of texts as they are (`query="gold "1oz" price"`), and `'it's'` is common.

use serde_json::{Map, Number, Value};

use super::json::Progress;

/// How deep lists and dicts may be in one another.
const MOST_DEPTH: usize = 64;

/// The most bytes of a name.
pub(super) const MOST_NAME: usize = 256;

/// Finds the end of a call.
#[derive(Debug, Default)]
pub(super) struct CallScanner {
    /// The name, dotted perhaps.
    pub(super) name: String,
    /// What is between the parentheses.
    pub(super) body: String,
    /// How many brackets are open.
    depth: usize,
    quote: Option<char>,
    is_escaped: bool,
    /// Whether the last character but blanks was a mark that may end the string.
    may_end: bool,
}

impl CallScanner {
    /// Whether a name may begin with this.
    pub(super) fn begins_with(c: char) -> bool {
        c.is_ascii_alphabetic() || c == '_'
    }

    /// Whether the name is complete.
    pub(super) fn has_name(&self) -> bool {
        self.depth > 0
    }

    /// Reads a character.
    pub(super) fn feed(&mut self, c: char) -> Progress {
        if self.depth == 0 {
            return self.feed_name(c);
        }
        if self.quote.is_some() && self.is_in_string(c) {
            self.body.push(c);
            return Progress::Going;
        }
        match c {
            '"' | '\'' => self.quote = Some(c),
            '(' | '[' | '{' => self.depth += 1,
            ')' | ']' | '}' => {
                self.depth -= 1;
                if self.depth == 0 {
                    return if c == ')' { Progress::Done } else { Progress::Broken };
                }
            }
            _ => {}
        }
        self.body.push(c);
        Progress::Going
    }

    fn feed_name(&mut self, c: char) -> Progress {
        match c {
            '(' if !self.name.is_empty() => self.depth = 1,
            c if CallScanner::begins_with(c) && self.name.len() < MOST_NAME => self.name.push(c),
            '0'..='9' | '.' | '-' if !self.name.is_empty() && self.name.len() < MOST_NAME => {
                self.name.push(c)
            }
            _ => return Progress::Broken,
        }
        Progress::Going
    }

    /// Whether a character is still the string's; if not, the string is over.
    fn is_in_string(&mut self, c: char) -> bool {
        if self.may_end && ends_string(Some(c)) {
            (self.quote, self.may_end) = (None, false);
            return false;
        }
        if std::mem::take(&mut self.is_escaped) {
            return true;
        }
        self.is_escaped = c == '\\';
        self.may_end = Some(c) == self.quote || self.may_end && c.is_whitespace();
        true
    }
}

/// Whether a string is over where this comes after a quotation mark, and blanks perhaps.
fn ends_string(next: Option<char>) -> bool {
    matches!(next, None | Some(',' | ')' | ']' | '}' | ':'))
}

/// Reads arguments. Those without a key get the next of `names`, the tool's parameters; `None` if these are no
/// arguments.
pub(super) fn arguments(body: &str, names: &[&str]) -> Option<Map<String, Value>> {
    let mut reader = Reader { rest: body };
    let mut arguments = Map::new();
    let mut names = names.iter();
    reader.skip_blanks();
    while !reader.rest.is_empty() {
        let key = match reader.key() {
            Some(key) => key.to_owned(),
            None => (*names.next()?).to_owned(),
        };
        arguments.insert(key, reader.literal(0)?);
        if !reader.take(',') && !reader.rest.is_empty() {
            return None;
        }
    }
    Some(arguments)
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a character, with the blanks around it, if it is next.
    fn take(&mut self, c: char) -> bool {
        self.skip_blanks();
        let Some(rest) = self.rest.strip_prefix(c) else { return false };
        self.rest = rest;
        self.skip_blanks();
        true
    }

    fn word(&mut self) -> &'t str {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A key and its `=`, if they are next.
    fn key(&mut self) -> Option<&'t str> {
        let before = self.rest;
        let word = self.word();
        if word.is_empty() || !self.take('=') {
            self.rest = before;
            return None;
        }
        Some(word)
    }

    fn literal(&mut self, depth: usize) -> Option<Value> {
        if depth > MOST_DEPTH {
            return None;
        }
        self.skip_blanks();
        let value = match self.rest.chars().next()? {
            '"' | '\'' => Value::String(self.string()?),
            '[' => Value::Array(self.items('[', ']', depth)?.0),
            '(' => {
                let (mut items, has_comma) = self.items('(', ')', depth)?;
                // `(1)` is a number in parentheses, `(1,)` a tuple.
                if items.len() == 1 && !has_comma { items.pop()? } else { Value::Array(items) }
            }
            '{' => Value::Object(self.dict(depth)?),
            '0'..='9' | '.' | '-' | '+' => Value::Number(self.number()?),
            _ => match self.word() {
                "True" | "true" => Value::Bool(true),
                "False" | "false" => Value::Bool(false),
                "None" | "null" => Value::Null,
                _ => return None,
            },
        };
        self.skip_blanks();
        Some(value)
    }

    /// Items between brackets, and whether a comma is after the last.
    fn items(&mut self, open: char, close: char, depth: usize) -> Option<(Vec<Value>, bool)> {
        let (mut items, mut has_comma) = (Vec::new(), true);
        self.take(open);
        while !self.take(close) {
            if !has_comma {
                return None;
            }
            items.push(self.literal(depth + 1)?);
            has_comma = self.take(',');
        }
        Some((items, has_comma))
    }

    fn dict(&mut self, depth: usize) -> Option<Map<String, Value>> {
        let (mut dict, mut has_comma) = (Map::new(), true);
        self.take('{');
        while !self.take('}') {
            if !has_comma {
                return None;
            }
            // Meta's own writer has `=` in dicts: {a=1}.
            let key = match self.key() {
                Some(key) => key.to_owned(),
                None => {
                    let key = match self.literal(depth + 1)? {
                        Value::String(key) => key,
                        key @ (Value::Number(_) | Value::Bool(_) | Value::Null) => key.to_string(),
                        Value::Array(_) | Value::Object(_) => return None,
                    };
                    if !self.take(':') {
                        return None;
                    }
                    key
                }
            };
            dict.insert(key, self.literal(depth + 1)?);
            has_comma = self.take(',');
        }
        Some(dict)
    }

    fn number(&mut self) -> Option<Number> {
        let is_of_number = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
        let end = self.rest.find(|c| !is_of_number(c)).unwrap_or(self.rest.len());
        let text = self.rest[..end].replace('_', "");
        self.rest = &self.rest[end..];
        let text = text.strip_prefix('+').unwrap_or(&text);
        if let Ok(number) = text.parse::<i64>() {
            return Some(number.into());
        }
        if let Ok(number) = text.parse::<u64>() {
            return Some(number.into());
        }
        // `inf` and `nan` are words of Rust's numbers, not of these.
        text.bytes()
            .any(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok().and_then(Number::from_f64))?
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let mut chars = self.rest[1..].char_indices();
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            let after = &self.rest[1 + at + c.len_utf8()..];
            if c == quote && ends_string(after.trim_start().chars().next()) {
                self.rest = after;
                return Some(text);
            }
            match c {
                '\\' => unescape(&mut chars, &mut text)?,
                c => text.push(c),
            }
        }
        None
    }
}

/// What a backslash and the characters after it say, as in Python; unknown ones say themselves.
fn unescape(chars: &mut std::str::CharIndices, text: &mut String) -> Option<()> {
    let (_, c) = chars.next()?;
    match c {
        '\n' => {}
        'n' => text.push('\n'),
        't' => text.push('\t'),
        'r' => text.push('\r'),
        'b' => text.push('\u{8}'),
        'f' => text.push('\u{c}'),
        '\\' | '\'' | '"' | '/' => text.push(c),
        'x' => text.push(from_code(hex(chars, 2)?)),
        'U' => text.push(from_code(hex(chars, 8)?)),
        'u' => {
            let code = hex(chars, 4)?;
            // Halves of a pair, as JSON writes characters beyond 65535.
            let mut ahead = chars.clone();
            let is_pair = (0xd800..0xdc00).contains(&code) && ahead.as_str().starts_with("\\u");
            let low = is_pair.then(|| ahead.by_ref().nth(1).and_then(|_| hex(&mut ahead, 4))).flatten();
            match low.filter(|low| (0xdc00..0xe000).contains(low)) {
                Some(low) => {
                    *chars = ahead;
                    text.push(from_code(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)));
                }
                None => text.push(from_code(code)),
            }
        }
        c => {
            text.push('\\');
            text.push(c);
        }
    }
    Some(())
}

fn from_code(code: u32) -> char {
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn hex(chars: &mut std::str::CharIndices, n: usize) -> Option<u32> {
    (0..n).try_fold(0, |code: u32, _| Some(code << 4 | chars.next()?.1.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals() {
        let cases = [
            ("", json!({})),
            (" a = 1 , ", json!({"a": 1})),
            ("a='x', b=\"y\"", json!({"a": "x", "b": "y"})),
            ("a=-1_000, b=1.5e3, c=.5, d=+2", json!({"a": -1000, "b": 1500.0, "c": 0.5, "d": 2})),
            ("a=True, b=false, c=None, d=null", json!({"a": true, "b": false, "c": null, "d": null})),
            ("a=[1, (2,), (3), (), {'k': [4]},]", json!({"a": [1, [2], 3, [], {"k": [4]}]})),
            ("a={k=1, 2: 'x', True: None}", json!({"a": {"k": 1, "2": "x", "true": null}})),
            (r#"a='\n\x41\u00e9\U0001f600\ud83d\ude00\ud83d\q'"#, json!({"a": "\nAé😀😀\u{fffd}\\q"})),
            (r#"query="gold "1oz" price""#, json!({"query": "gold \"1oz\" price"})),
            ("a='it's', b='x\ny'", json!({"a": "it's", "b": "x\ny"})),
            ("a='', b=\"\"", json!({"a": "", "b": ""})),
            ("'x', z=2", json!({"p": "x", "z": 2})),
        ];
        for (body, wanted) in cases {
            assert_eq!(arguments(body, &["p"]).map(Value::Object), Some(wanted), "{body}");
        }
    }

    #[test]
    fn what_is_no_arguments() {
        let deep = format!("a={}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let cases = [
            "a",
            "a=",
            "a=b",
            "1, 2",
            "a=1 b=2",
            "a='x",
            "a=[1",
            "a=[1 2]",
            "a={1, 2}",
            "a={'k': 1",
            "a=1+1",
            "a=x[0]",
            "**{'a': 1}",
            "a=inf",
            "a=--1",
            "a='\\x4'",
            "a={[1]: 2}",
            ",",
            "a=1,,",
            "a=f(1)",
            &deep,
        ];
        for body in cases {
            assert_eq!(arguments(body, &["p"]), None, "{}", &body[..body.len().min(40)]);
        }
    }

    #[test]
    fn calls_end_where_they_end() {
        let cases = [
            ("f(a=1)x", Some("a=1")),
            ("a.b-c(q=\"gold \")\" ) x\" , z=(1, [2]))", Some("q=\"gold \"")),
            ("f(a=')', b=\"\\\")\")", Some("a=')', b=\"\\\")\"")),
            ("f(a='')", Some("a=''")),
            ("f(a=[)", None),
            ("f]", None),
            ("1f()", None),
            (".f()", None),
        ];
        for (text, body) in cases {
            let mut scanner = CallScanner::default();
            let last = text.chars().map(|c| scanner.feed(c)).find(|progress| *progress != Progress::Going);
            let is_done = last == Some(Progress::Done);
            assert_eq!(is_done.then_some(scanner.body.as_str()), body, "{text}");
        }
    }
}
