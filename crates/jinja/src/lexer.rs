//! A template's text to tokens, with Jinja2's rules of white space for `trim_blocks` and `lstrip_blocks`.
//!
//! A line end after a block or a comment goes, and so do the blanks before one that begins its line; `-` and
//! `+` beside a delimiter take away all white space, or none.

use crate::error::Error;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Data(String),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Operator(&'static str),
}

/// The longest first, where one begins with another.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";",
];

/// Python's `str.isspace` of one character.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Tokens, each with its line.
pub(crate) fn tokens(source: &str) -> Result<Vec<(Token, u32)>, Error> {
    let source = normalised(source);
    let mut lexer = Lexer { source: &source, at: 0, line: 1, counted: 0, starts_line: true, tokens: vec![] };
    while lexer.at < source.len() {
        lexer.root()?;
    }
    Ok(lexer.tokens)
}

/// Line ends as `\n`; the last one goes.
fn normalised(source: &str) -> String {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// Up to where lines have been counted.
    counted: usize,
    /// Whether what was read before ended with a line.
    starts_line: bool,
    tokens: Vec<(Token, u32)>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn error(&mut self, what: impl Into<String>) -> Error {
        Error::Syntax { line: self.line_here(), what: what.into() }
    }

    fn line_here(&mut self) -> u32 {
        let lines = self.source[self.counted..self.at].bytes().filter(|byte| *byte == b'\n').count();
        self.line += lines as u32;
        self.counted = self.at;
        self.line
    }

    fn push(&mut self, token: Token) {
        let line = self.line_here();
        self.tokens.push((token, line));
    }

    /// Text up to the next delimiter, and what that begins.
    fn root(&mut self) -> Result<(), Error> {
        let rest = self.rest();
        let opens = |window: &[u8]| window[0] == b'{' && matches!(window[1], b'{' | b'%' | b'#');
        let Some(begin) = rest.as_bytes().windows(2).position(opens) else {
            self.push(Token::Data(rest.to_owned()));
            self.at = self.source.len();
            return Ok(());
        };
        let kind = rest.as_bytes()[begin + 1];
        let sign = rest.as_bytes().get(begin + 2).copied().filter(|sign| matches!(sign, b'-' | b'+'));
        self.data(&rest[..begin], sign, kind != b'{');
        self.at += begin;
        match kind {
            b'#' => self.comment(sign),
            b'{' => {
                self.push(Token::VariableBegin);
                self.at += 2 + usize::from(sign.is_some());
                self.inside("}}", Token::VariableEnd)
            }
            _ => {
                let inside = &self.rest()[2 + usize::from(sign.is_some())..];
                if let Some(after) = raw_begin(inside) {
                    self.at = self.source.len() - after.len();
                    return self.raw();
                }
                self.push(Token::BlockBegin);
                self.at = self.source.len() - inside.len();
                self.inside("%}", Token::BlockEnd)
            }
        }
    }

    /// Text before a delimiter with `sign`.
    fn data(&mut self, text: &str, sign: Option<u8>, strips_blanks: bool) {
        let kept = match sign {
            Some(b'-') => text.trim_end_matches(is_space),
            None if strips_blanks => {
                let line = text.rfind('\n').map_or(0, |at| at + 1);
                let is_blank = (line > 0 || self.starts_line) && text[line..].chars().all(is_space);
                if is_blank { &text[..line] } else { text }
            }
            _ => text,
        };
        if !kept.is_empty() {
            self.push(Token::Data(kept.to_owned()));
        }
    }

    fn comment(&mut self, sign: Option<u8>) -> Result<(), Error> {
        let begin = 2 + usize::from(sign.is_some());
        let Some(end) = self.rest()[begin..].find("#}") else {
            return Err(self.error("a comment `{#` has no end"));
        };
        let before = self.rest()[begin..begin + end].bytes().last();
        self.at += begin + end + 2;
        self.after_delimiter(before);
        Ok(())
    }

    /// What goes after the end of a block: by a `-` all white space, by a `+` nothing, else one line end.
    fn after_delimiter(&mut self, sign: Option<u8>) {
        let rest = self.rest();
        let after = match sign {
            Some(b'-') => rest.trim_start_matches(is_space),
            Some(b'+') => rest,
            _ => rest.strip_prefix('\n').unwrap_or(rest),
        };
        self.at += rest.len() - after.len();
        self.starts_line = self.source[..self.at].ends_with('\n');
    }

    fn raw(&mut self) -> Result<(), Error> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(begin) = rest[from..].find("{%").map(|at| at + from) {
            let sign = rest.as_bytes().get(begin + 2).copied().filter(|sign| matches!(sign, b'-' | b'+'));
            let inside = rest[begin + 2 + usize::from(sign.is_some())..].trim_start_matches(is_space);
            let end = inside.strip_prefix("endraw").map(|end| end.trim_start_matches(is_space));
            if let Some((after, end_sign)) = end.and_then(block_end) {
                self.data(&rest[..begin], sign, true);
                self.at = self.source.len() - after.len();
                self.after_delimiter(end_sign);
                return Ok(());
            }
            from = begin + 2;
        }
        Err(self.error("`raw` has no `endraw`"))
    }

    /// Tokens up to the delimiter `end`.
    fn inside(&mut self, end: &'static str, token: Token) -> Result<(), Error> {
        let mut brackets: Vec<&str> = Vec::new();
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(is_space).len();
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Err(self.error(format!("`{end}` is missing at the end of the template")));
            };
            if brackets.is_empty() {
                let sign = Some(rest.as_bytes()[0]).filter(|sign| matches!(sign, b'-' | b'+'));
                let sign = sign.filter(|sign| end == "%}" || *sign == b'-');
                if rest[usize::from(sign.is_some())..].starts_with(end) {
                    self.push(token);
                    self.at += usize::from(sign.is_some()) + 2;
                    if end == "%}" || sign.is_some() {
                        self.after_delimiter(sign);
                    }
                    self.starts_line = self.source[..self.at].ends_with('\n');
                    return Ok(());
                }
            }
            if first.is_ascii_digit() {
                self.number()?;
            } else if first == '_' || first.is_alphabetic() {
                let is_part = |c: char| c == '_' || c.is_alphanumeric();
                let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                self.push(Token::Name(rest[..end].to_owned()));
                self.at += end;
            } else if matches!(first, '"' | '\'') {
                self.string(first)?;
            } else if let Some(operator) = OPERATORS.iter().copied().find(|op| rest.starts_with(op)) {
                match operator {
                    "(" | "[" | "{" => brackets.push(operator),
                    ")" | "]" | "}" => {
                        let opened = brackets.pop();
                        if !matches!(
                            (opened, operator),
                            (Some("("), ")") | (Some("["), "]") | (Some("{"), "}")
                        ) {
                            return Err(self.error(format!("`{operator}` closes nothing")));
                        }
                    }
                    _ => {}
                }
                self.push(Token::Operator(operator));
                self.at += operator.len();
            } else {
                return Err(self.error(format!("the character {first:?} means nothing here")));
            }
        }
    }

    fn number(&mut self) -> Result<(), Error> {
        let rest = self.rest();
        let digits = |text: &str, radix: u32| {
            // Underscores stand between digits.
            let is_part = |(n, c): (usize, char)| {
                c.is_digit(radix)
                    || c == '_' && n > 0 && text[n + 1..].starts_with(|c: char| c.is_digit(radix))
            };
            text.char_indices().take_while(|part| is_part(*part)).map(|(_, c)| c.len_utf8()).sum::<usize>()
        };
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            let has = rest.get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
            let n = if has { digits(&rest[2..], radix) } else { 0 };
            if n > 0 {
                let value = i128::from_str_radix(&rest[2..2 + n].replace('_', ""), radix);
                let value = value.map_err(|_| self.error("a number is too large"))?;
                self.push(Token::Int(value));
                self.at += 2 + n;
                return Ok(());
            }
        }
        let whole = digits(rest, 10);
        let mut end = whole;
        // Behind a dot stands an index: `a.0.1` holds no fraction.
        let is_index = self.source[..self.at].ends_with('.');
        if rest[end..].starts_with('.') && !is_index {
            let n = digits(&rest[end + 1..], 10);
            end += if n > 0 { n + 1 } else { 0 };
        }
        if rest[end..].starts_with(['e', 'E']) && !is_index {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            let n = digits(&rest[end + 1 + sign..], 10);
            end += if n > 0 { 1 + sign + n } else { 0 };
        }
        let text = rest[..end].replace('_', "");
        let token =
            if end > whole { text.parse().ok().map(Token::Float) } else { text.parse().ok().map(Token::Int) };
        let token = token.ok_or_else(|| self.error("a number is too large"))?;
        self.push(token);
        self.at += end;
        Ok(())
    }

    /// A string with Python's escapes.
    fn string(&mut self, quote: char) -> Result<(), Error> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.push(Token::Str(text));
                    self.at += at + 1;
                    return Ok(());
                }
                '\\' => {
                    let Some((_, escape)) = chars.next() else { break };
                    let hex = |n: usize| -> Option<char> {
                        let digits = self.rest().get(at + 2..at + 2 + n)?;
                        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                        u32::from_str_radix(digits, 16).ok().filter(|_| is_hex).and_then(char::from_u32)
                    };
                    let simple = match escape {
                        'n' => Some('\n'),
                        't' => Some('\t'),
                        'r' => Some('\r'),
                        'a' => Some('\u{7}'),
                        'b' => Some('\u{8}'),
                        'f' => Some('\u{c}'),
                        'v' => Some('\u{b}'),
                        '\\' | '\'' | '"' => Some(escape),
                        _ => None,
                    };
                    let n_hex = match escape {
                        'x' => 2,
                        'u' => 4,
                        'U' => 8,
                        _ => 0,
                    };
                    if escape == '\n' {
                        // The string goes on in the next line.
                    } else if let Some(c) = simple {
                        text.push(c);
                    } else if n_hex > 0 {
                        let c = hex(n_hex);
                        text.push(c.ok_or_else(|| {
                            self.error(format!(
                                "`\\{escape}` in a string needs {n_hex} digits of a character"
                            ))
                        })?);
                        chars.nth(n_hex - 1);
                    } else if escape.is_digit(8) {
                        let mut value = escape.to_digit(8).unwrap_or(0);
                        for _ in 0..2 {
                            let digit = chars.peek().and_then(|(_, c)| c.to_digit(8));
                            let Some(digit) = digit else { break };
                            value = value * 8 + digit;
                            chars.next();
                        }
                        text.extend(char::from_u32(value));
                    } else {
                        text.extend(['\\', escape]);
                    }
                }
                c => text.push(c),
            }
        }
        Err(self.error("a string has no end"))
    }
}

/// The text after `raw %}`, where `inside` begins so.
fn raw_begin(inside: &str) -> Option<&str> {
    let after = inside.trim_start_matches(is_space).strip_prefix("raw")?.trim_start_matches(is_space);
    match after.strip_prefix("-%}") {
        Some(after) => Some(after.trim_start_matches(is_space)),
        None => after.strip_prefix("%}"),
    }
}

/// The text after the end of a block, and the sign before that end.
fn block_end(text: &str) -> Option<(&str, Option<u8>)> {
    let sign = text.bytes().next().filter(|sign| matches!(sign, b'-' | b'+'));
    Some((text[usize::from(sign.is_some())..].strip_prefix("%}")?, sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(source: &str) -> String {
        let data = tokens(source).unwrap().into_iter().filter_map(|(token, _)| match token {
            Token::Data(text) => Some(text),
            Token::VariableBegin => Some("<".to_owned()),
            _ => None,
        });
        data.collect()
    }

    /// As `jinja2.Environment(trim_blocks=True, lstrip_blocks=True)` renders them.
    #[test]
    fn white_space() {
        for (source, expected) in [
            ("a\n  {% if x %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"),
            ("a {% if x %} b", "a  b"),
            ("a  {%- if x -%}  \n b", "ab"),
            ("  {%+ if x +%}\nb", "  \nb"),
            ("  {# c #}\nb", "b"),
            ("  {#- c -#}\n b", "b"),
            ("  {{ x }}\nb", "  <\nb"),
            (" \n {{- x -}} \n b", "<b"),
            ("  {% raw %}\n {{ x }} {% endraw %}\nb", "\n {{ x }} b"),
            ("{% if x %}\n{% if y %}\n  z{% endif %}", "  z"),
            ("a\r\nb\rc\r\n", "a\nb\nc"),
            ("a\n\n", "a\n"),
            ("{#-#}x", "x"),
        ] {
            assert_eq!(data(source), expected, "{source:?}");
        }
    }

    #[test]
    fn strings_and_numbers() {
        let source = r#"{{ 'a\n\'\x41\u00e9\101\q\
b' "c" 1_000 0xFF 1.5e3 2e2 7.x }}"#;
        let tokens: Vec<Token> = tokens(source).unwrap().into_iter().map(|(token, _)| token).collect();
        let expected = [
            Token::VariableBegin,
            Token::Str("a\n'AéA\\qb".to_owned()),
            Token::Str("c".to_owned()),
            Token::Int(1000),
            Token::Int(255),
            Token::Float(1500.0),
            Token::Float(200.0),
            Token::Int(7),
            Token::Operator("."),
            Token::Name("x".to_owned()),
            Token::VariableEnd,
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn faults_have_their_line() {
        for (source, expected) in [
            ("a\nb{# c", 2),
            ("{% raw %}", 1),
            ("\n\n{{ 'a", 3),
            ("{{ a", 1),
            ("{{ ) }}", 1),
            ("{{ ? }}", 1),
            (r"{{ '\u12' }}", 1),
        ] {
            match tokens(source) {
                Err(Error::Syntax { line, .. }) => assert_eq!(line, expected, "{source:?}"),
                other => panic!("{source:?}: {other:?}"),
            }
        }
    }
}
