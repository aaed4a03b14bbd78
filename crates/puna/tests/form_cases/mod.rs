//! Schemas with documents that satisfy them and others, and what satisfies means, straight from the specification.

use serde_json::Value;

/// A schema, documents of it, and documents that are not.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

pub const CASES: &[Case] = &[
    (r#"{"type": "null"}"#, &["null"], &["nul", "0", "true"]),
    (r#"{"type": "boolean"}"#, &["true", "false"], &["1", "\"true\"", "tru"]),
    (r#"{"type": "integer"}"#, &["0", "-7", "12345678901234567890"], &["1.5", "01", "+1", "-"]),
    (
        r#"{"type": "integer", "minimum": -3, "maximum": 120}"#,
        &["-3", "0", "99", "120"],
        &["-4", "121", "1000"],
    ),
    (r#"{"type": "integer", "exclusiveMinimum": 0, "multipleOf": 5}"#, &["5", "100"], &["0", "-5", "7"]),
    (r#"{"type": "number"}"#, &["0", "-1.5", "2e10", "1E-5"], &[".5", "1.", "NaN", "\"1\""]),
    (
        r#"{"type": "number", "minimum": 0.5, "exclusiveMaximum": 2}"#,
        &["0.5", "1", "1.999"],
        &["0.49", "2", "-1"],
    ),
    (
        r#"{"type": "string"}"#,
        &["\"\"", "\"a\\n\\u00e9 é 🦙 \\\"q\\\"\""],
        &["a", "\"a", "\"a\nb\"", "\"\\x\""],
    ),
    (
        r#"{"type": "string", "minLength": 2, "maxLength": 4}"#,
        &["\"ab\"", "\"é🦙é€\""],
        &["\"a\"", "\"abcde\""],
    ),
    (
        r#"{"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}"#,
        &["\"AB-1\"", "\"XY-0099\""],
        &["\"A-1\"", "\"AB-\"", "\"AB-1 \""],
    ),
    (r#"{"type": "string", "pattern": "ell"}"#, &["\"ell\"", "\"hello\""], &["\"hallo\"", "\"\""]),
    (r#"{"type": "string", "format": "date"}"#, &["\"2026-11-30\""], &["\"2026-13-01\"", "\"today\""]),
    (
        r#"{"type": "string", "format": "uuid"}"#,
        &["\"123e4567-e89b-12d3-a456-426614174000\""],
        &["\"123e4567\""],
    ),
    (r#"{"type": "string", "format": "password"}"#, &["\"anything\""], &["1"]),
    (
        r#"{"enum": ["red", "green", 3, null, true, 1.5]}"#,
        &["\"red\"", "3", "null", "true", "1.5"],
        &["\"blue\"", "4", "false", "\"re\""],
    ),
    (r#"{"const": {"a": [1, "x"]}}"#, &[r#"{"a": [1, "x"]}"#, r#"{"a":[1,"x"]}"#], &[r#"{"a": [1]}"#, "{}"]),
    (r#"{"type": ["string", "null"]}"#, &["null", "\"a\""], &["1", "true"]),
    (r#"{"type": "string", "nullable": true}"#, &["null", "\"a\""], &["1"]),
    (
        r#"{"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3}"#,
        &["[1]", "[1, 2, 3]", "[1,2]"],
        &["[]", "[1, 2, 3, 4]", "[\"a\"]"],
    ),
    (r#"{"type": "array", "maxItems": 0}"#, &["[]"], &["[1]"]),
    (
        r#"{"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": false, "minItems": 2}"#,
        &["[\"a\", 1]"],
        &["[\"a\"]", "[\"a\", 1, 2]", "[1, \"a\"]"],
    ),
    (
        r#"{"type": "array", "items": [{"type": "string"}], "additionalItems": {"type": "null"}}"#,
        &["[]", "[\"a\"]", "[\"a\", null, null]"],
        &["[1]", "[\"a\", 1]"],
    ),
    (
        r#"{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"], "additionalProperties": false}"#,
        &[r#"{"name": "a"}"#, r#"{"name": "a", "age": 3}"#, r#"{"name":"a","age":3}"#],
        &["{}", r#"{"age": 3}"#, r#"{"name": 1}"#, r#"{"name": "a", "x": 1}"#],
    ),
    (
        r#"{"type": "object", "properties": {"a": {"type": "integer"}}}"#,
        &["{}", r#"{"a": 1}"#, r#"{"a": 1, "b": [true]}"#, r#"{"b": "x"}"#],
        &[r#"{"a": "x"}"#, "[]", r#"{"a": 1,}"#],
    ),
    (
        r#"{"type": "object", "additionalProperties": {"type": "boolean"}}"#,
        &["{}", r#"{"x": true, "y y": false}"#],
        &[r#"{"x": 1}"#],
    ),
    (
        r#"{"type": "object", "patternProperties": {"^n_": {"type": "integer"}}, "additionalProperties": false}"#,
        &["{}", r#"{"n_a": 1, "n_": 2}"#],
        &[r#"{"m": 1}"#, r#"{"n_a": "1"}"#],
    ),
    (
        r#"{"type": "object", "propertyNames": {"enum": ["north", "south"]}, "additionalProperties": {"type": "integer"}}"#,
        &["{}", r#"{"north": 1}"#, r#"{"north": 1, "south": 2}"#],
        &[r#"{"west": 1}"#, r#"{"north": "x"}"#],
    ),
    (
        r##"{"type": "object", "propertyNames": {"$ref": "#/$defs/Side"}, "additionalProperties": {"type": "null"}, "$defs": {"Side": {"enum": ["left"], "title": "Side"}}}"##,
        &["{}", r#"{"left": null}"#],
        &[r#"{"right": null}"#],
    ),
    (
        r#"{"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": {"type": "integer"}}"#,
        &[r#"{"ab": 1}"#],
        &[r#"{"A": 1}"#, r#"{"ab": "x"}"#],
    ),
    (
        r#"{"type": "object", "propertyNames": {"minLength": 1, "maxLength": 3}, "additionalProperties": {"type": "integer"}}"#,
        &[r#"{"abc": 1}"#],
        &[r#"{"": 1}"#, r#"{"abcd": 1}"#],
    ),
    (
        r#"{"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2}"#,
        &[r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#],
        &["{}", r#"{"a": 1, "b": 2, "c": 3}"#],
    ),
    (
        r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "unevaluatedProperties": false}"#,
        &["{}", r#"{"a": 1}"#],
        &[r#"{"b": 1}"#],
    ),
    (
        r#"{"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]}"#,
        &["1", "[\"a\"]"],
        &["\"a\"", "[1]"],
    ),
    (
        r#"{"oneOf": [{"type": "string", "maxLength": 2}, {"type": "integer"}, {"type": "null"}]}"#,
        &["\"ab\"", "3", "null"],
        &["\"abc\"", "true"],
    ),
    (
        r##"{"oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}], "discriminator": {"propertyName": "kind"}, "$defs": {"Cat": {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "required": ["kind", "lives"], "additionalProperties": false}, "Dog": {"type": "object", "properties": {"kind": {"const": "dog"}, "bark": {"type": "boolean"}}, "required": ["kind"], "additionalProperties": false}}}"##,
        &[r#"{"kind": "cat", "lives": 9}"#, r#"{"kind": "dog"}"#, r#"{"kind": "dog", "bark": true}"#],
        &[r#"{"kind": "cat"}"#, r#"{"kind": "dog", "lives": 9}"#],
    ),
    (
        r#"{"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}]}"#,
        &[r#"{"a": 1, "b": "x"}"#],
        &[r#"{"a": 1}"#, r#"{"a": "1", "b": "x"}"#],
    ),
    (
        r#"{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "additionalProperties": false}"#,
        &[r#"{"a": 1}"#, r#"{"b": 1}"#, r#"{"a": 1, "b": 2}"#],
        &["{}"],
    ),
    (
        r##"{"$ref": "#/definitions/Tree", "definitions": {"Tree": {"type": "object", "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/definitions/Tree"}, "maxItems": 2}}, "required": ["value"], "additionalProperties": false}}}"##,
        &[r#"{"value": 1}"#, r#"{"value": 1, "children": [{"value": 2}, {"value": 3, "children": []}]}"#],
        &["{}", r#"{"value": 1, "children": [{}]}"#],
    ),
    (
        r##"{"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"], "additionalProperties": false}"##,
        &[r#"{"next": null}"#, r#"{"next": {"next": null}}"#],
        &["{}", r#"{"next": 1}"#],
    ),
    (
        r##"{"components": {"schemas": {"A b": {"type": "integer", "minimum": 1}}}, "type": "array", "items": {"$ref": "#/components/schemas/A%20b"}}"##,
        &["[1, 2]"],
        &["[0]"],
    ),
    (
        r##"{"type": "object", "properties": {"x": {"type": "string", "maxLength": 3}, "y": {"$ref": "#/properties/x"}}, "required": ["x", "y"]}"##,
        &[r#"{"x": "a", "y": "b"}"#],
        &[r#"{"x": "a", "y": "long"}"#],
    ),
    (
        r#"{"type": "object", "properties": {"té\"st/\\": {"type": "null"}}, "required": ["té\"st/\\"], "additionalProperties": false}"#,
        &[r#"{"té\"st/\\": null}"#],
        &["{}"],
    ),
    (r#"{}"#, &["1", "[]", r#"{"a": [null, "x"]}"#], &["", "[1", "a"]),
    (r#"true"#, &["1", "{}"], &["x"]),
];

/// Whether a value satisfies a schema, of the keywords that the cases have.
pub fn satisfies(root: &Value, schema: &Value, value: &Value) -> bool {
    let Value::Object(map) = schema else { return *schema == Value::Bool(true) };
    if map.get("nullable") == Some(&Value::Bool(true)) && value.is_null() {
        return true;
    }
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    let list = |key: &str| map.get(key).and_then(Value::as_array);
    let all = |schemas: &[Value], f: &dyn Fn(usize) -> bool| {
        f(schemas.iter().filter(|s| satisfies(root, s, value)).count())
    };
    let types = map.get("type").is_none_or(|types| match types {
        Value::Array(types) => types.iter().any(|name| is_of(name, value)),
        name => is_of(name, value),
    });
    types
        && map.get("const").is_none_or(|other| same(other, value))
        && list("enum").is_none_or(|values| values.iter().any(|other| same(other, value)))
        && list("allOf").is_none_or(|schemas| all(schemas, &|n| n == schemas.len()))
        && list("anyOf").is_none_or(|schemas| all(schemas, &|n| n > 0))
        && list("oneOf").is_none_or(|schemas| all(schemas, &|n| n == 1))
        && map.get("$ref").is_none_or(|pointer| {
            let pointer = pointer.as_str().unwrap().trim_start_matches('#').replace("%20", " ");
            satisfies(root, root.pointer(&pointer).unwrap(), value)
        })
        && match value {
            Value::Number(value) => {
                let value = value.as_f64().unwrap();
                number("minimum").is_none_or(|bound| value >= bound)
                    && number("maximum").is_none_or(|bound| value <= bound)
                    && number("exclusiveMinimum").is_none_or(|bound| value > bound)
                    && number("exclusiveMaximum").is_none_or(|bound| value < bound)
                    // Of more digits than a double has, no remainder is known.
                    && number("multipleOf").is_none_or(|of| value % of == 0.0 || value.abs() > 9e15)
            }
            Value::String(text) => {
                let n = text.chars().count() as f64;
                number("minLength").is_none_or(|bound| n >= bound)
                    && number("maxLength").is_none_or(|bound| n <= bound)
                    && map.get("pattern").is_none_or(|pattern| matches(pattern.as_str().unwrap(), text))
                    && map.get("format").is_none_or(|format| is_in_format(format.as_str().unwrap(), text))
            }
            Value::Array(values) => {
                let (first, rest) = if map.get("items").is_some_and(Value::is_array) {
                    ("items", "additionalItems")
                } else {
                    ("prefixItems", "items")
                };
                let first = list(first).map_or(&[][..], |list| list);
                let n = values.len() as f64;
                number("minItems").is_none_or(|bound| n >= bound)
                    && number("maxItems").is_none_or(|bound| n <= bound)
                    && values.iter().enumerate().all(|(i, value)| {
                        first.get(i).or(map.get(rest)).is_none_or(|schema| satisfies(root, schema, value))
                    })
            }
            Value::Object(object) => is_object(root, map, object),
            _ => true,
        }
}

fn is_object(
    root: &Value,
    map: &serde_json::Map<String, Value>,
    object: &serde_json::Map<String, Value>,
) -> bool {
    let n = object.len() as f64;
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    let required = map.get("required").and_then(Value::as_array);
    let additional = map.get("additionalProperties").or(map.get("unevaluatedProperties"));
    number("minProperties").is_none_or(|bound| n >= bound)
        && number("maxProperties").is_none_or(|bound| n <= bound)
        && required.is_none_or(|names| names.iter().all(|name| object.contains_key(name.as_str().unwrap())))
        && object.iter().all(|(name, value)| {
            let own = map.get("properties").and_then(|properties| properties.get(name));
            let patterns = map.get("patternProperties").and_then(Value::as_object);
            let of_pattern = patterns.into_iter().flatten().find(|(pattern, _)| matches(pattern, name));
            let schema = own.or(of_pattern.map(|(_, schema)| schema)).or(additional);
            schema.is_none_or(|schema| satisfies(root, schema, value))
                && map
                    .get("propertyNames")
                    .is_none_or(|names| satisfies(root, names, &Value::String(name.clone())))
        })
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        // 1.0 is a whole number as well.
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).unwrap().is_match(text)
}

fn is_in_format(format: &str, text: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> { text.split('-').filter_map(|part| part.parse().ok()).collect() };
    match format {
        "date" => text.len() == 10 && matches!(numbers(text)[..], [_, 1..=12, 1..=31]),
        "uuid" => text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12]),
        _ => true,
    }
}
