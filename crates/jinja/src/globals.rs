//! Functions that are there without being defined: Jinja2's, and those transformers adds.

use std::cell::Cell;

use crate::date::strftime;
use crate::error::Error;
use crate::limits::Charge;
use crate::methods::{needed, texts, whole};
use crate::render::Renderer;
use crate::text::{Mark, Text};
use crate::value::{Args, Callable, List, Value};

/// The longest range, as in Jinja2's sandbox.
const MAX_RANGE: u128 = 100_000;

impl<'a> Renderer<'a> {
    pub(crate) fn call_global(&self, name: &str, args: Args<'a>) -> Result<Value<'a>, Error> {
        match name {
            "range" => self.range(args),
            "dict" | "namespace" => {
                let mut entries = Vec::new();
                if args.positional.len() > 1 {
                    return Err(Error::failed(format!("`{name}` takes one dictionary at most")));
                }
                if let Some(of) = args.positional.first() {
                    match of {
                        Value::Dict(dict) => entries.extend(dict.entries().iter().cloned()),
                        pairs => {
                            for pair in self.items(pairs)?.to_vec(&self.meter)? {
                                let pair = self.items(&pair)?.to_vec(&self.meter)?;
                                let [key, value] = pair.as_slice() else {
                                    return Err(Error::failed(format!("`{name}` takes pairs")));
                                };
                                entries.push((key.clone(), value.clone()));
                            }
                        }
                    }
                }
                entries.extend(args.named.into_iter().map(|(key, value)| (Value::Text(key), value)));
                if name == "namespace" {
                    return self.new_namespace(entries);
                }
                Ok(Value::Dict(self.dict(entries)?))
            }
            "cycler" => {
                if args.positional.is_empty() {
                    return Err(Error::failed("`cycler` needs values"));
                }
                let items = List::new(&self.meter, args.positional)?;
                Value::callable(&self.meter, Callable::Cycler(items, Cell::new(0)))
            }
            "joiner" => {
                let [separator] = args.bind(name, ["sep"])?;
                let separator = separator
                    .map_or(Ok(Text::Borrowed(", ", Mark::TEMPLATE)), |separator| self.to_text(&separator))?;
                Value::callable(&self.meter, Callable::Joiner(separator, Cell::new(false)))
            }
            "raise_exception" => {
                let [message] = args.bind(name, ["message"])?;
                Err(Error::Raised(self.to_text(&needed(name, "message", message)?)?.as_str().to_owned()))
            }
            _ => {
                let [format] = args.bind(name, ["format"])?;
                let format = texts(name, &needed(name, "format", format)?)?;
                // Every directive becomes less than 16 bytes.
                drop(Charge::new(&self.meter, 16 * format.len())?);
                let date = strftime(self.now, format.as_str());
                Ok(Value::Text(Text::new(&self.meter, &date, format.mark())?))
            }
        }
    }

    fn range(&self, args: Args<'a>) -> Result<Value<'a>, Error> {
        let [first, second, step] = args.bind("range", ["start", "stop", "step"])?;
        let first = whole("range", &needed("range", "stop", first)?)?;
        let (begin, end) = match second {
            None => (0, first),
            Some(second) => (first, whole("range", &second)?),
        };
        let step = step.map_or(Ok(1), |step| whole("range", &step))?;
        if step == 0 {
            return Err(Error::failed("the step of `range` cannot be 0"));
        }
        let is_empty = if step > 0 { begin >= end } else { begin <= end };
        let n = if is_empty { 0 } else { begin.abs_diff(end).div_ceil(step.unsigned_abs()) };
        if n > MAX_RANGE {
            return Err(Error::Limit(format!("a `range` has more than {MAX_RANGE} numbers")));
        }
        self.meter.step(n as usize)?;
        drop(Charge::new(&self.meter, n as usize * size_of::<Value>())?);
        // The last of them lies before the end, so whatever wraps around wraps back.
        let number = |k: u128| Value::Int(begin.wrapping_add(step.wrapping_mul(k as i128)));
        Ok(Value::List(List::new(&self.meter, (0..n).map(number).collect())?))
    }
}
