//! Lengths of time as Ollama's clients write them: `"5m"`, `"1h30m"`, `"-1"`, `300`, `0`.
//!
//! Texts are in the form of Go's `time.ParseDuration`. A text that is a bare number is taken for seconds, too, which
//! Go refuses: people write `"-1"` and `"0"`.

use serde_json::Value;

use crate::fields::wrong;
use crate::{Fields, Problem};

/// Units, longer names first.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// A field with a length of time, in seconds; `None` where it is absent or an empty text.
pub fn read(fields: &Fields, name: &str) -> Result<Option<f64>, Problem> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let seconds = match value {
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => parse(text),
        value => value.as_f64(),
    };
    let want = "seconds, or a text like \"5m\" or \"1h30m\"; negative for ever, 0 for not at all";
    seconds.map(Some).ok_or_else(|| wrong(&fields.path(name), value, want))
}

/// Seconds of a text; `None` if it is no length of time.
pub fn parse(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0.0;
    let mut is_first = true;
    while is_first || !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        if is_first && rest.is_empty() {
            return Some(sign * number);
        }
        let (unit, length) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        seconds += number * length;
        is_first = false;
    }
    Some(sign * seconds).filter(|seconds| seconds.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_and_numbers() {
        let cases = [
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("1.5h", 5400.0),
            ("-1", -1.0),
            ("-1m", -60.0),
            ("0", 0.0),
            ("300ms", 0.3),
            ("24h0m0s", 86400.0),
            (".5s", 0.5),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        for text in ["", "-", "m", "5x", "5m3", "1..2s", "5 m", "--1", "s5", "1e3", "inf", "NaN", "."] {
            assert_eq!(parse(text), None, "{text}");
        }
        let body = json!({"a": 3600, "b": -1, "c": "", "d": null, "e": true, "f": "soon"});
        let fields = Fields::of_body(&body).unwrap();
        assert_eq!(read(&fields, "a"), Ok(Some(3600.0)));
        assert_eq!(read(&fields, "b"), Ok(Some(-1.0)));
        assert_eq!((read(&fields, "c"), read(&fields, "d")), (Ok(None), Ok(None)));
        assert_eq!(read(&fields, "e").unwrap_err().param.as_deref(), Some("e"));
        assert!(read(&fields, "f").unwrap_err().message.contains("\"soon\""));
    }
}
