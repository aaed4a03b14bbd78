//! YAML files with settings, as a tree that knows the line of everything in it.
//!
//! [`parse`] reads one document with saphyr's parser and keeps where each key and value stands, which readers
//! that fill structs forget: a message about a setting should say its line. [`Section`] reads settings from the
//! tree and collects everything that is wrong, so that all of it is said at once. What a scalar means (number,
//! word, truth) is asked by whoever reads it, not guessed beforehand: `no` is a word where a word is expected.
//!
//! A file may be anybody's: its size, depth and what aliases copy are bounded. Left out on purpose: several
//! documents in one file, tags, merge keys (`<<`), keys that are not plain words.

mod fields;
mod place;
mod tree;

pub use fields::{Fault, Faults, Section, nearest};
pub use place::Place;
pub use tree::{Entry, Node, Value, parse, read};
