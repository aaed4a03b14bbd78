//! Arbitrary bytes as the pickle inside a sound archive, so that the fuzzer need not keep the archive intact.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use puna_formats::{Bytes, pth};

#[allow(dead_code)]
#[path = "../../crates/formats/tests/common/pth_bytes.rs"]
mod pth_bytes;
#[path = "tensors.rs"]
mod tensors;

fuzz_target!(|data: &[u8]| {
    let file = pth_bytes::pth(&pth_bytes::Pickle(data.to_vec()), 24);
    let Ok(map) = pth::parse(&Bytes::new(file), Path::new("fuzz.pth")) else { return };
    tensors::check_sizes(&map);
});
