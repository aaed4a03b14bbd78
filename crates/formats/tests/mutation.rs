//! Valid small files with bytes changed, cut out or repeated: the readers answer, whatever the answer, and any
//! tensor they return lies inside the file.

#[path = "common/gguf_bytes.rs"]
mod gguf_bytes;
#[path = "common/pth_bytes.rs"]
mod pth_bytes;
#[path = "common/safetensors_bytes.rs"]
mod safetensors_bytes;

use std::path::Path;

use gguf_bytes::GgufBytes;
use proptest::prelude::*;
use pth_bytes::{Pickle, pth};
use puna_formats::{Bytes, FormatError, TensorMap, gguf, safetensors};
use safetensors_bytes::safetensors as safetensors_file;

/// One change to a file, its places as fractions of the file's length.
#[derive(Clone, Debug)]
enum Change {
    Set(f64, u8),
    Flip(f64, u8),
    /// Overwrites eight bytes by a number of the kind that overflows.
    Number(f64, u64),
    Cut(f64, usize),
    Repeat(f64, usize),
    Truncate(f64),
}

fn change() -> impl Strategy<Value = Change> {
    let at = || 0.0..1.0f64;
    let edges =
        prop::sample::select(vec![0, 1, 31, 1 << 31, 1 << 32, 1 << 62, 1 << 63, u64::MAX - 31, u64::MAX]);
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        4 => (at(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        3 => (at(), edges).prop_map(|(at, number)| Change::Number(at, number)),
        1 => (at(), 1..9usize).prop_map(|(at, len)| Change::Cut(at, len)),
        1 => (at(), 1..40usize).prop_map(|(at, len)| Change::Repeat(at, len)),
        1 => at().prop_map(Change::Truncate),
    ]
}

fn apply(mut file: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if file.is_empty() {
            break;
        }
        let place = |at: f64| (at * file.len() as f64) as usize;
        match *change {
            Change::Set(at, byte) => {
                let at = place(at);
                file[at] = byte;
            }
            Change::Flip(at, bit) => {
                let at = place(at);
                file[at] ^= 1 << bit;
            }
            Change::Number(at, number) => {
                let at = place(at);
                let len = (file.len() - at).min(8);
                file[at..at + len].copy_from_slice(&number.to_le_bytes()[..len]);
            }
            Change::Cut(at, len) => {
                let at = place(at);
                let end = (at + len).min(file.len());
                file.drain(at..end);
            }
            Change::Repeat(at, len) => {
                let at = place(at);
                let piece = file[at..(at + len).min(file.len())].to_vec();
                file.splice(at..at, piece);
            }
            Change::Truncate(at) => {
                let at = place(at);
                file.truncate(at);
            }
        }
    }
    file
}

/// An error says something; tensors hold what their shapes say, all bytes readable.
fn check(result: Result<TensorMap, FormatError>) {
    match result {
        Err(error) => assert!(!error.fact.is_empty() && error.to_string().contains("mutant")),
        Ok(tensors) => {
            for tensor in &tensors {
                assert_eq!(tensor.dtype.bytes_of(tensor.n_elements()), Some(tensor.data.len()));
                std::hint::black_box(tensor.data.iter().fold(0u8, |sum, byte| sum ^ byte));
            }
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_gguf_files_never_panic(changes in changes()) {
        let array = [&4u32.to_le_bytes()[..], &3u64.to_le_bytes(), &[7; 12]].concat();
        let file = apply(GgufBytes::small().entry("llama.heads", 9, &array).build(), &changes);
        check(gguf::parse(&Bytes::new(file), Path::new("mutant")).map(|file| {
            for (key, _) in file.metadata.iter() {
                let _ = (file.metadata.u32(key), file.metadata.f32(key), file.metadata.opt_u32_per_layer(key, 3));
            }
            file.tensors
        }));
    }

    #[test]
    fn changed_safetensors_files_never_panic(changes in changes()) {
        let header = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}}"#;
        let file = apply(safetensors_file(header, 19), &changes);
        check(safetensors::parse(&Bytes::new(file), Path::new("mutant")).map(|file| file.tensors));
    }

    #[test]
    fn changed_pth_files_never_panic(changes in changes(), strided in any::<bool>()) {
        let pickle = if strided {
            Pickle::one_tensor(6, 1, &[2, 2], &[1, 2])
        } else {
            let pickle = Pickle::new().raw(b"}q\x00(").str("a").tensor(6, 0, &[2, 3], &[3, 1]).str("b");
            pickle.tensor(6, 3, &[3], &[1]).raw(b"u.")
        };
        let file = apply(pth(&pickle, 24), &changes);
        check(puna_formats::pth::parse(&Bytes::new(file), Path::new("mutant")));
    }
}
