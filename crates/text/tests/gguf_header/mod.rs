//! The tokenizer keys of a GGUF file, read without the `formats` crate, which this crate may not know.
//! For trusted fixtures: it panics on anything odd.

use std::path::Path;

use puna_text::GgufVocab;

struct Reader<'b>(&'b [u8]);

/// A metadata value, as far as tokenizers need it.
enum Value {
    Number(i64),
    Float(f32),
    Text(String),
    List(Vec<Value>),
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("a whole GGUF header");
        self.0 = rest;
        *taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn text(&mut self) -> String {
        let length = self.u64() as usize;
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn value(&mut self, kind: u32) -> Value {
        match kind {
            0 => Value::Number(i64::from(u8::from_le_bytes(self.take()))),
            1 => Value::Number(i64::from(i8::from_le_bytes(self.take()))),
            2 => Value::Number(i64::from(u16::from_le_bytes(self.take()))),
            3 => Value::Number(i64::from(i16::from_le_bytes(self.take()))),
            4 => Value::Number(i64::from(self.u32())),
            5 => Value::Number(i64::from(i32::from_le_bytes(self.take()))),
            6 => Value::Float(f32::from_le_bytes(self.take())),
            7 => Value::Number(i64::from(self.take::<1>()[0])),
            8 => Value::Text(self.text()),
            9 => {
                let kind = self.u32();
                let n = self.u64();
                Value::List((0..n).map(|_| self.value(kind)).collect())
            }
            10 | 11 => Value::Number(self.u64() as i64),
            12 => Value::Float(f64::from_le_bytes(self.take()) as f32),
            other => panic!("GGUF value of type {other}"),
        }
    }
}

/// The `tokenizer.ggml.*` values of the file.
pub fn vocab(path: &Path) -> GgufVocab {
    let bytes = std::fs::read(path).unwrap();
    let mut reader = Reader(&bytes);
    assert_eq!(&reader.take::<4>(), b"GGUF");
    let (_version, _n_tensors, n_values) = (reader.u32(), reader.u64(), reader.u64());
    let mut vocab = GgufVocab::default();
    for _ in 0..n_values {
        let key = reader.text();
        let kind = reader.u32();
        let value = reader.value(kind);
        let Some(name) = key.strip_prefix("tokenizer.ggml.") else { continue };
        match (name, value) {
            ("model", Value::Text(text)) => vocab.model = text,
            ("pre", Value::Text(text)) => vocab.pre = Some(text),
            ("tokens", Value::List(items)) => vocab.tokens = items.into_iter().map(text).collect(),
            ("merges", Value::List(items)) => vocab.merges = items.into_iter().map(text).collect(),
            ("scores", Value::List(items)) => vocab.scores = items.into_iter().map(float).collect(),
            ("token_type", Value::List(items)) => {
                vocab.token_types = items.into_iter().map(|item| number(item) as i32).collect();
            }
            ("bos_token_id", Value::Number(id)) => vocab.bos_id = Some(id as u32),
            ("eos_token_id", Value::Number(id)) => vocab.eos_id = Some(id as u32),
            ("eot_token_id", Value::Number(id)) => vocab.eot_id = Some(id as u32),
            ("eom_token_id", Value::Number(id)) => vocab.eom_id = Some(id as u32),
            ("unknown_token_id", Value::Number(id)) => vocab.unk_id = Some(id as u32),
            ("padding_token_id", Value::Number(id)) => vocab.pad_id = Some(id as u32),
            ("add_bos_token", Value::Number(flag)) => vocab.add_bos = Some(flag != 0),
            ("add_eos_token", Value::Number(flag)) => vocab.add_eos = Some(flag != 0),
            ("add_space_prefix", Value::Number(flag)) => vocab.add_space_prefix = Some(flag != 0),
            _ => {}
        }
    }
    vocab
}

fn text(value: Value) -> String {
    let Value::Text(text) = value else { panic!("not a string") };
    text
}

fn float(value: Value) -> f32 {
    let Value::Float(number) = value else { panic!("not a float") };
    number
}

fn number(value: Value) -> i64 {
    let Value::Number(number) = value else { panic!("not a number") };
    number
}
