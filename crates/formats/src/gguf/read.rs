//! Reading one GGUF file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use puna_tensor::Bytes;

use super::ggml_type::dtype_of;
use super::metadata::Metadata;
use super::value::{Value, decode_string};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS};
use crate::cursor::Cursor;
use crate::error::{FormatError, Problem};
use crate::lookalike;
use crate::tensor_map::{TensorInfo, TensorMap, TensorView};
use crate::visible::quote;

/// The contents of one GGUF file.
#[derive(Clone, Debug)]
pub struct GgufFile {
    /// The version of the format: 1, whose lengths have 32 bits, or 2 or 3, which differ in nothing we read.
    pub version: u32,
    /// The key-value table.
    pub metadata: Metadata,
    /// The tensors.
    pub tensors: TensorMap,
}

/// Reads the bytes of one GGUF file; `path` is for messages.
pub fn parse(bytes: &Bytes, path: &Path) -> Result<GgufFile, FormatError> {
    let fail = |problem: Problem| problem.in_file(path);
    if !bytes.starts_with(&MAGIC) {
        let unknown = || Problem::not_a_model("is not a GGUF file: it does not begin with `GGUF`");
        return Err(fail(lookalike::explain(bytes).unwrap_or_else(unknown)));
    }
    let mut cursor = Cursor::new(bytes);
    let header = Header::decode(&mut cursor).map_err(fail)?;
    let metadata = decode_metadata(&mut cursor, header.n_entries, path).map_err(fail)?;
    let alignment = alignment(&metadata)?;
    let infos = decode_infos(&mut cursor, header.n_tensors).map_err(fail)?;
    let data_start = cursor.position().checked_next_multiple_of(alignment).unwrap_or(usize::MAX);
    let tensors = place(infos, bytes, data_start, alignment).map_err(fail)?;
    Ok(GgufFile { version: header.version, metadata, tensors })
}

/// The keys of a GGUF file before its tokenizer's, of which the vocabulary takes most of the time to read, as far as they lie
/// whole in the first `max_bytes` bytes.
///
/// # Errors
/// If it cannot be read, or is no GGUF file.
pub fn parse_head(path: &Path, max_bytes: u64) -> Result<Metadata, FormatError> {
    let fail = |problem: Problem| problem.in_file(path);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max_bytes).read_to_end(&mut bytes));
    read.map_err(|error| FormatError::io(path, &error))?;
    if !bytes.starts_with(&MAGIC) {
        return Err(fail(Problem::not_a_model("is not a GGUF file: it does not begin with `GGUF`")));
    }
    let mut cursor = Cursor::new(&bytes);
    let header = Header::decode(&mut cursor).map_err(fail)?;
    let mut metadata = Metadata::new(path);
    for _ in 0..header.n_entries {
        // What is cut off ends it, and so does what is wrong: whoever reads all of the file will say so.
        let Ok(key) = decode_string(&mut cursor) else { break };
        if key.starts_with("tokenizer.") {
            break;
        }
        let Ok(value) = Value::decode(&mut cursor) else { break };
        metadata.set(key, value);
    }
    Ok(metadata)
}

struct Header {
    version: u32,
    n_tensors: u64,
    n_entries: u64,
}

impl Header {
    fn decode(cursor: &mut Cursor<'_>) -> Result<Header, Problem> {
        cursor.take(MAGIC.len() as u64, "the magic")?;
        let version = cursor.u32("the version")?;
        match version {
            // In use for some weeks of August 2023.
            1 => cursor.shorten_lengths(),
            2 | 3 => {}
            _ if matches!(version.swap_bytes(), 1..=3) => {
                let problem = Problem::unsupported("is a big-endian GGUF file");
                return Err(
                    problem.hint("convert it to little-endian, for example with gguf_convert_endian.py")
                );
            }
            other => {
                let fact = format!("is a GGUF file of version {other}; versions 1 to 3 are supported");
                return Err(Problem::unsupported(fact));
            }
        }
        let n_tensors = cursor.length("the tensor count")?;
        let n_entries = cursor.length("the metadata count")?;
        Ok(Header { version, n_tensors, n_entries })
    }
}

/// Refuses a count of things that each take at least `least_bytes` when the file has no room for them.
fn check_count(cursor: &Cursor<'_>, count: u64, least_bytes: u64, things: &str) -> Result<(), Problem> {
    let left = cursor.remaining() as u64;
    if count <= left / least_bytes {
        return Ok(());
    }
    Err(Problem::malformed(format!("says it has {count} {things}, but only {left} bytes are left for them")))
}

fn decode_metadata(cursor: &mut Cursor<'_>, n_entries: u64, path: &Path) -> Result<Metadata, Problem> {
    // A key's length, a value type and a one-byte value.
    check_count(cursor, n_entries, cursor.length_bytes() + 5, "metadata entries")?;
    let mut metadata = Metadata::new(path);
    for entry_idx in 0..n_entries {
        let key =
            decode_string(cursor).map_err(|problem| problem.about(format!("metadata key {entry_idx}")))?;
        if metadata.get(&key).is_some() {
            return Err(Problem::malformed(format!("metadata key {} occurs twice", quote(&key))));
        }
        let value = Value::decode(cursor);
        let value = value.map_err(|problem| problem.about(format!("metadata key {}", quote(&key))))?;
        metadata.set(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &Metadata) -> Result<usize, FormatError> {
    let alignment = metadata.opt_u32(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() {
        let fact = format!("metadata key `{ALIGNMENT_KEY}` is {alignment}, which is not a power of two");
        return Err(Problem::malformed(fact).in_file(metadata.path()));
    }
    Ok(alignment as usize)
}

/// A tensor's description and where its data begins, counted from the start of all data.
struct PlacedInfo {
    info: TensorInfo,
    offset: u64,
}

fn decode_infos(cursor: &mut Cursor<'_>, n_tensors: u64) -> Result<Vec<PlacedInfo>, Problem> {
    // A name's length, the number of dimensions, the type and the offset.
    check_count(cursor, n_tensors, cursor.length_bytes() + 16, "tensors")?;
    let decode = |tensor_idx| {
        let name =
            decode_string(cursor).map_err(|problem| problem.about(format!("name of tensor {tensor_idx}")))?;
        decode_info(cursor, &name).map_err(|problem| problem.about(format!("tensor {}", quote(&name))))
    };
    (0..n_tensors).map(decode).collect()
}

fn decode_info(cursor: &mut Cursor<'_>, name: &str) -> Result<PlacedInfo, Problem> {
    let n_dims = cursor.u32("the number of dimensions")?;
    if n_dims > MAX_DIMS {
        return Err(Problem::malformed(format!("has {n_dims} dimensions; the most are {MAX_DIMS}")));
    }
    let mut shape = Vec::new();
    for _ in 0..n_dims {
        let size = cursor.length("a dimension")?;
        let size = size.try_into().map_err(|_| Problem::malformed(format!("has a dimension of {size}")))?;
        shape.push(size);
    }
    shape.reverse();
    let dtype = dtype_of(cursor.u32("the type")?)?;
    let offset = cursor.u64("the offset")?;
    Ok(PlacedInfo { info: TensorInfo { name: name.to_owned(), dtype, shape }, offset })
}

/// Gives each tensor its bytes, after checking that they are aligned, inside the file, and nobody else's.
fn place(
    infos: Vec<PlacedInfo>,
    bytes: &Bytes,
    data_start: usize,
    alignment: usize,
) -> Result<TensorMap, Problem> {
    let mut tensors = TensorMap::default();
    let mut ranges = Vec::with_capacity(infos.len());
    for PlacedInfo { info, offset } in infos {
        let data_bytes = info.data_bytes()?;
        if !offset.is_multiple_of(alignment as u64) {
            let fact = format!("its offset {offset} is not a multiple of the alignment {alignment}");
            return Err(Problem::malformed(fact).about(info.title()));
        }
        let start = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(data_start));
        let range = start.and_then(|start| Some(start..start.checked_add(data_bytes)?));
        // An empty tensor after the last one may begin past the end of a file without final padding.
        let data = match &range {
            Some(range) if range.is_empty() => bytes.slice(0..0),
            Some(range) => bytes.slice(range.clone()),
            None => None,
        };
        let Some((range, data)) = range.zip(data) else {
            let fact = format!(
                "its {data_bytes} bytes at offset {offset} of the data end after the file, which has {} bytes",
                bytes.len()
            );
            let problem = Problem::malformed(fact).about(info.title());
            return Err(problem.hint("the file is cut short; compare its size with the original"));
        };
        let TensorInfo { name, dtype, shape } = info;
        if !range.is_empty() {
            ranges.push((range, name.clone()));
        }
        tensors.insert(TensorView { name, dtype, shape, data })?;
    }
    ranges.sort_by_key(|(range, _)| range.start);
    for pair in ranges.windows(2) {
        let [(first, first_name), (second, second_name)] = pair else { continue };
        if first.end > second.start {
            let (first, second) = (quote(first_name), quote(second_name));
            return Err(Problem::malformed(format!("the data of tensors {first} and {second} overlap")));
        }
    }
    Ok(tensors)
}
