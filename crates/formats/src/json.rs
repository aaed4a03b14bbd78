//! Reading small JSON files, with a limit, and JSON objects whose keys must be unique.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};

use crate::encoding::decode_text;
use crate::error::{FormatError, Problem};
use crate::lookalike;
use crate::visible::{quote, visible};
use crate::whole_file::read_file;

/// The largest `config.json`, `params.json` and the like we read; real ones have a few kilobytes.
pub const MAX_CONFIG_BYTES: usize = 4 << 20;

/// Reads a JSON file of at most `max_bytes`.
pub fn read_json<T: DeserializeOwned>(path: &Path, max_bytes: usize) -> Result<T, FormatError> {
    parse_json(&read_file(path, max_bytes)?, path, max_bytes)
}

/// Reads JSON from bytes; `path` is for messages.
pub fn parse_json<T: DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
    max_bytes: usize,
) -> Result<T, FormatError> {
    let fail = |problem: Problem| problem.in_file(path);
    if bytes.len() > max_bytes {
        let len = bytes.len();
        return Err(fail(Problem::malformed(format!(
            "has {len} bytes; the limit for such a file is {max_bytes}"
        ))));
    }
    let text = decode_text(bytes);
    let parsed = text.and_then(|text| {
        serde_json::from_str(&quote_python_numbers(&text)).map_err(|error| error.to_string())
    });
    parsed.map_err(|fact| {
        let unknown = || Problem::malformed(format!("is not the JSON expected: {}", visible(&fact)));
        fail(lookalike::explain(bytes).unwrap_or_else(unknown))
    })
}

/// What Python writes for numbers that JSON does not have.
const PYTHON_NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// JSON as Python's `json` writes it, with `NaN` and `Infinity` as texts of these names: where nobody asks for
/// the value they do no harm, and whoever needs a number there finds none.
pub fn quote_python_numbers(text: &str) -> Cow<'_, str> {
    if !PYTHON_NUMBERS.iter().any(|name| text.contains(name)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    let mut is_in_string = false;
    while let Some(c) = rest.chars().next() {
        let number = PYTHON_NUMBERS.iter().find(|name| !is_in_string && rest.starts_with(**name));
        let len = match number {
            Some(name) => {
                out.extend(["\"", name, "\""]);
                name.len()
            }
            // What is escaped ends no string.
            None if is_in_string && c == '\\' => {
                let len = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..len]);
                len
            }
            None => {
                is_in_string ^= c == '"';
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[len..];
    }
    Cow::Owned(out)
}

/// A JSON object whose keys must be unique, ordered by key. (A plain map would silently keep the last of
/// two.)
pub(crate) struct UniqueMap<V>(pub BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = UniqueMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<UniqueMap<V>, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(key) = access.next_key::<String>()? {
                    if entries.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("the key {} occurs twice", quote(&key))));
                    }
                    entries.insert(key, access.next_value()?);
                }
                Ok(UniqueMap(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn bad_json_is_named() {
        let parse = |text: &str| parse_json::<Value>(text.as_bytes(), Path::new("config.json"), 100);
        assert_eq!(parse("{\"dim\": 4}").unwrap()["dim"], 4);
        assert!(parse("{\"dim\": 4").unwrap_err().fact.contains("line 1"));
        assert!(parse(&" ".repeat(101)).unwrap_err().fact.contains("limit"));
        assert!(parse("<html>").unwrap_err().fact.contains("HTML"));
        assert!(parse(&"[".repeat(100)).is_err());
        assert_eq!(parse("\u{feff}{\"dim\": 4}").unwrap()["dim"], 4);
        #[derive(Debug, serde::Deserialize)]
        enum Kind {}
        let error = parse_json::<Kind>(b"\"a\\u001b\\nb\"", Path::new("c.json"), 100).unwrap_err();
        assert!(error.fact.contains("a\\u{1b}\\nb"), "{error}");
    }

    #[test]
    fn numbers_of_python_are_texts() {
        let parse = |text: &str| parse_json::<Value>(text.as_bytes(), Path::new("config.json"), 100);
        let all = r#"{"a": [NaN, Infinity, -Infinity, -1], "b NaN": "x\\\"NaN, Infinity", "c":NaN}"#;
        let all = parse(all).unwrap();
        assert_eq!(all["a"], serde_json::json!(["NaN", "Infinity", "-Infinity", -1]));
        assert_eq!(all["b NaN"], "x\\\"NaN, Infinity");
        assert_eq!(all["c"], "NaN");
        for bad in ["{\"a\": NaNa}", "{\"a\": +Infinity}", "{NaN: 1, Infinity}", "\"NaN\\"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(matches!(quote_python_numbers("{\"a\": 1}"), Cow::Borrowed(_)));
    }

    #[test]
    fn keys_are_unique() {
        let parse = |text: &str| serde_json::from_str::<UniqueMap<u32>>(text).map(|map| map.0);
        assert_eq!(parse("{\"a\": 1, \"b\": 2}").unwrap()["b"], 2);
        assert!(parse("{\"a\": 1, \"a\": 2}").unwrap_err().to_string().contains("`a` occurs twice"));
    }
}
