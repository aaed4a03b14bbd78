//! Methods of strings, lists and dictionaries, as Python's types have them. Those that would change a list or
//! a dictionary are refused, as in `ImmutableSandboxedEnvironment`.

use std::collections::HashSet;
use std::ops::Range;

use crate::error::Error;
use crate::lexer::is_space;
use crate::limits::Charge;
use crate::render::Renderer;
use crate::text::{Mark, Text, Writer};
use crate::value::{Args, Callable, List, Loop, Value};

const OF_TEXT: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const OF_DICT: &[&str] = &["copy", "get", "items", "keys", "values"];
const CHANGE_DICT: &[&str] = &["clear", "pop", "popitem", "setdefault", "update"];
const OF_LIST: &[&str] = &["copy", "count", "index"];
const CHANGE_LIST: &[&str] = &["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
const OF_TUPLE: &[&str] = &["count", "index"];

/// Whether `of` has a method of this name.
pub(crate) fn has_method(of: &Value, name: &str) -> bool {
    match of {
        Value::Text(_) => OF_TEXT.contains(&name),
        Value::Dict(_) => OF_DICT.contains(&name) || CHANGE_DICT.contains(&name),
        Value::List(_) => OF_LIST.contains(&name) || CHANGE_LIST.contains(&name),
        Value::Tuple(_) => OF_TUPLE.contains(&name),
        Value::Loop(_) => matches!(name, "cycle" | "changed"),
        Value::Float(_) => name == "is_integer",
        Value::Callable(callable) => match callable.kind() {
            Callable::Cycler(..) => matches!(name, "next" | "reset"),
            // The one global with a method.
            Callable::Global(global) => *global == "dict" && name == "fromkeys",
            _ => false,
        },
        _ => false,
    }
}

impl<'a> Renderer<'a> {
    /// `of.name(arguments)`
    pub(crate) fn call_method(&self, of: &Value<'a>, name: &str, args: Args<'a>) -> Result<Value<'a>, Error> {
        match of {
            Value::Text(text) => self.text_method(text, name, args),
            Value::Dict(_) if CHANGE_DICT.contains(&name) => Err(unchangeable(of, name)),
            Value::List(_) if CHANGE_LIST.contains(&name) => Err(unchangeable(of, name)),
            Value::Dict(dict) => {
                let list = |items: Vec<Value<'a>>| Ok(Value::List(List::new(&self.meter, items)?));
                self.meter.step(dict.entries().len() / 8)?;
                match name {
                    "copy" => {
                        args.none("copy")?;
                        Ok(of.clone())
                    }
                    "get" => {
                        let [key, default] = args.bind("get", ["key", "default"])?;
                        let key = needed("get", "key", key)?;
                        Ok(self.get_item(dict, &key)?.or(default).unwrap_or(Value::None))
                    }
                    "keys" => {
                        args.none("keys")?;
                        list(dict.entries().iter().map(|(key, _)| key.clone()).collect())
                    }
                    "values" => {
                        args.none("values")?;
                        list(dict.entries().iter().map(|(_, value)| value.clone()).collect())
                    }
                    _ => {
                        args.none("items")?;
                        self.pairs(dict.entries())
                    }
                }
            }
            Value::List(list) | Value::Tuple(list) => match name {
                "copy" => {
                    args.none("copy")?;
                    Ok(of.clone())
                }
                _ => {
                    let [item] = args.bind(name, ["value"])?;
                    let item = needed(name, "value", item)?;
                    let mut count = 0;
                    for n in 0..list.len() {
                        if self.is_equal(&list.at(&self.meter, n)?, &item)? {
                            if name == "index" {
                                return Ok(Value::Int(n as i128));
                            }
                            count += 1;
                        }
                    }
                    if name == "index" {
                        return Err(Error::failed("`index` finds no such item"));
                    }
                    Ok(Value::Int(count))
                }
            },
            Value::Loop(state) => self.loop_method(state, name, args),
            Value::Float(value) => {
                args.none(name)?;
                Ok(Value::Bool(value.fract() == 0.0))
            }
            Value::Callable(callable) => match (callable.kind(), name) {
                (Callable::Cycler(..), "next") => self.call(of, args, None),
                (Callable::Cycler(_, at), _) => {
                    args.none(name)?;
                    at.set(0);
                    Ok(Value::None)
                }
                _ => {
                    let [keys, value] = args.bind("fromkeys", ["iterable", "value"])?;
                    let keys = self.items(&needed("fromkeys", "iterable", keys)?)?.to_vec(&self.meter)?;
                    let value = value.unwrap_or(Value::None);
                    let entries = keys.into_iter().map(|key| (key, value.clone())).collect();
                    Ok(Value::Dict(self.dict(entries)?))
                }
            },
            other => Err(Error::failed(format!("a {} has no method `{name}`", other.kind()))),
        }
    }

    /// Takes the steps for reading all texts of a call.
    pub(crate) fn read_texts(&self, of: Option<&Value<'a>>, args: &Args<'a>) -> Result<(), Error> {
        let named = args.named.iter().map(|(_, value)| value);
        for value in of.into_iter().chain(&args.positional).chain(named) {
            if let Value::Text(text) = value {
                self.meter.read(text.len())?;
            }
        }
        Ok(())
    }

    /// Pairs of keys and values.
    pub(crate) fn pairs(&self, entries: &[(Value<'a>, Value<'a>)]) -> Result<Value<'a>, Error> {
        let pair = |(key, value): &(Value<'a>, Value<'a>)| {
            Ok(Value::Tuple(List::new(&self.meter, vec![key.clone(), value.clone()])?))
        };
        let pairs = entries.iter().map(pair).collect::<Result<_, Error>>()?;
        Ok(Value::List(List::new(&self.meter, pairs)?))
    }

    fn loop_method(&self, state: &Loop<'a>, name: &str, args: Args<'a>) -> Result<Value<'a>, Error> {
        let values = List::new(&self.meter, args.positional)?;
        if name == "cycle" {
            if values.len() == 0 {
                return Err(Error::failed("`loop.cycle` needs values"));
            }
            return values.at(&self.meter, state.index0.get() % values.len());
        }
        let last = state.last.borrow().clone();
        let is_same = match last {
            Some(last) => self.is_equal(&Value::List(last), &Value::List(values.clone()))?,
            None => false,
        };
        // What it held before is let go outside of the borrow.
        let old = if state.is_over.get() { None } else { state.last.replace(Some(values)) };
        drop(old);
        Ok(Value::Bool(!is_same))
    }

    fn text_method(&self, text: &Text<'a>, name: &str, args: Args<'a>) -> Result<Value<'a>, Error> {
        let string = text.as_str();
        self.meter.read(string.len())?;
        self.read_texts(None, &args)?;
        let all = |is: fn(char) -> bool| Ok(Value::Bool(!string.is_empty() && string.chars().all(is)));
        match name {
            "upper" | "lower" | "casefold" | "swapcase" | "capitalize" | "title" => {
                args.none(name)?;
                Ok(Value::Text(self.with_case(text, name)?))
            }
            "strip" | "lstrip" | "rstrip" => {
                let [chars] = args.bind(name, ["chars"])?;
                Ok(Value::Text(self.stripped(text, chars.as_ref(), name != "rstrip", name != "lstrip")?))
            }
            "split" | "rsplit" => {
                let [separator, limit] = args.bind(name, ["sep", "maxsplit"])?;
                let limit = match limit {
                    None => usize::MAX,
                    Some(limit) => usize::try_from(whole(name, &limit)?).unwrap_or(usize::MAX),
                };
                let separator = match &separator {
                    None | Some(Value::None) => None,
                    Some(separator) => Some(texts(name, separator)?),
                };
                let mut room = Charge::new(&self.meter, 0)?;
                let separator = separator.as_ref().map(Text::as_str);
                let parts = split(&mut room, string, separator, limit, name == "rsplit")?;
                self.parts(text, parts)
            }
            "splitlines" => {
                let [keep_ends] = args.bind(name, ["keepends"])?;
                let mut room = Charge::new(&self.meter, 0)?;
                let parts = lines(&mut room, string, keep_ends.is_some_and(|keep| keep.is_true()))?;
                self.parts(text, parts)
            }
            "partition" | "rpartition" => {
                let [separator] = args.bind(name, ["sep"])?;
                let separator = texts(name, &needed(name, "sep", separator)?)?;
                if separator.len() == 0 {
                    return Err(Error::failed(format!("`{name}` needs a separator that is not empty")));
                }
                let found = match name {
                    "partition" => string.find(separator.as_str()),
                    _ => string.rfind(separator.as_str()),
                };
                let (head, tail) = match (found, name) {
                    (Some(at), _) => (0..at, at + separator.len()..string.len()),
                    (None, "partition") => (0..string.len(), string.len()..string.len()),
                    (None, _) => (0..0, 0..string.len()),
                };
                let parts =
                    vec![head.clone(), if found.is_some() { head.end..tail.start } else { 0..0 }, tail];
                let parts = parts.into_iter().map(|range| Ok(Value::Text(text.slice(&self.meter, range)?)));
                Ok(Value::Tuple(List::new(&self.meter, parts.collect::<Result<_, Error>>()?)?))
            }
            "replace" => {
                let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
                let old = texts(name, &needed(name, "old", old)?)?;
                let new = texts(name, &needed(name, "new", new)?)?;
                let count = match count {
                    None => usize::MAX,
                    Some(count) => usize::try_from(whole(name, &count)?).unwrap_or(usize::MAX),
                };
                Ok(Value::Text(self.replaced(text, &old, &new, count)?))
            }
            "startswith" | "endswith" => {
                let [affix, begin, end] = args.bind(name, ["affix", "start", "end"])?;
                let affix = needed(name, "affix", affix)?;
                let Some(window) = window(name, string, [begin, end])? else { return Ok(Value::Bool(false)) };
                let string = &string[window];
                let is_affix = |affix: &Value<'a>| -> Result<bool, Error> {
                    let affix = texts(name, affix)?;
                    self.meter.read(affix.len().min(string.len()))?;
                    let affix = affix.as_str();
                    Ok(if name == "startswith" { string.starts_with(affix) } else { string.ends_with(affix) })
                };
                match &affix {
                    Value::Tuple(list) => {
                        for affix in list.to_vec(&self.meter)? {
                            if is_affix(&affix)? {
                                return Ok(Value::Bool(true));
                            }
                        }
                        Ok(Value::Bool(false))
                    }
                    affix => Ok(Value::Bool(is_affix(affix)?)),
                }
            }
            "removeprefix" | "removesuffix" => {
                let [affix] = args.bind(name, ["affix"])?;
                let affix = texts(name, &needed(name, "affix", affix)?)?;
                let rest = match name {
                    "removeprefix" => string.strip_prefix(affix.as_str()),
                    _ => string.strip_suffix(affix.as_str()),
                };
                Ok(Value::Text(text.part(&self.meter, rest.unwrap_or(string))?))
            }
            "find" | "rfind" | "index" | "rindex" | "count" => {
                let [part, begin, end] = args.bind(name, ["sub", "start", "end"])?;
                let part = texts(name, &needed(name, "sub", part)?)?;
                let window = window(name, string, [begin, end])?;
                let within = &string[window.clone().unwrap_or(0..0)];
                if name == "count" {
                    let n = if window.is_some() { within.matches(part.as_str()).count() } else { 0 };
                    return Ok(Value::Int(n as i128));
                }
                let found = match name {
                    "find" | "index" => within.find(part.as_str()),
                    _ => within.rfind(part.as_str()),
                };
                let found = found.filter(|_| window.is_some());
                let characters = |at: usize| string[..at].chars().count() as i128;
                match found.map(|at| characters(at + window.map_or(0, |window| window.start))) {
                    Some(at) => Ok(Value::Int(at)),
                    None if name.ends_with("index") => Err(Error::failed(format!("`{name}` finds nothing"))),
                    None => Ok(Value::Int(-1)),
                }
            }
            "join" => {
                let [items] = args.bind(name, ["iterable"])?;
                let items = self.items(&needed(name, "iterable", items)?)?;
                self.meter.step(items.len())?;
                let mut out = Writer::new(&self.meter)?;
                for n in 0..items.len() {
                    if n > 0 {
                        out.push_text(text)?;
                    }
                    out.push_text(&texts(name, &items.at(&self.meter, n)?)?)?;
                }
                Ok(Value::Text(out.finish()))
            }
            "center" | "ljust" | "rjust" | "zfill" => {
                let [width, fill] = args.bind(name, ["width", "fillchar"])?;
                let width = whole(name, &needed(name, "width", width)?)?;
                let fill = match fill {
                    Some(fill) => texts(name, &fill)?,
                    None => Text::Borrowed(if name == "zfill" { "0" } else { " " }, Mark::TEMPLATE),
                };
                if fill.as_str().chars().count() != 1 {
                    return Err(Error::failed(format!("`{name}` fills with one character")));
                }
                Ok(Value::Text(self.padded(text, name, width, &fill)?))
            }
            "expandtabs" => {
                let [size] = args.bind(name, ["tabsize"])?;
                let size = size.map_or(Ok(8), |size| whole(name, &size))?.max(0);
                let (mut out, mut column) = (Writer::new(&self.meter)?, 0);
                for (c, mark) in text.chars() {
                    match c {
                        '\t' => {
                            let n = if size > 0 { size - column % size } else { 0 };
                            let blanks = usize::try_from(n).unwrap_or(usize::MAX);
                            out.push_repeated(&Text::Borrowed(" ", mark), blanks)?;
                            column += n;
                        }
                        c => {
                            out.push_char(c, mark)?;
                            column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
                        }
                    }
                }
                Ok(Value::Text(out.finish()))
            }
            "format" => Ok(Value::Text(self.format_braces(text, args)?)),
            "format_map" => {
                let [values] = args.bind(name, ["mapping"])?;
                let Some(Value::Dict(dict)) = values else {
                    return Err(Error::failed("`format_map` needs a dictionary"));
                };
                let named = dict.entries().iter().filter_map(|(key, value)| match key {
                    Value::Text(key) => Some((key.clone(), value.clone())),
                    _ => None,
                });
                let args = Args { positional: Vec::new(), named: named.collect() };
                Ok(Value::Text(self.format_braces(text, args)?))
            }
            "isalnum" => all(char::is_alphanumeric),
            "isalpha" => all(char::is_alphabetic),
            "isascii" => Ok(Value::Bool(string.is_ascii())),
            "isdecimal" | "isdigit" | "isnumeric" => all(char::is_numeric),
            "isspace" => all(is_space),
            "isprintable" => Ok(Value::Bool(string.chars().all(crate::print::is_printable))),
            "isidentifier" => {
                let is_part = |c: char| c == '_' || c.is_alphanumeric();
                let begins = string.starts_with(|c: char| c == '_' || c.is_alphabetic());
                Ok(Value::Bool(begins && string.chars().all(is_part)))
            }
            "islower" => Ok(Value::Bool(
                string.chars().any(char::is_lowercase) && !string.chars().any(char::is_uppercase),
            )),
            "isupper" => Ok(Value::Bool(
                string.chars().any(char::is_uppercase) && !string.chars().any(char::is_lowercase),
            )),
            _ => {
                let titled = self.with_case(text, "title")?;
                Ok(Value::Bool(titled.as_str() == string && string.chars().any(char::is_alphabetic)))
            }
        }
    }

    /// The parts of a text that `parts` point to, as a list.
    fn parts(&self, text: &Text<'a>, parts: Vec<&str>) -> Result<Value<'a>, Error> {
        let room = Charge::new(&self.meter, parts.len() * size_of::<Value>())?;
        let parts = parts.into_iter().map(|part| Ok(Value::Text(text.part(&self.meter, part)?)));
        let parts = parts.collect::<Result<_, Error>>()?;
        drop(room);
        Ok(Value::List(List::new(&self.meter, parts)?))
    }

    /// Python's methods of these names.
    pub(crate) fn with_case(&self, text: &Text<'a>, how: &str) -> Result<Text<'a>, Error> {
        let mut out = Writer::new(&self.meter)?;
        if matches!(how, "upper" | "lower" | "casefold") {
            for (run, mark) in text.runs(0..text.len()) {
                // What is made in between.
                let _room = Charge::new(&self.meter, 2 * run.len())?;
                let run = match how {
                    "upper" => run.to_uppercase(),
                    "lower" => run.to_lowercase(),
                    _ => run.to_lowercase().replace('ß', "ss").replace('ς', "σ"),
                };
                out.push(&run, mark)?;
            }
            return Ok(out.finish());
        }
        let mut in_word = false;
        for (n, (c, mark)) in text.chars().enumerate() {
            let is_upper = match how {
                "capitalize" => n == 0,
                "title" => !in_word,
                _ => c.is_lowercase(),
            };
            in_word = c.is_lowercase() || c.is_uppercase() || title_digraph(c).is_some();
            if is_upper && how != "swapcase" {
                titled(c).into_iter().try_for_each(|c| out.push_char(c, mark))?;
            } else if is_upper {
                c.to_uppercase().try_for_each(|c| out.push_char(c, mark))?;
            } else {
                c.to_lowercase().try_for_each(|c| out.push_char(c, mark))?;
            }
        }
        Ok(out.finish())
    }

    pub(crate) fn stripped(
        &self,
        text: &Text<'a>,
        chars: Option<&Value<'a>>,
        from_begin: bool,
        from_end: bool,
    ) -> Result<Text<'a>, Error> {
        let chars = match chars {
            None | Some(Value::None) => None,
            Some(chars) => Some(texts("strip", chars)?),
        };
        // Many characters are looked up, not gone through for each of the text's.
        let many = chars.as_ref().map(Text::as_str).filter(|chars| chars.len() > 32);
        let _room = Charge::new(&self.meter, many.map_or(0, |chars| 16 * chars.len()))?;
        let many: Option<HashSet<char>> = many.map(|chars| chars.chars().collect());
        let goes = |c: char| match (&many, &chars) {
            (Some(many), _) => many.contains(&c),
            (None, Some(chars)) => chars.as_str().contains(c),
            (None, None) => is_space(c),
        };
        let mut rest = text.as_str();
        if from_begin {
            rest = rest.trim_start_matches(goes);
        }
        if from_end {
            rest = rest.trim_end_matches(goes);
        }
        text.part(&self.meter, rest)
    }

    pub(crate) fn replaced(
        &self,
        text: &Text<'a>,
        old: &Text<'a>,
        new: &Text<'a>,
        count: usize,
    ) -> Result<Text<'a>, Error> {
        let (string, old) = (text.as_str(), old.as_str());
        if !string.contains(old) || count == 0 {
            return Ok(text.clone());
        }
        let (mut out, mut begin) = (Writer::new(&self.meter)?, 0);
        for (at, found) in string.match_indices(old).take(count) {
            self.meter.step(1)?;
            out.push_part(text, begin..at)?;
            out.push_text(new)?;
            begin = at + found.len();
        }
        out.push_part(text, begin..string.len())?;
        Ok(out.finish())
    }

    /// `center`, `ljust`, `rjust` and `zfill`; `width` in characters.
    pub(crate) fn padded(
        &self,
        text: &Text<'a>,
        how: &str,
        width: i128,
        fill: &Text<'a>,
    ) -> Result<Text<'a>, Error> {
        let n = text.as_str().chars().count() as i128;
        let missing = usize::try_from(width.saturating_sub(n).max(0)).unwrap_or(usize::MAX);
        let mut out = Writer::new(&self.meter)?;
        let before = match how {
            "ljust" => 0,
            // CPython's rule for an odd number of blanks.
            "center" => missing / 2 + (missing & usize::try_from(width.max(0)).unwrap_or(0) & 1),
            _ => missing,
        };
        let sign = if how == "zfill" { text.as_str().starts_with(['-', '+']) } else { false };
        out.push_part(text, 0..usize::from(sign))?;
        out.push_repeated(fill, before)?;
        out.push_part(text, usize::from(sign)..text.len())?;
        out.push_repeated(fill, missing - before)?;
        Ok(out.finish())
    }
}

/// One of the letters that are two in one, with the first of them large and the second small.
fn title_digraph(c: char) -> Option<char> {
    match c {
        'Ǆ'..='ǆ' => Some('ǅ'),
        'Ǉ'..='ǉ' => Some('ǈ'),
        'Ǌ'..='ǌ' => Some('ǋ'),
        'Ǳ'..='ǳ' => Some('ǲ'),
        _ => None,
    }
}

/// A character as a word begins with it: `ß` becomes `Ss`. Greek letters with an iota below are not treated
/// in Unicode's special way.
fn titled(c: char) -> Vec<char> {
    let large: Vec<char> = match c {
        // Georgian has large letters for whole words only.
        '\u{10d0}'..='\u{10ff}' => vec![c],
        c => title_digraph(c).map_or_else(|| c.to_uppercase().collect(), |c| vec![c]),
    };
    match large[..] {
        [first, ref rest @ ..] if first.is_uppercase() => {
            [first].into_iter().chain(rest.iter().flat_map(|c| c.to_lowercase())).collect()
        }
        _ => large,
    }
}

fn unchangeable(of: &Value, name: &str) -> Error {
    Error::failed(format!("`{name}` would change a {}, which templates cannot", of.kind()))
}

/// An argument that must be there.
pub(crate) fn needed<'a>(of: &str, parameter: &str, value: Option<Value<'a>>) -> Result<Value<'a>, Error> {
    value.ok_or_else(|| Error::failed(format!("`{of}` needs the argument `{parameter}`")))
}

/// A string argument.
pub(crate) fn texts<'a>(of: &str, value: &Value<'a>) -> Result<Text<'a>, Error> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Undefined(missing) => Err(missing.error()),
        other => Err(Error::failed(format!("`{of}` needs a string, not a {}", other.kind()))),
    }
}

/// A whole number as an argument.
pub(crate) fn whole(of: &str, value: &Value) -> Result<i128, Error> {
    let wrong = || Error::failed(format!("`{of}` needs a whole number, not a {}", value.kind()));
    value.as_int().ok_or_else(wrong)
}

/// Position `n` of `len`, from the end where negative.
pub(crate) fn index(n: i128, len: usize) -> Option<usize> {
    let n = if n < 0 { n.saturating_add(len as i128) } else { n };
    usize::try_from(n).ok().filter(|n| *n < len)
}

/// The bytes between two positions in characters; `None` where the first lies behind the end.
fn window<'a>(
    of: &str,
    string: &str,
    [begin, end]: [Option<Value<'a>>; 2],
) -> Result<Option<Range<usize>>, Error> {
    let n = string.chars().count();
    let position = |value: Option<Value<'a>>, default: usize| match value {
        None | Some(Value::None) => Ok(default),
        Some(value) => {
            let at = whole(of, &value)?;
            Ok(index(at, n).unwrap_or(if at < 0 { 0 } else { usize::try_from(at).unwrap_or(usize::MAX) }))
        }
    };
    let (begin, end) = (position(begin, 0)?, position(end, n)?.min(n));
    let byte = |at: usize| string.char_indices().nth(at).map_or(string.len(), |(at, _)| at);
    Ok((begin <= n).then(|| byte(begin)..byte(end).max(byte(begin))))
}

/// The parts, of which each is taken into `room`.
fn split<'s>(
    room: &mut Charge,
    string: &'s str,
    separator: Option<&str>,
    limit: usize,
    from_end: bool,
) -> Result<Vec<&'s str>, Error> {
    let mut parts = Vec::new();
    let mut push = |part: &'s str| {
        room.grow(size_of::<&str>())?;
        parts.push(part);
        Ok(())
    };
    match (separator, from_end) {
        (Some(""), _) => return Err(Error::failed("`split` needs a separator that is not empty")),
        (Some(separator), false) => {
            string.splitn(limit.saturating_add(1), separator).try_for_each(&mut push)?;
        }
        (Some(separator), true) => {
            string.rsplitn(limit.saturating_add(1), separator).try_for_each(&mut push)?;
        }
        (None, false) => {
            let (mut n, mut rest) = (0, string.trim_start_matches(is_space));
            while !rest.is_empty() {
                let end = if n < limit { rest.find(is_space) } else { None };
                let Some(end) = end else {
                    // What is left after the last split keeps its end.
                    push(rest)?;
                    break;
                };
                push(&rest[..end])?;
                n += 1;
                rest = rest[end..].trim_start_matches(is_space);
            }
        }
        (None, true) => {
            let (mut n, mut rest) = (0, string.trim_end_matches(is_space));
            while !rest.is_empty() {
                let begin = if n < limit { rest.rfind(is_space) } else { None };
                let Some(space) = begin else {
                    push(rest)?;
                    break;
                };
                let begin = space + rest[space..].chars().next().map_or(0, char::len_utf8);
                push(&rest[begin..])?;
                n += 1;
                rest = rest[..space].trim_end_matches(is_space);
            }
        }
    }
    if from_end {
        parts.reverse();
    }
    Ok(parts)
}

/// Where the first line ends and what stands behind its end, where it has one. Python's lines end at more
/// than line feeds.
pub(crate) fn first_line(string: &str) -> Option<(usize, &str)> {
    let is_end = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let at = string.find(is_end)?;
    let after = match string[at..].strip_prefix("\r\n") {
        Some(after) => after,
        None => &string[at + string[at..].chars().next().map_or(0, char::len_utf8)..],
    };
    Some((at, after))
}

fn lines<'s>(room: &mut Charge, string: &'s str, keep_ends: bool) -> Result<Vec<&'s str>, Error> {
    let (mut lines, mut rest) = (Vec::new(), string);
    while let Some((at, after)) = first_line(rest) {
        room.grow(size_of::<&str>())?;
        let end = if keep_ends { rest.len() - after.len() } else { at };
        lines.push(&rest[..end]);
        rest = after;
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    Ok(lines)
}
