//! Which tools are offered, and what types their parameters have: models write `"10"` where a number is wanted.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use crate::{ToolChoice, Tools};

/// The tools that may be called, by their names.
#[derive(Debug, Default)]
pub(super) struct Offered {
    parameters: HashMap<String, Value>,
}

impl Offered {
    /// None where no tool may be called.
    pub(super) fn new(tools: &Tools) -> Offered {
        if tools.choice == ToolChoice::Nothing {
            return Offered::default();
        }
        let parameters = tools.offered.iter().filter_map(|tool| {
            let function = tool.get("function").unwrap_or(tool);
            let name = function.get("name")?.as_str()?;
            Some((name.to_owned(), function.get("parameters").cloned().unwrap_or_default()))
        });
        Offered { parameters: parameters.collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// The schema of a tool's parameter; null where it is not told.
    fn schema(&self, tool: &str, parameter: &str) -> &Value {
        self.parameters.get(tool).map_or(&Value::Null, |schema| &schema["properties"][parameter])
    }

    /// The names of a tool's parameters, in their order.
    pub(super) fn parameters(&self, tool: &str) -> Vec<&str> {
        let properties = self.parameters.get(tool).and_then(|schema| schema["properties"].as_object());
        properties.into_iter().flat_map(Map::keys).map(String::as_str).collect()
    }

    /// Gives an argument the type that its parameter has, where it can have it; whether that changed it.
    pub(super) fn fix(&self, tool: &str, parameter: &str, value: &mut Value) -> bool {
        fix(value, self.schema(tool, parameter))
    }
}

/// Types of values, by any of the names that descriptions of tools have for them: JSON Schema's, and Python's, which
/// Meta's prompts use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Object,
    Null,
}

fn type_of(name: &str) -> Option<Type> {
    match name {
        "string" | "str" => Some(Type::String),
        "integer" | "int" => Some(Type::Integer),
        "number" | "float" => Some(Type::Number),
        "boolean" | "bool" => Some(Type::Boolean),
        "array" | "list" | "tuple" => Some(Type::Array),
        "object" | "dict" => Some(Type::Object),
        "null" | "None" => Some(Type::Null),
        _ => None,
    }
}

/// The schemas of which one holds: itself, or the alternatives in it.
fn alternatives(schema: &Value) -> Vec<&Value> {
    let nested = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key)?.as_array());
    nested.map_or_else(|| vec![schema], |schemas| schemas.iter().flat_map(alternatives).collect())
}

/// The types a schema allows; none where it does not tell.
fn types(alternatives: &[&Value]) -> Vec<Type> {
    let mut types = Vec::new();
    for schema in alternatives {
        let named: Vec<Type> = match schema.get("type") {
            Some(Value::String(name)) => type_of(name).into_iter().collect(),
            Some(Value::Array(names)) => names.iter().filter_map(|name| type_of(name.as_str()?)).collect(),
            _ => Vec::new(),
        };
        // One that allows everything makes the whole do so.
        if named.is_empty() {
            return named;
        }
        types.extend(named);
    }
    types
}

fn fix(value: &mut Value, schema: &Value) -> bool {
    if schema.is_null() {
        return false;
    }
    let alternatives = alternatives(schema);
    let types = types(&alternatives);
    let other = match &*value {
        Value::String(text) if !types.is_empty() && !types.contains(&Type::String) => from_text(text, &types),
        // A code or a number of a house that is written as a number.
        Value::Number(_) | Value::Bool(_) if types == [Type::String] => Some(value.to_string().into()),
        Value::Number(number) if types.contains(&Type::Integer) && !types.contains(&Type::Number) => {
            whole(number)
        }
        _ => None,
    };
    let mut is_changed = other.is_some();
    if let Some(other) = other {
        *value = other;
    }
    match value {
        Value::Array(items) => {
            let schema = alternatives.iter().find_map(|schema| schema.get("items")).unwrap_or(&Value::Null);
            items.iter_mut().for_each(|item| is_changed |= fix(item, schema));
        }
        Value::Object(members) => {
            let properties = alternatives.iter().find_map(|schema| schema.get("properties")?.as_object());
            for (key, member) in members {
                let schema = properties.and_then(|properties| properties.get(key)).unwrap_or(&Value::Null);
                is_changed |= fix(member, schema);
            }
        }
        _ => {}
    }
    is_changed
}

/// What a text says that should not have been one; the first type counts that it can be.
fn from_text(text: &str, types: &[Type]) -> Option<Value> {
    let text = text.trim();
    types.iter().find_map(|kind| match kind {
        Type::Integer => {
            let number = serde_json::from_str::<Number>(text).ok()?;
            if number.is_f64() { whole(&number) } else { Some(number.into()) }
        }
        Type::Number => serde_json::from_str::<Number>(text).ok().map(Value::Number),
        Type::Boolean => match text {
            "true" | "True" => Some(true.into()),
            "false" | "False" => Some(false.into()),
            _ => None,
        },
        Type::Null => matches!(text, "null" | "None").then_some(Value::Null),
        Type::Array => serde_json::from_str(text).ok().filter(Value::is_array),
        Type::Object => serde_json::from_str(text).ok().filter(Value::is_object),
        Type::String => None,
    })
}

/// `10.0` as `10`.
fn whole(number: &Number) -> Option<Value> {
    let x = number.as_f64().filter(|x| number.is_f64() && x.fract() == 0.0 && x.abs() < 9e15)?;
    #[allow(clippy::cast_possible_truncation)] // It is whole and below 2^53.
    Some((x as i64).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_get_their_types() {
        let cases = [
            ("integer", json!("10"), json!(10)),
            ("integer", json!("10.0"), json!(10)),
            ("integer", json!(10.0), json!(10)),
            ("int", json!(" -3 "), json!(-3)),
            ("integer", json!("ten"), json!("ten")),
            ("integer", json!("1.5"), json!("1.5")),
            ("number", json!("1.5"), json!(1.5)),
            ("number", json!(10.0), json!(10.0)),
            ("boolean", json!("True"), json!(true)),
            ("boolean", json!("yes"), json!("yes")),
            ("array", json!("[1]"), json!([1])),
            ("dict", json!("{\"a\": 1}"), json!({"a": 1})),
            ("object", json!("[1]"), json!("[1]")),
            ("string", json!(94305), json!("94305")),
            ("string", json!("10"), json!("10")),
            ("what", json!("10"), json!("10")),
        ];
        for (kind, mut value, wanted) in cases {
            let before = value.clone();
            let is_changed = fix(&mut value, &json!({"type": kind}));
            assert_eq!((&value, is_changed), (&wanted, before != wanted), "{kind} {before}");
        }
    }

    #[test]
    fn schemas_within_schemas() {
        let optional = json!({"anyOf": [{"type": "integer"}, {"type": "null"}]});
        let schema = json!({"type": "object", "properties": {
            "a": optional, "b": {"type": "array", "items": {"type": ["number", "null"]}},
            "c": {"anyOf": [{"type": "integer"}, {}]}, "d": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        }});
        let mut value = json!({"a": "1", "b": ["2", "null", "x"], "c": "3", "d": "4", "e": "5"});
        assert!(fix(&mut value, &schema));
        assert_eq!(value, json!({"a": 1, "b": [2, null, "x"], "c": "3", "d": "4", "e": "5"}));
    }
}
