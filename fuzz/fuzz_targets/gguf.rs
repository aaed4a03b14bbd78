//! Arbitrary bytes as a GGUF file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use puna_formats::{Bytes, gguf};

#[path = "tensors.rs"]
mod tensors;

fuzz_target!(|data: &[u8]| {
    let Ok(file) = gguf::parse(&Bytes::new(data.to_vec()), Path::new("fuzz.gguf")) else { return };
    let metadata = &file.metadata;
    for (key, value) in metadata.iter() {
        let _ = (metadata.opt_u32(key), metadata.opt_u64(key), metadata.opt_f32(key), metadata.opt_bool(key));
        let _ = (
            metadata.opt_str(key),
            metadata.opt_strings(key),
            metadata.opt_f32s(key),
            metadata.opt_i32s(key),
        );
        let _ = (metadata.opt_u32_per_layer(key, 4), value.type_name());
    }
    tensors::check_disjoint(&file.tensors, data.len());
});
