//! Arbitrary bytes as a safetensors file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use puna_formats::{Bytes, safetensors};

#[path = "tensors.rs"]
mod tensors;

fuzz_target!(|data: &[u8]| {
    let Ok(file) = safetensors::parse(&Bytes::new(data.to_vec()), Path::new("fuzz.safetensors")) else {
        return;
    };
    tensors::check_disjoint(&file.tensors, data.len());
});
