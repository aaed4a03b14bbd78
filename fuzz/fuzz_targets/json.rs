//! Arbitrary bytes as a configuration and as the index of a sharded model.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use puna_formats::{MAX_CONFIG_BYTES, parse_json, safetensors};

fuzz_target!(|data: &[u8]| {
    let _ = parse_json::<serde_json::Value>(data, Path::new("config.json"), MAX_CONFIG_BYTES);
    let Ok(index) = safetensors::parse_index(data, Path::new("index.json")) else { return };
    for file in index.values() {
        let mut components = Path::new(file).components();
        assert!(
            matches!((components.next(), components.next()), (Some(Component::Normal(_)), None)),
            "{file}"
        );
    }
});
