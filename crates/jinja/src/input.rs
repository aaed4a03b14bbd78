//! What a template is rendered over.

use std::rc::Rc;

use crate::error::Error;
use crate::limits::Meter;
use crate::text::{Mark, Text, Writer};
use crate::value::{Dict, Items, List, Value};

/// The value of a variable.
#[derive(Clone)]
pub enum Input<'a> {
    /// `None`
    None,
    /// A truth value.
    Bool(bool),
    /// A text from outside.
    Text(&'a str),
    /// A text that the caller vouches for, as if the template had written it.
    Trusted(&'a str),
    /// Any value from outside.
    Json(&'a serde_json::Value),
    /// A list.
    List(Vec<Input<'a>>),
    /// A text in parts, all from outside.
    Texts(Vec<&'a str>),
    /// A dictionary from outside.
    Dict(Vec<(&'a str, Input<'a>)>),
    /// A list that is made item by item, when they are asked for.
    Rows(&'a (dyn Rows + Sync)),
}

impl<'a> From<&'a serde_json::Value> for Input<'a> {
    fn from(value: &'a serde_json::Value) -> Input<'a> {
        Input::Json(value)
    }
}

/// A list too long to have a value for each of its items at once.
pub trait Rows {
    /// How many there are.
    fn n_rows(&self) -> usize;

    /// Item `n`.
    fn row(&self, n: usize) -> Input<'_>;
}

impl Input<'_> {
    pub(crate) fn n_rows(&self) -> usize {
        if let Input::Rows(rows) = self { rows.n_rows() } else { 0 }
    }
}

/// Levels within an item of [`Rows`]: more than a text of JSON may nest, to be read.
const MAX_ROW_DEPTH: usize = 140;

struct LazyRows<'a>(&'a (dyn Rows + Sync));

impl<'a> Items<'a> for LazyRows<'a> {
    fn len(&self) -> usize {
        self.0.n_rows()
    }

    fn item(&self, meter: &Rc<Meter>, n: usize) -> Result<Value<'a>, Error> {
        let value = to_value(meter, &self.0.row(n))?;
        if value.depth() > MAX_ROW_DEPTH {
            return Err(Error::Limit(format!("an item nests more than {MAX_ROW_DEPTH} levels deep")));
        }
        Ok(value)
    }
}

pub(crate) fn to_value<'a>(meter: &Rc<Meter>, input: &Input<'a>) -> Result<Value<'a>, Error> {
    Ok(match input {
        Input::None => Value::None,
        Input::Bool(value) => Value::Bool(*value),
        Input::Text(text) => Value::Text(Text::Borrowed(text, Mark::INPUT)),
        Input::Trusted(text) => Value::literal(text),
        Input::Json(value) => from_json(meter, value)?,
        Input::Texts(parts) => {
            let mut text = Writer::new(meter)?;
            parts.iter().try_for_each(|part| text.push(part, Mark::INPUT))?;
            Value::Text(text.finish())
        }
        Input::List(items) => {
            let items = items.iter().map(|item| to_value(meter, item));
            Value::List(List::new(meter, items.collect::<Result<_, _>>()?)?)
        }
        Input::Dict(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let key = Value::Text(Text::Borrowed(key, Mark::INPUT));
                Ok((key, to_value(meter, value)?))
            });
            Value::Dict(Dict::new(meter, entries.collect::<Result<_, Error>>()?)?)
        }
        Input::Rows(rows) => Value::List(List::lazy(meter, Rc::new(LazyRows(*rows)), MAX_ROW_DEPTH)?),
    })
}

fn from_json<'a>(meter: &Rc<Meter>, json: &'a serde_json::Value) -> Result<Value<'a>, Error> {
    use serde_json::Value as Json;
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value.into()),
            (_, Some(value)) => Value::Int(value.into()),
            _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(Text::Borrowed(text, Mark::INPUT)),
        Json::Array(items) => {
            let items = items.iter().map(|item| from_json(meter, item));
            Value::List(List::new(meter, items.collect::<Result<_, _>>()?)?)
        }
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let key = Value::Text(Text::Borrowed(key, Mark::INPUT));
                Ok((key, from_json(meter, value)?))
            });
            Value::Dict(Dict::new(meter, entries.collect::<Result<_, Error>>()?)?)
        }
    })
}
