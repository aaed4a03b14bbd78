//! Reading the fields of a body: `null` is absent, and what is wrong is named with what was found.

use serde_json::{Map, Value};

use crate::Problem;

/// The most characters of a value that a message shows.
const SHOWN: usize = 60;

/// The fields of an object.
#[derive(Clone, Debug)]
pub struct Fields<'v> {
    map: &'v Map<String, Value>,
    /// Where the object is, with a point after it; empty for a body.
    within: String,
}

impl<'v> Fields<'v> {
    /// Those of a body.
    pub fn of_body(body: &'v Value) -> Result<Fields<'v>, Problem> {
        let map = body.as_object().ok_or_else(|| {
            Problem::new(
                crate::Kind::Request,
                format!("the body is {}; it must be a JSON object", kind_of(body)),
            )
        })?;
        Ok(Fields { map, within: String::new() })
    }

    /// Those of an object at `path`, for messages.
    pub fn within(value: &'v Value, path: &str) -> Result<Fields<'v>, Problem> {
        let map = value.as_object().ok_or_else(|| wrong(path, value, "an object"))?;
        Ok(Fields { map, within: format!("{path}.") })
    }

    /// A field's whole name, for messages.
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.within)
    }

    /// A field; `None` where it is absent or null.
    pub fn get(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'v str, &'v Value)> {
        self.map.iter().map(|(name, value)| (name.as_str(), value))
    }

    fn read<T>(
        &self,
        name: &str,
        want: &str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong(&self.path(name), value, want))
    }

    /// A field that must be there.
    pub fn required(&self, name: &str) -> Result<&'v Value, Problem> {
        self.get(name).ok_or_else(|| missing(&self.path(name)))
    }

    /// A text.
    pub fn str(&self, name: &str) -> Result<Option<&'v str>, Problem> {
        self.read(name, "a string", Value::as_str)
    }

    /// A text that must be there.
    pub fn required_str(&self, name: &str) -> Result<&'v str, Problem> {
        self.str(name)?.ok_or_else(|| missing(&self.path(name)))
    }

    /// True or false; the default where it is absent.
    pub fn bool(&self, name: &str, default: bool) -> Result<bool, Problem> {
        Ok(self.read(name, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// A whole number in a range. Clients write some of them with a point (`512.0`).
    pub fn int(&self, name: &str, range: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let want = match (*range.start(), *range.end()) {
            (start, i64::MAX) => format!("a whole number of at least {start}"),
            (start, end) => format!("a whole number from {start} to {end}"),
        };
        let read = |value: &Value| {
            let whole = value.as_f64().filter(|x| x.fract() == 0.0 && x.abs() < 9e15).map(|x| x as i64);
            value.as_i64().or(whole).filter(|n| range.contains(n))
        };
        self.read(name, &want, read)
    }

    /// A count in a range.
    pub fn count(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, Problem> {
        let bound = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let n = self.int(name, bound(*range.start())..=bound(*range.end()))?;
        Ok(n.and_then(|n| usize::try_from(n).ok()))
    }

    /// A number in a range.
    pub fn number(&self, name: &str, range: std::ops::RangeInclusive<f64>) -> Result<Option<f64>, Problem> {
        let want = format!("a number from {} to {}", range.start(), range.end());
        self.read(name, &want, |value| value.as_f64().filter(|x| range.contains(x)))
    }

    /// A list; empty where it is absent.
    pub fn list(&self, name: &str) -> Result<&'v [Value], Problem> {
        Ok(self.read(name, "a list", |value| value.as_array().map(Vec::as_slice))?.unwrap_or(&[]))
    }

    /// An object.
    pub fn object(&self, name: &str) -> Result<Option<Fields<'v>>, Problem> {
        self.get(name).map(|value| Fields::within(value, &self.path(name))).transpose()
    }

    /// One text or a list of at most `most` texts; empty ones are left out.
    pub fn strings(&self, name: &str, most: usize) -> Result<Vec<String>, Problem> {
        let one_or_more = |value: &'v Value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let mut texts = self.read(name, "a string or a list of strings", one_or_more)?.unwrap_or_default();
        texts.retain(|text| !text.is_empty());
        if texts.len() > most {
            let (path, n) = (self.path(name), texts.len());
            return Err(Problem::field(
                &path,
                format!("`{path}` has {n} strings; at most {most} are allowed"),
            ));
        }
        Ok(texts)
    }

    /// Refuses a field that is documented and not supported, unless it says what happens anyway.
    pub fn refuse(
        &self,
        name: &str,
        is_neutral: impl FnOnce(&Value) -> bool,
        why: &str,
    ) -> Result<(), Problem> {
        match self.get(name) {
            Some(value) if !is_neutral(value) => {
                let path = self.path(name);
                let found = shown(value);
                Err(Problem::unsupported(
                    &path,
                    format!("`{path}` is {found}, which is not supported: {why}"),
                ))
            }
            _ => Ok(()),
        }
    }
}

/// A field that has another value than it may have.
pub fn wrong(path: &str, found: &Value, want: &str) -> Problem {
    Problem::field(path, format!("`{path}` is {}; it must be {want}", shown(found)))
}

/// A field that is not there.
pub fn missing(path: &str) -> Problem {
    Problem {
        code: Some("missing_required_parameter"),
        ..Problem::field(path, format!("`{path}` is missing"))
    }
}

/// A value for a message: short ones as they are, of others what kind they are.
pub fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.chars().count() > SHOWN || text.chars().any(char::is_control) {
        true => kind_of(value).to_owned(),
        false => text,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_absent_and_faults_are_named() {
        let body = json!({"n": null, "t": "hot", "k": 2.0, "f": 1.5, "stop": ["a", ""], "o": {"x": 3}});
        let fields = Fields::of_body(&body).unwrap();
        assert_eq!(fields.count("n", 1..=8), Ok(None));
        assert_eq!(fields.int("k", 0..=9), Ok(Some(2)));
        assert_eq!(fields.strings("stop", 4), Ok(vec!["a".to_owned()]));
        for (name, word) in [("t", "\"hot\""), ("f", "1.5")] {
            let problem = fields.int(name, 0..=9).unwrap_err();
            assert_eq!(problem.param.as_deref(), Some(name));
            assert!(problem.message.contains(word) && problem.message.contains("from 0 to 9"), "{problem:?}");
        }
        let inner = fields.object("o").unwrap().unwrap();
        assert_eq!(inner.number("x", 0.0..=2.0).unwrap_err().param.as_deref(), Some("o.x"));
        assert!(fields.refuse("k", |value| value == &json!(2.0), "no").is_ok());
        assert!(
            fields.refuse("k", |_| false, "there is none").unwrap_err().message.contains("there is none")
        );
        assert!(Fields::of_body(&json!([1])).is_err());
    }
}
