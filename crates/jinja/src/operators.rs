//! Operators as Python has them: arithmetic, comparison, membership, attributes, items, slices.

use std::cmp::Ordering;

use crate::ast::{Arithmetic, Comparison};
use crate::error::Error;
use crate::limits::Charge;
use crate::methods::{self, index};
use crate::render::Renderer;
use crate::text::{Text, Writer};
use crate::value::{Callable, List, Missing, Value};

/// The longest power of an integer that is worth trying: 2 ** 127 does not fit.
const MAX_EXPONENT: u32 = 127;

pub(crate) fn too_large() -> Error {
    Error::Limit("an integer has more than 128 bits".to_owned())
}

impl<'a> Renderer<'a> {
    pub(crate) fn arithmetic(
        &self,
        operator: Arithmetic,
        a: &Value<'a>,
        b: &Value<'a>,
    ) -> Result<Value<'a>, Error> {
        match (operator, a, b) {
            // What is undefined is a value to be written, too.
            (Arithmetic::Modulo, Value::Text(format), arguments) => {
                return Ok(Value::Text(self.format_percent(format, arguments)?));
            }
            (_, Value::Undefined(missing), _) | (_, _, Value::Undefined(missing)) => {
                return Err(missing.error());
            }
            (Arithmetic::Add, Value::Text(a), Value::Text(b)) => {
                let mut sum = Writer::new(&self.meter)?;
                sum.push_text(a)?;
                sum.push_text(b)?;
                return Ok(Value::Text(sum.finish()));
            }
            (Arithmetic::Add, Value::List(a), Value::List(b)) => {
                return Ok(Value::List(self.joined(&[a, b])?));
            }
            (Arithmetic::Add, Value::Tuple(a), Value::Tuple(b)) => {
                return Ok(Value::Tuple(self.joined(&[a, b])?));
            }
            (Arithmetic::Multiply, Value::Text(text), n) | (Arithmetic::Multiply, n, Value::Text(text))
                if n.as_int().is_some() =>
            {
                let mut product = Writer::new(&self.meter)?;
                product.push_repeated(text, times(n))?;
                return Ok(Value::Text(product.finish()));
            }
            (Arithmetic::Multiply, Value::List(list), n) | (Arithmetic::Multiply, n, Value::List(list))
                if n.as_int().is_some() =>
            {
                return Ok(Value::List(self.repeated(list, times(n))?));
            }
            (Arithmetic::Multiply, Value::Tuple(list), n) | (Arithmetic::Multiply, n, Value::Tuple(list))
                if n.as_int().is_some() =>
            {
                return Ok(Value::Tuple(self.repeated(list, times(n))?));
            }
            _ => {}
        }
        if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
            return int_arithmetic(operator, a, b);
        }
        if let (Some(a), Some(b)) = (a.as_float(), b.as_float()) {
            return float_arithmetic(operator, a, b).map(Value::Float);
        }
        let word = match operator {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::FloorDivide => "//",
            Arithmetic::Modulo => "%",
            Arithmetic::Power => "**",
        };
        Err(Error::failed(format!("`{word}` does not take a {} and a {}", a.kind(), b.kind())))
    }

    fn joined(&self, lists: &[&List<'a>]) -> Result<std::rc::Rc<List<'a>>, Error> {
        let mut items = Vec::new();
        for list in lists {
            items.extend(list.to_vec(&self.meter)?);
        }
        List::new(&self.meter, items)
    }

    fn repeated(&self, list: &List<'a>, times: usize) -> Result<std::rc::Rc<List<'a>>, Error> {
        let n = list.len().saturating_mul(times);
        // Refused before it is made.
        drop(crate::limits::Charge::new(&self.meter, n.saturating_mul(size_of::<Value>()))?);
        let once = list.to_vec(&self.meter)?;
        List::new(&self.meter, once.iter().cycle().take(n).cloned().collect())
    }

    /// `a OPERATOR b`
    pub(crate) fn compare(&self, operator: Comparison, a: &Value<'a>, b: &Value<'a>) -> Result<bool, Error> {
        Ok(match operator {
            Comparison::Equal => self.is_equal(a, b)?,
            Comparison::NotEqual => !self.is_equal(a, b)?,
            Comparison::In => self.contains(b, a)?,
            Comparison::NotIn => !self.contains(b, a)?,
            _ => {
                let (a, b) = (a, b);
                let order = match (a.as_float(), b.as_float()) {
                    // Nothing compares with what is no number.
                    (Some(x), Some(y)) if x.is_nan() || y.is_nan() => return Ok(false),
                    _ => self.order(a, b)?,
                };
                match operator {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
        })
    }

    /// `a == b`
    pub(crate) fn is_equal(&self, a: &Value<'a>, b: &Value<'a>) -> Result<bool, Error> {
        self.meter.step(1)?;
        if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
            return Ok(a == b);
        }
        if let (Some(a), Some(b)) = (a.as_float(), b.as_float()) {
            return Ok(a == b);
        }
        Ok(match (a, b) {
            (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
            (Value::Text(a), Value::Text(b)) if a.len() == b.len() => {
                self.meter.read(a.len())?;
                a.as_str() == b.as_str()
            }
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for n in 0..a.len() {
                    if !self.is_equal(&a.at(&self.meter, n)?, &b.at(&self.meter, n)?)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Dict(a), Value::Dict(b)) => {
                if a.entries().len() != b.entries().len() {
                    return Ok(false);
                }
                for (key, value) in a.entries() {
                    match self.get_item(b, key)? {
                        Some(other) if self.is_equal(value, &other)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Value::Namespace(a), Value::Namespace(b)) => a == b,
            (Value::Callable(a), Value::Callable(b)) => match (a.kind(), b.kind()) {
                (Callable::Global(a), Callable::Global(b)) => a == b,
                _ => std::rc::Rc::ptr_eq(a, b),
            },
            (Value::Loop(a), Value::Loop(b)) => std::rc::Rc::ptr_eq(a, b),
            (Value::Iterator(a), Value::Iterator(b)) => std::rc::Rc::ptr_eq(a, b),
            _ => false,
        })
    }

    /// The order of two values that have one.
    pub(crate) fn order(&self, a: &Value<'a>, b: &Value<'a>) -> Result<Ordering, Error> {
        self.meter.step(1)?;
        for value in [a, b] {
            if let Value::Undefined(missing) = value {
                return Err(missing.error());
            }
        }
        if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
            return Ok(a.cmp(&b));
        }
        if let (Some(a), Some(b)) = (a.as_float(), b.as_float()) {
            return Ok(a.partial_cmp(&b).unwrap_or(Ordering::Equal));
        }
        match (a, b) {
            (Value::Text(a), Value::Text(b)) => {
                self.meter.read(a.len().min(b.len()))?;
                Ok(a.as_str().cmp(b.as_str()))
            }
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                for n in 0..a.len().min(b.len()) {
                    let (x, y) = (a.at(&self.meter, n)?, b.at(&self.meter, n)?);
                    if !self.is_equal(&x, &y)? {
                        return self.order(&x, &y);
                    }
                }
                Ok(a.len().cmp(&b.len()))
            }
            _ => Err(Error::failed(format!("a {} and a {} have no order", a.kind(), b.kind()))),
        }
    }

    /// `item in of`
    pub(crate) fn contains(&self, of: &Value<'a>, item: &Value<'a>) -> Result<bool, Error> {
        match of {
            Value::Text(text) => match item {
                Value::Text(part) => {
                    self.meter.read(text.len() + part.len())?;
                    Ok(text.as_str().contains(part.as_str()))
                }
                Value::Undefined(missing) => Err(missing.error()),
                other => Err(Error::failed(format!("`in` a string does not take a {}", other.kind()))),
            },
            Value::Dict(dict) => Ok(self.get_item(dict, item)?.is_some()),
            Value::List(list) | Value::Tuple(list) => {
                for n in 0..list.len() {
                    if self.is_equal(&list.at(&self.meter, n)?, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Iterator(of) => {
                // It goes on behind what was found.
                while let Some(other) = of.next(&self.meter)? {
                    if self.is_equal(&other, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Undefined(_) => Ok(false),
            other => Err(Error::failed(format!("a {} holds nothing that could be `in` it", other.kind()))),
        }
    }

    /// Refuses what Python cannot hash.
    pub(crate) fn check_key(&self, key: &Value<'a>) -> Result<(), Error> {
        match key {
            Value::List(_) | Value::Dict(_) => {
                Err(Error::failed(format!("a {} cannot be a key", key.kind())))
            }
            Value::Tuple(items) => {
                self.meter.step(items.len())?;
                (0..items.len()).try_for_each(|n| self.check_key(&items.at(&self.meter, n)?))
            }
            _ => Ok(()),
        }
    }

    /// The value of a key.
    pub(crate) fn get_item(
        &self,
        dict: &crate::value::Dict<'a>,
        key: &Value<'a>,
    ) -> Result<Option<Value<'a>>, Error> {
        match key {
            Value::Text(text) => Ok(dict.get_text(&self.meter, text.as_str())?.cloned()),
            key => {
                self.check_key(key)?;
                for (other, value) in dict.entries() {
                    if self.is_equal(other, key)? {
                        return Ok(Some(value.clone()));
                    }
                }
                Ok(None)
            }
        }
    }

    /// `of.name`: a method, or else an item.
    pub(crate) fn attribute(&self, of: &Value<'a>, name: &'a str) -> Result<Value<'a>, Error> {
        let kind = of.kind();
        match of {
            Value::Undefined(missing) => return Err(missing.error()),
            Value::Namespace(n) => {
                let namespaces = self.namespaces.borrow();
                self.meter.step(namespaces[*n].len() / 8)?;
                let is_it =
                    |entry: &&(Value, Value)| matches!(&entry.0, Value::Text(text) if text.as_str() == name);
                let found = namespaces[*n].iter().find(is_it).map(|(_, value)| value.clone());
                return Ok(found.unwrap_or(Value::Undefined(Missing::Attribute(kind, name))));
            }
            Value::Loop(state) => return self.loop_attribute(state, name),
            _ => {}
        }
        if methods::has_method(of, name) {
            return Value::method(&self.meter, of, name);
        }
        if let Some(value) = self.plain_attribute(of, name) {
            return Ok(value);
        }
        if let Value::Tuple(list) = of
            && let Some(value) = list.by_name(&self.meter, name)?
        {
            return Ok(value);
        }
        if let Value::Dict(dict) = of
            && let Some(value) = dict.get_text(&self.meter, name)?
        {
            return Ok(value.clone());
        }
        let is_unsafe = name.starts_with('_');
        let missing = if is_unsafe { Missing::Unsafe(kind, name) } else { Missing::Attribute(kind, name) };
        Ok(Value::Undefined(missing))
    }

    /// Attributes that are no methods.
    fn plain_attribute(&self, of: &Value<'a>, name: &str) -> Option<Value<'a>> {
        match of {
            Value::Callable(callable) => match (callable.kind(), name) {
                (Callable::Macro(value), "name") => Some(Value::literal(self.name(value.macro_.name))),
                (Callable::Cycler(items, at), "current") => {
                    items.at(&self.meter, at.get() % items.len().max(1)).ok()
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// `of[key]`: an item, or else a method.
    pub(crate) fn item(&self, of: &Value<'a>, key: &Value<'a>) -> Result<Value<'a>, Error> {
        let kind = of.kind();
        let found = match (of, key) {
            (Value::Undefined(missing), _) => return Err(missing.error()),
            (Value::Dict(dict), key) => match self.check_key(key) {
                Err(Error::Failed { .. }) => None,
                Err(error) => return Err(error),
                Ok(()) => self.get_item(dict, key)?,
            },
            (Value::List(list) | Value::Tuple(list), key) => match key.as_int() {
                Some(n) => match index(n, list.len()) {
                    Some(n) => list.get(&self.meter, n)?,
                    None => None,
                },
                None => None,
            },
            (Value::Text(text), key) => match key.as_int() {
                Some(n) => self.character(text, n)?.map(Value::Text),
                None => None,
            },
            (Value::Namespace(_) | Value::Loop(_), Value::Text(Text::Borrowed(name, _))) => {
                Some(self.attribute(of, name)?)
            }
            _ => None,
        };
        if let Some(value) = found {
            return Ok(value);
        }
        Ok(match key {
            Value::Text(Text::Borrowed(name, mark)) if !mark.is_input => match self.attribute(of, name)? {
                Value::Undefined(_) => Value::Undefined(Missing::Attribute(kind, name)),
                value => value,
            },
            _ => Value::Undefined(Missing::Item(kind)),
        })
    }

    fn character(&self, text: &Text<'a>, n: i128) -> Result<Option<Text<'a>>, Error> {
        let string = text.as_str();
        self.meter.step(string.len() >> 6)?;
        let n = if string.is_ascii() {
            index(n, string.len())
        } else {
            index(n, string.chars().count()).and_then(|n| string.char_indices().nth(n).map(|(at, _)| at))
        };
        let Some(begin) = n else { return Ok(None) };
        let end = begin + string[begin..].chars().next().map_or(0, char::len_utf8);
        text.slice(&self.meter, begin..end).map(Some)
    }

    /// `of[begin:end:step]`
    pub(crate) fn slice(&self, of: &Value<'a>, parts: [Value<'a>; 3]) -> Result<Value<'a>, Error> {
        let mut bounds = [None; 3];
        for (bound, part) in bounds.iter_mut().zip(&parts) {
            *bound = match part {
                Value::None => None,
                part => Some(
                    part.as_int()
                        .ok_or_else(|| Error::failed(format!("a slice does not take a {}", part.kind())))?,
                ),
            };
        }
        let [begin, end, step] = bounds;
        if step == Some(0) {
            return Err(Error::failed("the step of a slice cannot be 0"));
        }
        // Far beyond any length, all steps are alike.
        let step = step.unwrap_or(1).clamp(-(1 << 64), 1 << 64);
        match of {
            Value::Undefined(missing) => Err(missing.error()),
            Value::List(list) | Value::Tuple(list) => {
                let (first, last, n) = positions(begin, end, step, list.len());
                let result = if step == 1 {
                    list.stretch(&self.meter, first..last)?
                } else {
                    let at = |k: usize| (first as i128 + step * k as i128) as usize;
                    self.meter.step(n)?;
                    let items = (0..n).map(|k| list.at(&self.meter, at(k))).collect::<Result<_, _>>()?;
                    List::new(&self.meter, items)?
                };
                Ok(if matches!(of, Value::List(_)) { Value::List(result) } else { Value::Tuple(result) })
            }
            Value::Text(text) => {
                let string = text.as_str();
                self.meter.read(string.len())?;
                let len = if string.is_ascii() { string.len() } else { string.chars().count() };
                let (first, last, n) = positions(begin, end, step, len);
                if step == 1 {
                    let byte = |n: usize| match string.is_ascii() {
                        true => n,
                        false => string.char_indices().nth(n).map_or(string.len(), |(at, _)| at),
                    };
                    return Ok(Value::Text(text.slice(&self.meter, byte(first)..byte(last))?));
                }
                // Where the characters begin, if they are not bytes.
                let n_starts = if string.is_ascii() { 0 } else { len + 1 };
                let room = Charge::new(&self.meter, n_starts * size_of::<usize>())?;
                let starts: Vec<usize> = match string.is_ascii() {
                    true => Vec::new(),
                    false => string.char_indices().map(|(at, _)| at).chain([string.len()]).collect(),
                };
                let byte = |n: usize| starts.get(n).copied().unwrap_or(n);
                let mut out = Writer::new(&self.meter)?;
                for k in 0..n {
                    let at = (first as i128 + step * k as i128) as usize;
                    out.push_part(text, byte(at)..byte(at + 1))?;
                }
                drop(room);
                Ok(Value::Text(out.finish()))
            }
            other => Err(Error::failed(format!("a {} has no slices", other.kind()))),
        }
    }
}

fn times(n: &Value) -> usize {
    usize::try_from(n.as_int().unwrap_or(0).max(0)).unwrap_or(usize::MAX)
}

/// The first position, where a slice ends, and how many it takes: Python's `slice.indices`.
fn positions(begin: Option<i128>, end: Option<i128>, step: i128, len: usize) -> (usize, usize, usize) {
    let len = len as i128;
    let (lowest, highest) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let clamp = |n: i128| (if n < 0 { n.saturating_add(len) } else { n }).clamp(lowest, highest);
    let begin = begin.map_or(if step > 0 { 0 } else { len - 1 }, clamp);
    let end = end.map_or(if step > 0 { len } else { -1 }, clamp);
    let n = if step > 0 { (end - begin + step - 1) / step } else { (begin - end - step - 1) / -step };
    let n = if (step > 0) == (begin < end) && begin != end { n.max(0) } else { 0 };
    (begin.max(0) as usize, end.max(begin).max(0) as usize, n as usize)
}

fn int_arithmetic<'a>(operator: Arithmetic, a: i128, b: i128) -> Result<Value<'a>, Error> {
    let result = match operator {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => return float_arithmetic(operator, a as f64, b as f64).map(Value::Float),
        Arithmetic::FloorDivide | Arithmetic::Modulo if b == 0 => return Err(by_zero()),
        Arithmetic::FloorDivide => {
            a.checked_div(b).map(|quotient| quotient - i128::from(a % b != 0 && (a < 0) != (b < 0)))
        }
        Arithmetic::Modulo => {
            a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        Arithmetic::Power if b < 0 => {
            return float_arithmetic(operator, a as f64, b as f64).map(Value::Float);
        }
        Arithmetic::Power if matches!(a, -1..=1) => Some(if a == -1 && b % 2 == 0 || b == 0 { 1 } else { a }),
        Arithmetic::Power => {
            u32::try_from(b).ok().filter(|b| *b <= MAX_EXPONENT).and_then(|b| a.checked_pow(b))
        }
    };
    result.map(Value::Int).ok_or_else(too_large)
}

/// As CPython does it, with its roundings.
fn floor_divide(a: f64, b: f64) -> f64 {
    let rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0f64.copysign(a / b);
    }
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}

fn by_zero() -> Error {
    Error::failed("a division by zero")
}

fn float_arithmetic(operator: Arithmetic, a: f64, b: f64) -> Result<f64, Error> {
    if b == 0.0 && matches!(operator, Arithmetic::Divide | Arithmetic::FloorDivide | Arithmetic::Modulo) {
        return Err(by_zero());
    }
    let modulo = || {
        let rest = a % b;
        match rest == 0.0 {
            true => 0f64.copysign(b),
            false if (rest < 0.0) != (b < 0.0) => rest + b,
            false => rest,
        }
    };
    Ok(match operator {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::FloorDivide => floor_divide(a, b),
        Arithmetic::Modulo => modulo(),
        Arithmetic::Power if a == 0.0 && b < 0.0 => return Err(by_zero()),
        Arithmetic::Power => {
            let power = a.powf(b);
            if power.is_nan() && !a.is_nan() && !b.is_nan() {
                return Err(Error::failed("a root of a negative number"));
            }
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(Error::failed("a power is too large"));
            }
            power
        }
    })
}
