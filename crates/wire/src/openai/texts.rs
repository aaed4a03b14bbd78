//! Texts to continue or to embed: one or several, as text or as token ids.

use serde_json::Value;

use super::limits::MAX_TEXTS;
use crate::fields::wrong;
use crate::{Fields, Problem, TextInput};

const WANT: &str = "a string, a list of strings, a list of token ids, or a list of such lists";

/// The texts of a field that must be there.
pub(super) fn read(fields: &Fields, name: &str) -> Result<Vec<TextInput>, Problem> {
    let path = fields.path(name);
    let value = fields.required(name)?;
    let items = match value {
        Value::String(text) => return Ok(vec![TextInput::Text(text.clone())]),
        Value::Array(items) => items,
        _ => return Err(wrong(&path, value, WANT)),
    };
    match items.first() {
        None => return Err(Problem::field(&path, format!("`{path}` is an empty list; it must be {WANT}"))),
        Some(Value::Number(_)) => return Ok(vec![TextInput::Ids(ids(items, &path)?)]),
        Some(_) => {}
    }
    if items.len() > MAX_TEXTS {
        let n = items.len();
        return Err(Problem::field(
            &path,
            format!("`{path}` has {n} texts; at most {MAX_TEXTS} are allowed"),
        ));
    }
    let text = |(i, item): (usize, &Value)| match item {
        Value::String(text) => Ok(TextInput::Text(text.clone())),
        Value::Array(items) if !items.is_empty() => Ok(TextInput::Ids(ids(items, &format!("{path}[{i}]"))?)),
        _ => Err(wrong(&format!("{path}[{i}]"), item, "a string or a list of token ids")),
    };
    items.iter().enumerate().map(text).collect()
}

/// Token ids. Which ones the model has is not known here.
pub(super) fn ids(items: &[Value], path: &str) -> Result<Vec<u32>, Problem> {
    let id = |(i, item): (usize, &Value)| {
        let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| wrong(&format!("{path}[{i}]"), item, "a token id"))
    };
    items.iter().enumerate().map(id).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<Vec<TextInput>, Problem> {
        read(&Fields::of_body(&json!({ "prompt": value })).unwrap(), "prompt")
    }

    #[test]
    fn four_forms() {
        let text = |text: &str| TextInput::Text(text.to_owned());
        assert_eq!(of(json!("")), Ok(vec![text("")]));
        assert_eq!(of(json!(["a", "b"])), Ok(vec![text("a"), text("b")]));
        assert_eq!(of(json!([1, 2])), Ok(vec![TextInput::Ids(vec![1, 2])]));
        assert_eq!(of(json!([[1], [2]])), Ok(vec![TextInput::Ids(vec![1]), TextInput::Ids(vec![2])]));
        assert_eq!(of(json!(["a", [2]])), Ok(vec![text("a"), TextInput::Ids(vec![2])]));
        assert_eq!(of(json!(vec!["a"; MAX_TEXTS])).map(|texts| texts.len()), Ok(MAX_TEXTS));
        for (value, param) in [
            (json!(null), "prompt"),
            (json!(1), "prompt"),
            (json!({}), "prompt"),
            (json!([]), "prompt"),
            (json!([[]]), "prompt[0]"),
            (json!(["a", 1]), "prompt[1]"),
            (json!([1, "a"]), "prompt[1]"),
            (json!([-1]), "prompt[0]"),
            (json!([1.5]), "prompt[0]"),
            (json!([[4294967296_u64]]), "prompt[0][0]"),
            (json!(["a", [1, null]]), "prompt[1][1]"),
            (json!(vec!["a"; MAX_TEXTS + 1]), "prompt"),
        ] {
            assert_eq!(of(value).unwrap_err().param.as_deref(), Some(param));
        }
    }
}
