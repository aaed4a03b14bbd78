//! JSON objects that call tools, character by character.
//!
//! A scanner is told the characters after an object's `{` and says what they told: a name, arguments, members of
//! arguments. It keeps a key and one value at a time, and no stack: what is deeper than an argument is only counted,
//! and read as a whole when it is complete.

use serde_json::Value;

/// How far an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes on.
    Going,
    /// This character ended it.
    Done,
    /// This character cannot stand here.
    Broken,
}

/// What was told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The tool's name.
    Name(String),
    /// The arguments begin.
    Open,
    /// An argument: its name, and its value as JSON.
    Member(String, String),
    /// The arguments are complete.
    Close,
    /// The arguments are this text of JSON.
    Whole(String),
}

/// Whose members are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Call,
    Function,
    Arguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before a key, or the end.
    Key,
    InKey,
    Colon,
    Value,
    InValue,
    AfterValue,
}

/// Reads an object. There are three levels at most: the call, its `function`, the arguments.
#[derive(Debug)]
pub(super) struct ObjectScanner {
    roles: Vec<Role>,
    at: At,
    key: String,
    raw: Raw,
    has_arguments: bool,
}

impl ObjectScanner {
    /// Of an object that has a name and arguments.
    pub(super) fn call() -> ObjectScanner {
        ObjectScanner::of(Role::Call)
    }

    /// Of an object that is the arguments.
    pub(super) fn arguments() -> ObjectScanner {
        ObjectScanner::of(Role::Arguments)
    }

    fn of(role: Role) -> ObjectScanner {
        let has_arguments = role == Role::Arguments;
        ObjectScanner {
            roles: vec![role],
            at: At::Key,
            key: String::new(),
            raw: Raw::default(),
            has_arguments,
        }
    }

    /// Reads a character.
    pub(super) fn feed(&mut self, c: char, facts: &mut Vec<Fact>) -> Progress {
        let is_blank = c.is_ascii_whitespace();
        match self.at {
            At::Key | At::Colon | At::Value | At::AfterValue if is_blank => Progress::Going,
            At::Key if c == '"' => self.go(At::InKey, c),
            At::AfterValue if c == ',' => self.go(At::Key, c),
            // A comma before the end is forgiven.
            At::Key | At::AfterValue if c == '}' => self.close(facts),
            At::Colon if c == ':' => self.go(At::Value, c),
            At::InKey => match self.raw.feed(c) {
                RawStep::More => Progress::Going,
                RawStep::End | RawStep::EndBefore => match serde_json::from_str(&self.raw.text) {
                    Ok(key) => {
                        self.key = key;
                        self.go(At::Colon, c)
                    }
                    Err(_) => Progress::Broken,
                },
            },
            At::Value if c == '{' && self.inner().is_some() => self.open(facts),
            At::Value if !matches!(c, ',' | '}' | ']' | ':') => self.go(At::InValue, c),
            At::InValue => match self.raw.feed(c) {
                RawStep::More => Progress::Going,
                RawStep::End => self.value(facts),
                RawStep::EndBefore => match self.value(facts) {
                    Progress::Going => self.feed(c, facts),
                    progress => progress,
                },
            },
            At::Key | At::Colon | At::Value | At::AfterValue => Progress::Broken,
        }
    }

    fn go(&mut self, at: At, c: char) -> Progress {
        self.at = at;
        if matches!(at, At::InKey | At::InValue) {
            self.raw = Raw::default();
            self.raw.feed(c);
        }
        Progress::Going
    }

    fn role(&self) -> Role {
        self.roles.last().copied().unwrap_or(Role::Call)
    }

    /// What an object is that is the value of the present key, where its members are read one by one.
    fn inner(&self) -> Option<Role> {
        match (self.role(), self.key.as_str()) {
            (Role::Call, "function") => Some(Role::Function),
            (Role::Call | Role::Function, "parameters" | "arguments") if !self.has_arguments => {
                Some(Role::Arguments)
            }
            _ => None,
        }
    }

    fn open(&mut self, facts: &mut Vec<Fact>) -> Progress {
        let Some(role) = self.inner() else { return Progress::Broken };
        self.roles.push(role);
        if role == Role::Arguments {
            self.has_arguments = true;
            facts.push(Fact::Open);
        }
        self.at = At::Key;
        Progress::Going
    }

    fn close(&mut self, facts: &mut Vec<Fact>) -> Progress {
        if self.roles.pop() == Some(Role::Arguments) {
            facts.push(Fact::Close);
        }
        self.at = At::AfterValue;
        if self.roles.is_empty() { Progress::Done } else { Progress::Going }
    }

    /// A value is complete that was read as a whole.
    fn value(&mut self, facts: &mut Vec<Fact>) -> Progress {
        self.at = At::AfterValue;
        let text = std::mem::take(&mut self.raw.text);
        match (self.role(), self.key.as_str()) {
            (Role::Arguments, _) => facts.push(Fact::Member(std::mem::take(&mut self.key), text)),
            // Small models write the name where the function would be.
            (Role::Call | Role::Function, "name" | "function") => {
                if let Ok(name) = serde_json::from_str(&text) {
                    facts.push(Fact::Name(name));
                }
            }
            (Role::Call | Role::Function, "parameters" | "arguments") if !self.has_arguments => {
                self.has_arguments = true;
                match serde_json::from_str(&text) {
                    Ok(Value::String(arguments)) => facts.push(Fact::Whole(arguments)),
                    Ok(Value::Null) => facts.push(Fact::Whole("{}".to_owned())),
                    _ => return Progress::Broken,
                }
            }
            (Role::Call | Role::Function, _) => {}
        }
        Progress::Going
    }
}

/// A value as it is written, with what models get wrong in strings put right: line breaks and other control
/// characters as they are, and `\'`.
#[derive(Debug, Default)]
struct Raw {
    text: String,
    /// How many brackets are open.
    depth: usize,
    is_string: bool,
    in_string: bool,
    is_escaped: bool,
}

enum RawStep {
    More,
    /// The character is the value's last.
    End,
    /// The value ended before the character.
    EndBefore,
}

impl Raw {
    fn feed(&mut self, c: char) -> RawStep {
        if self.in_string {
            return self.feed_string(c);
        }
        if self.text.is_empty() {
            self.is_string = c == '"';
        }
        match c {
            '"' => self.in_string = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' if self.depth > 0 => {
                self.depth -= 1;
                self.text.push(c);
                return if self.depth == 0 { RawStep::End } else { RawStep::More };
            }
            ',' | '}' | ']' if self.depth == 0 => return RawStep::EndBefore,
            c if c.is_ascii_whitespace() && self.depth == 0 => return RawStep::EndBefore,
            _ => {}
        }
        self.text.push(c);
        RawStep::More
    }

    fn feed_string(&mut self, c: char) -> RawStep {
        let is_escaped = self.is_escaped;
        self.is_escaped = c == '\\' && !is_escaped;
        if is_escaped && (c == '\'' || c < ' ') {
            self.text.pop();
        }
        match c {
            '\n' => self.text.push_str("\\n"),
            '\t' => self.text.push_str("\\t"),
            c if c < ' ' => self.text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => self.text.push(c),
        }
        if c == '"' && !is_escaped {
            self.in_string = false;
            if self.is_string {
                return RawStep::End;
            }
        }
        RawStep::More
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> (Vec<Fact>, Progress) {
        let (mut scanner, mut facts) = (ObjectScanner::call(), Vec::new());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match scanner.feed(c, &mut facts) {
                Progress::Going => {}
                progress => {
                    assert!(progress == Progress::Broken || chars.as_str().is_empty());
                    return (facts, progress);
                }
            }
        }
        (facts, Progress::Going)
    }

    fn member(key: &str, value: &str) -> Fact {
        Fact::Member(key.to_owned(), value.to_owned())
    }

    #[test]
    fn facts_in_their_order() {
        let text = r#""type": "function", "name": "f", "parameters": {"a": [1, {"}": "]"}], "b" :-1.5e3 ,"c":"\"\\"}}"#;
        let facts = vec![
            Fact::Name("f".to_owned()),
            Fact::Open,
            member("a", r#"[1, {"}": "]"}]"#),
            member("b", "-1.5e3"),
            member("c", r#""\"\\""#),
            Fact::Close,
        ];
        assert_eq!(scan(text), (facts, Progress::Done));
        let (facts, progress) = scan(r#""function": {"arguments": "{}", "name": "f"}, "id": 1,}"#);
        assert_eq!(facts, [Fact::Whole("{}".to_owned()), Fact::Name("f".to_owned())]);
        assert_eq!(progress, Progress::Done);
        // Only the first arguments count.
        let (facts, _) = scan(r#""arguments": null, "parameters": {"a": 1}}"#);
        assert_eq!(facts, [Fact::Whole("{}".to_owned())]);
        // What models get wrong in strings.
        let (facts, _) = scan("\"parameters\": {\"a\": \"it\\'s\n\u{1}\"}}");
        assert_eq!(facts[1], member("a", r#""it's\n\u0001""#));
    }

    #[test]
    fn what_cannot_be() {
        for text in ["a", ",", "\"a\" 1", "\"a\":,", "\"a\":1 2", "\"a\":}", "\"\\x\":", "\"parameters\": 3,"]
        {
            assert_eq!(scan(text).1, Progress::Broken, "{text}");
        }
    }
}
