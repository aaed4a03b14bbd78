//! Arbitrary bytes as a tokenizer file of any form; one that loads must encode and decode without panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use puna_text::{EncodeOptions, HfTokenizerConfig, TokenizerHints, Tokenizer};

fuzz_target!(|data: &[u8]| {
    if let Ok(config) = HfTokenizerConfig::parse(data) {
        let _ = format!("{config:?}");
    }
    let Ok(tokenizer) = Tokenizer::from_file_bytes(data, &TokenizerHints::default()) else { return };
    for text in ["", " a  b\n\n12345 don't é 日本 😀\u{0}", "<s></s><|begin_of_text|><0x41>"] {
        for parse_special in [false, true] {
            let ids = tokenizer.encode(text, EncodeOptions { parse_special, ..EncodeOptions::default() });
            let _ = tokenizer.decode(&ids);
            let mut stream = tokenizer.stream();
            ids.iter().for_each(|id| drop(stream.push(*id).len()));
            let _ = stream.finish();
        }
    }
    let _ = tokenizer.decode(&[0, 1, u32::MAX, tokenizer.vocab_size() as u32]);
});
