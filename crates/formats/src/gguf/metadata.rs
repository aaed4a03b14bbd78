//! The key-value table of a GGUF file, with getters that say what is wrong.
//!
//! Writers disagree about integer widths, so an integer of any width is accepted where its value fits. A key
//! that is absent is `None`; a key that is present with the wrong type is always an error, never a silent
//! default.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::value::{Array, Value};
use crate::error::{FormatError, Problem};
use crate::visible::quote;

/// Metadata in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// The file it came from, for messages.
    path: PathBuf,
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Metadata {
    /// An empty table, to be filled and written; `path` is for messages.
    pub fn new(path: &Path) -> Metadata {
        Metadata { path: path.to_owned(), ..Metadata::default() }
    }

    /// The file the table came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All entries in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key, whatever its type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|&idx| &self.entries[idx].1)
    }

    /// Sets a key, at its old place if it has one, else at the end.
    pub fn set(&mut self, key: impl Into<String>, value: Value) {
        let key = key.into();
        match self.index.get(&key) {
            Some(&idx) => self.entries[idx].1 = value,
            None => {
                self.index.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    /// A required unsigned integer.
    pub fn u32(&self, key: &str) -> Result<u32, FormatError> {
        self.opt_u32(key)?.ok_or_else(|| self.missing(key))
    }

    /// An optional unsigned integer.
    pub fn opt_u32(&self, key: &str) -> Result<Option<u32>, FormatError> {
        self.typed(key, "an integer from 0 to 4294967295", |value| value.as_integer()?.try_into().ok())
    }

    /// A required unsigned integer of up to 64 bits.
    pub fn u64(&self, key: &str) -> Result<u64, FormatError> {
        self.opt_u64(key)?.ok_or_else(|| self.missing(key))
    }

    /// An optional unsigned integer of up to 64 bits.
    pub fn opt_u64(&self, key: &str) -> Result<Option<u64>, FormatError> {
        self.typed(key, "an integer from 0 to 2^64 - 1", |value| value.as_integer()?.try_into().ok())
    }

    /// A required number.
    pub fn f32(&self, key: &str) -> Result<f32, FormatError> {
        self.opt_f32(key)?.ok_or_else(|| self.missing(key))
    }

    /// An optional number.
    pub fn opt_f32(&self, key: &str) -> Result<Option<f32>, FormatError> {
        self.typed(key, "a number", |value| value.as_number().map(|number| number as f32))
    }

    /// A required truth value.
    pub fn bool(&self, key: &str) -> Result<bool, FormatError> {
        self.opt_bool(key)?.ok_or_else(|| self.missing(key))
    }

    /// An optional truth value.
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>, FormatError> {
        self.typed(key, "a bool", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// A required string.
    pub fn str(&self, key: &str) -> Result<&str, FormatError> {
        self.opt_str(key)?.ok_or_else(|| self.missing(key))
    }

    /// An optional string.
    pub fn opt_str(&self, key: &str) -> Result<Option<&str>, FormatError> {
        self.typed(key, "a string", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// An optional array of strings.
    pub fn opt_strings(&self, key: &str) -> Result<Option<&[String]>, FormatError> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Array(Array::String(strings)) => Some(strings.as_slice()),
            Value::Array(array) if array.is_empty() => Some(&[]),
            _ => None,
        })
    }

    /// An optional array of numbers, as f32.
    pub fn opt_f32s(&self, key: &str) -> Result<Option<Vec<f32>>, FormatError> {
        self.typed(key, "an array of numbers", |value| match value {
            Value::Array(Array::F32(numbers)) => Some(numbers.clone()),
            Value::Array(array) => {
                (0..array.len()).map(|idx| Some(array.get(idx)?.as_number()? as f32)).collect()
            }
            _ => None,
        })
    }

    /// An optional array of integers of any width that fit i32.
    pub fn opt_i32s(&self, key: &str) -> Result<Option<Vec<i32>>, FormatError> {
        self.typed(key, "an array of 32-bit integers", |value| match value {
            Value::Array(Array::I32(integers)) => Some(integers.clone()),
            Value::Array(array) => {
                array.integers()?.into_iter().map(|integer| integer.try_into().ok()).collect()
            }
            _ => None,
        })
    }

    /// An optional integer that may differ per layer: an array with `n_layers` entries, or one number for
    /// all.
    pub fn opt_u32_per_layer(&self, key: &str, n_layers: usize) -> Result<Option<Vec<u32>>, FormatError> {
        let Some(Value::Array(array)) = self.get(key) else {
            return Ok(self.opt_u32(key)?.map(|value| vec![value; n_layers]));
        };
        if array.len() != n_layers {
            let (len, key) = (array.len(), quote(key));
            let fact = format!("metadata key {key} has {len} entries for {n_layers} layers");
            return Err(Problem::malformed(fact).in_file(&self.path));
        }
        self.typed(key, "an array of integers from 0 to 4294967295", |_| {
            array.integers()?.into_iter().map(|integer| integer.try_into().ok()).collect()
        })
    }

    /// The error for a key that must be there.
    pub fn missing(&self, key: &str) -> FormatError {
        Problem::malformed(format!("metadata key {} is missing", quote(key))).in_file(&self.path)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FormatError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| {
            let found = match value.as_integer() {
                Some(integer) => format!("{} ({integer})", value.type_name()),
                None => value.type_name(),
            };
            let fact = format!("metadata key {} should be {wanted}, but is {found}", quote(key));
            Problem::malformed(fact).in_file(&self.path)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Metadata {
        let mut table = Metadata::new(Path::new("m.gguf"));
        table.set("a.u8", Value::U8(7));
        table.set("a.neg", Value::I32(-7));
        table.set("a.i64", Value::I64(1 << 33));
        table.set("a.f64", Value::F64(0.5));
        table.set("a.text", Value::String("hi".into()));
        table.set("a.heads", Value::Array(Array::I32(vec![4, 8])));
        table
    }

    #[test]
    fn integers_of_any_width_are_accepted_where_they_fit() {
        let table = table();
        assert_eq!(table.u32("a.u8").unwrap(), 7);
        assert_eq!(table.u64("a.i64").unwrap(), 1 << 33);
        assert_eq!(table.f32("a.f64").unwrap(), 0.5);
        assert_eq!(table.f32("a.u8").unwrap(), 7.0);
        assert_eq!(table.opt_u32("absent").unwrap(), None);
        assert_eq!(table.opt_u32_per_layer("a.heads", 2).unwrap().unwrap(), [4, 8]);
        assert_eq!(table.opt_u32_per_layer("a.u8", 3).unwrap().unwrap(), [7, 7, 7]);
        assert_eq!(table.opt_i32s("a.heads").unwrap().unwrap(), [4, 8]);
    }

    #[test]
    fn what_does_not_fit_is_an_error_with_key_and_type() {
        let table = table();
        assert!(table.u32("a.i64").unwrap_err().fact.contains("`a.i64` should be an integer"));
        assert!(table.u32("a.neg").unwrap_err().fact.contains("i32 (-7)"));
        assert!(table.bool("a.text").unwrap_err().fact.contains("is string"));
        assert!(table.str("absent").unwrap_err().fact.contains("`absent` is missing"));
        assert!(table.opt_strings("a.heads").unwrap_err().fact.contains("array of 2 i32"));
        assert!(table.opt_u32_per_layer("a.heads", 3).unwrap_err().fact.contains("2 entries for 3 layers"));
    }

    #[test]
    fn setting_a_key_again_keeps_its_place() {
        let mut table = table();
        table.set("a.u8", Value::U32(9));
        assert_eq!(table.iter().next(), Some(("a.u8", &Value::U32(9))));
        assert_eq!(table.len(), 6);
    }
}
