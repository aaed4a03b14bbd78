//! Arbitrary bytes as a PyTorch file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use puna_formats::{Bytes, pth};

#[path = "tensors.rs"]
mod tensors;

fuzz_target!(|data: &[u8]| {
    let Ok(map) = pth::parse(&Bytes::new(data.to_vec()), Path::new("fuzz.pth")) else { return };
    tensors::check_sizes(&map);
});
