//! The tree of a document: values, keys, and where they stand.

use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::place::Place;
use crate::encoding::decode_text;
use crate::error::{FormatError, Problem};
use crate::json::MAX_CONFIG_BYTES;
use crate::visible::visible;
use crate::whole_file::read_file;

/// Containers inside containers.
const MAX_DEPTH: usize = 64;
/// Nodes of a document, those that aliases copy included.
const MAX_NODES: usize = 1 << 20;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What stands in a YAML file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// A scalar: number, word, text.
    Scalar {
        /// As it is after quotes and escapes.
        text: String,
        /// Whether it stood in quotes or as a block, and is a text whatever it looks like.
        is_quoted: bool,
    },
    /// `- a` or `[a]`.
    List(Vec<Node>),
    /// `a: b` or `{a: b}`, in order.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where it stands.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The scalar's text; `None` for anything else.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// The kind of thing it is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a group of keys",
        }
    }

    /// Puts `value` at `path` (`a.b.c`), making groups on the way; the error names what stands in the way.
    pub fn set(&mut self, path: &str, value: Node) -> Result<(), String> {
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        if key.is_empty() {
            return Err("a key is empty".into());
        }
        if self.value == Value::Null {
            self.value = Value::Map(Vec::new());
        }
        let kind = self.kind();
        let Value::Map(entries) = &mut self.value else {
            return Err(format!("`{key}` cannot be set: what it belongs to is {kind}"));
        };
        let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let empty = Node { place: value.place, value: Value::Null };
            entries.push(Entry { key: key.to_owned(), place: value.place, value: empty });
            entries.len() - 1
        });
        match rest {
            Some(rest) => entries[at].value.set(rest, value),
            None => {
                entries[at].place = value.place;
                entries[at].value = value;
                Ok(())
            }
        }
    }
}

/// Reads the YAML file at `path`.
pub fn read(path: &Path) -> Result<Node, FormatError> {
    let bytes = read_file(path, MAX_CONFIG_BYTES)?;
    let tree = decode_text(&bytes).and_then(|text| parse(&text, Place::Line));
    tree.map_err(|fact| Problem::malformed(visible(&fact).into_owned()).in_file(path))
}

/// Parses a document; an empty one is [`Value::Null`]. `place` makes a line's number a place. The error says the
/// line and the fact.
pub fn parse(text: &str, place: impl Fn(usize) -> Place) -> Result<Node, String> {
    let mut tree = Tree { open: Vec::new(), anchors: Vec::new(), root: None, n_nodes: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
        let line = span.start.line().max(1);
        tree.take(event, place(line)).map_err(|fact| format!("line {line}: {fact}"))?;
    }
    Ok(tree.root.unwrap_or(Node { place: place(1), value: Value::Null }))
}

/// A container whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, Place)>,
}

struct Tree {
    open: Vec<Open>,
    /// Finished nodes that have a name to be repeated by.
    anchors: Vec<(usize, Node)>,
    root: Option<Node>,
    n_nodes: usize,
}

impl Tree {
    fn take(&mut self, event: Event, place: Place) -> Result<(), String> {
        let list = Value::List(Vec::new());
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err("a second document begins here".into()),
            Event::Scalar(text, style, anchor, _) => {
                let is_quoted = style != ScalarStyle::Plain;
                let is_null = !is_quoted && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value =
                    if is_null { Value::Null } else { Value::Scalar { text: text.into_owned(), is_quoted } };
                self.add(Node { place, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(Node { place, value: list }, anchor),
            Event::MappingStart(anchor, _) => {
                self.begin(Node { place, value: Value::Map(Vec::new()) }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.add(node, anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let known = self.anchors.iter().rev().find(|(id, _)| *id == anchor);
                let node =
                    known.map(|(_, node)| node.clone()).ok_or("an alias stands inside what it names")?;
                self.n_nodes += count(&node);
                self.add(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels"));
        }
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    /// Adds a finished node to what it belongs to.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.n_nodes += 1;
        if self.n_nodes > MAX_NODES {
            return Err(format!("more than {MAX_NODES} values, those that aliases repeat included"));
        }
        if anchor != 0 {
            self.n_nodes += count(&node);
            self.anchors.push((anchor, node.clone()));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.node.value, parent.key.take()) {
            (Value::List(nodes), _) => nodes.push(node),
            (Value::Map(entries), Some((key, place))) => entries.push(Entry { key, place, value: node }),
            (Value::Map(entries), None) => {
                let key = match node.value {
                    Value::Scalar { text, .. } => text,
                    Value::Null => return Err("a key is empty".into()),
                    _ => return Err("a key is not a single word".into()),
                };
                if let Some(before) = entries.iter().find(|entry| entry.key == key) {
                    return Err(format!("the key `{key}` stands here and at {}", before.place));
                }
                parent.key = Some((key, node.place));
            }
            _ => {}
        }
        Ok(())
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::List(nodes) => 1 + nodes.iter().map(count).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| count(&entry.value)).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_knows_its_lines() {
        let text = "model:\n  depth: 4 # a dial\n  \"tied\": 'no'\nfiles:\n  - a.txt\n  - {b: [1, ~]}\n";
        let tree = parse(text, Place::Line).unwrap();
        let depth = tree.get("model").and_then(|model| model.get("depth")).unwrap();
        assert_eq!((depth.place, depth.text()), (Place::Line(2), Some("4")));
        let tied = tree.get("model").and_then(|model| model.get("tied")).unwrap();
        assert_eq!(tied.value, Value::Scalar { text: "no".into(), is_quoted: true });
        let Value::List(files) = &tree.get("files").unwrap().value else { panic!("a list") };
        assert_eq!((files.len(), files[1].place, files[1].kind()), (2, Place::Line(6), "a group of keys"));
    }

    #[test]
    fn keys_are_set_from_outside() {
        let mut tree = parse("a:\n  b: 1\n", Place::Line).unwrap();
        let value = || parse("7", |_| Place::Argument).unwrap();
        tree.set("a.b", value()).unwrap();
        tree.set("c.d.e", value()).unwrap();
        assert_eq!(tree.get("a").and_then(|a| a.get("b")).unwrap().text(), Some("7"));
        let e = tree.get("c").and_then(|c| c.get("d")).and_then(|d| d.get("e")).unwrap();
        assert_eq!((e.text(), e.place), (Some("7"), Place::Argument));
        assert!(tree.set("a.b.c", value()).unwrap_err().contains("a single value"));
    }

    #[test]
    fn broken_documents_say_their_line() {
        for (text, says) in [
            ("a: 1\na: 2\n", "line 2: the key `a` stands here and at line 1"),
            ("a: [1\nb: 2\n", "line 2"),
            ("a: 1\n---\nb: 2\n", "a second document"),
            ("? [a]\n: 1\n", "not a single word"),
            ("a: &x [*x]\n", "line 1"),
        ] {
            let error = parse(text, Place::Line).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
        assert!(parse(&"[".repeat(100_000), Place::Line).is_err());
        let deep: String = (0..100).map(|i| " ".repeat(i) + "a:\n").collect();
        assert!(parse(&deep, Place::Line).unwrap_err().contains("levels"));
        // Each alias doubles what was there: a page that would be a billion values.
        let bomb = (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| {
            text + &format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1)
        });
        assert!(parse(&bomb, Place::Line).unwrap_err().contains("aliases"));
    }
}
