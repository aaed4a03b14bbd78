//! `.pth` files that are broken, or ask for what they must not, in one way each.

#[path = "common/pth_bytes.rs"]
mod pth_bytes;

use std::path::Path;

use pth_bytes::{Pickle, pth, zip};
use puna_formats::{Bytes, DType, ErrorKind, FormatError, TensorMap};

fn parse(bytes: Vec<u8>) -> Result<TensorMap, FormatError> {
    puna_formats::pth::parse(&Bytes::new(bytes), Path::new("dir/hostile.pth"))
}

#[track_caller]
fn refused(bytes: Vec<u8>, fact: &str) {
    let error = parse(bytes).expect_err(fact);
    assert!(error.fact.contains(fact), "expected `{fact}`, found `{}`", error.fact);
    assert!(error.to_string().contains("dir/hostile.pth"));
}

/// Six floats whose bytes count up: element `n` begins with the byte `4 n`.
fn tensor_bytes(offset: i64, shape: &[i64], strides: &[i64]) -> Result<Vec<u8>, FormatError> {
    let tensors = parse(pth(&Pickle::one_tensor(6, offset, shape, strides), 24))?;
    let tensor = tensors.get("t").unwrap();
    assert_eq!(tensor.dtype, DType::F32);
    assert!(tensor.shape.iter().eq(shape.iter().map(|&size| size as usize).collect::<Vec<_>>().iter()));
    Ok(tensor.data.iter().step_by(4).map(|byte| byte / 4).collect())
}

#[test]
fn tensors_are_views_with_offset_and_strides() {
    assert_eq!(tensor_bytes(0, &[2, 3], &[3, 1]).unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(tensor_bytes(0, &[3, 2], &[1, 3]).unwrap(), [0, 3, 1, 4, 2, 5]);
    assert_eq!(tensor_bytes(1, &[2, 2], &[3, 1]).unwrap(), [1, 2, 4, 5]);
    assert_eq!(tensor_bytes(4, &[2], &[1]).unwrap(), [4, 5]);
    assert_eq!(tensor_bytes(5, &[], &[]).unwrap(), [5]);
    assert_eq!(tensor_bytes(2, &[1, 1, 3], &[i64::MAX, 77, 1]).unwrap(), [2, 3, 4]);
    assert_eq!(tensor_bytes(1, &[2, 1, 2], &[2, i64::MAX, 2]).unwrap(), [1, 3, 3, 5]);
    assert!(tensor_bytes(i64::MAX, &[0, 9], &[9, 1]).unwrap().is_empty());
    assert_eq!(tensor_bytes(0, &[2, 3], &[0, 1]).unwrap(), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn tensors_stay_inside_their_storage() {
    let refused = |offset, shape: &[i64], strides: &[i64], fact: &str| {
        let error = tensor_bytes(offset, shape, strides).unwrap_err();
        assert!(error.fact.contains(fact), "expected `{fact}`, found `{}`", error.fact);
    };
    refused(1, &[2, 3], &[3, 1], "tensor `t`: offset 1, shape [2, 3] and strides [3, 1] reach past");
    refused(0, &[7], &[1], "reach past");
    refused(0, &[2], &[6], "reach past");
    refused(6, &[], &[], "reach past");
    refused(0, &[3], &[i64::MAX], "reach past");
    refused(i64::MAX, &[2], &[i64::MAX], "reach past");
    refused(0, &[1 << 40, 1 << 40], &[0, 0], "more elements than memory");
    refused(0, &[1 << 40], &[0], "larger than the file");
    refused(-1, &[1], &[1], "a size or stride is -1");
    refused(0, &[-2, -3], &[3, 1], "a size or stride is -2");
    refused(0, &[2, 3], &[1], "2 dimensions and 1 strides");
    refused(0, &[1; 17], &[1; 17], "17 dimensions");
}

#[test]
fn storages_have_the_size_they_say() {
    refused(
        pth(&Pickle::one_tensor(6, 0, &[6], &[1]), 23),
        "should have 6 elements of F32, but has 23 bytes",
    );
    refused(pth(&Pickle::one_tensor(i64::MAX, 0, &[6], &[1]), 24), "storage `0` should have");
    refused(pth(&Pickle::one_tensor(-6, 0, &[6], &[1]), 24), "a storage has -6 elements");
    refused(zip(&[("m/data.pkl", &Pickle::one_tensor(6, 0, &[6], &[1]).0)]), "no member `m/data/0`");
}

#[test]
fn nothing_but_tensors_can_be_built() {
    let call = |module: &str, name: &str| {
        let pickle = Pickle::new().global(module, name).raw(b"(").str("echo owned").raw(b"tR.");
        parse(pth(&pickle, 0)).unwrap_err()
    };
    for (module, name) in [
        ("os", "system"),
        ("builtins", "eval"),
        ("torch", "load"),
        ("torch", "Storage"),
        ("torch", "UntypedStorage"),
        ("torch._utils", "_rebuild_tensor"),
        ("collections", "Counter"),
    ] {
        let error = call(module, name);
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.fact.contains(&format!("`{module}.{name}`")), "{}", error.fact);
    }
    let stack_global = Pickle::new().str("os").str("system").raw(&[0x93, b'.']);
    refused(pth(&stack_global, 0), "asks for `os.system`");
    refused(pth(&Pickle::new().global("torch", "FloatStorage").raw(b")R."), 0), "is called with 0 arguments");
    refused(pth(&Pickle::new().int(1).raw(b")R."), 0), "an integer is called like a function");
    refused(pth(&Pickle::new().global("collections", "OrderedDict").raw(b"NR."), 0), "without a tuple");
    refused(
        pth(&Pickle::new().global("torch", "FloatStorage").raw(b"}b."), 0),
        "attributes are set on a function",
    );
}

#[test]
fn other_instructions_are_named() {
    for opcode in [b'i', b'o', 0x92, 0x82, b'P', b'B', 0x8e, 0x8b, b'0', b'2', b'I', b'F', b'S', 0x97, 0xff] {
        refused(pth(&Pickle::new().raw(&[opcode]), 0), &format!("opcode 0x{opcode:02x}"));
    }
    refused(pth(&Pickle(vec![0x80, 9, b'N', b'.']), 0), "protocol 9");
    refused(pth(&Pickle::new().raw(&[0x8a, 9]).raw(&[1; 9]), 0), "an integer of 9 bytes");
    refused(pth(&Pickle::new().raw(b"X\xff\xff\xff\xff"), 0), "a string at byte 7 needs 4294967295 bytes");
    refused(pth(&Pickle::new().raw(b"X\x01\0\0\0\xff."), 0), "not UTF-8");
    refused(pth(&Pickle::new().global(&"x".repeat(300), "y"), 0), "name is too long");
}

#[test]
fn stack_memo_and_depth_are_checked() {
    refused(pth(&Pickle::new().raw(b"."), 0), "takes a value that is not there");
    refused(pth(&Pickle::new().raw(b"NR."), 0), "takes a value that is not there");
    refused(pth(&Pickle::new().raw(b"N(."), 0), "takes a value that is not there");
    refused(pth(&Pickle::new().raw(b"}(Ns."), 0), "takes a value that is not there");
    refused(pth(&Pickle::new().raw(b"t."), 0), "ends that never began");
    refused(pth(&Pickle::new().raw(b"}(Nu."), 0), "a key without a value");
    refused(pth(&Pickle::new().raw(b"](NNu."), 0), "items are set in a list");
    refused(pth(&Pickle::new().raw(b"}Na."), 0), "items are added to a dictionary");
    refused(pth(&Pickle::new().raw(b"h\x07."), 0), "memo slot 7 is used before it is set");
    refused(pth(&Pickle::new().raw(b"Nr\xff\xff\xff\xff."), 0), "memo slot 4294967295 is far ahead");
    refused(pth(&Pickle::new().raw(&[b'('; 257]), 0), "nest deeper than 256");
    refused(pth(&Pickle::new().raw(&vec![b'N'; (1 << 20) + 1]), 0), "more than 1048576 values");
    let recalls = [b"Nq\x00".to_vec(), b"h\x00".repeat(1 << 20)].concat();
    refused(pth(&Pickle::new().raw(&recalls), 0), "piles up more than 1048576 values");
    refused(pth(&Pickle::new().raw(&vec![b'N'; (16 << 20) + 1]), 0), "the limit is 16777216");
    refused(pth(&Pickle::new(), 0), "an instruction at byte 2");
}

#[test]
fn cyclic_data_is_harmless() {
    // A list and a dictionary that contain themselves.
    refused(pth(&Pickle::new().raw(b"]q\x00h\x00a."), 0), "holds a list instead of a dictionary");
    let dict = Pickle::new().raw(b"}q\x00").str("self").raw(b"h\x00s.");
    refused(pth(&dict, 0), "the entry `self` is a dictionary instead of a tensor");
    refused(pth(&Pickle::new().raw(b"}q\x00h\x00h\x00s."), 0), "a key of the dictionary is a dictionary");
}

#[test]
fn naming_one_long_string_often_costs_its_length_once() {
    // A storage with a key of a megabyte, named a hundred thousand times: copies would take 100 GB.
    let pickle =
        Pickle::new().raw(b"(").str("storage").global("torch", "FloatStorage").str(&"k".repeat(1 << 20));
    let pickle = pickle.str("cpu").int(1).raw(b"tq\x00").raw(&b"Qh\x00".repeat(100_000)).raw(b"Q.");
    refused(pth(&pickle, 0), "holds a storage");
}

#[test]
fn strided_copies_together_stay_within_the_file() {
    let entries = |n: usize| {
        let add =
            |pickle: Pickle, idx| pickle.str(&format!("t{idx}")).tensor(6, 0, &[3, 2], &[1, 3]).raw(b"s");
        (0..n).fold(Pickle::new().raw(b"}"), add).raw(b".")
    };
    // One pickle of a kilobyte for 24 bytes each, so it takes shared storages in numbers to reach the limit.
    let shared = |n: usize| {
        let first = Pickle::new().raw(b"}").str("t").tensor(6, 0, &[3, 2], &[1, 3]).raw(b"q\x00s");
        (0..n).fold(first, |pickle, idx| {
            pickle.raw(&[0x8c, 2]).raw(&[b'a' + idx as u8 % 26, b'a' + idx as u8 / 26]).raw(b"h\x00s")
        })
    };
    assert_eq!(parse(pth(&entries(3), 24)).unwrap().len(), 3);
    assert_eq!(parse(pth(&shared(10).raw(b"."), 24)).unwrap().len(), 11);
    refused(pth(&shared(200).raw(b"."), 24), "larger than the file");
}

#[test]
fn extra_state_is_dropped_and_the_rest_explained() {
    let state = Pickle::new().raw(b"}").str("t").tensor(6, 0, &[6], &[1]).raw(b"s");
    let state = state.str("t._extra_state").global("_io", "BytesIO").raw(b")\x81");
    let state = state.raw(b"(").global("_codecs", "encode").raw(b"(").str("abc").str("latin1").raw(b"tR");
    let state = state.int(3).raw(b"Ntbs").str("none").raw(b"Ns.");
    assert!(parse(pth(&state, 24)).unwrap().names().eq(["t"]));

    let parameter = Pickle::new().raw(b"}").str("t").global("torch._utils", "_rebuild_parameter").raw(b"(");
    let parameter = parameter.tensor(6, 0, &[6], &[1]).raw(b"\x88").global("collections", "OrderedDict");
    assert_eq!(parse(pth(&parameter.raw(b")RtRs."), 24)).unwrap().len(), 1);

    let metadata = Pickle::new().global("collections", "OrderedDict").raw(b")R").str("t");
    let metadata = metadata.tensor(6, 0, &[6], &[1]).raw(b"s").raw(b"}").str("_metadata").raw(b"}sb.");
    assert_eq!(parse(pth(&metadata, 24)).unwrap().len(), 1);

    let nested = Pickle::new().raw(b"}").str("model").raw(b"}s.");
    refused(pth(&nested, 0), "the entry `model` is a dictionary instead of a tensor");
    let twice = Pickle::one_tensor(6, 0, &[6], &[1]).0;
    let twice = [&twice[..twice.len() - 1], &twice[3..]].concat();
    refused(pth(&Pickle(twice), 24), "tensor `t` occurs twice");
}

#[test]
fn archives_are_checked() {
    let pickle = Pickle::one_tensor(6, 0, &[6], &[1]).0;
    let sound: [(&str, &[u8]); 2] = [("m/data.pkl", &pickle), ("m/data/0", &[0; 24])];
    assert_eq!(parse(zip(&sound)).unwrap().len(), 1);

    refused(zip(&[("m/other", b"x")]), "has no `data.pkl`");
    refused(zip(&[sound[0], sound[1], ("n/data.pkl", b"x")]), "more than one `data.pkl`");
    refused(zip(&[sound[0], sound[1], sound[1]]), "`m/data/0` occurs twice");
    refused(zip(&[sound[0], sound[1], ("m/byteorder", b"big")]), "big-endian");
    refused(b"PK\x03\x04 and no more than this is in the file".to_vec(), "without its end");
    refused(b"neither".to_vec(), "neither a ZIP archive nor a pickle");

    let whole = zip(&sound);
    for len in 0..whole.len() {
        parse(whole[..len].to_vec()).expect_err(&format!("cut to {len} bytes"));
    }
    // With a comment behind the end, the end is still found.
    let mut commented = whole.clone();
    let comment_len = commented.len() - 2;
    commented[comment_len] = 3;
    commented.extend(b"abc");
    assert_eq!(parse(commented).unwrap().len(), 1);
}

/// The sound archive with the bytes at an offset from its directory, or from its end, replaced.
fn patched(from_directory: bool, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = zip(&[("m/data.pkl", &Pickle::one_tensor(6, 0, &[6], &[1]).0), ("m/data/0", &[0; 24])]);
    let end = file.len() - 22;
    let directory = u32::from_le_bytes(file[end + 16..end + 20].try_into().unwrap()) as usize;
    let at = offset + if from_directory { directory } else { end };
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn archive_records_are_checked() {
    refused(patched(true, 0, b"PKxx"), "directory is damaged");
    refused(patched(true, 8, &[1]), "`m/data.pkl`: is encrypted");
    refused(patched(true, 10, &[8]), "`m/data.pkl`: is compressed (method 8)");
    refused(patched(true, 20, &[1, 0, 0, 0]), "is compressed");
    refused(patched(true, 20, &[0xfe, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff]), "is not inside the file");
    refused(patched(true, 20, &[0xff; 8]), "needs a ZIP64 field, but has none");
    refused(patched(true, 42, &[1, 0, 0, 0]), "there is no local header at byte 1");
    refused(patched(true, 42, &[0xfe, 0xff, 0xff, 0x7f]), "is not inside the file");
    refused(patched(true, 46, b"n"), "its local header has another name");
    refused(patched(true, 46, b"\xff"), "name is not UTF-8");
    refused(patched(false, 4, &[1]), "several volumes");
    refused(patched(false, 8, &[0xff, 0xff, 0xff, 0xff]), "no room for 65535 entries");
    refused(patched(false, 12, &[0xff; 4]), "directory is not inside the file");
    refused(patched(false, 16, &[0xff; 4]), "directory is not inside the file");
}

/// The sound archive as ZIP64: sizes and offset of its last member, and the end record, in 64 bits.
fn zip64(size: u64, directory_start: Option<u64>, end_at: Option<u64>) -> Vec<u8> {
    let pickle = Pickle::one_tensor(6, 0, &[6], &[1]).0;
    let mut file = zip(&[("m/data.pkl", &pickle), ("m/data/0", &[9; 24])]);
    let end = file.split_off(file.len() - 22);
    let directory = u32::from_le_bytes(end[16..20].try_into().unwrap()) as usize;
    let entry = file.len() - 46 - "m/data/0".len();
    let local_header = u32::from_le_bytes(file[entry + 42..entry + 46].try_into().unwrap());
    file[entry + 20..entry + 28].fill(0xff);
    file[entry + 42..entry + 46].fill(0xff);
    // An unrelated field first, then the ZIP64 one.
    let mut extra = vec![9, 9, 1, 0, 7, 1, 0, 24, 0];
    [size, size, u64::from(local_header)].iter().for_each(|field| extra.extend(field.to_le_bytes()));
    file[entry + 30] = extra.len() as u8;
    file.extend(&extra);

    let end_64_at = file.len() as u64;
    let directory_size = end_64_at - directory as u64;
    file.extend([b"PK\x06\x06", &44u64.to_le_bytes()[..], &[0; 12]].concat());
    for field in [2, 2, directory_size, directory_start.unwrap_or(directory as u64)] {
        file.extend(field.to_le_bytes());
    }
    file.extend(
        [b"PK\x06\x07", &[0; 4][..], &end_at.unwrap_or(end_64_at).to_le_bytes(), &[1, 0, 0, 0]].concat(),
    );
    file.extend([b"PK\x05\x06", &[0; 4][..], &[0xff; 12], &[0; 2]].concat());
    file
}

#[test]
fn zip64_is_read_and_checked() {
    assert_eq!(&parse(zip64(24, None, None)).unwrap().get("t").unwrap().data[..], [9; 24]);
    refused(zip64(u64::MAX, None, None), "is not inside the file");
    refused(zip64(24, Some(u64::MAX), None), "directory is not inside the file");
    refused(zip64(24, None, Some(u64::MAX)), "ZIP64 end record is not inside the file");
    refused(zip64(24, None, Some(0)), "not where its locator says");
}

/// A file of the format before archives, with one storage of six floats.
fn legacy(protocol: i64, little_endian: bool, listed: &[&str], stored_len: u64) -> Vec<u8> {
    let bool_opcode = if little_endian { [0x88] } else { [0x89] };
    let facts = Pickle::new().raw(b"}").str("little_endian").raw(&bool_opcode).raw(b"s.");
    let object = Pickle::new().raw(b"}").str("t").global("torch._utils", "_rebuild_tensor_v2").raw(b"((");
    let object =
        object.str("storage").global("torch", "FloatStorage").str("1234").str("cpu").int(6).raw(b"NtQ");
    let object = object.int(0).ints(&[2, 3]).ints(&[3, 1]).raw(b"\x89").global("collections", "OrderedDict");
    let keys = listed.iter().fold(Pickle::new().raw(b"]("), |pickle, key| pickle.str(key)).raw(b"e.");
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    for pickle in [Pickle::new().int(protocol).raw(b"."), facts, object.raw(b")RtRs."), keys] {
        file.extend(pickle.0);
    }
    for _ in listed {
        file.extend(stored_len.to_le_bytes());
        file.extend((0..24).collect::<Vec<u8>>());
    }
    file
}

#[test]
fn files_of_before_archives_are_read_and_checked() {
    let whole = legacy(1001, true, &["1234"], 6);
    let tensors = parse(whole.clone()).unwrap();
    let tensor = tensors.get("t").unwrap();
    assert_eq!((&tensor.shape[..], &tensor.data[..3], tensor.data.len()), (&[2, 3][..], &[0, 1, 2][..], 24));
    for len in 0..whole.len() {
        parse(whole[..len].to_vec()).expect_err(&format!("cut to {len} bytes"));
    }
    refused(legacy(1002, true, &["1234"], 6), "unknown version");
    refused(legacy(1001, false, &["1234"], 6), "big-endian");
    refused(legacy(1001, true, &[], 6), "no storage `1234`");
    refused(legacy(1001, true, &["77"], 6), "storage `77`: is in the file, but no tensor names it");
    refused(legacy(1001, true, &["1234", "1234"], 6), "is listed twice");
    refused(legacy(1001, true, &["1234"], 5), "should have 6 elements of F32, but has 20 bytes");
    refused(legacy(1001, true, &["1234"], 7), "the elements at byte 8 needs 28 bytes");
    refused(legacy(1001, true, &["1234"], u64::MAX), "has 18446744073709551615 elements");
}
