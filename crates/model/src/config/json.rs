//! Values of JSON configurations, of the kind that is expected: a key of another kind is an error that names
//! it, a missing key or null is `None`.

use serde_json::Value;

/// A list, if the key is there and not null.
pub(super) fn list<'a>(config: &'a Value, key: &str) -> Result<Option<&'a Vec<Value>>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_array().map(Some).ok_or_else(|| format!("{key} is {value}; expected a list")),
    }
}

/// A whole number, if the key is there and not null.
pub(super) fn size(config: &Value, key: &str) -> Result<Option<usize>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
            size.map(Some).ok_or_else(|| format!("{key} is {value}; expected a whole number"))
        }
    }
}

/// A number, if the key is there and not null.
pub(super) fn number(config: &Value, key: &str) -> Result<Option<f64>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| format!("{key} is {value}; expected a number")),
    }
}

/// A string, if the key is there and not null.
pub(super) fn text<'a>(config: &'a Value, key: &str) -> Result<Option<&'a str>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| format!("{key} is {value}; expected a string")),
    }
}

/// A truth value; false if the key is not there.
pub(super) fn flag(config: &Value, key: &str) -> Result<bool, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| format!("{key} is {value}; expected true or false")),
    }
}

/// The object under a key, if it is there.
pub(super) fn object<'a>(config: &'a Value, key: &str) -> Result<Option<&'a Value>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) if value.is_object() => Ok(Some(value)),
        Some(value) => Err(format!("{key} is {value}; expected an object")),
    }
}

/// A list of whole numbers, if the key is there and not null.
pub(super) fn sizes(config: &Value, key: &str) -> Result<Option<Vec<usize>>, String> {
    let Some(values) = list(config, key)? else { return Ok(None) };
    let size = |value: &Value| {
        let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
        size.ok_or_else(|| format!("{key} has {value}; expected whole numbers"))
    };
    values.iter().map(size).collect::<Result<_, _>>().map(Some)
}

/// The shortest decimal that reads back as this f32, so that 1e-5 is not written as 9.999999747378752e-6.
pub(super) fn short(x: f32) -> f64 {
    format!("{x}").parse().unwrap_or(x as f64)
}
