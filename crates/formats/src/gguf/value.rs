//! The values GGUF metadata can hold, and their form in bytes.
//!
//! An array is stored as a vector of its element type, so a vocabulary of 128 thousand scores takes 512 kB
//! and not a tree of boxed values. The decoder bounds what it allocates by the bytes that are really there:
//! an array of N elements needs at least N times the smallest element.

use crate::cursor::Cursor;
use crate::error::Problem;

/// How deep arrays may nest. Nothing in use nests at all.
const MAX_ARRAY_DEPTH: usize = 4;

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// A metadata array: its elements all have one type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<Array>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Value {
    /// The value as an integer, if it is one of any width.
    pub fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(value) => value.into(),
            Value::I8(value) => value.into(),
            Value::U16(value) => value.into(),
            Value::I16(value) => value.into(),
            Value::U32(value) => value.into(),
            Value::I32(value) => value.into(),
            Value::U64(value) => value.into(),
            Value::I64(value) => value.into(),
            _ => return None,
        })
    }

    /// The value as a number: a float as it is, an integer converted.
    pub fn as_number(&self) -> Option<f64> {
        match *self {
            Value::F32(value) => Some(value.into()),
            Value::F64(value) => Some(value),
            _ => self.as_integer().map(|value| value as f64),
        }
    }

    /// The name of the value's type, for messages.
    pub fn type_name(&self) -> String {
        match self {
            Value::U8(_) => "u8".into(),
            Value::I8(_) => "i8".into(),
            Value::U16(_) => "u16".into(),
            Value::I16(_) => "i16".into(),
            Value::U32(_) => "u32".into(),
            Value::I32(_) => "i32".into(),
            Value::F32(_) => "f32".into(),
            Value::Bool(_) => "bool".into(),
            Value::String(_) => "string".into(),
            Value::Array(array) => format!("array of {} {}", array.len(), array.element_type_name()),
            Value::U64(_) => "u64".into(),
            Value::I64(_) => "i64".into(),
            Value::F64(_) => "f64".into(),
        }
    }

    fn type_id(&self) -> u32 {
        match self {
            Value::U8(_) => 0,
            Value::I8(_) => 1,
            Value::U16(_) => 2,
            Value::I16(_) => 3,
            Value::U32(_) => 4,
            Value::I32(_) => 5,
            Value::F32(_) => 6,
            Value::Bool(_) => 7,
            Value::String(_) => 8,
            Value::Array(_) => 9,
            Value::U64(_) => 10,
            Value::I64(_) => 11,
            Value::F64(_) => 12,
        }
    }

    /// Reads the type and the value behind it.
    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Value, Problem> {
        let type_id = cursor.u32("a value type")?;
        let what = "a value";
        Ok(match type_id {
            0 => Value::U8(cursor.u8(what)?),
            1 => Value::I8(cursor.array(what).map(i8::from_le_bytes)?),
            2 => Value::U16(cursor.u16(what)?),
            3 => Value::I16(cursor.array(what).map(i16::from_le_bytes)?),
            4 => Value::U32(cursor.u32(what)?),
            5 => Value::I32(cursor.array(what).map(i32::from_le_bytes)?),
            6 => Value::F32(cursor.array(what).map(f32::from_le_bytes)?),
            7 => Value::Bool(decode_bool(cursor.u8(what)?)?),
            8 => Value::String(decode_string(cursor)?),
            9 => Value::Array(Array::decode(cursor, 1)?),
            10 => Value::U64(cursor.u64(what)?),
            11 => Value::I64(cursor.i64(what)?),
            12 => Value::F64(cursor.array(what).map(f64::from_le_bytes)?),
            other => return Err(Problem::malformed(format!("{other} is not a GGUF value type"))),
        })
    }

    /// Appends the type and the value.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.type_id().to_le_bytes());
        match self {
            Value::U8(value) => out.extend(value.to_le_bytes()),
            Value::I8(value) => out.extend(value.to_le_bytes()),
            Value::U16(value) => out.extend(value.to_le_bytes()),
            Value::I16(value) => out.extend(value.to_le_bytes()),
            Value::U32(value) => out.extend(value.to_le_bytes()),
            Value::I32(value) => out.extend(value.to_le_bytes()),
            Value::F32(value) => out.extend(value.to_le_bytes()),
            Value::Bool(value) => out.push(u8::from(*value)),
            Value::String(value) => encode_string(value, out),
            Value::Array(array) => array.encode(out),
            Value::U64(value) => out.extend(value.to_le_bytes()),
            Value::I64(value) => out.extend(value.to_le_bytes()),
            Value::F64(value) => out.extend(value.to_le_bytes()),
        }
    }
}

impl Array {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(values) => values.len(),
            Array::I8(values) => values.len(),
            Array::U16(values) => values.len(),
            Array::I16(values) => values.len(),
            Array::U32(values) => values.len(),
            Array::I32(values) => values.len(),
            Array::F32(values) => values.len(),
            Array::Bool(values) => values.len(),
            Array::String(values) => values.len(),
            Array::Array(values) => values.len(),
            Array::U64(values) => values.len(),
            Array::I64(values) => values.len(),
            Array::F64(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `idx` as a value of its own.
    pub fn get(&self, idx: usize) -> Option<Value> {
        match self {
            Array::U8(values) => values.get(idx).copied().map(Value::U8),
            Array::I8(values) => values.get(idx).copied().map(Value::I8),
            Array::U16(values) => values.get(idx).copied().map(Value::U16),
            Array::I16(values) => values.get(idx).copied().map(Value::I16),
            Array::U32(values) => values.get(idx).copied().map(Value::U32),
            Array::I32(values) => values.get(idx).copied().map(Value::I32),
            Array::F32(values) => values.get(idx).copied().map(Value::F32),
            Array::Bool(values) => values.get(idx).copied().map(Value::Bool),
            Array::String(values) => values.get(idx).cloned().map(Value::String),
            Array::Array(values) => values.get(idx).cloned().map(Value::Array),
            Array::U64(values) => values.get(idx).copied().map(Value::U64),
            Array::I64(values) => values.get(idx).copied().map(Value::I64),
            Array::F64(values) => values.get(idx).copied().map(Value::F64),
        }
    }

    /// The elements as integers, if they are integers of any width.
    pub fn integers(&self) -> Option<Vec<i128>> {
        if self.is_empty() {
            return Some(Vec::new());
        }
        (0..self.len()).map(|idx| self.get(idx)?.as_integer()).collect()
    }

    /// The name of the element type, for messages.
    pub fn element_type_name(&self) -> &'static str {
        match self {
            Array::U8(_) => "u8",
            Array::I8(_) => "i8",
            Array::U16(_) => "u16",
            Array::I16(_) => "i16",
            Array::U32(_) => "u32",
            Array::I32(_) => "i32",
            Array::F32(_) => "f32",
            Array::Bool(_) => "bool",
            Array::String(_) => "string",
            Array::Array(_) => "array",
            Array::U64(_) => "u64",
            Array::I64(_) => "i64",
            Array::F64(_) => "f64",
        }
    }

    fn decode(cursor: &mut Cursor<'_>, depth: usize) -> Result<Array, Problem> {
        if depth > MAX_ARRAY_DEPTH {
            return Err(Problem::malformed(format!("arrays nest deeper than {MAX_ARRAY_DEPTH}")));
        }
        let element_type = cursor.u32("an array's element type")?;
        let count = cursor.length("an array's length")?;
        Ok(match element_type {
            0 => Array::U8(numbers(cursor, count, u8::from_le_bytes)?),
            1 => Array::I8(numbers(cursor, count, i8::from_le_bytes)?),
            2 => Array::U16(numbers(cursor, count, u16::from_le_bytes)?),
            3 => Array::I16(numbers(cursor, count, i16::from_le_bytes)?),
            4 => Array::U32(numbers(cursor, count, u32::from_le_bytes)?),
            5 => Array::I32(numbers(cursor, count, i32::from_le_bytes)?),
            6 => Array::F32(numbers(cursor, count, f32::from_le_bytes)?),
            7 => Array::Bool(
                cursor
                    .take(count, "an array")?
                    .iter()
                    .map(|&byte| decode_bool(byte))
                    .collect::<Result<_, _>>()?,
            ),
            // A string takes its length at least, an array its element type too.
            8 => Array::String(items(cursor, count, cursor.length_bytes(), decode_string)?),
            9 => Array::Array(items(cursor, count, 4 + cursor.length_bytes(), |cursor| {
                Array::decode(cursor, depth + 1)
            })?),
            10 => Array::U64(numbers(cursor, count, u64::from_le_bytes)?),
            11 => Array::I64(numbers(cursor, count, i64::from_le_bytes)?),
            12 => Array::F64(numbers(cursor, count, f64::from_le_bytes)?),
            other => return Err(Problem::malformed(format!("{other} is not a GGUF value type"))),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let element_type: u32 = match self {
            Array::U8(_) => 0,
            Array::I8(_) => 1,
            Array::U16(_) => 2,
            Array::I16(_) => 3,
            Array::U32(_) => 4,
            Array::I32(_) => 5,
            Array::F32(_) => 6,
            Array::Bool(_) => 7,
            Array::String(_) => 8,
            Array::Array(_) => 9,
            Array::U64(_) => 10,
            Array::I64(_) => 11,
            Array::F64(_) => 12,
        };
        out.extend(element_type.to_le_bytes());
        out.extend((self.len() as u64).to_le_bytes());
        match self {
            Array::U8(values) => out.extend(values),
            Array::I8(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Array::U16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Array::I16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Array::U32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Array::I32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Array::F32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Array::Bool(values) => out.extend(values.iter().map(|&value| u8::from(value))),
            Array::String(values) => values.iter().for_each(|value| encode_string(value, out)),
            Array::Array(values) => values.iter().for_each(|value| value.encode(out)),
            Array::U64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Array::I64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Array::F64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
    }
}

/// `count` numbers of `N` bytes each.
fn numbers<T, const N: usize>(
    cursor: &mut Cursor<'_>,
    count: u64,
    from_bytes: fn([u8; N]) -> T,
) -> Result<Vec<T>, Problem> {
    let bytes = count.checked_mul(N as u64).ok_or_else(|| absurd_count(count))?;
    let (chunks, _) = cursor.take(bytes, "an array")?.as_chunks::<N>();
    Ok(chunks.iter().map(|&chunk| from_bytes(chunk)).collect())
}

/// `count` items that each take at least `least_bytes`.
fn items<T>(
    cursor: &mut Cursor<'_>,
    count: u64,
    least_bytes: u64,
    mut decode: impl FnMut(&mut Cursor<'_>) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    if count > cursor.remaining() as u64 / least_bytes {
        return Err(absurd_count(count));
    }
    (0..count).map(|_| decode(cursor)).collect()
}

fn absurd_count(count: u64) -> Problem {
    Problem::malformed(format!("an array says it has {count} elements, more than the file has room for"))
}

fn decode_bool(byte: u8) -> Result<bool, Problem> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Problem::malformed(format!("a bool is neither 0 nor 1 but {other}"))),
    }
}

/// A length and as many bytes of UTF-8. Other bytes, which writers in C put into names and old converters into
/// tokens, become U+FFFD: no other reader looks at them either.
pub(super) fn decode_string(cursor: &mut Cursor<'_>) -> Result<String, Problem> {
    let len = cursor.length("a string's length")?;
    Ok(String::from_utf8_lossy(cursor.take(len, "a string")?).into_owned())
}

/// The inverse of [`decode_string`].
pub(super) fn encode_string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(value: Value) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(Value::decode(&mut cursor).unwrap(), value);
        assert_eq!(cursor.remaining(), 0);
        for len in 0..bytes.len() {
            assert!(Value::decode(&mut Cursor::new(&bytes[..len])).is_err(), "{value:?} cut to {len} bytes");
        }
    }

    #[test]
    fn every_type_survives_and_no_prefix_does() {
        round_trip(Value::U8(255));
        round_trip(Value::I8(-1));
        round_trip(Value::U16(65535));
        round_trip(Value::I16(-2));
        round_trip(Value::U32(u32::MAX));
        round_trip(Value::I32(i32::MIN));
        round_trip(Value::F32(-0.5));
        round_trip(Value::Bool(true));
        round_trip(Value::String("ünï\0code".into()));
        round_trip(Value::U64(u64::MAX));
        round_trip(Value::I64(i64::MIN));
        round_trip(Value::F64(f64::MAX));
        round_trip(Value::Array(Array::U8(vec![1, 2])));
        round_trip(Value::Array(Array::I8(vec![-1])));
        round_trip(Value::Array(Array::U16(vec![1, 2, 3])));
        round_trip(Value::Array(Array::I16(vec![-300])));
        round_trip(Value::Array(Array::U32(vec![7; 5])));
        round_trip(Value::Array(Array::I32(vec![])));
        round_trip(Value::Array(Array::F32(vec![0.25, f32::INFINITY])));
        round_trip(Value::Array(Array::Bool(vec![true, false])));
        round_trip(Value::Array(Array::String(vec!["a".into(), "".into()])));
        round_trip(Value::Array(Array::U64(vec![1 << 40])));
        round_trip(Value::Array(Array::I64(vec![-1 << 40])));
        round_trip(Value::Array(Array::F64(vec![1e300])));
        round_trip(Value::Array(Array::Array(vec![Array::U8(vec![1]), Array::String(vec!["x".into()])])));
    }

    #[test]
    fn hostile_arrays_are_refused_before_anything_is_allocated() {
        for element_type in 0..=12u32 {
            for count in [u64::MAX, u64::MAX / 8, 1 << 40] {
                let mut bytes = Vec::from(9u32.to_le_bytes());
                bytes.extend(element_type.to_le_bytes());
                bytes.extend(count.to_le_bytes());
                bytes.extend([0; 64]);
                Value::decode(&mut Cursor::new(&bytes)).unwrap_err();
            }
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| {
            let mut array = Array::U8(vec![]);
            (1..depth).for_each(|_| array = Array::Array(vec![array.clone()]));
            let mut bytes = Vec::new();
            Value::Array(array).encode(&mut bytes);
            Value::decode(&mut Cursor::new(&bytes))
        };
        assert!(nested(MAX_ARRAY_DEPTH).is_ok());
        assert!(nested(MAX_ARRAY_DEPTH + 1).unwrap_err().fact.contains("nest deeper"));
    }

    #[test]
    fn odd_bytes_are_named() {
        let fact = |bytes: &[u8]| Value::decode(&mut Cursor::new(bytes)).unwrap_err().fact;
        assert!(fact(&[7, 0, 0, 0, 2]).contains("neither 0 nor 1 but 2"));
        let latin1 = [&[8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..], b"a\xe9b"].concat();
        let text = Value::decode(&mut Cursor::new(&latin1)).unwrap();
        assert!(matches!(text, Value::String(text) if text == "a\u{fffd}b"));
        assert!(fact(&[13, 0, 0, 0]).contains("13 is not a GGUF value type"));
    }
}
