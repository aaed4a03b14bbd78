//! Jinja2's tests: `value is name`.

use crate::ast::Comparison;
use crate::error::Error;
use crate::methods::{needed, texts, whole};
use crate::render::Renderer;
use crate::value::{Args, Missing, Value};

impl<'a> Renderer<'a> {
    /// `value is name(arguments)`
    pub(crate) fn test(&self, name: &str, value: &Value<'a>, args: Args<'a>) -> Result<bool, Error> {
        self.read_texts(Some(value), &args)?;
        let comparison = match name {
            "==" | "eq" | "equalto" => Some(Comparison::Equal),
            "!=" | "ne" => Some(Comparison::NotEqual),
            "<" | "lt" | "lessthan" => Some(Comparison::Less),
            "<=" | "le" => Some(Comparison::LessOrEqual),
            ">" | "gt" | "greaterthan" => Some(Comparison::Greater),
            ">=" | "ge" => Some(Comparison::GreaterOrEqual),
            "in" => Some(Comparison::In),
            _ => None,
        };
        if let Some(comparison) = comparison {
            let [other] = args.bind(name, ["other"])?;
            return self.compare(comparison, value, &needed(name, "other", other)?);
        }
        match name {
            "divisibleby" => {
                let [by] = args.bind(name, ["num"])?;
                let by = whole(name, &needed(name, "num", by)?)?;
                let number = whole(name, value)?;
                return match number.checked_rem(by) {
                    Some(rest) => Ok(rest == 0),
                    None => Err(Error::failed("a division by zero")),
                };
            }
            "sameas" => {
                let [other] = args.bind(name, ["other"])?;
                let other = needed(name, "other", other)?;
                // Only these are one and the same wherever they come from.
                return Ok(match (value, &other) {
                    (Value::Bool(a), Value::Bool(b)) => a == b,
                    (Value::Bool(_), _) | (_, Value::Bool(_)) => false,
                    (Value::Int(_), Value::Float(_)) | (Value::Float(_), Value::Int(_)) => false,
                    (value, other) => self.is_equal(value, other)?,
                });
            }
            "filter" | "test" => {
                args.none(name)?;
                let wanted = texts(name, value)?;
                let names = if name == "filter" { FILTERS } else { TESTS };
                return Ok(names.contains(&wanted.as_str()));
            }
            _ => {}
        }
        args.none(name)?;
        Ok(match name {
            "defined" => !matches!(value, Value::Undefined(_)),
            "undefined" => matches!(value, Value::Undefined(_)),
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "integer" => matches!(value, Value::Int(_)),
            "float" => matches!(value, Value::Float(_)),
            "number" => matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_)),
            "string" => matches!(value, Value::Text(_)),
            "mapping" => matches!(value, Value::Dict(_)),
            "sequence" => matches!(
                value,
                Value::Text(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Undefined(_)
            ),
            "iterable" => matches!(
                value,
                Value::Text(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Dict(_)
                    | Value::Undefined(_)
                    | Value::Loop(_)
                    | Value::Iterator(_)
            ),
            // So is what is undefined, in Jinja2: calling it says what is missing.
            "callable" => matches!(value, Value::Callable(_) | Value::Loop(_) | Value::Undefined(_)),
            "escaped" => false,
            "odd" | "even" => {
                let number = whole(name, value)?;
                (number % 2 == 0) == (name == "even")
            }
            "lower" | "upper" => {
                let text = self.to_text(value)?;
                let (n_lower, n_upper) = text.as_str().chars().fold((0, 0), |(lower, upper), c| {
                    (lower + usize::from(c.is_lowercase()), upper + usize::from(c.is_uppercase()))
                });
                if name == "lower" { n_lower > 0 && n_upper == 0 } else { n_upper > 0 && n_lower == 0 }
            }
            _ => {
                if let Value::Undefined(missing @ Missing::Unsafe(..)) = value {
                    return Err(missing.error());
                }
                return Err(Error::failed(format!("there is no test `{name}`")));
            }
        })
    }
}

const TESTS: &[&str] = &[
    "==",
    "eq",
    "equalto",
    "!=",
    "ne",
    "<",
    "lt",
    "lessthan",
    "<=",
    "le",
    ">",
    "gt",
    "greaterthan",
    ">=",
    "ge",
    "in",
    "divisibleby",
    "sameas",
    "filter",
    "test",
    "defined",
    "undefined",
    "none",
    "boolean",
    "true",
    "false",
    "integer",
    "float",
    "number",
    "string",
    "mapping",
    "sequence",
    "iterable",
    "callable",
    "escaped",
    "odd",
    "even",
    "lower",
    "upper",
];

const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "slice",
    "capitalize",
    "lower",
    "title",
    "upper",
    "center",
    "count",
    "length",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "forceescape",
    "first",
    "last",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "list",
    "map",
    "max",
    "min",
    "select",
    "reject",
    "selectattr",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "sort",
    "string",
    "sum",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "urlencode",
    "wordcount",
];
