//! Rows of Parquet files as JSON, group of rows by group of rows, without the `arrow` half of the library.
//!
//! Columns of the logical type JSON are parsed at any depth: `datasets` writes whole messages, or contents that are a
//! text here and a list there, as one text of JSON each. Fields without a value are left out, since tables give every
//! row the fields of all.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use parquet::basic::{ConvertedType, LogicalType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::{Type, TypePtr};
use serde_json::{Map, Value};

use super::error::DataError;
use super::record::{Body, Record};
use super::unpack::BytesRead;

/// A table that is being read.
pub(crate) struct Rows {
    path: PathBuf,
    rows: RowIter<'static>,
    schema: TypePtr,
    row: u64,
    /// How many bytes of the file a row counts for.
    row_bytes: u64,
    bytes_read: BytesRead,
}

impl Rows {
    pub fn open(path: &Path, bytes_read: &BytesRead) -> Result<Rows, DataError> {
        let file = File::open(path).map_err(|error| DataError::in_file(path, error))?;
        let n_bytes = file.metadata().map_err(|error| DataError::in_file(path, error))?.len();
        let opened = sheltered(|| SerializedFileReader::new(file).map_err(|error| error.to_string()));
        let reader =
            opened.map_err(|fact| DataError::in_file(path, format!("its Parquet is broken: {fact}")))?;
        let about = reader.metadata().file_metadata();
        let schema = about.schema_descr().root_schema_ptr();
        let row_bytes = n_bytes / u64::try_from(about.num_rows()).unwrap_or(0).max(1);
        let rows = RowIter::from_file_into(Box::new(reader));
        Ok(Rows { path: path.to_owned(), rows, schema, row: 0, row_bytes, bytes_read: bytes_read.clone() })
    }

    pub fn next(&mut self) -> Result<Option<Record>, DataError> {
        self.row += 1;
        let next = sheltered(|| self.rows.next().transpose().map_err(|error| error.to_string()));
        let fail =
            |fact: String| DataError::at(&self.path, self.row, format!("(the row of this number) {fact}"));
        let Some(row) = next.map_err(|fact| fail(format!("its Parquet is broken: {fact}")))? else {
            return Ok(None);
        };
        self.bytes_read.fetch_add(self.row_bytes, Ordering::Relaxed);
        let value = object(&row, &self.schema).map_err(fail)?;
        Ok(Some(Record { line: self.row, body: Body::Row(value), is_cut: false }))
    }
}

/// What the library gives. It was written for files that are whole, and may panic where one is not.
fn sheltered<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("the reader gave up".to_owned()))
}

fn object(row: &Row, schema: &Type) -> Result<Value, String> {
    let mut object = Map::new();
    for ((name, field), schema) in row.get_column_iter().zip(schema.get_fields()) {
        if let Some(value) = value(field, schema)? {
            object.insert(name.clone(), value);
        }
    }
    Ok(Value::Object(object))
}

/// A field as JSON; `None` where it has no value.
fn value(field: &Field, schema: &Type) -> Result<Option<Value>, String> {
    Ok(Some(match field {
        Field::Null => return Ok(None),
        Field::Str(text) if is_json(schema) => {
            serde_json::from_str(text).map_err(|error| format!("`{}` is no JSON: {error}", schema.name()))?
        }
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::from(text),
            Err(_) => return Err(format!("`{}` is bytes that are no text", schema.name())),
        },
        Field::Group(row) => object(row, schema)?,
        Field::ListInternal(list) => {
            let element = element_of(schema);
            let values = list.elements().iter().map(|field| value(field, element));
            values.map(|value| Ok(value?.unwrap_or_default())).collect::<Result<Value, String>>()?
        }
        Field::MapInternal(map) => {
            let [key, held] = map_of(schema)?;
            let mut object = Map::new();
            for (name, field) in map.entries() {
                let Some(Value::String(name)) = value(name, key)? else {
                    return Err(format!("`{}` has a key that is no text", schema.name()));
                };
                object.insert(name, value(field, held)?.unwrap_or_default());
            }
            Value::Object(object)
        }
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float(value) => f64::from(*value).into(),
        Field::Double(value) => (*value).into(),
        Field::Str(text) => Value::from(text.as_str()),
        // Dates, times and decimals, as the library writes them.
        other => Value::from(other.to_string()),
    }))
}

fn is_json(schema: &Type) -> bool {
    let info = schema.get_basic_info();
    info.converted_type() == ConvertedType::JSON || matches!(info.logical_type_ref(), Some(LogicalType::Json))
}

/// The type of a list's elements: within the repeated group that stands between, or the repeated field itself
/// (the format's rules for older files, LogicalTypes.md).
fn element_of(list: &Type) -> &Type {
    let is_list = list.is_group() && list.get_basic_info().converted_type() == ConvertedType::LIST;
    match list.is_group().then(|| list.get_fields()) {
        Some([repeated]) if is_list => match repeated.is_group().then(|| repeated.get_fields()) {
            Some([element]) if repeated.name() != "array" && !repeated.name().ends_with("_tuple") => element,
            _ => repeated,
        },
        _ => list,
    }
}

fn map_of(map: &Type) -> Result<[&Type; 2], String> {
    match map.get_fields() {
        [pairs] if pairs.is_group() && pairs.get_fields().len() == 2 => {
            Ok([&*pairs.get_fields()[0], &*pairs.get_fields()[1]])
        }
        _ => Err(format!("`{}` is a map of another form", map.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(name: &str) -> Vec<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
        let mut rows = Rows::open(&path, &BytesRead::default()).unwrap();
        std::iter::from_fn(|| rows.next().unwrap())
            .map(|record| match record.body {
                Body::Row(row) => row,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn nested_rows_of_every_compression() {
        let chats = rows("chat.parquet");
        assert_eq!(chats.len(), 40);
        let messages = json!([{"role": "user", "content": "question 17"}, {"role": "assistant", "content": "answer 17"}]);
        assert_eq!(chats[17], json!({"messages": messages, "id": 17}));
        for name in ["text-zstd.parquet", "text-gzip.parquet"] {
            let texts = rows(name);
            assert_eq!((texts.len(), &texts[8]), (40, &json!({"text": "text number 8 word ", "n": 4.0})));
        }
    }

    #[test]
    fn json_is_parsed_at_any_depth() {
        let rows = rows("json.parquet");
        assert_eq!(rows[0]["prompt"], json!([{"role": "user", "content": "hi"}]));
        assert_eq!(rows[1]["prompt"][0]["content"], json!([{"type": "text", "text": "look"}]));
        assert_eq!(rows[1]["completion"], json!([{"role": "assistant", "content": "b", "weight": 0}]));
    }

    #[test]
    fn broken_tables_are_errors() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chat.parquet");
        let good = std::fs::read(path).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.parquet");
        for at in (0..good.len()).step_by(29) {
            for bad in [good[..at].to_vec(), {
                let mut bad = good.clone();
                bad[at] ^= 0x11;
                bad
            }] {
                std::fs::write(&path, bad).unwrap();
                // No panic gets through; what can be read may be read.
                if let Ok(mut rows) = Rows::open(&path, &BytesRead::default()) {
                    while let Ok(Some(_)) = rows.next() {}
                }
            }
        }
    }
}
