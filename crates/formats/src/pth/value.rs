//! What a pickle of tensors is made of.
//!
//! Values live in one table and refer to each other by index, as Python's objects do by reference. So a
//! dictionary can be filled after it was remembered, two tensors can share a storage, and a list that
//! contains itself is merely an index that occurs twice.

use std::rc::Rc;

use puna_tensor::DType;

/// The index of a value.
pub(super) type Id = u32;

/// A value a pickle can make.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Read over: no tensor is made of floats.
    Float,
    /// Shared, so that naming a long string many times costs its length once.
    Str(Rc<str>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// A dictionary or ordered dictionary: keys and values in the order they were set.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(Tensor),
    /// Something allowed to be there and never looked into.
    Opaque,
}

impl Value {
    /// The kind of value in words, for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a bool",
            Value::Int(_) => "an integer",
            Value::Float => "a float",
            Value::Str(_) => "a string",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Global(_) => "a function or type",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
            Value::Opaque => "extra state",
        }
    }
}

/// The names of Python a pickle may use. There are no others: this list is what makes reading safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// The type of a storage.
    Storage(DType),
    RebuildTensor,
    RebuildParameter,
    OrderedDict,
    /// `io.BytesIO` and `_codecs.encode`: what extra state beside the tensors is made of.
    Ignored,
}

impl Global {
    /// The global of a name, if it is on the list.
    pub fn find(module: &str, name: &str) -> Option<Global> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("io" | "_io", "BytesIO") | ("_codecs", "encode") => Global::Ignored,
            ("torch", name) => Global::Storage(match name.strip_suffix("Storage")? {
                "BFloat16" => DType::BF16,
                "Half" => DType::F16,
                "Float" => DType::F32,
                "Double" => DType::F64,
                "Long" => DType::I64,
                "Int" => DType::I32,
                "Short" => DType::I16,
                "Char" => DType::I8,
                "Byte" => DType::U8,
                "Bool" => DType::Bool,
                _ => return None,
            }),
            _ => return None,
        })
    }
}

/// A run of elements that tensors are views of.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub dtype: DType,
    pub key: Rc<str>,
    /// Its length in elements.
    pub len: usize,
}

/// A view of a storage. Offset and strides count elements.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub storage: Id,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// What a pickle made: a table of values, one of which is the result.
pub(super) struct Object {
    values: Vec<Value>,
    root: Id,
    /// How many bytes the pickle took.
    pub n_bytes: usize,
}

impl Object {
    /// The result `root` among `values`, made by a pickle of `n_bytes`.
    pub fn new(values: Vec<Value>, root: Id, n_bytes: usize) -> Object {
        Object { values, root, n_bytes }
    }

    /// The value at an index.
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// The result.
    pub fn root(&self) -> &Value {
        self.get(self.root)
    }

    /// All storages the pickle names.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}
