//! A pickle machine that can build tensors and nothing else.
//!
//! Python's pickle is a program for a stack machine; in full it can call any function of any module. This
//! machine knows the instructions PyTorch writes for a dictionary of tensors and a short list of names.
//! Anything else stops it with an error that says what was asked for.
//!
//! The stack, the marks and the memo hold indices into one table of values. Nothing here follows references
//! from value to value, so data that contains itself does no harm, and each of the four has a limit.

use std::rc::Rc;

use super::value::{Global, Id, Object, Storage, Tensor, Value};
use crate::cursor::Cursor;
use crate::error::Problem;
use crate::visible::quote;

/// The most values a pickle may make. A thousand tensors make some 25 thousand.
const MAX_VALUES: usize = 1 << 20;
/// The most values that may wait on the stack. Python writes dictionaries in batches of a thousand.
const MAX_STACK: usize = 1 << 20;
/// How deep open collections may nest. A dictionary of tensors needs five.
const MAX_MARKS: usize = 256;
/// The most dimensions of a tensor.
const MAX_DIMS: usize = 16;

/// Runs the pickle at the start of `bytes`.
pub(super) fn unpickle(bytes: &[u8]) -> Result<Object, Problem> {
    Machine {
        cursor: Cursor::new(bytes),
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
    }
    .run()
}

struct Machine<'a> {
    cursor: Cursor<'a>,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// The heights of the stack where collections were opened.
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
}

impl Machine<'_> {
    fn run(mut self) -> Result<Object, Problem> {
        loop {
            let at = self.cursor.position();
            let opcode = self.cursor.u8("an instruction")?;
            let stop = self
                .step(opcode)
                .map_err(|problem| problem.about(format!("pickle instruction at byte {at}")))?;
            if let Some(root) = stop {
                return Ok(Object::new(self.values, root, self.cursor.position()));
            }
        }
    }

    /// Obeys one instruction; returns the result at the last.
    fn step(&mut self, opcode: u8) -> Result<Option<Id>, Problem> {
        match opcode {
            // PROTO: the instructions themselves are checked, so the version only has to be one that exists.
            0x80 => match self.cursor.u8("PROTO")? {
                0..=5 => {}
                other => {
                    return Err(Problem::unsupported(format!("pickle protocol {other} is not supported")));
                }
            },
            // FRAME announces how much to read ahead, which is of no use in a map.
            0x95 => drop(self.cursor.u64("FRAME")?),
            b'.' => return self.pop().map(Some),

            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let value = i32::from_le_bytes(self.cursor.array("BININT")?);
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let value = self.cursor.u8("BININT1")?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = self.cursor.u16("BININT2")?;
                self.push(Value::Int(value.into()))?;
            }
            0x8a => self.long1()?,
            b'G' => {
                self.cursor.take(8, "BINFLOAT")?;
                self.push(Value::Float)?;
            }
            b'X' => {
                let len = self.cursor.u32("BINUNICODE")?;
                self.string(len.into())?;
            }
            0x8c => {
                let len = self.cursor.u8("SHORT_BINUNICODE")?;
                self.string(len.into())?;
            }

            b'(' => self.mark()?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b']' => self.push(Value::List(Vec::new()))?,
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Value::Tuple(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(&[item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.extend_list(&items)?;
            }
            b's' => {
                let pair = self.pop_many(2)?;
                self.extend_dict(&pair)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend_dict(&items)?;
            }

            b'q' => {
                let slot = self.cursor.u8("BINPUT")?;
                self.remember(slot.into())?;
            }
            b'r' => {
                let slot = self.cursor.u32("LONG_BINPUT")?;
                self.remember(slot as usize)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let slot = self.cursor.u8("BINGET")?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = self.cursor.u32("LONG_BINGET")?;
                self.recall(slot as usize)?;
            }

            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(&module, &name)?;
            }
            0x93 => {
                let ids = self.pop_many(2)?;
                let (module, name) = (self.str(ids[0])?, self.str(ids[1])?);
                self.global(&module, &name)?;
            }
            b'Q' => self.persistent_id()?,
            b'R' | 0x81 => self.call()?,
            b'b' => self.build()?,
            other => return Err(unsupported_opcode(other)),
        }
        Ok(None)
    }

    fn push(&mut self, value: Value) -> Result<(), Problem> {
        if self.values.len() >= MAX_VALUES {
            return Err(Problem::unsupported(format!("the pickle makes more than {MAX_VALUES} values")));
        }
        let id = self.values.len() as Id;
        self.values.push(value);
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), Problem> {
        if self.stack.len() >= MAX_STACK {
            return Err(Problem::unsupported(format!("the pickle piles up more than {MAX_STACK} values")));
        }
        self.stack.push(id);
        Ok(())
    }

    /// Takes the last `count` values off the stack, but none from below the last mark.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= floor);
        Ok(self.stack.split_off(start.ok_or_else(stack_underflow)?))
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(stack_underflow());
        }
        self.stack.pop().ok_or_else(stack_underflow)
    }

    fn mark(&mut self) -> Result<(), Problem> {
        if self.marks.len() >= MAX_MARKS {
            return Err(Problem::unsupported(format!("collections nest deeper than {MAX_MARKS}")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let mark =
            self.marks.pop().ok_or_else(|| Problem::malformed("a collection ends that never began"))?;
        Ok(self.stack.split_off(mark))
    }

    /// The value on top of the stack, to be changed in place.
    fn top(&mut self) -> Result<&mut Value, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let id = self.stack.get(floor..).and_then(|open| open.last()).copied().ok_or_else(stack_underflow)?;
        Ok(&mut self.values[id as usize])
    }

    fn extend_list(&mut self, items: &[Id]) -> Result<(), Problem> {
        match self.top()? {
            Value::List(list) => list.extend(items),
            Value::Opaque => {}
            other => return Err(Problem::malformed(format!("items are added to {}", other.describe()))),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Id]) -> Result<(), Problem> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Problem::malformed("a dictionary gets a key without a value"));
        }
        match self.top()? {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            other => return Err(Problem::malformed(format!("items are set in {}", other.describe()))),
        }
        Ok(())
    }

    fn remember(&mut self, slot: usize) -> Result<(), Problem> {
        // Writers number the slots one by one, so a slot far beyond the values made so far is not theirs.
        if slot > self.values.len() {
            return Err(Problem::malformed(format!(
                "memo slot {slot} is far ahead of the values made so far"
            )));
        }
        let id = self.pop()?;
        self.push_id(id)?;
        if slot >= self.memo.len() {
            self.memo.resize(slot + 1, None);
        }
        self.memo[slot] = Some(id);
        Ok(())
    }

    fn recall(&mut self, slot: usize) -> Result<(), Problem> {
        let id = self.memo.get(slot).copied().flatten();
        self.push_id(
            id.ok_or_else(|| Problem::malformed(format!("memo slot {slot} is used before it is set")))?,
        )
    }

    fn long1(&mut self) -> Result<(), Problem> {
        let len = self.cursor.u8("LONG1")?;
        let bytes = self.cursor.take(len.into(), "LONG1")?;
        if bytes.len() > 8 {
            return Err(Problem::unsupported(format!("an integer of {len} bytes is not supported")));
        }
        // Little-endian two's complement, the sign in the top bit of the last byte.
        let negative = bytes.last().is_some_and(|&last| last >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn string(&mut self, len: u64) -> Result<(), Problem> {
        let bytes = self.cursor.take(len, "a string")?;
        let text = std::str::from_utf8(bytes).map_err(|_| Problem::malformed("a string is not UTF-8"))?;
        self.push(Value::Str(text.into()))
    }

    /// The text up to the next newline.
    fn line(&mut self) -> Result<String, Problem> {
        const MAX_LINE_BYTES: usize = 256;
        let mut line = Vec::new();
        loop {
            match self.cursor.u8("a name")? {
                b'\n' => break,
                _ if line.len() == MAX_LINE_BYTES => return Err(Problem::malformed("a name is too long")),
                byte => line.push(byte),
            }
        }
        String::from_utf8(line).map_err(|_| Problem::malformed("a name is not UTF-8"))
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        let Some(global) = Global::find(module, name) else {
            let fact = format!("the pickle asks for {}", quote(&format!("{module}.{name}")));
            let problem = Problem::unsupported(format!("{fact}, which no dictionary of tensors needs"));
            return Err(problem.hint(
                "such a file could run any code when Python loads it; convert it to safetensors if you trust it",
            ));
        };
        self.push(Value::Global(global))
    }

    /// A storage, named by `("storage", type, key, location, length)`. Old files add a sixth part, which is
    /// `None`.
    fn persistent_id(&mut self) -> Result<(), Problem> {
        let id = self.pop()?;
        let Value::Tuple(parts) = &self.values[id as usize] else {
            return Err(Problem::malformed("a storage is not named by a tuple"));
        };
        let parts: Vec<&Value> = parts.iter().map(|&part| &self.values[part as usize]).collect();
        let storage = match parts[..] {
            [
                Value::Str(kind),
                Value::Global(Global::Storage(dtype)),
                Value::Str(key),
                _,
                Value::Int(len),
            ]
            | [
                Value::Str(kind),
                Value::Global(Global::Storage(dtype)),
                Value::Str(key),
                _,
                Value::Int(len),
                Value::None,
            ] if **kind == *"storage" => {
                let len = usize::try_from(*len)
                    .map_err(|_| Problem::malformed(format!("a storage has {len} elements")))?;
                Storage { dtype: *dtype, key: key.clone(), len }
            }
            _ => return Err(Problem::unsupported("a storage is named in an unknown way")),
        };
        self.push(Value::Storage(storage))
    }

    /// Calls what is below the top of the stack with the tuple on top.
    fn call(&mut self) -> Result<(), Problem> {
        let ids = self.pop_many(2)?;
        let Value::Global(function) = self.values[ids[0] as usize] else {
            let what = self.values[ids[0] as usize].describe();
            return Err(Problem::malformed(format!("{what} is called like a function")));
        };
        let Value::Tuple(args) = &self.values[ids[1] as usize] else {
            return Err(Problem::malformed("a function is called without a tuple of arguments"));
        };
        match (function, args.as_slice()) {
            (Global::RebuildTensor, args) => {
                let tensor = self.tensor(args)?;
                self.push(Value::Tensor(tensor))
            }
            (Global::RebuildParameter, &[tensor, _, _]) => self.push_id(tensor),
            (Global::OrderedDict, []) => self.push(Value::Dict(Vec::new())),
            (Global::Ignored, _) => self.push(Value::Opaque),
            (function, args) => {
                Err(Problem::unsupported(format!("{function:?} is called with {} arguments", args.len())))
            }
        }
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`, sometimes with a seventh
    /// argument of metadata.
    fn tensor(&self, args: &[Id]) -> Result<Tensor, Problem> {
        let &([storage, offset, shape, strides, _, _] | [storage, offset, shape, strides, _, _, _]) = args
        else {
            return Err(Problem::unsupported(format!("a tensor is built from {} arguments", args.len())));
        };
        if !matches!(self.values[storage as usize], Value::Storage(_)) {
            let what = self.values[storage as usize].describe();
            return Err(Problem::malformed(format!("a tensor is built on {what} instead of a storage")));
        }
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() || shape.len() > MAX_DIMS {
            let (n_sizes, n_strides) = (shape.len(), strides.len());
            return Err(Problem::malformed(format!(
                "a tensor has {n_sizes} dimensions and {n_strides} strides"
            )));
        }
        Ok(Tensor { storage, offset: self.size(offset)?, shape, strides })
    }

    fn size(&self, id: Id) -> Result<usize, Problem> {
        match &self.values[id as usize] {
            Value::Int(size) => {
                usize::try_from(*size).map_err(|_| Problem::malformed(format!("a size or stride is {size}")))
            }
            other => Err(Problem::malformed(format!("a size or stride is {}", other.describe()))),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, Problem> {
        match &self.values[id as usize] {
            Value::Tuple(sizes) if sizes.len() <= MAX_DIMS => {
                sizes.iter().map(|&size| self.size(size)).collect()
            }
            Value::Tuple(sizes) => {
                Err(Problem::malformed(format!("a tensor has {} dimensions", sizes.len())))
            }
            other => Err(Problem::malformed(format!("a shape is {}", other.describe()))),
        }
    }

    /// Sets attributes. The only ones in such files say which version wrote a module's tensors.
    fn build(&mut self) -> Result<(), Problem> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) | Value::Opaque => Ok(()),
            other => Err(Problem::unsupported(format!("attributes are set on {}", other.describe()))),
        }
    }

    fn str(&self, id: Id) -> Result<Rc<str>, Problem> {
        match &self.values[id as usize] {
            Value::Str(text) => Ok(text.clone()),
            other => Err(Problem::malformed(format!("a name is {}", other.describe()))),
        }
    }
}

fn stack_underflow() -> Problem {
    Problem::malformed("the pickle takes a value that is not there")
}

fn unsupported_opcode(opcode: u8) -> Problem {
    let name = match opcode {
        b'i' => " (INST)",
        b'o' => " (OBJ)",
        0x92 => " (NEWOBJ_EX)",
        0x82..=0x84 => " (EXT)",
        b'P' => " (PERSID)",
        b'B' | b'C' | 0x8e => " (BINBYTES)",
        0x8b => " (LONG4)",
        b'0' | b'1' | b'2' => " (POP, POP_MARK or DUP)",
        _ => "",
    };
    Problem::unsupported(format!("opcode 0x{opcode:02x}{name} is not part of a dictionary of tensors"))
}
