//! The values a template works with.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::ast::{Macro, Symbol};
use crate::error::Error;
use crate::limits::{Charge, MAX_VALUE_DEPTH, Meter};
use crate::text::{Mark, Text};

/// A value; `'a` is how long the template and the input live, of which texts are parts.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    /// What is not there, and how it was asked for.
    Undefined(Missing<'a>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Text<'a>),
    List(Rc<List<'a>>),
    Tuple(Rc<List<'a>>),
    Dict(Rc<Dict<'a>>),
    /// An index into the rendering's namespaces, the only values that change.
    Namespace(usize),
    Callable(Rc<Charged<'a>>),
    Loop(Rc<Loop<'a>>),
    Iterator(Rc<Iterator<'a>>),
}

/// What filters like `map` and `select` give: items that can be gone through once. It has no length and is
/// true even without any.
#[derive(Debug)]
pub(crate) struct Iterator<'a> {
    items: Rc<List<'a>>,
    taken: Cell<usize>,
}

impl<'a> Iterator<'a> {
    /// The next item.
    pub(crate) fn next(&self, meter: &Rc<Meter>) -> Result<Option<Value<'a>>, Error> {
        let item = self.items.get(meter, self.taken.get())?;
        self.taken.set(self.taken.get() + usize::from(item.is_some()));
        Ok(item)
    }

    /// All items that are left.
    pub(crate) fn rest(&self, meter: &Rc<Meter>) -> Result<Rc<List<'a>>, Error> {
        match self.taken.replace(self.items.len()) {
            0 => Ok(self.items.clone()),
            taken => self.items.stretch(meter, taken..self.items.len()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Missing<'a> {
    Name(&'a str),
    Attribute(&'static str, &'a str),
    /// An item whose key is no word of the template's.
    Item(&'static str),
    /// An attribute that begins with an underscore.
    Unsafe(&'static str, &'a str),
    /// `else` of a conditional that has none.
    Otherwise,
}

impl Missing<'_> {
    pub(crate) fn error(self) -> Error {
        Error::failed(match self {
            Missing::Name(name) => format!("`{name}` is undefined"),
            Missing::Attribute(of, name) => format!("a {of} has no `{name}`"),
            Missing::Item(of) => format!("a {of} has no such item"),
            Missing::Unsafe(of, name) => format!("`{name}` of a {of} is out of bounds for templates"),
            Missing::Otherwise => "a condition without `else` did not hold, so there is no value".to_owned(),
        })
    }
}

/// A list that is made item by item, when they are asked for.
pub(crate) trait Items<'a> {
    fn len(&self) -> usize;
    fn item(&self, meter: &Rc<Meter>, n: usize) -> Result<Value<'a>, Error>;
}

/// A list or a tuple. It does not change.
pub(crate) struct List<'a> {
    items: ListItems<'a>,
    /// What the first items are also called, in tuples of that kind.
    names: &'static [&'static str],
    depth: usize,
    _charge: Charge,
}

/// What a list takes besides its items, and what a dictionary does.
const LIST_BYTES: usize = 96;

enum ListItems<'a> {
    Made(Vec<Value<'a>>),
    /// A stretch of such a list.
    Lazy(Rc<dyn Items<'a> + 'a>, std::ops::Range<usize>),
}

impl std::fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "List of {}", self.len())
    }
}

fn deeper(depth: usize) -> Result<usize, Error> {
    if depth >= MAX_VALUE_DEPTH {
        let what = format!("its values nest more than {MAX_VALUE_DEPTH} levels deep");
        return Err(Error::Limit(what));
    }
    Ok(depth + 1)
}

impl<'a> List<'a> {
    pub(crate) fn new(meter: &Rc<Meter>, items: Vec<Value<'a>>) -> Result<Rc<List<'a>>, Error> {
        List::named(meter, &[], items)
    }

    /// A list whose first items can be asked for by these names, too.
    pub(crate) fn named(
        meter: &Rc<Meter>,
        names: &'static [&'static str],
        items: Vec<Value<'a>>,
    ) -> Result<Rc<List<'a>>, Error> {
        let charge = Charge::new(meter, LIST_BYTES + items.len() * size_of::<Value>())?;
        let depth = deeper(items.iter().map(Value::depth).max().unwrap_or(0))?;
        Ok(Rc::new(List { items: ListItems::Made(items), names, depth, _charge: charge }))
    }

    /// The item of this name.
    pub(crate) fn by_name(&self, meter: &Rc<Meter>, name: &str) -> Result<Option<Value<'a>>, Error> {
        match self.names.iter().position(|known| *known == name) {
            Some(n) => self.get(meter, n),
            None => Ok(None),
        }
    }

    /// `depth` counts the levels within the items.
    pub(crate) fn lazy(
        meter: &Rc<Meter>,
        items: Rc<dyn Items<'a> + 'a>,
        depth: usize,
    ) -> Result<Rc<List<'a>>, Error> {
        let range = 0..items.len();
        let charge = Charge::new(meter, LIST_BYTES)?;
        let (items, depth) = (ListItems::Lazy(items, range), deeper(depth)?);
        Ok(Rc::new(List { items, names: &[], depth, _charge: charge }))
    }

    pub(crate) fn len(&self) -> usize {
        match &self.items {
            ListItems::Made(items) => items.len(),
            ListItems::Lazy(_, range) => range.len(),
        }
    }

    pub(crate) fn get(&self, meter: &Rc<Meter>, n: usize) -> Result<Option<Value<'a>>, Error> {
        match &self.items {
            ListItems::Made(items) => Ok(items.get(n).cloned()),
            ListItems::Lazy(items, range) if n < range.len() => Ok(Some(items.item(meter, range.start + n)?)),
            ListItems::Lazy(..) => Ok(None),
        }
    }

    /// Item `n` of those there are.
    pub(crate) fn at(&self, meter: &Rc<Meter>, n: usize) -> Result<Value<'a>, Error> {
        Ok(self.get(meter, n)?.unwrap_or(Value::None))
    }

    /// All items; each takes a step.
    pub(crate) fn to_vec(&self, meter: &Rc<Meter>) -> Result<Vec<Value<'a>>, Error> {
        let n = self.len();
        meter.step(n)?;
        // What a copy takes, before it is made.
        drop(Charge::new(meter, n * size_of::<Value>())?);
        (0..n).map(|n| self.at(meter, n)).collect()
    }

    /// Neighbouring items; those of a lazy list stay lazy.
    pub(crate) fn stretch(
        &self,
        meter: &Rc<Meter>,
        range: std::ops::Range<usize>,
    ) -> Result<Rc<List<'a>>, Error> {
        match &self.items {
            ListItems::Made(items) => {
                meter.step(range.len())?;
                List::new(meter, items[range].to_vec())
            }
            ListItems::Lazy(items, whole) => {
                let range = whole.start + range.start..whole.start + range.end;
                let charge = Charge::new(meter, LIST_BYTES)?;
                let items = ListItems::Lazy(items.clone(), range);
                Ok(Rc::new(List { items, names: &[], depth: self.depth, _charge: charge }))
            }
        }
    }
}

/// A dictionary in the order of its making. It does not change.
#[derive(Debug)]
pub(crate) struct Dict<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    depth: usize,
    _charge: Charge,
}

impl<'a> Dict<'a> {
    /// Keys must differ.
    pub(crate) fn new(
        meter: &Rc<Meter>,
        entries: Vec<(Value<'a>, Value<'a>)>,
    ) -> Result<Rc<Dict<'a>>, Error> {
        let charge = Charge::new(meter, LIST_BYTES + entries.len() * 2 * size_of::<Value>())?;
        let depths = entries.iter().map(|(key, value)| key.depth().max(value.depth()));
        let depth = deeper(depths.max().unwrap_or(0))?;
        Ok(Rc::new(Dict { entries, depth, _charge: charge }))
    }

    pub(crate) fn entries(&self) -> &[(Value<'a>, Value<'a>)] {
        &self.entries
    }

    /// The value of a key that is a text.
    pub(crate) fn get_text(&self, meter: &Meter, key: &str) -> Result<Option<&Value<'a>>, Error> {
        meter.step(self.entries.len() / 8)?;
        meter.read(key.len())?;
        let is_key = |entry: &&(Value, Value)| matches!(&entry.0, Value::Text(text) if text.as_str() == key);
        Ok(self.entries.iter().find(is_key).map(|(_, value)| value))
    }
}

/// Functions that are there without being defined.
pub(crate) const GLOBALS: [&str; 7] =
    ["range", "dict", "cycler", "joiner", "namespace", "raise_exception", "strftime_now"];

/// Something that can be called, with the room it takes.
#[derive(Debug)]
pub(crate) struct Charged<'a> {
    callable: Callable<'a>,
    _charge: Charge,
}

impl<'a> Charged<'a> {
    pub(crate) fn kind(&self) -> &Callable<'a> {
        &self.callable
    }
}

#[derive(Debug)]
pub(crate) enum Callable<'a> {
    Global(&'static str),
    Macro(MacroValue<'a>),
    Method(Value<'a>, Text<'a>),
    /// `cycler(…)`, and where it stands.
    Cycler(Rc<List<'a>>, Cell<usize>),
    /// `joiner(…)`, and whether it was called.
    Joiner(Text<'a>, Cell<bool>),
}

#[derive(Debug)]
pub(crate) struct MacroValue<'a> {
    pub macro_: &'a Macro,
    /// Where it was defined. The rendering keeps these apart as well and empties them at its end, so that
    /// macros and scopes that know each other are let go.
    pub scope: Rc<Scope<'a>>,
}

/// Variables of a body, and those around it.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub variables: RefCell<Vec<(Symbol, Value<'a>)>>,
    parent: Option<Rc<Scope<'a>>>,
    /// Whether a macro keeps it.
    pub is_kept: Cell<bool>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(parent: Option<&Rc<Scope<'a>>>) -> Rc<Scope<'a>> {
        let (variables, parent) = (RefCell::new(Vec::new()), parent.cloned());
        Rc::new(Scope { variables, parent, is_kept: Cell::new(false) })
    }

    pub(crate) fn get(&self, meter: &Meter, symbol: Symbol) -> Result<Option<Value<'a>>, Error> {
        let mut scope = self;
        loop {
            let variables = scope.variables.borrow();
            meter.step(variables.len() / 16)?;
            if let Some((_, value)) = variables.iter().rev().find(|(name, _)| *name == symbol) {
                return Ok(Some(value.clone()));
            }
            drop(variables);
            let Some(parent) = scope.parent.as_deref() else { return Ok(None) };
            scope = parent;
        }
    }
}

/// The variable `loop`.
#[derive(Debug)]
pub(crate) struct Loop<'a> {
    pub items: Rc<List<'a>>,
    pub index0: Cell<usize>,
    pub level: usize,
    /// What `changed` was last called with.
    pub last: RefCell<Option<Rc<List<'a>>>>,
    /// Whether its last round has ended.
    pub is_over: Cell<bool>,
    /// The loop's body, where it calls itself.
    pub recursion: Option<(&'a crate::ast::For, Rc<Scope<'a>>)>,
}

impl<'a> Value<'a> {
    /// Levels of lists and dictionaries in it.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Value::List(list) | Value::Tuple(list) => list.depth,
            Value::Dict(dict) => dict.depth,
            Value::Loop(of) => of.items.depth + 1,
            Value::Iterator(of) => of.items.depth,
            Value::Callable(callable) => match callable.kind() {
                Callable::Method(of, _) => of.depth() + 1,
                Callable::Cycler(items, _) => items.depth + 1,
                _ => 0,
            },
            _ => 0,
        }
    }

    /// A text of the template's.
    pub(crate) fn literal(text: &'a str) -> Value<'a> {
        Value::Text(Text::Borrowed(text, Mark::TEMPLATE))
    }

    pub(crate) fn method(meter: &Rc<Meter>, of: &Value<'a>, name: &'a str) -> Result<Value<'a>, Error> {
        deeper(of.depth())?;
        let name = Text::Borrowed(name, Mark::TEMPLATE);
        Value::callable(meter, Callable::Method(of.clone(), name))
    }

    pub(crate) fn callable(meter: &Rc<Meter>, callable: Callable<'a>) -> Result<Value<'a>, Error> {
        let _charge = Charge::new(meter, size_of::<Charged>())?;
        Ok(Value::Callable(Rc::new(Charged { callable, _charge })))
    }

    /// Items that can be gone through once.
    pub(crate) fn iterator(meter: &Rc<Meter>, items: Vec<Value<'a>>) -> Result<Value<'a>, Error> {
        let items = List::new(meter, items)?;
        Ok(Value::Iterator(Rc::new(Iterator { items, taken: Cell::new(0) })))
    }

    /// The type, as messages name it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "undefined value",
            Value::None => "None",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "string",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Namespace(_) => "namespace",
            Value::Callable(_) => "function",
            Value::Loop(_) => "loop",
            Value::Iterator(_) => "iterator",
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => text.len() > 0,
            Value::List(list) | Value::Tuple(list) => list.len() > 0,
            Value::Dict(dict) => !dict.entries.is_empty(),
            Value::Namespace(_) | Value::Callable(_) | Value::Loop(_) | Value::Iterator(_) => true,
        }
    }

    /// As a whole number, where it is one; truth values are.
    pub(crate) fn as_int(&self) -> Option<i128> {
        match self {
            Value::Bool(value) => Some(i128::from(*value)),
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            other => other.as_int().map(|value| value as f64),
        }
    }
}

/// The arguments of a call.
#[derive(Debug, Default)]
pub(crate) struct Args<'a> {
    pub positional: Vec<Value<'a>>,
    pub named: Vec<(Text<'a>, Value<'a>)>,
}

impl<'a> Args<'a> {
    /// Arguments for `parameters`, by position or by name; others are an error that names `of`.
    pub(crate) fn bind<const N: usize>(
        self,
        of: &str,
        parameters: [&str; N],
    ) -> Result<[Option<Value<'a>>; N], Error> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            let n = self.positional.len();
            return Err(Error::failed(format!("`{of}` takes at most {N} arguments, {n} are given")));
        }
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let slot = parameters.iter().position(|parameter| *parameter == name.as_str());
            match slot.map(|n| &mut bound[n]) {
                Some(slot @ None) => *slot = Some(value),
                Some(_) => {
                    return Err(Error::failed(format!("`{of}` is given `{}` twice", name.as_str())));
                }
                None => return Err(Error::failed(format!("`{of}` knows no argument `{}`", name.as_str()))),
            }
        }
        Ok(bound)
    }

    /// For a call that takes none.
    pub(crate) fn none(self, of: &str) -> Result<(), Error> {
        self.bind::<0>(of, []).map(drop)
    }
}

/// Names as symbols and back.
pub(crate) fn name_of(names: &[Box<str>], symbol: Symbol) -> &str {
    names.get(symbol as usize).map_or("", |name| name)
}
