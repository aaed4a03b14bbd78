//! Arbitrary arrays as the vocabulary in a GGUF header; one that loads must encode and decode without panic.
#![no_main]

use libfuzzer_sys::{arbitrary, fuzz_target};
use puna_text::{EncodeOptions, GgufVocab, Tokenizer};

#[derive(arbitrary::Arbitrary, Debug)]
struct Input {
    model: u8,
    pre: Option<u8>,
    tokens: Vec<String>,
    scores: Vec<f32>,
    token_types: Vec<u8>,
    merges: Vec<String>,
    ids: [Option<u16>; 6],
    flags: [Option<bool>; 4],
    charsmap: Vec<u8>,
    text: String,
}

fuzz_target!(|input: Input| {
    let [bos_id, eos_id, eot_id, eom_id, unk_id, pad_id] = input.ids.map(|id| id.map(u32::from));
    let [add_bos, add_eos, add_space_prefix, remove_extra_whitespaces] = input.flags;
    let pre = ["llama-bpe", "llama4", "deepseek-llm", "superbpe", "jais-2", "bloom"];
    let vocab = GgufVocab {
        model: ["llama", "gpt2", "t5", "bert"][input.model as usize % 4].to_owned(),
        pre: input.pre.map(|at| pre[at as usize % pre.len()].to_owned()),
        tokens: input.tokens,
        scores: input.scores,
        token_types: input.token_types.into_iter().map(i32::from).collect(),
        merges: input.merges,
        bos_id,
        eos_id,
        eot_id,
        eom_id,
        unk_id,
        pad_id,
        add_bos,
        add_eos,
        add_space_prefix,
        remove_extra_whitespaces,
        precompiled_charsmap: input.charsmap,
    };
    let Ok(tokenizer) = Tokenizer::from_gguf(vocab) else { return };
    let ids =
        tokenizer.encode(&input.text, EncodeOptions { parse_special: true, ..EncodeOptions::default() });
    let _ = tokenizer.decode(&ids);
});
