//! `.pth` files of before PyTorch 1.6: five pickles one after another, then the storages.
//!
//! The pickles are a magic number, a protocol version, facts about the machine that wrote the file, the
//! object, and the list of storage keys. The storages follow in the order of that list, each preceded by its
//! number of elements.

use std::collections::HashMap;

use puna_tensor::{Bytes, DType};

use super::MAX_PICKLE_BYTES;
use super::pickle::unpickle;
use super::tensors::{Storages, build_tensors};
use super::value::{Object, Value};
use crate::cursor::Cursor;
use crate::error::Problem;
use crate::tensor_map::TensorMap;
use crate::visible::quote;

/// The first pickle: protocol 2, the integer 0x1950a86a20f9469cfc6c, stop.
const MAGIC_PICKLE: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The only version of the layout there ever was.
const PROTOCOL_VERSION: i64 = 1001;

/// Whether bytes begin like such a file.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC_PICKLE)
}

/// Reads a file that [`looks_like`] one of these.
pub(super) fn parse(bytes: &Bytes) -> Result<TensorMap, Problem> {
    let mut at = MAGIC_PICKLE.len();
    let mut next = |what: &str| -> Result<(Object, usize), Problem> {
        let end = bytes.len().min(at.saturating_add(MAX_PICKLE_BYTES));
        let object = unpickle(&bytes[at..end]).map_err(|problem| problem.about(what))?;
        at += object.n_bytes;
        Ok((object, at))
    };
    let (version, _) = next("the protocol version")?;
    match version.root() {
        Value::Int(PROTOCOL_VERSION) => {}
        _ => return Err(Problem::unsupported("is a PyTorch file of an unknown version of the old format")),
    }
    let (machine, _) = next("the facts about the machine")?;
    if !is_little_endian(&machine) {
        return Err(Problem::unsupported("was written on a big-endian machine"));
    }
    let (object, _) = next("the dictionary of tensors")?;
    let (keys, data_start) = next("the list of storages")?;
    let storages = read_storages(&object, &keys, bytes, data_start)?;
    build_tensors(&object, &storages, bytes.len())
}

fn is_little_endian(machine: &Object) -> bool {
    let Value::Dict(facts) = machine.root() else { return false };
    facts.iter().any(|&(key, value)| {
        matches!(machine.get(key), Value::Str(key) if **key == *"little_endian")
            && matches!(machine.get(value), Value::Bool(true))
    })
}

struct LegacyStorages(HashMap<String, Bytes>);

impl Storages for LegacyStorages {
    fn storage(&self, key: &str) -> Result<Bytes, Problem> {
        let missing = || Problem::malformed(format!("the file has no storage {}", quote(key)));
        self.0.get(key).cloned().ok_or_else(missing)
    }
}

/// The storages behind the pickles. Only the object knows the type of each.
fn read_storages(
    object: &Object,
    keys: &Object,
    bytes: &Bytes,
    start: usize,
) -> Result<LegacyStorages, Problem> {
    let Value::List(keys_in_order) = keys.root() else {
        return Err(Problem::malformed("the list of storages is not a list"));
    };
    let dtypes: HashMap<&str, DType> =
        object.storages().map(|storage| (&*storage.key, storage.dtype)).collect();
    let mut cursor = Cursor::new(&bytes[start..]);
    let mut storages = HashMap::new();
    for &key in keys_in_order {
        let Value::Str(key) = keys.get(key) else {
            return Err(Problem::malformed("a key in the list of storages is not a string"));
        };
        let about = |problem: Problem| problem.about(format!("storage {}", quote(key)));
        let unknown = || about(Problem::malformed("is in the file, but no tensor names it"));
        let dtype = *dtypes.get(&**key).ok_or_else(unknown)?;
        let len = cursor.u64("the number of elements").map_err(about)?;
        let n_bytes = usize::try_from(len).ok().and_then(|len| dtype.bytes_of(len));
        let n_bytes = n_bytes.ok_or_else(|| about(Problem::malformed(format!("has {len} elements"))))?;
        cursor.take(n_bytes as u64, "the elements").map_err(about)?;
        let end = start + cursor.position();
        let data = bytes.slice(end - n_bytes..end).expect("the cursor has just read as far");
        if storages.insert(key.to_string(), data).is_some() {
            return Err(about(Problem::malformed("is listed twice")));
        }
    }
    Ok(LegacyStorages(storages))
}
