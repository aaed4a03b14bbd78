//! `"%s" % x` and `"{}".format(x)`, with Python's types of presentation.

use crate::error::Error;
use crate::methods::texts;
use crate::print::{float_repr, with_exponent};
use crate::render::Renderer;
use crate::text::{Mark, Text, Writer};
use crate::value::{Args, Value};

/// How one value is written.
#[derive(Debug, Default, Clone)]
struct Spec {
    fill: Option<char>,
    /// `<`, `>`, `^`, `=`
    align: Option<char>,
    /// `+`, `-` or a blank
    sign: Option<char>,
    is_alternate: bool,
    width: usize,
    /// `,` or `_` between groups of digits
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
    /// Who wrote the format, and so what it fills with.
    mark: Mark,
}

/// Digits after the point: more than any number has.
const MAX_PRECISION: usize = 1000;

impl<'a> Renderer<'a> {
    /// `format % arguments`
    pub(crate) fn format_percent(&self, format: &Text<'a>, arguments: &Value<'a>) -> Result<Text<'a>, Error> {
        let string = format.as_str();
        let mut positional = match arguments {
            Value::Tuple(list) => list.to_vec(&self.meter)?,
            other => vec![other.clone()],
        }
        .into_iter();
        let (mut out, mut begin) = (Writer::new(&self.meter)?, 0);
        let mut used_names = false;
        while let Some(at) = string[begin..].find('%').map(|at| at + begin) {
            self.meter.step(1)?;
            out.push_part(format, begin..at)?;
            let mut chars = string[at + 1..].char_indices().peekable();
            let mut name = None;
            if let Some((_, '(')) = chars.peek() {
                let close = string[at..].find(')').ok_or_else(|| Error::failed("`%(` has no `)`"))?;
                name = Some(&string[at + 2..at + close]);
                while chars.next_if(|(n, _)| at + 1 + n <= at + close).is_some() {}
            }
            let mut spec = Spec { align: Some('>'), ..Spec::default() };
            while let Some((_, flag)) = chars.next_if(|(_, c)| matches!(c, '-' | '+' | ' ' | '0' | '#')) {
                match flag {
                    '-' => spec.align = Some('<'),
                    '0' if spec.align != Some('<') => (spec.fill, spec.align) = (Some('0'), Some('=')),
                    '0' => {}
                    '#' => spec.is_alternate = true,
                    sign => spec.sign = Some(if spec.sign == Some('+') { '+' } else { sign }),
                }
            }
            let mut next = || positional.next().ok_or_else(|| Error::failed("`%` has too few values"));
            spec.width = match chars.next_if(|(_, c)| *c == '*') {
                Some(_) => star(&next()?)?,
                None => digits(&mut chars)?.unwrap_or(0),
            };
            if chars.next_if(|(_, c)| *c == '.').is_some() {
                spec.precision = Some(match chars.next_if(|(_, c)| *c == '*') {
                    Some(_) => star(&next()?)?,
                    None => digits(&mut chars)?.unwrap_or(0),
                });
            }
            while chars.next_if(|(_, c)| matches!(c, 'h' | 'l' | 'L')).is_some() {}
            let Some((n, kind)) = chars.next() else { return Err(Error::failed("a `%` ends its string")) };
            begin = at + 1 + n + kind.len_utf8();
            if kind == '%' {
                out.push_part(format, at..at + 1)?;
                continue;
            }
            let value = match name {
                None => next()?,
                Some(name) => {
                    used_names = true;
                    let Value::Dict(dict) = arguments else {
                        return Err(Error::failed("`%(name)` needs a dictionary"));
                    };
                    let found = dict.get_text(&self.meter, name)?;
                    found.cloned().ok_or_else(|| Error::failed(format!("`%({name})` is not given")))?
                }
            };
            self.push_percent(&mut out, spec, kind, &value)?;
        }
        out.push_part(format, begin..string.len())?;
        // What has items of its own may be left over, as in Python.
        let has_items = matches!(arguments, Value::Dict(_) | Value::List(_) | Value::Undefined(_));
        let is_surplus = positional.next().is_some() && !used_names && !has_items;
        if is_surplus {
            return Err(Error::failed("`%` has more values than its string has places"));
        }
        Ok(out.finish())
    }

    fn push_percent(
        &self,
        out: &mut Writer,
        mut spec: Spec,
        kind: char,
        value: &Value<'a>,
    ) -> Result<(), Error> {
        let unfit = || Error::failed(format!("`%{kind}` does not take a {}", value.kind()));
        if matches!(kind, 's' | 'r' | 'a' | 'c') {
            let mut text = Writer::new(&self.meter)?;
            match (kind, value) {
                ('s', value) => self.print(&mut text, value)?,
                ('c', Value::Int(_) | Value::Bool(_)) => {
                    let c = value
                        .as_int()
                        .and_then(|code| u32::try_from(code).ok())
                        .and_then(char::from_u32)
                        .ok_or_else(unfit)?;
                    text.push_char(c, Mark::INPUT)?
                }
                ('c', Value::Text(c)) if c.as_str().chars().count() == 1 => text.push_text(c)?,
                ('c', _) => return Err(unfit()),
                _ => self.print_repr(&mut text, value, 0)?,
            }
            if kind == 'c' {
                spec.precision = None;
            }
            // Zeros are for numbers.
            if spec.fill.take().is_some() {
                spec.align = Some('>');
            }
            return self.push_padded(out, &text.finish(), &spec, '>');
        }
        let value = match (kind, value) {
            ('d' | 'i' | 'u', Value::Float(value)) => Value::Int(to_int(*value).ok_or_else(unfit)?),
            (_, value) => value.clone(),
        };
        spec.kind = Some(if matches!(kind, 'i' | 'u') { 'd' } else { kind });
        self.push_number(out, &spec, &value).map_err(|error| match error {
            Error::Failed { .. } => unfit(),
            other => other,
        })
    }

    /// `format.format(arguments)`
    pub(crate) fn format_braces(&self, format: &Text<'a>, args: Args<'a>) -> Result<Text<'a>, Error> {
        let mut out = Writer::new(&self.meter)?;
        let mut n_automatic = 0;
        self.push_format(&mut out, format, 0..format.len(), &args, &mut n_automatic, 0)?;
        Ok(out.finish())
    }

    fn push_format(
        &self,
        out: &mut Writer,
        format: &Text<'a>,
        range: std::ops::Range<usize>,
        args: &Args<'a>,
        n_automatic: &mut usize,
        level: usize,
    ) -> Result<(), Error> {
        if level > 1 {
            return Err(Error::failed("a format's braces nest too deeply"));
        }
        let string = &format.as_str()[..range.end];
        let mut begin = range.start;
        while let Some(at) = string[begin..].find(['{', '}']).map(|at| at + begin) {
            self.meter.step(1)?;
            out.push_part(format, begin..at)?;
            let brace = &string[at..at + 1];
            if string[at + 1..].starts_with(brace) {
                out.push_part(format, at..at + 1)?;
                begin = at + 2;
                continue;
            }
            if brace == "}" {
                return Err(Error::failed("a format has a single `}`"));
            }
            let (mut depth, mut end) = (0, None);
            for (n, c) in string[at..].char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    end = Some(at + n);
                    break;
                }
            }
            let end = end.ok_or_else(|| Error::failed("a format's `{` has no `}`"))?;
            begin = end + 1;
            let field = &string[at + 1..end];
            let (path, spec_at) = match field.find(':') {
                Some(colon) => (&field[..colon], Some(at + 1 + colon + 1)),
                None => (field, None),
            };
            let (path, conversion) = match path.split_once('!') {
                Some((path, conversion)) => (path, Some(conversion)),
                None => (path, None),
            };
            let value = self.format_field(path, args, n_automatic)?;
            let value = match conversion {
                None => value,
                Some("s") => Value::Text(self.to_text(&value)?),
                Some("r" | "a") => {
                    let mut text = Writer::new(&self.meter)?;
                    self.print_repr(&mut text, &value, 0)?;
                    Value::Text(text.finish())
                }
                Some(other) => return Err(Error::failed(format!("a format knows no `!{other}`"))),
            };
            let mut spec = Writer::new(&self.meter)?;
            if let Some(from) = spec_at {
                self.push_format(&mut spec, format, from..end, args, n_automatic, level + 1)?;
            }
            let spec = spec.finish();
            self.push_value(out, &spec, &value)?;
        }
        out.push_part(format, begin..range.end)
    }

    /// The value that `0`, `name`, `0[key]` or nothing stands for.
    fn format_field(&self, path: &str, args: &Args<'a>, n_automatic: &mut usize) -> Result<Value<'a>, Error> {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (first, mut rest) = path.split_at(end);
        let missing = || Error::failed(format!("a format's `{{{path}}}` is not given"));
        let mut value = if first.is_empty() {
            *n_automatic += 1;
            args.positional.get(*n_automatic - 1).cloned().ok_or_else(missing)?
        } else if let Ok(n) = first.parse::<usize>() {
            args.positional.get(n).cloned().ok_or_else(missing)?
        } else {
            self.meter.step(args.named.len() / 8)?;
            let named = args.named.iter().find(|(name, _)| name.as_str() == first);
            named.map(|(_, value)| value.clone()).ok_or_else(missing)?
        };
        while let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = inner.split_once(']').ok_or_else(missing)?;
            let key = match key.parse::<i128>() {
                Ok(n) => Value::Int(n),
                Err(_) => Value::Text(Text::new(&self.meter, key, Mark::INPUT)?),
            };
            value = match self.item(&value, &key)? {
                Value::Undefined(_) => return Err(missing()),
                value => value,
            };
            rest = after;
        }
        if rest.is_empty() { Ok(value) } else { Err(Error::failed("a format asks for an attribute")) }
    }

    fn push_value(&self, out: &mut Writer, spec: &Text, value: &Value<'a>) -> Result<(), Error> {
        if spec.len() == 0 {
            return self.print(out, value);
        }
        let spec = Spec { mark: spec.mark(), ..parse_spec(spec.as_str())? };
        check_spec(&spec, value)?;
        let is_number = matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_));
        if is_number && spec.kind != Some('s') {
            return self.push_number(out, &spec, value);
        }
        if !matches!(spec.kind, None | Some('s')) || spec.sign.is_some() {
            return Err(Error::failed(format!("a format of numbers does not take a {}", value.kind())));
        }
        let text = match value {
            Value::Text(_) => self.to_text(value)?,
            other => return Err(Error::failed(format!("a {} takes no format", other.kind()))),
        };
        self.push_padded(out, &text, &spec, '<')
    }

    fn push_number(&self, out: &mut Writer, spec: &Spec, value: &Value<'a>) -> Result<(), Error> {
        let unfit = || Error::failed(format!("this format does not take a {}", value.kind()));
        let kind = spec.kind.unwrap_or(if matches!(value, Value::Float(_)) { 'r' } else { 'd' });
        let (is_negative, prefix, digits) = match (kind, value.as_int()) {
            ('d' | 'x' | 'X' | 'o' | 'b' | 'c' | 'n', Some(number)) => {
                let n = number.unsigned_abs();
                let (prefix, digits) = match kind {
                    'x' => ("0x", format!("{n:x}")),
                    'X' => ("0X", format!("{n:X}")),
                    'o' => ("0o", format!("{n:o}")),
                    'b' => ("0b", format!("{n:b}")),
                    'c' => {
                        let c = u32::try_from(number).ok().and_then(char::from_u32);
                        ("", c.ok_or_else(unfit)?.to_string())
                    }
                    _ => ("", n.to_string()),
                };
                // Only `%` gives whole numbers a precision: digits that are there at least.
                let n_zeros = spec.precision.unwrap_or(0).saturating_sub(digits.len());
                if n_zeros > MAX_PRECISION {
                    return Err(too_precise());
                }
                let prefix = if spec.is_alternate { prefix } else { "" };
                (number < 0, prefix, "0".repeat(n_zeros) + &digits)
            }
            ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%' | 'r' | 'n', _) => {
                let number = value.as_float().ok_or_else(unfit)?;
                (number.is_sign_negative() && !number.is_nan(), "", float_digits(number.abs(), kind, spec)?)
            }
            _ => return Err(unfit()),
        };
        // A number chooses what character this is, so whoever wrote the number wrote it: nobody knows who.
        let mark = if kind == 'c' { Mark::INPUT } else { Mark::TEMPLATE };
        let sign = [sign_of(is_negative, spec), prefix].concat();
        let is_filled_inside = spec.align == Some('=') || spec.align.is_none() && spec.fill == Some('0');
        let digits = match spec.grouping {
            // Zeros that fill are grouped with the others.
            Some(separator) if is_filled_inside && spec.fill == Some('0') => {
                if spec.width > MAX_PRECISION {
                    return Err(too_precise());
                }
                let mut digits = digits;
                loop {
                    let text = grouped(&digits, separator, kind);
                    if sign.len() + text.chars().count() >= spec.width {
                        break text;
                    }
                    digits.insert(0, '0');
                }
            }
            Some(separator) => grouped(&digits, separator, kind),
            None => digits,
        };
        if is_filled_inside {
            let n = sign.len() + digits.chars().count();
            let fill = spec.fill.unwrap_or(' ').to_string();
            out.push(&sign, Mark::TEMPLATE)?;
            out.push_repeated(&Text::Borrowed(&fill, spec.mark), spec.width.saturating_sub(n))?;
            return out.push(&digits, mark);
        }
        let text = Text::new(&self.meter, &format!("{sign}{digits}"), mark)?;
        self.push_padded(out, &text, &Spec { precision: None, ..spec.clone() }, '>')
    }

    fn push_padded(
        &self,
        out: &mut Writer,
        text: &Text,
        spec: &Spec,
        default_align: char,
    ) -> Result<(), Error> {
        let string = text.as_str();
        let end = match spec.precision {
            Some(n) => string.char_indices().nth(n).map_or(string.len(), |(at, _)| at),
            None => string.len(),
        };
        let missing = spec.width.saturating_sub(string[..end].chars().count());
        let before = match spec.align.unwrap_or(default_align) {
            '<' => 0,
            '^' => missing / 2,
            _ => missing,
        };
        let fill = spec.fill.unwrap_or(' ').to_string();
        let fill = Text::Borrowed(&fill, spec.mark);
        out.push_repeated(&fill, before)?;
        out.push_part(text, 0..end)?;
        out.push_repeated(&fill, missing - before)
    }

    /// The filter `format`.
    pub(crate) fn format_filter(&self, value: &Value<'a>, args: Args<'a>) -> Result<Text<'a>, Error> {
        let format = texts("format", value)?;
        if args.named.is_empty() {
            let arguments = crate::value::List::new(&self.meter, args.positional)?;
            return self.format_percent(&format, &Value::Tuple(arguments));
        }
        if !args.positional.is_empty() {
            return Err(Error::failed("`format` takes values by position or by name, not both"));
        }
        let entries = args.named.into_iter().map(|(name, value)| (Value::Text(name), value)).collect();
        let arguments = Value::Dict(crate::value::Dict::new(&self.meter, entries)?);
        self.format_percent(&format, &arguments)
    }
}

fn star(value: &Value) -> Result<usize, Error> {
    let n = value.as_int().and_then(|n| usize::try_from(n).ok());
    n.ok_or_else(|| Error::failed("`*` in a format needs a whole number"))
}

fn digits(
    chars: &mut std::iter::Peekable<impl Iterator<Item = (usize, char)>>,
) -> Result<Option<usize>, Error> {
    let mut number = None;
    while let Some((_, c)) = chars.next_if(|(_, c)| c.is_ascii_digit()) {
        let digit = c as usize - '0' as usize;
        let next = number.unwrap_or(0usize).checked_mul(10).and_then(|n| n.checked_add(digit));
        number = Some(next.ok_or_else(|| Error::Limit("a width in a format is too large".to_owned()))?);
    }
    Ok(number)
}

fn sign_of(is_negative: bool, spec: &Spec) -> &'static str {
    match (is_negative, spec.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        _ => "",
    }
}

/// Python's `[[fill]align][sign][z][#][0][width][grouping][.precision][type]`.
fn parse_spec(text: &str) -> Result<Spec, Error> {
    let mut spec = Spec::default();
    let mut chars = text.char_indices().peekable();
    let is_align = |c: char| matches!(c, '<' | '>' | '^' | '=');
    let mut first = text.chars();
    if let (Some(fill), Some(align)) = (first.next(), first.next())
        && is_align(align)
    {
        (spec.fill, spec.align) = (Some(fill), Some(align));
        chars.next();
        chars.next();
    } else if let Some((_, align)) = chars.next_if(|(_, c)| is_align(*c)) {
        spec.align = Some(align);
    }
    spec.sign = chars.next_if(|(_, c)| matches!(c, '+' | '-' | ' ')).map(|(_, sign)| sign);
    spec.is_alternate = chars.next_if(|(_, c)| *c == '#').is_some();
    if chars.next_if(|(_, c)| *c == '0').is_some() && spec.fill.is_none() {
        spec.fill = Some('0');
    }
    spec.width = digits(&mut chars)?.unwrap_or(0);
    spec.grouping = chars.next_if(|(_, c)| matches!(c, ',' | '_')).map(|(_, grouping)| grouping);
    if chars.next_if(|(_, c)| *c == '.').is_some() {
        let precision = digits(&mut chars)?;
        spec.precision = Some(precision.ok_or_else(|| Error::failed("a format's precision is missing"))?);
    }
    spec.kind = chars.next().map(|(_, kind)| kind);
    match chars.next() {
        None => Ok(spec),
        Some(_) => Err(Error::failed(format!("`{text}` is not a format"))),
    }
}

/// Refuses what Python does: parts of a format that are not for this type.
fn check_spec(spec: &Spec, value: &Value) -> Result<(), Error> {
    let kind = match (spec.kind, value) {
        (Some(kind), _) => kind,
        (None, Value::Int(_) | Value::Bool(_)) => 'd',
        (None, Value::Float(_)) => 'g',
        (None, _) => 's',
    };
    let is_whole =
        matches!(kind, 'd' | 'b' | 'o' | 'x' | 'X' | 'c') || kind == 'n' && value.as_int().is_some();
    let refused = [
        (is_whole && spec.precision.is_some(), "a precision"),
        (kind == 's' && (spec.is_alternate || spec.sign.is_some()), "a sign or `#`"),
        (kind == 's' && spec.align == Some('='), "the alignment `=`"),
        (kind == 'c' && (spec.sign.is_some() || spec.is_alternate), "a sign or `#`"),
        (spec.grouping.is_some() && matches!(kind, 's' | 'c' | 'n'), "groups of digits"),
        (spec.grouping == Some(',') && matches!(kind, 'b' | 'o' | 'x' | 'X'), "commas"),
    ];
    match refused.iter().find(|(is_refused, _)| *is_refused) {
        Some((_, what)) => Err(Error::failed(format!("a format with `{kind}` takes no {what}"))),
        None => Ok(()),
    }
}

fn too_precise() -> Error {
    Error::Limit(format!("a format asks for more than {MAX_PRECISION} digits"))
}

fn float_digits(value: f64, kind: char, spec: &Spec) -> Result<String, Error> {
    let precision = spec.precision.unwrap_or(6);
    if precision > MAX_PRECISION {
        return Err(too_precise());
    }
    if !value.is_finite() {
        let text = if value.is_nan() { "nan" } else { "inf" };
        return Ok(if kind.is_ascii_uppercase() { text.to_uppercase() } else { text.to_owned() });
    }
    // `#` leaves a point where no digits follow it.
    let point = if spec.is_alternate && precision == 0 { "." } else { "" };
    let text = match kind {
        'f' | 'F' => format!("{value:.precision$}{point}"),
        '%' => format!("{:.precision$}{point}%", value * 100.0),
        'e' | 'E' => with_exponent(&format!("{value:.precision$e}").replace('e', &format!("{point}e"))),
        'r' if spec.precision.is_none() => float_repr(value),
        _ => general(value, precision.max(1), spec.is_alternate, kind == 'r'),
    };
    Ok(if kind.is_ascii_uppercase() { text.to_uppercase() } else { text })
}

/// `%g`: so many digits, with an exponent where that is shorter.
fn general(value: f64, precision: usize, keeps_zeros: bool, needs_point: bool) -> String {
    let scientific = format!("{value:.digits$e}", digits = precision - 1);
    let exponent: i64 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let trimmed = |text: &str| match (text.contains('.'), keeps_zeros) {
        (true, false) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        (false, true) => format!("{text}."),
        _ => text.to_owned(),
    };
    // Where the point is needed, there must be room for a digit behind it.
    if exponent < -4 || exponent >= precision as i64 - i64::from(needs_point) {
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return with_exponent(&format!("{}e{exponent}", trimmed(digits)));
    }
    let digits = (precision as i64 - 1 - exponent).max(0) as usize;
    let text = trimmed(&format!("{value:.digits$}"));
    if needs_point && !text.contains('.') { text + ".0" } else { text }
}

/// Digits of the whole part in groups of three, or of four where the base is no decimal one.
fn grouped(digits: &str, separator: char, kind: char) -> String {
    let (size, radix) = match kind {
        'x' | 'X' => (4, 16),
        'b' | 'o' => (4, 10),
        _ => (3, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(end);
    let mut text = String::new();
    for (n, digit) in whole.chars().enumerate() {
        if n > 0 && (whole.len() - n).is_multiple_of(size) {
            text.push(separator);
        }
        text.push(digit);
    }
    text + rest
}

/// Python's `int(value)`, where it fits.
pub(crate) fn to_int(value: f64) -> Option<i128> {
    (value.is_finite() && value.abs() < 1e38).then_some(value as i128)
}
