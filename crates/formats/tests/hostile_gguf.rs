//! GGUF files that are broken in one way each: an error that names the file and the fact, and nothing else.

#[path = "common/gguf_bytes.rs"]
mod gguf_bytes;

use std::path::Path;

use gguf_bytes::{GgufBytes, string};
use puna_formats::{Bytes, DType, ErrorKind, FormatError, gguf};

fn parse(bytes: Vec<u8>) -> Result<gguf::GgufFile, FormatError> {
    gguf::parse(&Bytes::new(bytes), Path::new("dir/hostile.gguf"))
}

#[track_caller]
fn refused(file: GgufBytes, fact: &str) {
    refused_bytes(file.build(), fact);
}

#[track_caller]
fn refused_bytes(bytes: Vec<u8>, fact: &str) {
    let error = parse(bytes).expect_err(fact);
    assert!(error.fact.contains(fact), "expected `{fact}`, found `{}`", error.fact);
    assert!(error.to_string().contains("dir/hostile.gguf"));
}

#[test]
fn the_small_file_itself_is_sound() {
    let file = parse(GgufBytes::small().build()).unwrap();
    assert_eq!(file.metadata.u32("llama.block_count").unwrap(), 2);
    let a = file.tensors.get("a.weight").unwrap();
    assert_eq!((a.dtype, &a.shape[..], a.data[0]), (DType::F32, &[3, 2][..], 0));
    let b = file.tensors.get("b.weight").unwrap();
    assert_eq!((b.dtype, &b.shape[..], b.data[0]), (DType::Q8_0, &[1, 32][..], 32));
}

#[test]
fn version_two_reads_like_three() {
    let file = parse(GgufBytes { version: 2, ..GgufBytes::small() }.build()).unwrap();
    assert_eq!((file.version, file.tensors.len()), (2, 2));
}

/// A file of version 1: lengths, counts and dimensions have 32 bits.
fn version_one() -> Vec<u8> {
    let string = |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let word = |n: u32| n.to_le_bytes().to_vec();
    let mut file = [b"GGUF".to_vec(), word(1), word(1), word(2)].concat();
    file.extend([string("general.architecture"), word(8), string("llama")].concat());
    file.extend([string("t"), word(9), word(8), word(2), string("a"), string("")].concat());
    file.extend([string("a.weight"), word(2), word(2), word(3), word(0), vec![0; 8]].concat());
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(0..24);
    file
}

#[test]
fn version_one_has_shorter_lengths() {
    let file = parse(version_one()).unwrap();
    assert_eq!((file.version, file.metadata.str("general.architecture").unwrap()), (1, "llama"));
    assert_eq!(file.metadata.opt_strings("t").unwrap().unwrap(), ["a", ""]);
    let a = file.tensors.get("a.weight").unwrap();
    assert_eq!((a.dtype, &a.shape[..], a.data[23]), (DType::F32, &[3, 2][..], 23));
    let mut absurd = version_one();
    absurd[8..12].fill(0xff);
    refused_bytes(absurd, "4294967295 tensors");
}

#[test]
fn cut_at_any_byte_it_is_refused() {
    for whole in [GgufBytes::small().build(), version_one()] {
        for len in 0..whole.len() {
            let error = parse(whole[..len].to_vec()).expect_err(&format!("cut to {len} bytes"));
            assert!(!error.fact.is_empty() && error.path.ends_with("hostile.gguf"));
        }
    }
}

#[test]
fn other_versions_are_named() {
    refused(GgufBytes { version: 4, ..GgufBytes::small() }, "version 4");
    refused(GgufBytes { version: 3u32.swap_bytes(), ..GgufBytes::small() }, "big-endian");
    refused_bytes(b"GGML....".to_vec(), "does not begin with `GGUF`");
    refused_bytes(b"<!DOCTYPE html><html></html>".to_vec(), "web page");
}

#[test]
fn absurd_counts_are_refused_at_once() {
    for count in [3, 1 << 20, 1 << 40, u64::MAX] {
        parse(GgufBytes { n_tensors: Some(count), ..GgufBytes::small() }.build()).unwrap_err();
        parse(GgufBytes { n_entries: Some(count), ..GgufBytes::small() }.build()).unwrap_err();
    }
    refused(GgufBytes { n_tensors: Some(u64::MAX), ..GgufBytes::small() }, "18446744073709551615 tensors");
    refused(GgufBytes { n_entries: Some(u64::MAX), ..GgufBytes::small() }, "metadata entries");
    let array = [&6u32.to_le_bytes()[..], &(1u64 << 62).to_le_bytes()].concat();
    refused(GgufBytes::new().entry("scores", 9, &array), "metadata key `scores`: an array");
    let strings = [&8u32.to_le_bytes()[..], &(1u64 << 40).to_le_bytes()].concat();
    refused(GgufBytes::new().entry("tokens", 9, &strings), "1099511627776 elements");
}

#[test]
fn names_and_keys_are_checked() {
    let twice = GgufBytes::new().entry("k", 4, &[0; 4]).entry("k", 4, &[0; 4]);
    refused(twice, "metadata key `k` occurs twice");
    let same = GgufBytes::new().tensor(b"t", &[1], 0, 0).tensor(b"t", &[1], 0, 32).with_data(64);
    refused(same, "tensor `t` occurs twice");
    // Names that are not UTF-8 become names; two may become one.
    let same = GgufBytes::new().tensor(b"\xfe", &[1], 0, 0).tensor(b"\xff", &[1], 0, 32).with_data(64);
    refused(same, "tensor `\u{fffd}` occurs twice");
    refused(GgufBytes::new().entry("k", 8, &u64::MAX.to_le_bytes()), "needs 18446744073709551615 bytes");
    refused(GgufBytes::new().entry("k", 77, &[0; 8]), "77 is not a GGUF value type");
    refused(GgufBytes::new().entry("k", 7, &[3]), "neither 0 nor 1");
}

#[test]
fn alignment_is_checked() {
    for odd in [0u32, 3, 48, u32::MAX] {
        let file = GgufBytes::new().entry("general.alignment", 4, &odd.to_le_bytes());
        refused(file, "not a power of two");
    }
    let text = GgufBytes::new().entry("general.alignment", 8, &string(b"32"));
    refused(text, "should be an integer");
    refused(GgufBytes::new().tensor(b"t", &[1], 0, 16).with_data(64), "not a multiple of the alignment 32");

    let huge = GgufBytes::new().entry("general.alignment", 4, &(1u32 << 31).to_le_bytes());
    refused(huge.tensor(b"t", &[1], 0, 0).with_data(64), "after the file");
    let wide =
        GgufBytes { alignment: 64, ..GgufBytes::new() }.entry("general.alignment", 4, &64u32.to_le_bytes());
    let wide = wide.tensor(b"t", &[1], 0, 0).tensor(b"u", &[1], 0, 64).with_data(68);
    assert_eq!(&*parse(wide.build()).unwrap().tensors.get("u").unwrap().data, [64, 65, 66, 67]);
}

#[test]
fn data_stays_inside_the_file_and_apart() {
    refused(GgufBytes::new().tensor(b"t", &[9], 0, 0).with_data(32), "tensor `t`: its 36 bytes");
    refused(GgufBytes::new().tensor(b"t", &[1], 0, u64::MAX - 31).with_data(32), "after the file");
    refused(GgufBytes::new().tensor(b"t", &[1], 0, 1 << 40).with_data(32), "after the file");
    let overlap = GgufBytes::new().tensor(b"t", &[9], 0, 0).tensor(b"u", &[1], 0, 32).with_data(64);
    refused(overlap, "tensors `t` and `u` overlap");
    let same = GgufBytes::new().tensor(b"t", &[1], 0, 0).tensor(b"u", &[1], 0, 0).with_data(64);
    refused(same, "overlap");
}

#[test]
fn shapes_are_checked() {
    refused(GgufBytes::new().tensor(b"t", &[u64::MAX], 0, 0).with_data(32), "tensor `t`");
    refused(
        GgufBytes::new().tensor(b"t", &[1 << 32, 1 << 32], 0, 0).with_data(32),
        "more elements than memory",
    );
    refused(GgufBytes::new().tensor(b"t", &[1 << 62], 0, 0).with_data(32), "more elements than memory");
    refused(GgufBytes::new().tensor(b"t", &[33], 8, 0).with_data(64), "blocks of 32");
    refused(GgufBytes::new().tensor(b"t", &[1, 32], 8, 0).with_data(64), "rows have 1 elements");
    refused(GgufBytes::new().tensor(b"t", &[1; 5], 0, 0).with_data(32), "has 5 dimensions");
    let file = GgufBytes::new().tensor(b"scalar", &[], 0, 0).tensor(b"empty", &[0, 7], 0, 32).with_data(4);
    let file = parse(file.build()).unwrap();
    assert_eq!(file.tensors.get("scalar").unwrap().data.len(), 4);
    assert_eq!(file.tensors.get("empty").unwrap().shape, [7, 0]);
}

#[test]
fn unsupported_types_name_the_tensor_and_what_is_supported() {
    for (type_id, name) in [(9, "Q8_1"), (15, "Q8_K"), (4, "removed"), (43, "do not know")] {
        let file = GgufBytes::new().tensor(b"blk.0.ffn_up.weight", &[256], type_id, 0).with_data(256);
        let error = parse(file.build()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(
            error.fact.contains("tensor `blk.0.ffn_up.weight`") && error.fact.contains(name),
            "{}",
            error.fact
        );
        assert!(error.hint.unwrap().contains("Q4_K"));
    }
}

#[test]
fn names_cannot_drive_the_terminal() {
    let error = parse(GgufBytes::new().tensor(b"\x1b[2J\x07", &[9], 0, 0).build()).unwrap_err();
    assert!(error.fact.contains("\\u{1b}[2J\\u{7}") && !error.to_string().contains('\x1b'));
}

/// One part of a split checkpoint: a tensor, and what the part says about itself.
fn part(no: u16, count: u16, n_tensors: i32, tensor: &[u8]) -> Vec<u8> {
    GgufBytes::new()
        .entry("split.no", 2, &no.to_le_bytes())
        .entry("split.count", 2, &count.to_le_bytes())
        .entry("split.tensors.count", 5, &n_tensors.to_le_bytes())
        .tensor(tensor, &[1], 0, 0)
        .with_data(32)
        .build()
}

#[test]
fn split_checkpoints_open_from_any_part_and_check_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = |number: u16| dir.path().join(format!("m-{number:05}-of-00003.gguf"));
    let write = |number: u16, bytes: Vec<u8>| std::fs::write(path(number), bytes).unwrap();
    (0..3).for_each(|no| write(no + 1, part(no, 3, 3, format!("t{no}").as_bytes())));
    for number in 1..=3 {
        let whole = gguf::open(&path(number)).unwrap();
        assert!(whole.tensors.names().eq(["t0", "t1", "t2"]));
        assert_eq!(whole.parts, [path(1), path(2), path(3)]);
        assert_eq!(whole.metadata.u32("split.no").unwrap(), 0);
    }
    let refused = |fact: &str, named: &Path| {
        let error = gguf::open(&path(1)).unwrap_err();
        assert!(error.fact.contains(fact), "expected `{fact}`, found `{}`", error.fact);
        assert_eq!(error.path, named);
    };
    write(3, part(2, 3, 3, b"t1"));
    refused("tensor `t1` occurs twice", &path(3));
    write(3, part(1, 3, 3, b"t2"));
    refused("says it is part 2 of 3, but its name says part 3 of 3", &path(3));
    write(3, part(2, 4, 3, b"t2"));
    refused("part 3 of 4", &path(3));
    write(3, GgufBytes::small().build());
    refused("`split.no` is missing", &path(3));
    write(3, b"GGUF".to_vec());
    refused("the version", &path(3));
    std::fs::remove_file(path(3)).unwrap();
    refused("part of a split GGUF checkpoint is missing", &path(3));

    write(3, part(2, 3, 3, b"t2"));
    write(1, part(0, 3, 4, b"t0"));
    refused("`split.tensors.count` is 4, but its 3 parts have 3 tensors", &path(1));

    let renamed = dir.path().join("renamed.gguf");
    std::fs::write(&renamed, part(1, 3, 3, b"t1")).unwrap();
    let error = gguf::open(&renamed).unwrap_err();
    assert!(error.fact.contains("is part 2 of 3, but its name"));
}
