//! Grammars of llama.cpp's form (GBNF), translated into Lark's.
//!
//! `root ::= "yes" | "no"`: rules of literals, classes of characters, groups, `|` and `* + ? {m,n}`; comments after `#`. The
//! grammar is one of characters, while llguidance splits a text into the longest words ("terminals") first. So all rules
//! that do not come back to themselves become terminals, and in those that do, what stands between two rules is joined to
//! one terminal. What is left of the difference: where, in a rule that comes back to itself, one such word could take what
//! the next one needs, it takes it.
//!
//! Not supported: llama.cpp's tokens (`<think>`, `<[1000]>`, `!<...>`).

use std::collections::HashMap;
use std::fmt::Write;

use super::words::lark_string;

/// How deep groups are nested; Lark's own limit is 30.
const MAX_NESTING: usize = 24;

/// The most repetitions that a grammar may ask for.
const MAX_REPEATS: u32 = 10_000;

/// Whether a grammar's rules are written with `::=`.
pub(super) fn is_gbnf(grammar: &str) -> bool {
    grammar.lines().any(|line| {
        let line = line.trim_start();
        let name = line.trim_start_matches(is_name_char);
        name.len() < line.len() && name.trim_start().starts_with("::=")
    })
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// The same grammar in Lark's form.
pub(super) fn to_lark(grammar: &str) -> Result<String, String> {
    let rules = Parser { rest: grammar, text: grammar, depth: 0 }.rules()?;
    let index: HashMap<&str, usize> = rules.iter().enumerate().map(|(i, rule)| (&*rule.name, i)).collect();
    if index.len() < rules.len() {
        let twice = rules.iter().enumerate().find(|(i, rule)| index[&*rule.name] != *i);
        let (line, name) = twice.map(|(_, rule)| (rule.line, &*rule.name)).unwrap_or_default();
        return Err(format!("line {line}: there are two rules `{name}`"));
    }
    let root = *index.get("root").ok_or("there is no rule `root`")?;
    let mut calls = Vec::new();
    for rule in &rules {
        let mut names = Vec::new();
        rule.body.names(&mut names);
        let found = names.iter().map(|(name, line)| {
            index.get(name.as_str()).copied().ok_or_else(|| format!("line {line}: there is no rule `{name}`"))
        });
        calls.push(found.collect::<Result<Vec<usize>, String>>()?);
    }
    let mut translation = Translation { recursive: recursive(&calls), index, joined: Vec::new() };
    // Only one that is a rule can be the start.
    let mut lark = format!("start: {}\n", translation.name(root));
    for (i, rule) in rules.iter().enumerate() {
        let body = match translation.recursive[i] {
            true => translation.rule(&rule.body),
            false => translation.terminal(&rule.body),
        };
        let _ = writeln!(lark, "{}: {body}", translation.name(i));
    }
    for (i, terminal) in translation.joined.iter().enumerate() {
        let _ = writeln!(lark, "J{i}: {terminal}");
    }
    Ok(lark)
}

/// Which rules lead back to themselves, or to one that does.
fn recursive(calls: &[Vec<usize>]) -> Vec<bool> {
    // Rules all of whose calls end are taken away until none is left.
    let mut ends = vec![false; calls.len()];
    let mut n_waiting: Vec<usize> = calls.iter().map(Vec::len).collect();
    let mut callers = vec![Vec::new(); calls.len()];
    for (caller, callees) in calls.iter().enumerate() {
        callees.iter().for_each(|callee| callers[*callee].push(caller));
    }
    let mut ready: Vec<usize> = (0..calls.len()).filter(|rule| n_waiting[*rule] == 0).collect();
    while let Some(rule) = ready.pop() {
        ends[rule] = true;
        for caller in &callers[rule] {
            n_waiting[*caller] -= 1;
            if n_waiting[*caller] == 0 {
                ready.push(*caller);
            }
        }
    }
    ends.iter().map(|ends| !ends).collect()
}

struct Rule {
    name: String,
    line: usize,
    body: Alternatives,
}

/// Sequences of which one holds.
struct Alternatives(Vec<Vec<Item>>);

struct Item {
    atom: Atom,
    /// `None` is once.
    repeat: Option<(u32, Option<u32>)>,
}

enum Atom {
    Literal(String),
    /// A class of characters, as an expression.
    Class(String),
    Name(String, usize),
    Group(Alternatives),
}

impl Alternatives {
    /// The rules that are named, and in which line.
    fn names<'g>(&'g self, names: &mut Vec<(&'g String, usize)>) {
        for item in self.0.iter().flatten() {
            match &item.atom {
                Atom::Name(name, line) => names.push((name, *line)),
                Atom::Group(group) => group.names(names),
                Atom::Literal(_) | Atom::Class(_) => {}
            }
        }
    }
}

struct Translation<'g> {
    /// Of each rule, whether it comes back to itself.
    recursive: Vec<bool>,
    index: HashMap<&'g str, usize>,
    /// Terminals from the middle of rules.
    joined: Vec<String>,
}

impl Translation<'_> {
    /// A rule's name in Lark: of a terminal in capitals.
    fn name(&self, rule: usize) -> String {
        if self.recursive[rule] { format!("r{rule}") } else { format!("T{rule}") }
    }

    fn is_terminal(&self, item: &Item) -> bool {
        match &item.atom {
            Atom::Literal(_) | Atom::Class(_) => true,
            Atom::Name(name, _) => !self.recursive[self.index[name.as_str()]],
            Atom::Group(group) => group.0.iter().flatten().all(|item| self.is_terminal(item)),
        }
    }

    /// What a terminal is.
    fn terminal(&self, alternatives: &Alternatives) -> String {
        let sequences: Vec<String> = alternatives.0.iter().map(|items| self.terminals(items)).collect();
        sequences.join(" | ")
    }

    fn terminals(&self, items: &[Item]) -> String {
        let items = items.iter().map(|item| {
            let atom = match &item.atom {
                Atom::Group(group) => format!("({})", self.terminal(group)),
                atom => self.plain(atom),
            };
            repeated(atom, item.repeat)
        });
        let items: Vec<String> = items.collect();
        if items.is_empty() { "\"\"".into() } else { items.join(" ") }
    }

    /// What a rule is.
    fn rule(&mut self, alternatives: &Alternatives) -> String {
        let sequences: Vec<String> = alternatives.0.iter().map(|items| self.sequence(items)).collect();
        sequences.join(" | ")
    }

    /// A sequence, in which neighbours that are terminals are one.
    fn sequence(&mut self, items: &[Item]) -> String {
        let runs: Vec<&[Item]> = items.chunk_by(|a, b| self.is_terminal(a) && self.is_terminal(b)).collect();
        let mut parts = Vec::new();
        for run in runs {
            parts.push(match run {
                [item] if !self.is_terminal(item) => {
                    let atom = match &item.atom {
                        Atom::Group(group) => format!("({})", self.rule(group)),
                        atom => self.plain(atom),
                    };
                    repeated(atom, item.repeat)
                }
                [
                    Item { atom: atom @ (Atom::Literal(_) | Atom::Class(_) | Atom::Name(..)), repeat: None },
                ] => self.plain(atom),
                run => {
                    self.joined.push(self.terminals(run));
                    format!("J{}", self.joined.len() - 1)
                }
            });
        }
        if parts.is_empty() { "\"\"".into() } else { parts.join(" ") }
    }

    /// What is no group.
    fn plain(&self, atom: &Atom) -> String {
        match atom {
            Atom::Literal(text) => lark_string(text),
            Atom::Class(class) => format!("/{class}/"),
            Atom::Name(name, _) => self.name(self.index[name.as_str()]),
            Atom::Group(_) => String::new(),
        }
    }
}

fn repeated(atom: String, repeat: Option<(u32, Option<u32>)>) -> String {
    match repeat {
        None => atom,
        Some((0, None)) => atom + "*",
        Some((1, None)) => atom + "+",
        Some((0, Some(1))) => atom + "?",
        Some((_, Some(0))) => "\"\"".into(),
        Some((min, None)) => format!("{atom}{{{min},}}"),
        Some((min, Some(max))) => format!("{atom}{{{min},{max}}}"),
    }
}

/// Reads a grammar.
struct Parser<'g> {
    text: &'g str,
    rest: &'g str,
    depth: usize,
}

impl Parser<'_> {
    fn line(&self) -> usize {
        self.text[..self.text.len() - self.rest.len()].matches('\n').count() + 1
    }

    fn fail<T>(&self, fact: &str) -> Result<T, String> {
        Err(format!("line {}: {fact}", self.line()))
    }

    /// Passes over spaces and comments, and over ends of lines if `lines`.
    fn skip(&mut self, lines: bool) {
        loop {
            self.rest = self
                .rest
                .trim_start_matches(|c| matches!(c, ' ' | '\t') || lines && matches!(c, '\r' | '\n'));
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = self.rest.trim_start_matches(|c| !matches!(c, '\r' | '\n'));
        }
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn name(&mut self) -> String {
        let end = self.rest.find(|c| !is_name_char(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    fn rules(mut self) -> Result<Vec<Rule>, String> {
        let mut rules = Vec::new();
        self.skip(true);
        while !self.rest.is_empty() {
            let (line, name) = (self.line(), self.name());
            if name.is_empty() {
                return self.fail("expected the name of a rule");
            }
            self.skip(false);
            if !self.take("::=") {
                return self.fail(&format!("expected `::=` after `{name}`"));
            }
            self.skip(true);
            let body = self.alternatives()?;
            rules.push(Rule { name, line, body });
            if !self.rest.is_empty() && !self.rest.starts_with(['\r', '\n']) {
                return self.fail("expected the end of the line");
            }
            self.skip(true);
        }
        Ok(rules)
    }

    fn alternatives(&mut self) -> Result<Alternatives, String> {
        let mut alternatives = vec![self.sequence()?];
        loop {
            // Outside of a group the next line goes on with this rule only if it begins with a bar.
            let before = self.rest;
            self.skip(true);
            if !self.take("|") {
                if self.depth == 0 {
                    self.rest = before;
                }
                return Ok(Alternatives(alternatives));
            }
            self.skip(true);
            alternatives.push(self.sequence()?);
        }
    }

    fn sequence(&mut self) -> Result<Vec<Item>, String> {
        let mut items: Vec<Item> = Vec::new();
        loop {
            self.skip(self.depth > 0);
            let Some(c) = self.rest.chars().next() else { return Ok(items) };
            let atom = match c {
                '|' | ')' | '\r' | '\n' => return Ok(items),
                '"' => Atom::Literal(self.literal()?),
                '[' => Atom::Class(self.class()?),
                '.' => {
                    self.next();
                    Atom::Class("(?s:.)".into())
                }
                '(' => Atom::Group(self.group()?),
                c if is_name_char(c) => {
                    let line = self.line();
                    Atom::Name(self.name(), line)
                }
                '<' | '!' => return self.fail("tokens (`<...>`) are not supported"),
                '*' | '+' | '?' | '{' => return self.fail(&format!("there is nothing that `{c}` repeats")),
                c => return self.fail(&format!("{c:?} was not expected")),
            };
            let repeat = self.repeat()?;
            items.push(Item { atom, repeat });
        }
    }

    fn group(&mut self) -> Result<Alternatives, String> {
        self.next();
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return self.fail(&format!("groups are nested more than {MAX_NESTING} deep"));
        }
        let group = self.alternatives()?;
        if !self.take(")") {
            return self.fail("expected `)`");
        }
        self.depth -= 1;
        Ok(group)
    }

    fn repeat(&mut self) -> Result<Option<(u32, Option<u32>)>, String> {
        self.skip(self.depth > 0);
        let repeat = match self.rest.chars().next() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.next();
                let range = self.range()?;
                self.check_single()?;
                return Ok(Some(range));
            }
            _ => return Ok(None),
        };
        self.next();
        self.check_single()?;
        Ok(Some(repeat))
    }

    /// Two repetitions of one thing are a mistake.
    fn check_single(&mut self) -> Result<(), String> {
        self.skip(self.depth > 0);
        match self.rest.starts_with(['*', '+', '?', '{']) {
            true => self.fail("a repetition is repeated; put the first one in a group"),
            false => Ok(()),
        }
    }

    /// `m}`, `m,}`, `,n}` or `m,n}`.
    fn range(&mut self) -> Result<(u32, Option<u32>), String> {
        let Some((text, rest)) = self.rest.split_once('}') else { return self.fail("expected `}`") };
        let number = |text: &str| match text.trim() {
            "" => Ok(None),
            text => match text.parse::<u32>() {
                Ok(n) if n <= MAX_REPEATS => Ok(Some(n)),
                Ok(_) => self.fail(&format!("more than {MAX_REPEATS} repetitions")),
                Err(_) => self.fail(&format!("`{{{text}}}` is not a number of repetitions")),
            },
        };
        let range = match text.split_once(',') {
            None => match number(text)? {
                None => return self.fail("expected a number of repetitions"),
                Some(n) => (n, Some(n)),
            },
            Some((min, max)) => (number(min)?.unwrap_or(0), number(max)?),
        };
        if range.1.is_some_and(|max| max < range.0) {
            return self.fail(&format!("`{{{text}}}` ends before it begins"));
        }
        self.rest = rest;
        Ok(range)
    }

    fn literal(&mut self) -> Result<String, String> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(c) if c != '\n' => text.push(c),
                _ => return self.fail("a literal has no closing quotation mark"),
            }
        }
    }

    fn class(&mut self) -> Result<String, String> {
        self.next();
        let mut class = String::from(if self.take("^") { "[^" } else { "[" });
        let is_empty = |class: &str| class.ends_with(['[', '^']);
        while !self.take("]") {
            let first = self.class_char()?;
            let last = if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.next();
                self.class_char()?
            } else {
                first
            };
            if last < first {
                return self.fail(&format!("the range from {first:?} to {last:?} is empty"));
            }
            let _ = write!(class, "\\x{{{:x}}}-\\x{{{:x}}}", first as u32, last as u32);
        }
        match is_empty(&class) {
            true => self.fail("a class has no characters"),
            false => Ok(class + "]"),
        }
    }

    fn class_char(&mut self) -> Result<char, String> {
        match self.next() {
            Some('\\') => self.escape(),
            Some(c) if c != '\n' => Ok(c),
            _ => self.fail("a class has no closing bracket"),
        }
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> Result<char, String> {
        let n_digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some(c @ ('\\' | '"' | '[' | ']')) => return Ok(c),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some(c) => return self.fail(&format!("`\\{c}` is not an escape")),
            None => return self.fail("nothing stands after a backslash"),
        };
        let digits =
            self.rest.get(..n_digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.rest = &self.rest[n_digits..];
                Ok(c)
            }
            None => self.fail(&format!("expected the {n_digits} hexadecimal digits of a character")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_become_terminals_unless_they_recur() {
        let lark =
            to_lark("root ::= \"a\" list ws # a comment\nlist ::= \"(\" ws list? ws \")\"\nws ::= [ \\t]*\n")
                .unwrap();
        assert_eq!(
            lark,
            "start: r0\nr0: \"a\" r1 T2\nr1: J0 r1? J1\nT2: /[\\x{20}-\\x{20}\\x{9}-\\x{9}]/*\nJ0: \"(\" T2\nJ1: T2 \")\"\n"
        );
    }

    #[test]
    fn all_that_is_written() {
        let lark = to_lark(
            "root ::=\n  (\"yes\" |\n   \"no\")\n  | [^\\\"\\\\\\x7F\\u00e9-\\u00ff]{2,3} .? d{2} d{0} d{,4}\n\n\nd ::= [0-9-]",
        );
        assert_eq!(
            lark.unwrap(),
            "start: T0\nT0: (\"yes\" | \"no\") | /[^\\x{22}-\\x{22}\\x{5c}-\\x{5c}\\x{7f}-\\x{7f}\\x{e9}-\\x{ff}]/{2,3} \
             /(?s:.)/? T1{2,2} \"\" T1{0,4}\nT1: /[\\x{30}-\\x{39}\\x{2d}-\\x{2d}]/\n"
        );
    }

    #[test]
    fn mistakes_name_their_line() {
        for (grammar, fact) in [
            ("a ::= \"x\"", "there is no rule `root`"),
            ("root ::= \"x\"\nroot ::= \"y\"", "two rules `root`"),
            ("root ::= a\n", "line 1: there is no rule `a`"),
            ("root ::= \"x\" (\n\"y\"", "line 2: expected `)`"),
            ("root ::= \"x", "line 1: a literal has no closing"),
            ("root ::= [a", "line 1: a class has no closing"),
            ("root ::= []", "line 1: a class has no characters"),
            ("root ::= [z-a]", "line 1: the range"),
            ("root ::= \"a\"{3,2}", "ends before"),
            ("root ::= \"a\"{99999}", "more than 10000"),
            ("root ::= \"a\"**", "a repetition is repeated"),
            ("root ::= * \"a\"", "nothing that `*` repeats"),
            ("root ::= <think>", "tokens"),
            ("root ::= \"\\q\"", "`\\q` is not an escape"),
            ("root ::= \"\\ud800\"", "hexadecimal"),
            ("root ::= \"a\" )", "end of the line"),
            ("root = \"a\"", "expected `::=`"),
            ("::= \"a\"", "expected the name"),
        ] {
            let error = to_lark(grammar).unwrap_err();
            assert!(error.contains(fact), "{grammar}: {error}");
        }
        assert!(to_lark(&format!("root ::= {}", "(".repeat(1000))).unwrap_err().contains("nested"));
    }

    #[test]
    fn grammars_are_told_apart() {
        assert!(is_gbnf("# a comment\nroot ::= \"a\""));
        assert!(is_gbnf("  root::=a"));
        assert!(!is_gbnf("start: \"a ::= b\"\n"));
        assert!(!is_gbnf("::= "));
    }
}
