//! Executing a template's statements.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::SystemTime;

use crate::ast::{For, Macro, Stmt, StmtKind, Symbol, Target};
use crate::error::Error;
use crate::limits::{Charge, Limits, Meter};
use crate::text::{Text, Writer};
use crate::value::{Args, Callable, Dict, GLOBALS, List, Loop, MacroValue, Missing, Scope, Value, name_of};

/// How the statements before went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// One rendering.
pub(crate) struct Renderer<'a> {
    pub(crate) names: &'a [Box<str>],
    pub(crate) meter: Rc<Meter>,
    pub(crate) now: SystemTime,
    pub(crate) printed_none: Cell<bool>,
    pub(crate) printed_container: Cell<bool>,
    /// Of namespaces, which may hold each other and are let go together. Their room is never given back.
    pub(crate) namespaces: RefCell<Vec<Vec<(Value<'a>, Value<'a>)>>>,
    /// Scopes that macros keep, emptied at the end: they and macros may hold each other.
    kept: RefCell<Vec<Rc<Scope<'a>>>>,
    room: RefCell<Charge>,
    /// `loop`, where the template names it.
    loop_name: Option<Symbol>,
    depth: Cell<usize>,
    max_depth: usize,
}

impl Drop for Renderer<'_> {
    fn drop(&mut self) {
        // One after the other: what is dropped holds no scope that is not in the list.
        for scope in self.kept.borrow().iter() {
            drop(std::mem::take(&mut *scope.variables.borrow_mut()));
        }
        for namespace in self.namespaces.borrow_mut().iter_mut() {
            namespace.clear();
        }
    }
}

/// What one of the namespaces, scopes or variables that are never given back takes.
const KEPT_BYTES: usize = 160;

impl<'a> Renderer<'a> {
    pub(crate) fn new(
        names: &'a [Box<str>],
        limits: Limits,
        now: SystemTime,
        max_depth: usize,
    ) -> Result<Renderer<'a>, Error> {
        let meter = Meter::new(limits);
        let room = RefCell::new(Charge::new(&meter, 0)?);
        Ok(Renderer {
            names,
            meter,
            now,
            printed_none: Cell::new(false),
            printed_container: Cell::new(false),
            namespaces: RefCell::default(),
            kept: RefCell::default(),
            room,
            loop_name: names.iter().position(|name| **name == *"loop").map(|at| at as Symbol),
            depth: Cell::new(0),
            max_depth,
        })
    }

    pub(crate) fn name(&self, symbol: Symbol) -> &'a str {
        name_of(self.names, symbol)
    }

    /// Takes room that is not given back before the end.
    fn keep(&self) -> Result<(), Error> {
        self.room.borrow_mut().grow(KEPT_BYTES)
    }

    /// `run` one level deeper on the stack.
    pub(crate) fn nested<T>(&self, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        if self.depth.get() >= self.max_depth {
            return Err(Error::Deep(self.max_depth));
        }
        self.depth.set(self.depth.get() + 1);
        let result = run();
        self.depth.set(self.depth.get() - 1);
        result
    }

    /// Renders a template with the variables of `context`.
    pub(crate) fn render(
        &self,
        body: &'a [Stmt],
        context: impl FnOnce(&Renderer<'a>) -> Result<Vec<(&'a str, Value<'a>)>, Error>,
    ) -> Result<Writer, Error> {
        let globals = Scope::new(None);
        for (name, value) in context(self)? {
            // What the template does not name, it cannot ask for.
            if let Some(symbol) = self.names.iter().position(|known| **known == *name) {
                globals.variables.borrow_mut().push((symbol as Symbol, value));
            }
        }
        let scope = Scope::new(Some(&globals));
        let mut out = Writer::new(&self.meter)?;
        match self.execute(body, &scope, &mut out)? {
            Flow::Next => Ok(out),
            _ => Err(Error::failed("`break` or `continue` stands in no loop")),
        }
    }

    fn execute(&self, body: &'a [Stmt], scope: &Rc<Scope<'a>>, out: &mut Writer) -> Result<Flow, Error> {
        self.nested(|| {
            for statement in body {
                self.meter.step(1)?;
                let flow = self.execute_one(&statement.kind, scope, out);
                match flow.map_err(|error| error.at(statement.line))? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                }
            }
            Ok(Flow::Next)
        })
    }

    fn execute_one(
        &self,
        statement: &'a StmtKind,
        scope: &Rc<Scope<'a>>,
        out: &mut Writer,
    ) -> Result<Flow, Error> {
        match statement {
            StmtKind::Text(text) => out.push(text, crate::text::Mark::TEMPLATE)?,
            StmtKind::Print(value) => {
                let value = self.eval(value, scope)?;
                self.print(out, &value)?;
            }
            StmtKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.eval(condition, scope)?.is_true() {
                        return self.execute(body, scope, out);
                    }
                }
                return self.execute(otherwise, scope, out);
            }
            StmtKind::For(of) => {
                let iterable = self.eval(&of.iterable, scope)?;
                self.run_loop(of, scope, &iterable, 0, out)?;
            }
            StmtKind::Set(target, value) => {
                let value = self.eval(value, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::SetBlock(target, filters, body) => {
                let text = self.capture(body, &Scope::new(Some(scope)))?;
                let value = self.filtered(text, filters, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::With(bindings, body) => {
                let inner = Scope::new(Some(scope));
                for (target, value) in bindings {
                    // Each is worked out in the scope around.
                    let value = self.eval(value, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.execute(body, &inner, out);
            }
            StmtKind::Macro(of) => {
                let value = self.macro_value(of, scope)?;
                self.set(of.name, value, scope)?;
            }
            StmtKind::Call(of, call) => {
                let caller = self.macro_value(of, scope)?;
                let result = self.eval_call_with(call, caller, scope)?;
                self.print_text(out, &result)?;
            }
            StmtKind::Filter(filters, body) => {
                let text = self.capture(body, &Scope::new(Some(scope)))?;
                let value = self.filtered(text, filters, scope)?;
                self.print_text(out, &value)?;
            }
            StmtKind::Generation(body) => {
                let begin = out.as_str().len();
                let flow = self.execute(body, &Scope::new(Some(scope)), out)?;
                out.mark_generated(begin)?;
                return Ok(flow);
            }
            StmtKind::Block(body) => return self.execute(body, &Scope::new(Some(scope)), out),
            StmtKind::Hide(names) => {
                names.iter().try_for_each(|name| {
                    self.set(*name, Value::Undefined(Missing::Name(self.name(*name))), scope)
                })?;
            }
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// What stands for a block's text must be text.
    fn print_text(&self, out: &mut Writer, value: &Value<'a>) -> Result<(), Error> {
        match value {
            Value::Text(text) => out.push_text(text),
            other => Err(Error::failed(format!("a block's text became a {}", other.kind()))),
        }
    }

    /// What a body prints, as a value.
    fn capture(&self, body: &'a [Stmt], scope: &Rc<Scope<'a>>) -> Result<Value<'a>, Error> {
        let mut out = Writer::new(&self.meter)?;
        self.execute(body, scope, &mut out)?;
        Ok(Value::Text(out.finish()))
    }

    fn filtered(
        &self,
        value: Value<'a>,
        filters: &'a [(Symbol, crate::ast::Arguments)],
        scope: &Rc<Scope<'a>>,
    ) -> Result<Value<'a>, Error> {
        filters.iter().try_fold(value, |value, (name, arguments)| {
            let arguments = self.arguments(arguments, scope)?;
            self.filter(self.name(*name), value, arguments)
        })
    }

    fn set(&self, name: Symbol, value: Value<'a>, scope: &Rc<Scope<'a>>) -> Result<(), Error> {
        let mut variables = scope.variables.borrow_mut();
        self.meter.step(variables.len() / 16)?;
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => {
                let old = std::mem::replace(old, value);
                drop(variables);
                drop(old);
            }
            None => {
                if scope.is_kept.get() {
                    self.keep()?;
                }
                variables.push((name, value));
            }
        }
        Ok(())
    }

    fn assign(&self, target: &'a Target, value: Value<'a>, scope: &Rc<Scope<'a>>) -> Result<(), Error> {
        match target {
            Target::Name(name) => self.set(*name, value, scope),
            Target::Attribute(name, attribute) => {
                let Some(Value::Namespace(n)) = scope.get(&self.meter, *name)? else {
                    let name = self.name(*name);
                    return Err(Error::failed(format!(
                        "`{name}` is not a namespace, so nothing can be set in it"
                    )));
                };
                self.set_in_namespace(n, Value::literal(self.name(*attribute)), value)
            }
            Target::Tuple(targets) => {
                let values = self.items(&value)?.to_vec(&self.meter)?;
                if values.len() != targets.len() {
                    let (n, wanted) = (values.len(), targets.len());
                    return Err(Error::failed(format!("{n} values cannot be assigned to {wanted} names")));
                }
                targets.iter().zip(values).try_for_each(|(target, value)| self.assign(target, value, scope))
            }
        }
    }

    pub(crate) fn set_in_namespace(
        &self,
        namespace: usize,
        key: Value<'a>,
        value: Value<'a>,
    ) -> Result<(), Error> {
        let Value::Text(name) = &key else { return Err(Error::failed("a namespace's names are strings")) };
        if name.as_str().starts_with('_') {
            return Err(Error::failed("names in a namespace cannot begin with `_`"));
        }
        let mut namespaces = self.namespaces.borrow_mut();
        let entries = &mut namespaces[namespace];
        let is_it = |entry: &&mut (Value, Value)| matches!(&entry.0, Value::Text(text) if text.as_str() == name.as_str());
        self.meter.step(entries.len() / 8)?;
        let old = match entries.iter_mut().find(is_it) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.keep()?;
                entries.push((key, value));
                None
            }
        };
        drop(namespaces);
        drop(old);
        Ok(())
    }

    pub(crate) fn new_namespace(&self, entries: Vec<(Value<'a>, Value<'a>)>) -> Result<Value<'a>, Error> {
        self.keep()?;
        let n = self.namespaces.borrow().len();
        self.namespaces.borrow_mut().push(Vec::new());
        entries.into_iter().try_for_each(|(key, value)| self.set_in_namespace(n, key, value))?;
        Ok(Value::Namespace(n))
    }

    pub(crate) fn variable(&self, name: Symbol, scope: &Scope<'a>) -> Result<Value<'a>, Error> {
        if let Some(value) = scope.get(&self.meter, name)? {
            return Ok(value);
        }
        let name = self.name(name);
        match GLOBALS.iter().find(|global| **global == name) {
            Some(global) => Value::callable(&self.meter, Callable::Global(global)),
            None => Ok(Value::Undefined(Missing::Name(name))),
        }
    }

    // Loops.

    fn run_loop(
        &self,
        of: &'a For,
        scope: &Rc<Scope<'a>>,
        iterable: &Value<'a>,
        level: usize,
        out: &mut Writer,
    ) -> Result<(), Error> {
        let mut items = self.items(iterable)?;
        if let Some(condition) = &of.condition {
            let mut kept = Vec::new();
            let inner = Scope::new(Some(scope));
            let mut room = Charge::new(&self.meter, 0)?;
            for n in 0..items.len() {
                self.meter.step(1)?;
                let item = items.at(&self.meter, n)?;
                self.assign(&of.target, item.clone(), &inner)?;
                if self.eval(condition, &inner)?.is_true() {
                    room.grow(size_of::<Value>())?;
                    kept.push(item);
                }
            }
            drop(room);
            items = List::new(&self.meter, kept)?;
        }
        if items.len() == 0 {
            self.execute(&of.otherwise, &Scope::new(Some(scope)), out)?;
            return Ok(());
        }
        if of.is_recursive {
            self.keep_scope(scope)?;
        }
        let recursion = of.is_recursive.then(|| (of, scope.clone()));
        let (index0, last, is_over) = (Cell::new(0), RefCell::new(None), Cell::new(false));
        let state = Rc::new(Loop { items, index0, level, last, is_over, recursion });
        if Value::Loop(state.clone()).depth() > crate::limits::MAX_VALUE_DEPTH {
            return Err(Error::Limit("its loops hold each other too deeply".to_owned()));
        }
        let result = self.run_items(of, scope, &state, out);
        // It may hold the loop itself, or loops that hold each other: a loop that is over holds nothing.
        state.is_over.set(true);
        let last = state.last.take();
        drop(last);
        result
    }

    fn run_items(
        &self,
        of: &'a For,
        scope: &Rc<Scope<'a>>,
        state: &Rc<Loop<'a>>,
        out: &mut Writer,
    ) -> Result<(), Error> {
        let (items, value) = (&state.items, Value::Loop(state.clone()));
        let mut inner = Scope::new(Some(scope));
        for n in 0..items.len() {
            self.meter.step(1)?;
            state.index0.set(n);
            if Rc::strong_count(&inner) > 1 {
                inner = Scope::new(Some(scope));
            } else {
                let old = std::mem::take(&mut *inner.variables.borrow_mut());
                drop(old);
            }
            self.assign(&of.target, items.at(&self.meter, n)?, &inner)?;
            if let Some(name) = self.loop_name {
                self.set(name, value.clone(), &inner)?;
            }
            if self.execute(&of.body, &inner, out)? == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    /// `loop(items)` in a recursive loop.
    pub(crate) fn recurse(&self, state: &Loop<'a>, iterable: &Value<'a>) -> Result<Value<'a>, Error> {
        let Some((of, scope)) = &state.recursion else {
            return Err(Error::failed("the loop is not `recursive`, so it cannot be called"));
        };
        self.nested(|| {
            let mut out = Writer::new(&self.meter)?;
            self.run_loop(of, scope, iterable, state.level + 1, &mut out)?;
            Ok(Value::Text(out.finish()))
        })
    }

    pub(crate) fn loop_attribute(&self, state: &Rc<Loop<'a>>, name: &'a str) -> Result<Value<'a>, Error> {
        let (n, len) = (state.index0.get(), state.items.len());
        let int = |value: usize| Value::Int(value as i128);
        let neighbour = |n: Option<usize>| {
            let found = n.map(|n| state.items.get(&self.meter, n)).transpose()?.flatten();
            Ok(found.unwrap_or(Value::Undefined(Missing::Attribute("loop", name))))
        };
        Ok(match name {
            "index" => int(n + 1),
            "index0" => int(n),
            "revindex" => int(len - n),
            "revindex0" => int(len - n - 1),
            "first" => Value::Bool(n == 0),
            "last" => Value::Bool(n + 1 == len),
            "length" => int(len),
            "depth" => int(state.level + 1),
            "depth0" => int(state.level),
            "previtem" => return neighbour(n.checked_sub(1)),
            "nextitem" => return neighbour(Some(n + 1)),
            "cycle" | "changed" => {
                let of = Value::Loop(state.clone());
                return Value::method(&self.meter, &of, name);
            }
            _ => Value::Undefined(Missing::Attribute("loop", name)),
        })
    }

    // Macros.

    /// Sees to it that a scope which values hold is emptied at the end.
    fn keep_scope(&self, scope: &Rc<Scope<'a>>) -> Result<(), Error> {
        if !scope.is_kept.replace(true) {
            let n = scope.variables.borrow().len();
            (0..n + 1).try_for_each(|_| self.keep())?;
            self.kept.borrow_mut().push(scope.clone());
        }
        Ok(())
    }

    fn macro_value(&self, macro_: &'a Macro, scope: &Rc<Scope<'a>>) -> Result<Value<'a>, Error> {
        self.keep_scope(scope)?;
        let value = MacroValue { macro_, scope: scope.clone() };
        Value::callable(&self.meter, Callable::Macro(value))
    }

    pub(crate) fn call_macro(
        &self,
        of: &MacroValue<'a>,
        args: Args<'a>,
        caller: Option<Value<'a>>,
    ) -> Result<Value<'a>, Error> {
        let macro_ = of.macro_;
        let name = self.name(macro_.name);
        self.nested(|| {
            let scope = Scope::new(Some(&of.scope));
            let mut named = args.named;
            let mut positional = args.positional.into_iter();
            let n_required = macro_.parameters.len() - macro_.defaults.len();
            for (n, parameter) in macro_.parameters.iter().enumerate() {
                let parameter_name = self.name(*parameter);
                self.meter.step(named.len() / 8)?;
                let by_name = named.iter().position(|(name, _)| name.as_str() == parameter_name);
                let value = match (positional.next(), by_name) {
                    (Some(_), Some(_)) => {
                        let what = format!("the macro `{name}` is given `{parameter_name}` twice");
                        return Err(Error::failed(what));
                    }
                    (Some(value), None) => value,
                    (None, Some(at)) => named.swap_remove(at).1,
                    (None, None) if n >= n_required => self.eval(&macro_.defaults[n - n_required], &scope)?,
                    (None, None) => Value::Undefined(Missing::Name(parameter_name)),
                };
                self.set(*parameter, value, &scope)?;
            }
            self.set_surplus(macro_, &scope, positional.collect(), named, caller)?;
            let mut out = Writer::new(&self.meter)?;
            self.execute(&macro_.body, &scope, &mut out)?;
            Ok(Value::Text(out.finish()))
        })
    }

    /// `varargs`, `kwargs` and `caller`, where the macro's body asks for them.
    fn set_surplus(
        &self,
        macro_: &'a Macro,
        scope: &Rc<Scope<'a>>,
        positional: Vec<Value<'a>>,
        named: Vec<(Text<'a>, Value<'a>)>,
        caller: Option<Value<'a>>,
    ) -> Result<(), Error> {
        let name = self.name(macro_.name);
        match macro_.surplus.varargs {
            Some(symbol) => {
                let list = Value::Tuple(List::new(&self.meter, positional)?);
                self.set(symbol, list, scope)?;
            }
            None if !positional.is_empty() => {
                let (n, more) = (macro_.parameters.len(), positional.len());
                let what = format!("the macro `{name}` takes {n} arguments, {} are given", n + more);
                return Err(Error::failed(what));
            }
            None => {}
        }
        match (macro_.surplus.kwargs, named.first()) {
            (Some(symbol), _) => {
                let entries = named.into_iter().map(|(name, value)| (Value::Text(name), value)).collect();
                self.set(symbol, Value::Dict(Dict::new(&self.meter, entries)?), scope)?;
            }
            (None, Some((argument, _))) => {
                let what = format!("the macro `{name}` knows no argument `{}`", argument.as_str());
                return Err(Error::failed(what));
            }
            (None, None) => {}
        }
        if let (Some(symbol), Some(caller)) = (macro_.surplus.caller, caller) {
            self.set(symbol, caller, scope)?;
        }
        Ok(())
    }

    /// What a value gives item by item.
    pub(crate) fn items(&self, value: &Value<'a>) -> Result<Rc<List<'a>>, Error> {
        match value {
            Value::List(list) | Value::Tuple(list) => Ok(list.clone()),
            Value::Dict(dict) => {
                self.meter.step(dict.entries().len())?;
                List::new(&self.meter, dict.entries().iter().map(|(key, _)| key.clone()).collect())
            }
            Value::Text(text) => {
                let mut characters = Vec::new();
                let mut room = Charge::new(&self.meter, 0)?;
                for (at, c) in text.as_str().char_indices() {
                    self.meter.step(1)?;
                    room.grow(size_of::<Value>())?;
                    characters.push(Value::Text(text.slice(&self.meter, at..at + c.len_utf8())?));
                }
                drop(room);
                List::new(&self.meter, characters)
            }
            Value::Iterator(of) => of.rest(&self.meter),
            Value::Undefined(Missing::Unsafe(of, name)) => Err(Missing::Unsafe(of, name).error()),
            Value::Undefined(_) => List::new(&self.meter, Vec::new()),
            Value::Loop(state) => {
                let rest = state.index0.get() + 1..state.items.len();
                state.items.stretch(&self.meter, rest.start.min(rest.end)..rest.end)
            }
            other => Err(Error::failed(format!("a {} has no items to go through", other.kind()))),
        }
    }
}
