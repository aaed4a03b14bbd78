//! Working out expressions.

use std::rc::Rc;

use crate::ast::{Arguments, Expr, Postfix};
use crate::error::Error;
use crate::limits::Charge;
use crate::render::Renderer;
use crate::text::{Text, Writer};
use crate::value::{Args, Callable, Dict, List, Missing, Scope, Value};

impl<'a> Renderer<'a> {
    pub(crate) fn eval(&self, expr: &'a Expr, scope: &Rc<Scope<'a>>) -> Result<Value<'a>, Error> {
        self.meter.step(1)?;
        match expr {
            Expr::None => Ok(Value::None),
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Int(value) => Ok(Value::Int(*value)),
            Expr::Float(value) => Ok(Value::Float(*value)),
            Expr::Str(text) => Ok(Value::literal(text)),
            Expr::Name(name) => self.variable(*name, scope),
            expr => self.nested(|| self.eval_inner(expr, scope)),
        }
    }

    fn eval_all(&self, items: &'a [Expr], scope: &Rc<Scope<'a>>) -> Result<Vec<Value<'a>>, Error> {
        items.iter().map(|item| self.eval(item, scope)).collect()
    }

    fn eval_inner(&self, expr: &'a Expr, scope: &Rc<Scope<'a>>) -> Result<Value<'a>, Error> {
        match expr {
            Expr::List(items) => Ok(Value::List(List::new(&self.meter, self.eval_all(items, scope)?)?)),
            Expr::Tuple(items) => Ok(Value::Tuple(List::new(&self.meter, self.eval_all(items, scope)?)?)),
            Expr::Dict(entries) => {
                let mut values = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    values.push((self.eval(key, scope)?, self.eval(value, scope)?));
                }
                Ok(Value::Dict(self.dict(values)?))
            }
            Expr::Not(value) => Ok(Value::Bool(!self.eval(value, scope)?.is_true())),
            Expr::Negative(value) => self.with_sign(-1, self.eval(value, scope)?),
            Expr::Positive(value) => self.with_sign(1, self.eval(value, scope)?),
            Expr::Or(items) | Expr::And(items) => {
                // The first that decides, or the last.
                let decides = matches!(expr, Expr::Or(_));
                let mut value = Value::None;
                for item in items {
                    value = self.eval(item, scope)?;
                    if value.is_true() == decides {
                        break;
                    }
                }
                Ok(value)
            }
            Expr::Compare(first, others) => {
                let mut left = self.eval(first, scope)?;
                for (operator, right) in others {
                    let right = self.eval(right, scope)?;
                    if !self.compare(*operator, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::Arithmetic(first, others) => {
                let mut value = self.eval(first, scope)?;
                for (operator, right) in others {
                    let right = self.eval(right, scope)?;
                    value = self.arithmetic(*operator, &value, &right)?;
                }
                Ok(value)
            }
            Expr::Concat(items) => {
                let mut out = Writer::new(&self.meter)?;
                for item in items {
                    self.print(&mut out, &self.eval(item, scope)?)?;
                }
                Ok(Value::Text(out.finish()))
            }
            Expr::Conditional(branches, otherwise) => {
                for (value, condition) in branches {
                    if self.eval(condition, scope)?.is_true() {
                        return self.eval(value, scope);
                    }
                }
                match otherwise {
                    Some(value) => self.eval(value, scope),
                    None => Ok(Value::Undefined(Missing::Otherwise)),
                }
            }
            Expr::Postfix(value, chain) => {
                let value = self.eval(value, scope)?;
                self.eval_chain(value, chain, scope, None)
            }
            // The others are leaves.
            _ => Ok(Value::None),
        }
    }

    fn with_sign(&self, sign: i128, value: Value<'a>) -> Result<Value<'a>, Error> {
        match value {
            Value::Float(value) => Ok(Value::Float(sign as f64 * value)),
            Value::Undefined(missing) => Err(missing.error()),
            value => match value.as_int().map(|n| n.checked_mul(sign)) {
                Some(Some(value)) => Ok(Value::Int(value)),
                Some(None) => Err(Error::Limit("an integer has more than 128 bits".to_owned())),
                None => Err(Error::failed(format!("a {} has no sign", value.kind()))),
            },
        }
    }

    /// A dictionary; of equal keys the last value counts, in the first one's place.
    pub(crate) fn dict(&self, entries: Vec<(Value<'a>, Value<'a>)>) -> Result<Rc<Dict<'a>>, Error> {
        let mut unique: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            self.check_key(&key)?;
            let mut place = None;
            for (n, (known, _)) in unique.iter().enumerate() {
                if self.is_equal(known, &key)? {
                    place = Some(n);
                    break;
                }
            }
            match place {
                Some(n) => unique[n].1 = value,
                None => unique.push((key, value)),
            }
        }
        Dict::new(&self.meter, unique)
    }

    /// Attributes, items, calls, filters and tests of a value, one after the other. `caller` goes to the last
    /// of them, a call.
    fn eval_chain(
        &self,
        mut value: Value<'a>,
        chain: &'a [Postfix],
        scope: &Rc<Scope<'a>>,
        mut caller: Option<Value<'a>>,
    ) -> Result<Value<'a>, Error> {
        let mut at = 0;
        while let Some(step) = chain.get(at) {
            self.meter.step(1)?;
            at += 1;
            value = match step {
                Postfix::Attribute(name) => {
                    let name = self.name(*name);
                    match chain.get(at) {
                        // A method that is called needs no value of its own.
                        Some(Postfix::Call(arguments)) if crate::methods::has_method(&value, name) => {
                            at += 1;
                            let arguments = self.arguments(arguments, scope)?;
                            self.call_method(&value, name, arguments)?
                        }
                        _ => self.attribute(&value, name)?,
                    }
                }
                Postfix::Item(key) => {
                    let key = self.eval(key, scope)?;
                    self.item(&value, &key)?
                }
                Postfix::Slice(parts) => {
                    let mut bounds = [const { Value::None }; 3];
                    for (bound, part) in bounds.iter_mut().zip(parts.iter()) {
                        if let Some(part) = part {
                            *bound = self.eval(part, scope)?;
                        }
                    }
                    self.slice(&value, bounds)?
                }
                Postfix::Call(arguments) => {
                    let arguments = self.arguments(arguments, scope)?;
                    let caller = if at == chain.len() { caller.take() } else { None };
                    self.call(&value, arguments, caller)?
                }
                Postfix::Filter(name, arguments) => {
                    let arguments = self.arguments(arguments, scope)?;
                    self.filter(self.name(*name), value, arguments)?
                }
                Postfix::Test { name, arguments, is_negated } => {
                    let arguments = self.arguments(arguments, scope)?;
                    Value::Bool(self.test(self.name(*name), &value, arguments)? != *is_negated)
                }
            };
        }
        Ok(value)
    }

    /// `{% call %}`: a call whose macro finds `caller`.
    pub(crate) fn eval_call_with(
        &self,
        call: &'a Expr,
        caller: Value<'a>,
        scope: &Rc<Scope<'a>>,
    ) -> Result<Value<'a>, Error> {
        let Expr::Postfix(value, chain) = call else { return Err(Error::failed("`call` needs a call")) };
        self.nested(|| {
            let value = self.eval(value, scope)?;
            self.eval_chain(value, chain, scope, Some(caller))
        })
    }

    pub(crate) fn arguments(
        &self,
        arguments: &'a Arguments,
        scope: &Rc<Scope<'a>>,
    ) -> Result<Args<'a>, Error> {
        let mut args = Args { positional: self.eval_all(&arguments.positional, scope)?, named: Vec::new() };
        if let Some(list) = &arguments.list {
            let list = self.eval(list, scope)?;
            args.positional.extend(self.items(&list)?.to_vec(&self.meter)?);
        }
        for (name, value) in &arguments.named {
            let name = Text::Borrowed(self.name(*name), crate::text::Mark::TEMPLATE);
            args.named.push((name, self.eval(value, scope)?));
        }
        if let Some(dict) = &arguments.dict {
            let Value::Dict(dict) = self.eval(dict, scope)? else {
                return Err(Error::failed("`**` in a call needs a dictionary"));
            };
            drop(Charge::new(&self.meter, dict.entries().len() * size_of::<(Text, Value)>())?);
            for (key, value) in dict.entries() {
                let Value::Text(name) = key else {
                    return Err(Error::failed("`**` in a call needs names that are strings"));
                };
                args.named.push((name.clone(), value.clone()));
            }
        }
        Ok(args)
    }

    /// `of(arguments)`
    pub(crate) fn call(
        &self,
        of: &Value<'a>,
        args: Args<'a>,
        caller: Option<Value<'a>>,
    ) -> Result<Value<'a>, Error> {
        match of {
            Value::Callable(callable) => match callable.kind() {
                Callable::Macro(of) => self.call_macro(of, args, caller),
                Callable::Global(name) => self.nested(|| self.call_global(name, args)),
                Callable::Method(of, name) => self.call_method(of, name.as_str(), args),
                Callable::Cycler(items, at) => {
                    args.none("cycler.next")?;
                    let n = at.get();
                    at.set((n + 1) % items.len().max(1));
                    items.at(&self.meter, n)
                }
                Callable::Joiner(separator, was_called) => {
                    args.none("joiner")?;
                    let text = if was_called.replace(true) { separator.clone() } else { Text::EMPTY };
                    Ok(Value::Text(text))
                }
            },
            Value::Loop(state) => {
                let [iterable] = args.bind("loop", ["iterable"])?;
                self.recurse(state, &iterable.unwrap_or(Value::Undefined(Missing::Name("iterable"))))
            }
            Value::Undefined(missing) => Err(missing.error()),
            other => Err(Error::failed(format!("a {} cannot be called", other.kind()))),
        }
    }
}
