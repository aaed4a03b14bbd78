//! What our writers write, our readers read; what cannot be written is refused and leaves nothing behind.

use std::collections::BTreeMap;
use std::path::Path;

use puna_formats::gguf::{self, Array, Metadata, Value};
use puna_formats::{DType, TensorInfo, TensorStream, safetensors};

fn bytes_for(info: &TensorInfo) -> Vec<u8> {
    let n_elements: usize = info.shape.iter().product();
    let len = info.dtype.bytes_of(n_elements).unwrap();
    (0..len).map(|at| (at * 7 + info.name.len()) as u8).collect()
}

/// Writes every tensor, in two pieces where it has two bytes.
fn fill(mut stream: TensorStream) {
    while let Some(info) = stream.expected().cloned() {
        let bytes = bytes_for(&info);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        stream.write(&info.name, first).unwrap();
        stream.write(&info.name, second).unwrap();
    }
    stream.finish().unwrap();
}

fn infos(dtypes: &[DType]) -> Vec<TensorInfo> {
    let mut infos: Vec<TensorInfo> = dtypes
        .iter()
        .map(|&dtype| TensorInfo::new(format!("t.{dtype}"), dtype, [3, dtype.block_len()]))
        .collect();
    infos.push(TensorInfo::new("scalar", DType::F32, []));
    infos.push(TensorInfo::new("empty", DType::F32, [0, 4]));
    infos.push(TensorInfo::new("cube", DType::F16, [2, 3, 5]));
    infos
}

#[test]
fn gguf_round_trips_every_weight_type() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    for alignment in [None, Some(8u32), Some(1), Some(4096)] {
        let mut metadata = Metadata::new(&path);
        metadata.set("general.architecture", Value::String("llama".into()));
        metadata.set("tokens", Value::Array(Array::String(vec!["a".into(), "ä".into()])));
        if let Some(alignment) = alignment {
            metadata.set("general.alignment", Value::U32(alignment));
        }
        let mut writer = gguf::Writer::new(metadata.clone());
        let infos = infos(&DType::WEIGHTS);
        infos.iter().for_each(|info| writer.declare(info.clone()));
        fill(writer.begin(&path).unwrap());

        let read = gguf::open(&path).unwrap();
        assert!(read.metadata.iter().eq(metadata.iter()));
        assert_eq!(read.tensors.len(), infos.len());
        for info in &infos {
            let tensor = read.tensors.get(&info.name).unwrap();
            assert_eq!((tensor.info(), &tensor.data[..]), (info.clone(), &bytes_for(info)[..]));
        }
    }
}

#[test]
fn safetensors_round_trips_and_is_ordered_as_the_reference_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.safetensors");
    let texts =
        BTreeMap::from([("format".to_string(), "pt".to_string()), ("odd\"key".into(), "line\nbreak".into())]);
    let mut writer = safetensors::Writer::new(texts.clone());
    let plain =
        [DType::U8, DType::BF16, DType::F16, DType::I64, DType::F32, DType::Bool, DType::F8_E4M3, DType::I8];
    let mut infos = infos(&plain);
    infos.push(TensorInfo::new("quote\"\u{1}", DType::F32, [1]));
    infos.iter().for_each(|info| writer.declare(info.clone()));
    fill(writer.begin(&path).unwrap());

    let read = safetensors::open(&path).unwrap();
    assert_eq!(read.metadata, texts);
    for info in &infos {
        let tensor = read.tensors.get(&info.name).unwrap();
        assert_eq!((tensor.info(), &tensor.data[..]), (info.clone(), &bytes_for(info)[..]));
    }
    let file = std::fs::read(&path).unwrap();
    let header_len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&file[8..8 + header_len]).unwrap();
    assert!(header_len.is_multiple_of(8) && header.starts_with("{\"__metadata__\""));
    let at = |name: &str| header.find(name).unwrap();
    assert!(
        at("t.I64") < at("cube").max(at("t.F32"))
            && at("t.F32") < at("t.BF16")
            && at("t.BF16") < at("t.BOOL")
    );
}

#[test]
fn what_cannot_be_written_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    let gguf_refused = |info: TensorInfo, fact: &str| {
        let mut writer = gguf::Writer::new(Metadata::new(Path::new("")));
        writer.declare(info);
        let error = writer.begin(&path).unwrap_err();
        assert!(error.fact.contains(fact) && error.to_string().contains("cannot write"), "{}", error.fact);
    };
    gguf_refused(TensorInfo::new("x".repeat(64), DType::F32, [1]), "at most 63 bytes");
    gguf_refused(TensorInfo::new("t", DType::F8_E4M3, [1]), "no type for F8_E4M3");
    gguf_refused(TensorInfo::new("t", DType::Q4_0, [31]), "blocks of 32");
    gguf_refused(TensorInfo::new("t", DType::F32, [1; 5]), "5 dimensions");
    gguf_refused(TensorInfo::new("t", DType::F32, [usize::MAX, 2]), "more elements");
    let mut metadata = Metadata::new(Path::new(""));
    metadata.set("general.alignment", Value::U32(24));
    assert!(gguf::Writer::new(metadata).begin(&path).unwrap_err().fact.contains("power of two"));

    let mut writer = safetensors::Writer::new(BTreeMap::new());
    writer.declare(TensorInfo::new("t", DType::Q4_0, [32]));
    assert!(writer.begin(&path).unwrap_err().fact.contains("no type for Q4_0"));
    for name in ["t", "__metadata__"] {
        let mut writer = safetensors::Writer::new(BTreeMap::new());
        writer.declare(TensorInfo::new("t", DType::F32, [1]));
        writer.declare(TensorInfo::new(name, DType::F32, [1]));
        assert!(writer.begin(&path).unwrap_err().fact.contains("tensor"));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn streams_take_what_was_declared_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let begin = || {
        let mut writer = gguf::Writer::new(Metadata::new(&path));
        writer.declare(TensorInfo::new("a", DType::F32, [2]));
        writer.declare(TensorInfo::new("b", DType::F32, [1]));
        writer.begin(&path).unwrap()
    };
    assert!(begin().write("b", &[0; 4]).unwrap_err().fact.contains("`b` was given where tensor `a` was due"));
    assert!(begin().write("a", &[0; 9]).unwrap_err().fact.contains("9 bytes were given, but only 8"));
    let mut half = begin();
    half.write("a", &[0; 8]).unwrap();
    assert!(half.finish().unwrap_err().fact.contains("tensor `b`: 4 of its bytes were never given"));
    let mut full = begin();
    full.write("a", &[0; 8]).unwrap();
    full.write("b", &[0; 4]).unwrap();
    assert!(full.write("c", &[0]).unwrap_err().fact.contains("no more data"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the unfinished file is still open");
    full.finish().unwrap();
    assert!(gguf::open(&path).is_ok() && std::fs::read_dir(dir.path()).unwrap().count() == 1);
}

/// What a file is can be read without its vocabulary, and of a file that was cut off.
#[test]
fn the_head_of_a_gguf_file_is_read_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.gguf");
    let mut metadata = Metadata::new(&path);
    let text = |text: &str| gguf::Value::String(text.into());
    metadata.set("general.architecture", text("llama"));
    metadata.set("general.description", text(&"long ".repeat(1000)));
    metadata.set("llama.block_count", gguf::Value::U32(3));
    metadata.set("tokenizer.ggml.tokens", gguf::Value::Array(gguf::Array::String(vec!["word".into(); 9999])));
    metadata.set("general.late", text("late"));
    gguf::Writer::new(metadata).begin(&path).unwrap().finish().unwrap();
    let keys = |max| {
        let head = gguf::parse_head(&path, max).unwrap();
        head.iter().map(|(key, _)| key.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(16 << 10), ["general.architecture", "general.description", "llama.block_count"]);
    assert_eq!(keys(100), ["general.architecture"]);
    for n_bytes in 24..100 {
        assert!(keys(n_bytes).len() <= 1, "{n_bytes}");
    }
    assert!(gguf::parse_head(&path, 10).is_err());
    assert!(gguf::parse_head(&dir.path().join("b.gguf"), 100).is_err());
    std::fs::write(&path, "no model").unwrap();
    assert!(gguf::parse_head(&path, 100).is_err());
}
