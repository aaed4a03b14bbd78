//! Reading one safetensors file, as strictly as the reference implementation does.
//!
//! The header is JSON: an object from tensor name to type, shape and byte range. Keys must be unique, and the
//! ranges must tile the data exactly: no overlap, no hole, nothing before or after.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use puna_tensor::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::dtype::dtype_of;
use super::{MAX_HEADER_BYTES, METADATA_KEY};
use crate::cursor::Cursor;
use crate::error::{FormatError, Problem};
use crate::json::UniqueMap;
use crate::lookalike;
use crate::mapped_file::MappedFile;
use crate::tensor_map::{TensorInfo, TensorMap, TensorView};
use crate::visible::quote;

/// The contents of one safetensors file.
#[derive(Clone, Debug)]
pub struct SafetensorsFile {
    /// The texts under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// The tensors.
    pub tensors: TensorMap,
}

/// Opens a safetensors file.
pub fn open(path: &Path) -> Result<SafetensorsFile, FormatError> {
    let file = MappedFile::open(path)?;
    let mut parsed = file.read(|bytes| parse(bytes, path))?;
    parsed.tensors.keep(file);
    Ok(parsed)
}

/// Reads the bytes of a safetensors file; `path` is for messages.
pub fn parse(bytes: &Bytes, path: &Path) -> Result<SafetensorsFile, FormatError> {
    let read = || {
        let (header, data) = split_header(bytes)?;
        let header: Header = serde_json::from_slice(&header)
            .map_err(|error| Problem::malformed(format!("its header is not the JSON expected: {error}")))?;
        Ok(SafetensorsFile { metadata: header.metadata, tensors: place(header.tensors, &data)? })
    };
    read().map_err(|problem: Problem| problem.in_file(path))
}

/// Whether bytes begin like a safetensors file: a plausible header length and an opening brace.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else { return false };
    u64::from_le_bytes(*len) <= MAX_HEADER_BYTES && rest.first() == Some(&b'{')
}

/// The JSON header and the data behind it.
fn split_header(bytes: &Bytes) -> Result<(Bytes, Bytes), Problem> {
    if !looks_like(bytes)
        && let Some(problem) = lookalike::explain(bytes)
    {
        return Err(problem);
    }
    let mut cursor = Cursor::new(bytes);
    let len = cursor.u64("the header's length")?;
    if len > MAX_HEADER_BYTES {
        let fact = format!("is not a safetensors file, or damaged: its header would have {len} bytes");
        return Err(Problem::malformed(fact).hint(format!("the limit is {MAX_HEADER_BYTES}")));
    }
    let start = cursor.position();
    if !cursor.take(len, "the header")?.starts_with(b"{") {
        return Err(Problem::malformed("is not a safetensors file: its header does not begin with `{`"));
    }
    let end = cursor.position();
    let parts = bytes.slice(start..end).zip(bytes.slice(end..bytes.len()));
    Ok(parts.expect("the cursor has just read as far"))
}

struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, Entry)>,
}

/// What the header says about one tensor.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }

            // Keys that occur twice are found when the tensors are put into their map.
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Header, A::Error> {
                let mut metadata = None;
                let mut tensors = Vec::new();
                while let Some(key) = access.next_key::<String>()? {
                    if key != METADATA_KEY {
                        tensors.push((key, access.next_value()?));
                    } else if metadata.is_none() {
                        metadata = Some(access.next_value::<Option<UniqueMap<String>>>()?);
                    } else {
                        access.next_value::<IgnoredAny>()?;
                        return Err(serde::de::Error::duplicate_field(METADATA_KEY));
                    }
                }
                let metadata = metadata.flatten().map(|map| map.0).unwrap_or_default();
                Ok(Header { metadata, tensors })
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Gives each tensor its bytes, after checking that the ranges tile the data.
fn place(entries: Vec<(String, Entry)>, data: &Bytes) -> Result<TensorMap, Problem> {
    let mut tensors = TensorMap::default();
    let mut ranges = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let title = format!("tensor {}", quote(&name));
        let (info, range) = check_entry(name, entry, data.len()).map_err(|problem| problem.about(title))?;
        ranges.push((range.clone(), info.name.clone()));
        let TensorInfo { name, dtype, shape } = info;
        let data = data.slice(range).expect("the range was checked against the data");
        tensors.insert(TensorView { name, dtype, shape, data })?;
    }
    ranges.sort_by_key(|(range, _)| (range.start, range.end));
    let mut end = 0;
    for (range, name) in &ranges {
        if range.start < end {
            return Err(Problem::malformed(format!(
                "the data of tensor {} overlaps the one before it",
                quote(name)
            )));
        }
        if range.start > end {
            let hole = range.start - end;
            return Err(Problem::malformed(format!(
                "there are {hole} unused bytes before tensor {}",
                quote(name)
            )));
        }
        end = range.end;
    }
    if end != data.len() {
        let (rest, len) = (data.len() - end, data.len());
        return Err(Problem::malformed(format!("{rest} of its {len} bytes of data belong to no tensor")));
    }
    Ok(tensors)
}

fn check_entry(
    name: String,
    entry: Entry,
    n_data_bytes: usize,
) -> Result<(TensorInfo, Range<usize>), Problem> {
    let dtype = dtype_of(&entry.dtype)?;
    let size =
        |size: u64| size.try_into().map_err(|_| Problem::malformed(format!("has a dimension of {size}")));
    let shape = entry.shape.into_iter().map(size).collect::<Result<Vec<usize>, _>>()?;
    let info = TensorInfo { name, dtype, shape };
    let wanted = crate::tensor_map::tensor_bytes(info.dtype, &info.shape)?;

    let (begin, end) = entry.data_offsets;
    let range = usize::try_from(begin).ok().zip(usize::try_from(end).ok()).map(|(begin, end)| begin..end);
    let Some(range) = range.filter(|range| range.start <= range.end && range.end <= n_data_bytes) else {
        let fact = format!(
            "its data, bytes {begin} to {end}, is not inside the file's {n_data_bytes} bytes of data"
        );
        return Err(
            Problem::malformed(fact).hint("the file may be cut short; compare its size with the original")
        );
    };
    if range.len() != wanted {
        let (shape, found) = (&info.shape, range.len());
        return Err(Problem::malformed(format!(
            "shape {shape:?} of {dtype} needs {wanted} bytes, but has {found}"
        )));
    }
    Ok((info, range))
}
