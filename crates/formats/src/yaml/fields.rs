//! Settings read from a tree: each is asked for by name, type and range; what is wrong is collected, and keys that
//! nobody asked for are found at the end.

use std::cell::RefCell;
use std::fmt;

use super::place::Place;
use super::tree::{Node, Value};
use crate::visible::visible;

/// Something wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// The setting, as `group.key`, and what is wrong with it.
    pub fact: String,
    /// What to do about it, where that can be said.
    pub fix: Option<String>,
}

/// All that is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// One more.
    pub fn add(&mut self, place: Place, fact: impl Into<String>, fix: Option<String>) {
        self.0.push(Fault { place, fact: fact.into(), fix });
    }
}

/// A line for each fault, and an indented one for what to do.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Fault { place, fact, fix }) in self.0.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}  {place}: {fact}")?;
            if let Some(fix) = fix {
                write!(f, "\n    {fix}")?;
            }
        }
        Ok(())
    }
}

/// A group of keys that is being read.
///
/// A setting that is absent is `None`; one that is wrong is `None` too, and its fault is kept.
pub struct Section<'n> {
    /// `model` or `model.experts`; empty at the top.
    path: String,
    node: Option<&'n Node>,
    asked: RefCell<Vec<&'static str>>,
    faults: &'n RefCell<Faults>,
}

impl<'n> Section<'n> {
    /// The whole tree.
    pub fn top(node: &'n Node, faults: &'n RefCell<Faults>) -> Section<'n> {
        Section::of(String::new(), Some(node), faults)
    }

    fn of(path: String, node: Option<&'n Node>, faults: &'n RefCell<Faults>) -> Section<'n> {
        let section = Section { path, node, asked: RefCell::default(), faults };
        if let Some(node) = node.filter(|node| !matches!(node.value, Value::Map(_) | Value::Null)) {
            let fact = format!("{} is {}; keys with values are expected here", section.what(), node.kind());
            section.faults.borrow_mut().add(node.place, fact, None);
        }
        section
    }

    fn what(&self) -> String {
        if self.path.is_empty() { "the file".into() } else { format!("`{}`", self.path) }
    }

    /// A key's whole name; the group's own for an empty one.
    pub fn name(&self, key: &str) -> String {
        match (&*self.path, key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    /// Whether the group is there at all.
    pub fn is_given(&self) -> bool {
        self.node.is_some_and(|node| node.value != Value::Null)
    }

    /// Whether a key has a value.
    pub fn has(&self, key: &str) -> bool {
        self.node.and_then(|node| node.get(key)).is_some_and(|node| node.value != Value::Null)
    }

    /// Where a key stands.
    pub fn place(&self, key: &str) -> Place {
        let value = self.node.and_then(|node| node.get(key));
        value.or(self.node).map_or(Place::Nowhere, |node| node.place)
    }

    /// Keeps a fault of a key.
    pub fn fault(&self, key: &str, fact: impl fmt::Display, fix: Option<String>) {
        let fact = format!("`{}` {fact}", self.name(key));
        self.faults.borrow_mut().add(self.place(key), fact, fix);
    }

    /// The value of a key, whatever it is; `None` where it is absent or null.
    pub fn node(&self, key: &'static str) -> Option<&'n Node> {
        self.asked.borrow_mut().push(key);
        self.node?.get(key).filter(|node| node.value != Value::Null)
    }

    /// The group of keys at a key.
    pub fn section(&self, key: &'static str) -> Section<'n> {
        Section::of(self.name(key), self.node(key), self.faults)
    }

    /// Each group of a list of groups.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'n>> {
        match self.node(key).map(|node| &node.value) {
            None => Vec::new(),
            Some(Value::List(nodes)) => {
                let named = nodes.iter().enumerate();
                named
                    .map(|(i, node)| Section::of(format!("{}[{i}]", self.name(key)), Some(node), self.faults))
                    .collect()
            }
            Some(_) => {
                self.fault(key, "is not a list", Some("begin each group with `- `".into()));
                Vec::new()
            }
        }
    }

    fn scalar(&self, key: &'static str, expected: &str) -> Option<&'n str> {
        let node = self.node(key)?;
        if node.text().is_none() {
            self.fault(key, format!("is {}; expected {expected}", node.kind()), None);
        }
        node.text()
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Option<String> {
        self.scalar(key, "a text").map(str::to_owned)
    }

    /// A whole number within `range`; `1_000` and `4k` (1024 times) and `2M` may stand for it.
    pub fn count(&self, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let (low, high) = (*range.start(), *range.end());
        let expected = match high {
            u64::MAX => format!("a whole number of at least {low}"),
            _ => format!("a whole number from {low} to {high}"),
        };
        let text = self.scalar(key, &expected)?;
        let value = whole_number(text).filter(|value| range.contains(value));
        if value.is_none() {
            self.fault(key, format!("is `{}`; expected {expected}", visible(text)), None);
        }
        value
    }

    /// A number for which `is_fine`; `expected` says in words what that means.
    pub fn number(&self, key: &'static str, expected: &str, is_fine: impl Fn(f64) -> bool) -> Option<f64> {
        let text = self.scalar(key, expected)?;
        let value = text.replace('_', "").parse::<f64>().ok().filter(|x| x.is_finite() && is_fine(*x));
        if value.is_none() {
            self.fault(key, format!("is `{}`; expected {expected}", visible(text)), None);
        }
        value
    }

    /// `true` or `false`.
    pub fn truth(&self, key: &'static str) -> Option<bool> {
        let text = self.scalar(key, "true or false")?;
        match text {
            "true" | "True" | "yes" | "on" => Some(true),
            "false" | "False" | "no" | "off" => Some(false),
            _ => {
                self.fault(key, format!("is `{}`; expected true or false", visible(text)), None);
                None
            }
        }
    }

    /// One of several words.
    pub fn choice<T: Clone>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of {}", names.join(", "));
        let text = self.scalar(key, &expected)?;
        let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        if found.is_none() {
            let fix = nearest(text, &names).map(|name| format!("did you mean `{name}`?"));
            self.fault(key, format!("is `{}`; expected {expected}", visible(text)), fix);
        }
        found.map(|(_, value)| value.clone())
    }

    /// A list of texts; a single one may stand alone.
    pub fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let node = self.node(key)?;
        let texts = match &node.value {
            Value::List(nodes) => nodes.iter().map(|node| node.text().map(str::to_owned)).collect(),
            _ => node.text().map(|text| vec![text.to_owned()]),
        };
        if texts.is_none() {
            self.fault(key, "is not a text or a list of texts", None);
        }
        texts
    }

    /// Keeps a fault for every key that was not asked for. To be called when all were.
    pub fn finish(self) {
        let Some(Node { value: Value::Map(entries), .. }) = self.node else { return };
        let asked = self.asked.borrow();
        for entry in entries.iter().filter(|entry| !asked.contains(&&*entry.key)) {
            let fix = match nearest(&entry.key, &asked) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("{} may have {}", self.what(), asked.join(", ")),
            };
            let fact = format!("`{}` is not a setting", visible(&self.name(&entry.key)));
            self.faults.borrow_mut().add(entry.place, fact, Some(fix));
        }
    }
}

/// `1000`, `1_000`, `64k`, `2M`; a number with an exponent (`1e6`) where it is whole.
fn whole_number(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    for (unit, factor) in [("k", 1u64 << 10), ("M", 1 << 20), ("G", 1 << 30)] {
        if let Some(count) = text.strip_suffix(unit) {
            return count.parse::<u64>().ok()?.checked_mul(factor);
        }
    }
    // Beyond 2^53 not every whole number is an f64.
    let value = text.parse::<f64>().ok().filter(|x| x.fract() == 0.0 && (0.0..9e15).contains(x))?;
    Some(value as u64)
}

/// The name that somebody who wrote `text` may have meant: the one with the fewest changed letters, if these are
/// few.
pub fn nearest<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    let close = names.iter().map(|name| (distance(&text.to_lowercase(), name), *name));
    let (changes, name) = close.min_by_key(|(changes, _)| *changes)?;
    (changes <= 1 + name.len() / 4).then_some(name)
}

/// Letters to add, take away or exchange (Levenshtein). Long texts are far from everything.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse;
    use super::*;

    #[test]
    fn everything_wrong_is_said_at_once() {
        let text = "steps: many\nlr: -1\nkind: adamv\nmodel:\n  dept: 4\n  tied: maybe\nlist: {a: 1}\n";
        let tree = parse(text, Place::Line).unwrap();
        let faults = RefCell::new(Faults::default());
        let top = Section::top(&tree, &faults);
        assert_eq!(top.count("steps", 1..=u64::MAX), None);
        assert_eq!(top.number("lr", "a number above 0", |x| x > 0.0), None);
        assert_eq!(top.choice("kind", &[("adamw", 1), ("muon", 2)]), None);
        assert!(top.sections("list").is_empty());
        let model = top.section("model");
        assert_eq!((model.count("depth", 1..=9), model.truth("tied")), (None, None));
        model.finish();
        top.finish();
        let said = faults.into_inner().to_string();
        for part in [
            "line 1: `steps` is `many`; expected a whole number of at least 1",
            "line 2: `lr` is `-1`; expected a number above 0",
            "line 3: `kind` is `adamv`; expected one of adamw, muon\n    did you mean `adamw`?",
            "line 5: `model.dept` is not a setting\n    did you mean `depth`?",
            "line 6: `model.tied` is `maybe`",
            "line 7: `list` is not a list",
        ] {
            assert!(said.contains(part), "{part}\n--\n{said}");
        }
        assert_eq!(said.matches("line").count(), 6, "{said}");
    }

    #[test]
    fn numbers_may_be_written_in_several_ways() {
        for (text, value) in
            [("12", Some(12)), ("1_000", Some(1000)), ("64k", Some(65536)), ("2M", Some(2 << 20))]
                .into_iter()
                .chain([
                    ("1e6", Some(1_000_000)),
                    ("1.5", None),
                    ("-1", None),
                    ("99999999999G", None),
                    ("k", None),
                ])
        {
            assert_eq!(whole_number(text), value, "{text}");
        }
    }
}
