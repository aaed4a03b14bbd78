//! Whether two schemas can hold at once. `oneOf` is `anyOf` where no two of its branches can.
//!
//! The answer "no" is certain; "maybe" is not: what is looked at are types, constants, ranges of numbers, and properties
//! that an object must have.

use serde_json::{Map, Value};

use super::document::Document;

/// How many schemas are looked at for one `oneOf`.
const MAX_STEPS: usize = 200_000;

/// The deepest nesting that is looked at.
const MAX_DEPTH: usize = 32;

/// Two branches that may both hold.
pub(super) fn overlap(document: Document, branches: &[Value]) -> Option<(usize, usize)> {
    let mut look = Look { document, n_left: MAX_STEPS };
    let pairs = (0..branches.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    pairs.into_iter().find(|(i, j)| !look.are_disjoint(&branches[*i], &branches[*j], 0))
}

struct Look<'s> {
    document: Document<'s>,
    n_left: usize,
}

impl Look<'_> {
    fn are_disjoint(&mut self, a: &Value, b: &Value, depth: usize) -> bool {
        self.n_left = self.n_left.saturating_sub(1);
        if self.n_left == 0 || depth > MAX_DEPTH {
            return false;
        }
        if *a == Value::Bool(false) || *b == Value::Bool(false) {
            return true;
        }
        let (Some(a_map), Some(b_map)) = (a.as_object(), b.as_object()) else { return false };
        let is_nullable = |map: &Map<String, Value>| map.get("nullable") == Some(&Value::Bool(true));
        if is_nullable(a_map) || is_nullable(b_map) {
            return false;
        }
        self.by_parts(a_map, b, depth)
            || self.by_parts(b_map, a, depth)
            || no_common_type(a_map, b_map)
            || no_common_value(a_map, b_map)
            || no_common_number(a_map, b_map)
            || self.by_property(a_map, b_map, depth)
    }

    /// Whether a part of one schema that must hold excludes the other.
    fn by_parts(&mut self, map: &Map<String, Value>, other: &Value, depth: usize) -> bool {
        if let Some(Ok((_, target))) =
            map.get("$ref").and_then(Value::as_str).map(|text| self.document.find(text))
            && self.are_disjoint(target, other, depth + 1)
        {
            return true;
        }
        let branches =
            |keyword: &str| map.get(keyword).and_then(Value::as_array).filter(|list| !list.is_empty());
        if branches("allOf")
            .is_some_and(|all| all.iter().any(|part| self.are_disjoint(part, other, depth + 1)))
        {
            return true;
        }
        ["anyOf", "oneOf"].iter().any(|keyword| {
            branches(keyword)
                .is_some_and(|any| any.iter().all(|part| self.are_disjoint(part, other, depth + 1)))
        })
    }

    /// Whether a property that one of them wants cannot satisfy both.
    fn by_property(&mut self, a: &Map<String, Value>, b: &Map<String, Value>, depth: usize) -> bool {
        if !(types(a) == OBJECT && types(b) == OBJECT) {
            return false;
        }
        let required = |map: &Map<String, Value>| -> Vec<String> {
            let names = map.get("required").and_then(Value::as_array);
            names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        required(a).iter().chain(&required(b)).any(|name| {
            let (Some(a), Some(b)) = (property(a, name), property(b, name)) else { return false };
            self.are_disjoint(a, b, depth + 1)
        })
    }
}

/// The schema of a property that an object has.
fn property<'s>(map: &'s Map<String, Value>, name: &str) -> Option<&'s Value> {
    let own = map.get("properties").and_then(|properties| properties.get(name));
    let others = || map.get("additionalProperties").filter(|_| !map.contains_key("patternProperties"));
    own.or_else(others)
}

const NULL: u8 = 1;
const BOOLEAN: u8 = 2;
const NUMBER: u8 = 4;
const STRING: u8 = 8;
const ARRAY: u8 = 16;
const OBJECT: u8 = 32;

/// The types that values can have.
fn types(map: &Map<String, Value>) -> u8 {
    let named = |name: &Value| match name.as_str() {
        Some("null") => NULL,
        Some("boolean") => BOOLEAN,
        Some("number" | "integer") => NUMBER,
        Some("string") => STRING,
        Some("array") => ARRAY,
        Some("object") => OBJECT,
        _ => u8::MAX,
    };
    let of_keyword = match map.get("type") {
        None => u8::MAX,
        Some(Value::Array(names)) => names.iter().map(named).fold(0, |all, one| all | one),
        Some(name) => named(name),
    };
    let of_value = |value: &Value| match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOLEAN,
        Value::Number(_) => NUMBER,
        Value::String(_) => STRING,
        Value::Array(_) => ARRAY,
        Value::Object(_) => OBJECT,
    };
    let of_values =
        values(map).map_or(u8::MAX, |values| values.iter().map(of_value).fold(0, |all, one| all | one));
    of_keyword & of_values
}

/// The values that there are.
fn values(map: &Map<String, Value>) -> Option<&[Value]> {
    match (map.get("const"), map.get("enum")) {
        (Some(value), _) => Some(std::slice::from_ref(value)),
        (None, Some(Value::Array(values))) => Some(values),
        _ => None,
    }
}

fn no_common_type(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    types(a) & types(b) == 0
}

fn no_common_value(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    let (Some(a), Some(b)) = (values(a), values(b)) else { return false };
    // 1 and 1.0 are one value, also inside of others: only names and single numbers are told apart.
    let is_plain = |value: &Value| !value.is_array() && !value.is_object();
    let same = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    };
    let few = a.len().saturating_mul(b.len()) <= 1_000_000;
    few && a.iter().chain(b).all(is_plain) && !a.iter().any(|a| b.iter().any(|b| same(a, b)))
}

fn no_common_number(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    if types(a) & types(b) != NUMBER {
        return false;
    }
    let bound = |map: &Map<String, Value>, keyword: &str| map.get(keyword).and_then(Value::as_f64);
    let below = |a: &Map<String, Value>, b: &Map<String, Value>| {
        let top = [("maximum", false), ("exclusiveMaximum", true)];
        let bottom = [("minimum", false), ("exclusiveMinimum", true)];
        top.iter().any(|(upper, a_excludes)| {
            bottom.iter().any(|(lower, b_excludes)| match (bound(a, upper), bound(b, lower)) {
                (Some(upper), Some(lower)) => upper < lower || upper == lower && (*a_excludes || *b_excludes),
                _ => false,
            })
        })
    };
    below(a, b) || below(b, a)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn overlap_of(branches: Value) -> Option<(usize, usize)> {
        let root = json!({"$defs": {
            "cat": {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
            "dog": {"type": "object", "properties": {"kind": {"enum": ["dog", "wolf"]}}, "required": ["kind"]},
            "loop": {"$ref": "#/$defs/loop"},
        }});
        overlap(Document::new(&root), branches.as_array().unwrap())
    }

    #[test]
    fn branches_that_exclude_each_other() {
        for branches in [
            json!([{"type": "string"}, {"type": "integer"}, {"type": ["null", "array"]}]),
            json!([{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}, {"type": "null"}]),
            json!([{"enum": [1, "a"]}, {"const": 2}, {"const": "b"}]),
            json!([{"type": "number", "maximum": 3}, {"type": "integer", "exclusiveMinimum": 3}]),
            json!([{"type": "object", "properties": {"b": {}}, "additionalProperties": false},
                   {"type": "object", "properties": {"a": {}}, "required": ["a"]}]),
            json!([{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "boolean"}]),
            json!([{"allOf": [{"$ref": "#/$defs/cat"}]}, {"$ref": "#/$defs/dog"}]),
        ] {
            assert_eq!(overlap_of(branches.clone()), None, "{branches}");
        }
    }

    #[test]
    fn branches_that_may_both_hold() {
        for branches in [
            json!([{"type": "integer"}, {"type": "number"}]),
            json!([{"type": "string"}, {"type": "string", "maxLength": 3}]),
            json!([{"const": 1}, {"const": 1.0}]),
            json!([{"const": [1]}, {"const": [1.0]}]),
            json!([{"type": "object", "properties": {"kind": {"const": "cat"}}}, {"$ref": "#/$defs/loop"}]),
            json!([{"properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
                   {"properties": {"kind": {"const": "dog"}}, "required": ["kind"]}]),
            json!([{"type": "string", "nullable": true}, {"type": "null"}]),
            json!([true, {"type": "null"}]),
        ] {
            assert_eq!(overlap_of(branches.clone()), Some((0, 1)), "{branches}");
        }
    }
}
