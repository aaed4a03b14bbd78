//! safetensors files and folders that are broken in one way each.

#[path = "common/safetensors_bytes.rs"]
mod safetensors_bytes;

use std::collections::BTreeMap;
use std::path::Path;

use puna_formats::safetensors::{self, SafetensorsFile};
use puna_formats::{Bytes, DType, FormatError, TensorInfo};
use safetensors_bytes::safetensors as file;

const SMALL: &str = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,2],"data_offsets":[4,12]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}  "#;

fn parse(bytes: Vec<u8>) -> Result<SafetensorsFile, FormatError> {
    safetensors::parse(&Bytes::new(bytes), Path::new("dir/hostile.safetensors"))
}

#[track_caller]
fn refused(bytes: Vec<u8>, fact: &str) {
    let error = parse(bytes).expect_err(fact);
    assert!(error.fact.contains(fact), "expected `{fact}`, found `{}`", error.fact);
    assert!(error.to_string().contains("dir/hostile.safetensors"));
}

/// A header with one tensor `t` of this entry, over eight bytes of data.
#[track_caller]
fn refused_entry(entry: &str, fact: &str) {
    refused(file(&format!("{{\"t\":{{{entry}}}}}"), 8), fact);
}

#[test]
fn the_small_file_itself_is_sound() {
    let file = parse(file(SMALL, 12)).unwrap();
    assert_eq!(file.metadata["format"], "pt");
    let b = file.tensors.get("b").unwrap();
    assert_eq!((b.dtype, &b.shape[..], &b.data[..2]), (DType::BF16, &[2, 2][..], &[4, 5][..]));
    assert_eq!(file.tensors.get("a").unwrap().n_elements(), 1);
}

#[test]
fn cut_or_extended_it_is_refused() {
    let whole = file(SMALL, 12);
    for len in 0..whole.len() {
        parse(whole[..len].to_vec()).expect_err(&format!("cut to {len} bytes"));
    }
    refused([&whole[..], &[0]].concat(), "1 of its 13 bytes of data belong to no tensor");
}

#[test]
fn header_lengths_are_bounded() {
    for len in [u64::MAX, u64::MAX - 7, 1 << 63, 100_000_001] {
        refused([&len.to_le_bytes()[..], b"{}"].concat(), &format!("{len} bytes"));
    }
    refused([&100u64.to_le_bytes()[..], b"{}"].concat(), "the header at byte 8 needs 100 bytes");
    refused(0u64.to_le_bytes().to_vec(), "zero bytes");
    refused(vec![1, 0, 0], "header's length");
    refused(b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "Git-LFS");
}

#[test]
fn headers_are_json_objects_with_unique_keys() {
    refused(file("[]", 0), "does not begin with `{`");
    refused(file(" {}", 0), "does not begin with `{`");
    refused(file("{", 0), "not the JSON expected");
    refused(file("{}x", 0), "not the JSON expected");
    refused(file("{\"a\":1}", 0), "not the JSON expected");
    refused(file(&format!("{{\"a\":{}", "[".repeat(100_000)), 0), "not the JSON expected");
    let twice = r#"{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    refused(file(twice, 0), "tensor `t` occurs twice");
    refused(file(r#"{"__metadata__":{"a":"b","a":"c"}}"#, 0), "`a` occurs twice");
    refused(file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), "__metadata__");
    refused(file(r#"{"__metadata__":{"a":1}}"#, 0), "not the JSON expected");
    let mut invalid = file("{\"??\":1}", 0);
    invalid[10] = 0xff;
    refused(invalid, "not the JSON expected");
}

#[test]
fn entries_are_checked() {
    refused_entry(r#""dtype":"F4","shape":[8],"data_offsets":[0,8]"#, "tensor `t`: has the type `F4`");
    refused_entry(r#""dtype":"U8","shape":[8]"#, "data_offsets");
    refused_entry(r#""dtype":"U8","shape":[-1],"data_offsets":[0,8]"#, "not the JSON expected");
    refused_entry(r#""dtype":"U8","shape":[8.0],"data_offsets":[0,8]"#, "not the JSON expected");
    refused_entry(r#""dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]"#, "duplicate field");
    refused_entry(r#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#, "needs 12 bytes, but has 8");
    refused_entry(r#""dtype":"F32","shape":[1],"data_offsets":[0,8]"#, "needs 4 bytes, but has 8");
    refused_entry(r#""dtype":"U8","shape":[9],"data_offsets":[0,9]"#, "not inside the file's 8 bytes");
    refused_entry(r#""dtype":"U8","shape":[0],"data_offsets":[8,0]"#, "not inside the file");
    refused_entry(
        r#""dtype":"U8","shape":[8],"data_offsets":[18446744073709551608,18446744073709551615]"#,
        "not inside",
    );
    refused_entry(
        r#""dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]"#,
        "more elements than memory",
    );
    refused_entry(r#""dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]"#, "more elements");
    refused_entry(
        r#""dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]"#,
        "more elements than memory",
    );
}

#[test]
fn ranges_tile_the_data() {
    let two = |a: (u8, u8), b: (u8, u8)| {
        let entry = |(begin, end): (u8, u8)| {
            let len = end - begin;
            format!(r#"{{"dtype":"U8","shape":[{len}],"data_offsets":[{begin},{end}]}}"#)
        };
        file(&format!(r#"{{"a":{},"b":{}}}"#, entry(a), entry(b)), 8)
    };
    parse(two((0, 4), (4, 8))).unwrap();
    parse(two((4, 8), (0, 4))).unwrap();
    parse(two((0, 0), (0, 8))).unwrap();
    refused(two((0, 5), (4, 8)), "tensor `b` overlaps");
    refused(two((0, 8), (0, 8)), "overlaps");
    refused(two((0, 3), (4, 8)), "1 unused bytes before tensor `b`");
    refused(two((1, 4), (4, 8)), "1 unused bytes before tensor `a`");
    refused(two((0, 4), (4, 7)), "1 of its 8 bytes");
    refused(two((0, 8), (4, 4)), "tensor `b` overlaps");
}

/// Writes a safetensors file with U8 scalars of these names.
fn write_shard(path: &Path, names: &[&str]) {
    let mut writer = safetensors::Writer::new(BTreeMap::new());
    names.iter().for_each(|name| writer.declare(TensorInfo::new(*name, DType::U8, [])));
    let mut stream = writer.begin(path).unwrap();
    while let Some(name) = stream.expected().map(|info| info.name.clone()) {
        stream.write(&name, &[7]).unwrap();
    }
    stream.finish().unwrap();
}

#[test]
fn indexes_are_checked_against_their_shards() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    write_shard(&dir.path().join("one.safetensors"), &["a", "b"]);
    write_shard(&dir.path().join("two.safetensors"), &["c"]);
    let open = |weight_map: &str| {
        std::fs::write(&index, format!("{{\"metadata\":{{}},\"weight_map\":{weight_map}}}")).unwrap();
        safetensors::open_folder(dir.path())
    };
    let sound = open(r#"{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"}"#).unwrap();
    assert!(sound.tensors.names().eq(["a", "b", "c"]));

    let refused = |weight_map: &str, fact: &str| {
        let error = open(weight_map).unwrap_err();
        assert!(error.fact.contains(fact), "expected `{fact}`, found `{}`", error.fact);
    };
    refused(r#"{"a":"two.safetensors","c":"two.safetensors"}"#, "no shard");
    refused(r#"{"a":"two.safetensors","b":"one.safetensors"}"#, "but it is in `one.safetensors`");
    refused(r#"{"z":"one.safetensors"}"#, "tensor `z` should be in `one.safetensors`");
    refused(r#"{"a":"one.safetensors","a":"one.safetensors"}"#, "`a` occurs twice");
    refused("{}", "lists no tensors");
    refused("[]", "not the JSON expected");
    for name in ["../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", ".", "", "a\\\\b", "c:x"] {
        refused(&format!("{{\"a\":\"{name}\"}}"), "not a plain file name");
    }
    let missing = open(r#"{"a":"one.safetensors","d":"three.safetensors"}"#).unwrap_err();
    assert!(missing.path.ends_with("three.safetensors") && missing.fact.contains("missing"));

    write_shard(&dir.path().join("two.safetensors"), &["a", "c"]);
    refused(r#"{"a":"one.safetensors","c":"two.safetensors"}"#, "tensor `a` occurs twice");
}

#[test]
fn folders_without_an_index_take_every_file_of_a_whole_set() {
    let dir = tempfile::tempdir().unwrap();
    write_shard(&dir.path().join("model-00001-of-00002.safetensors"), &["a"]);
    let error = safetensors::open_folder(dir.path()).unwrap_err();
    assert!(error.path.ends_with("model-00002-of-00002.safetensors") && error.fact.contains("missing"));
    write_shard(&dir.path().join("model-00002-of-00002.safetensors"), &["b"]);
    assert!(safetensors::open_folder(dir.path()).unwrap().tensors.names().eq(["a", "b"]));
    write_shard(&dir.path().join("model-00002-of-00002.safetensors"), &["a"]);
    assert!(safetensors::open_folder(dir.path()).unwrap_err().fact.contains("occurs twice"));
    // A single file of the usual name is the model, whatever lies beside it.
    write_shard(&dir.path().join("model.safetensors"), &["c"]);
    assert!(safetensors::open_folder(dir.path()).unwrap().tensors.names().eq(["c"]));
}
