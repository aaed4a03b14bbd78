//! Decoding against ggml's own: every tensor of the reference's `dequant.safetensors`, bit for bit.

use puna_conformance::fixtures;
use puna_kernels::dtype::DType;
use puna_kernels::isa::Isa;
use puna_kernels::quant::decode_with;
use serde_json::Value;
use std::path::Path;

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

#[test]
fn conformance_of_dequantisation() {
    let fixtures = fixtures();
    let Some(manifest) = fixtures.json("gguf/manifest.json") else { return };
    let about = &manifest["dequant_tensor"];
    let tensor = about["tensor"].as_str().expect("the tensor's name");
    let expected = about["file"].as_str().expect("the file's name");
    let Some(folder) = fixtures.with(&[expected]) else { return };
    let expected = read(&folder.join(expected));
    let header_len = u64::from_le_bytes(expected[..8].try_into().unwrap()) as usize;
    let (header, data) = (json(&expected[8..8 + header_len]), &expected[8 + header_len..]);

    let mut n_checked = 0;
    for (name, info) in header.as_object().expect("a map of tensors") {
        if name == "__metadata__" {
            continue;
        }
        let Some(dtype) = DType::WEIGHTS.into_iter().find(|dtype| dtype.name() == name) else {
            puna_conformance::skip(format!("dequantised {name}"), "it is not a weight type here");
            continue;
        };
        let range = |i: usize| info["data_offsets"][i].as_u64().expect("an offset") as usize;
        let want: Vec<f32> =
            data[range(0)..range(1)].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let path = manifest["quantised"][name]["file"].as_str().expect("a file of this type");
        if !fixtures.has(path) {
            continue;
        }
        let mut gguf = Gguf::read(&folder.join(path));
        let bytes = gguf.tensor(tensor, ggml_type(dtype), dtype.bytes_of(want.len()).expect("whole blocks"));
        for isa in Isa::available() {
            let mut got = vec![f32::NAN; want.len()];
            decode_with(isa, dtype, bytes, &mut got);
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                assert_eq!(
                    got.to_bits(),
                    want.to_bits(),
                    "{name} with {}: element {i}: {got}, {want}",
                    isa.name()
                );
            }
        }
        n_checked += 1;
    }
    println!("{n_checked} types decoded");
    assert!(n_checked > 0);
}

/// The number by which a GGUF file names a type.
fn ggml_type(dtype: DType) -> u32 {
    match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::Q4_0 => 2,
        DType::Q4_1 => 3,
        DType::Q5_0 => 6,
        DType::Q5_1 => 7,
        DType::Q8_0 => 8,
        DType::Q2_K => 10,
        DType::Q3_K => 11,
        DType::Q4_K => 12,
        DType::Q5_K => 13,
        DType::Q6_K => 14,
        DType::IQ4_NL => 20,
        DType::IQ4_XS => 23,
        DType::BF16 => 30,
        DType::MXFP4 => 39,
        other => panic!("{other} is not a weight type"),
    }
}

/// As much of a GGUF reader as finds one tensor in a well-formed file; the real one lives floors above.
struct Gguf {
    bytes: Vec<u8>,
    at: usize,
}

impl Gguf {
    fn read(path: &Path) -> Gguf {
        Gguf { bytes: read(path), at: 0 }
    }

    fn take(&mut self, len: usize) -> &[u8] {
        self.at += len;
        &self.bytes[self.at - len..self.at]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn string(&mut self) -> String {
        let len = self.u64() as usize;
        String::from_utf8(self.take(len).to_vec()).expect("UTF-8")
    }

    fn skip_value(&mut self, value_type: u32) {
        match value_type {
            0 | 1 | 7 => self.at += 1,
            2 | 3 => self.at += 2,
            4..=6 => self.at += 4,
            10..=12 => self.at += 8,
            8 => drop(self.string()),
            9 => {
                let (element_type, count) = (self.u32(), self.u64());
                (0..count).for_each(|_| self.skip_value(element_type));
            }
            other => panic!("value type {other}"),
        }
    }

    /// The first `len` bytes of a tensor, which must be of this type.
    fn tensor(&mut self, name: &str, ggml_type: u32, len: usize) -> &[u8] {
        assert_eq!(self.take(4), b"GGUF");
        let version = self.u32();
        assert!(version == 2 || version == 3);
        let (n_tensors, n_values) = (self.u64(), self.u64());
        let mut alignment = 32;
        for _ in 0..n_values {
            let (key, value_type) = (self.string(), self.u32());
            if key == "general.alignment" {
                alignment = self.u32() as usize;
            } else {
                self.skip_value(value_type);
            }
        }
        let mut found = None;
        for _ in 0..n_tensors {
            let (this, n_dims) = (self.string(), self.u32());
            self.at += 8 * n_dims as usize;
            let (this_type, offset) = (self.u32(), self.u64());
            if this == name {
                assert_eq!(this_type, ggml_type, "type of {name}");
                found = Some(offset as usize);
            }
        }
        let start = self.at.next_multiple_of(alignment) + found.expect("the tensor is in the file");
        &self.bytes[start..start + len]
    }
}
