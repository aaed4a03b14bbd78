//! Properties that hold for all texts and all files: round trips, and no panic on hostile bytes.

use proptest::prelude::*;
use puna_text::template::{ChatFormat, JinjaTemplate, Message, RenderOptions, SpecialNames};
use puna_text::train_bpe::{TrainedBpe, train_bpe};
use puna_text::{EncodeOptions, GgufVocab, HfTokenizerConfig, InfillOrder, Tokenizer, TokenizerHints};
use serde_json::{Map, json};

const TEXT: &str = "the cat sat on the mat; the other cat's hat, naïve 1234 語語 \n\n  x  \t end. ";

fn trained() -> TrainedBpe {
    train_bpe([TEXT, TEXT], 310, &["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]).unwrap()
}

/// A SentencePiece vocabulary of a few words over bytes.
fn sentencepiece_vocab() -> GgufVocab {
    let control = [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(text, kind)| (text.to_owned(), 0.0, kind));
    let bytes = (0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6));
    let merged = ["▁t", "he", "▁the", "in", "▁▁", "▁a", "at", "▁c", "▁cat", "the", "cat", "hat", "aa", "aaa"];
    let merged = merged.iter().enumerate().map(|(n, text)| ((*text).to_owned(), -(n as f32), 1));
    let single = "▁thecinaé".chars().map(|c| (c.to_string(), -100.0, 1));
    let marker = ["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"].map(|text| (text.to_owned(), 0.0, 3));
    let rows: Vec<(String, f32, i32)> =
        control.into_iter().chain(bytes).chain(merged).chain(single).chain(marker).collect();
    GgufVocab {
        model: "llama".to_owned(),
        tokens: rows.iter().map(|row| row.0.clone()).collect(),
        scores: rows.iter().map(|row| row.1).collect(),
        token_types: rows.iter().map(|row| row.2).collect(),
        ..GgufVocab::default()
    }
}

/// The same vocabulary as a SentencePiece file.
fn sentencepiece_file() -> Vec<u8> {
    fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
        out.push(number << 3 | 2);
        out.extend(u8::try_from(bytes.len()).ok().filter(|length| *length < 0x80));
        out.extend_from_slice(bytes);
    }
    let vocab = sentencepiece_vocab();
    let mut file = Vec::new();
    for ((text, score), kind) in vocab.tokens.iter().zip(&vocab.scores).zip(&vocab.token_types) {
        let mut piece = Vec::new();
        field(&mut piece, 1, text.as_bytes());
        piece.push(2 << 3 | 5);
        piece.extend(score.to_le_bytes());
        piece.extend([3 << 3, *kind as u8]);
        field(&mut file, 1, &piece);
    }
    field(&mut file, 2, &[3 << 3, 2]); // model_type: BPE
    field(&mut file, 3, &[3 << 3, 1, 4 << 3, 0, 5 << 3, 1]); // dummy prefix, keep white space, escape it
    file
}

/// A small tiktoken file: the bytes, and a few words.
fn tiktoken_file() -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let base64 = |bytes: &[u8]| -> String {
        let groups = bytes.chunks(3).flat_map(|group| {
            let bits =
                group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            let digit = move |n: usize| char::from(DIGITS[(bits >> (18 - 6 * n)) as usize & 63]);
            let n_digits = group.len() + 1;
            (0..4).map(move |n| if n < n_digits { digit(n) } else { '=' })
        });
        groups.collect()
    };
    let words = ["th", "the", " the", "at", "cat", " cat", "  "].iter().map(|word| word.as_bytes().to_vec());
    let tokens = (0..=255u8).map(|byte| vec![byte]).chain(words).enumerate();
    tokens.map(|(rank, token)| format!("{} {rank}\n", base64(&token))).collect::<String>().into_bytes()
}

/// One tokenizer of every form.
fn tokenizers() -> Vec<Tokenizer> {
    let hints = TokenizerHints { vocab_size: Some(300), ..TokenizerHints::default() };
    vec![
        trained().to_tokenizer().unwrap(),
        Tokenizer::from_gguf(trained().to_gguf_vocab()).unwrap(),
        Tokenizer::from_gguf(sentencepiece_vocab()).unwrap(),
        Tokenizer::from_file_bytes(&sentencepiece_file(), &hints).unwrap(),
        Tokenizer::from_file_bytes(&tiktoken_file(), &hints).unwrap(),
    ]
}

/// Text likely to hit special cases.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("<|eot_id|>".to_owned()),
        Just("</s>".to_owned()),
        "[ \\n\\t]{1,4}",
        "[a-d'stTHE]{1,6}",
        "[0-9]{1,5}",
        "\\PC{0,6}",
        any::<String>(),
    ];
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

/// A `tokenizer.json` of random parts around a small model.
fn composed() -> impl Strategy<Value = serde_json::Value> {
    let any_of = |parts: Vec<serde_json::Value>| prop::sample::select(parts);
    let normalizers = any_of(vec![
        json!({"type": "NFC"}),
        json!({"type": "NFKD"}),
        json!({"type": "Lowercase"}),
        json!({"type": "Nmt"}),
        json!({"type": "StripAccents"}),
        json!({"type": "Strip", "strip_left": true, "strip_right": true}),
        json!({"type": "Prepend", "prepend": "▁"}),
        json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
        json!({"type": "Replace", "pattern": {"Regex": "a*"}, "content": "aab"}),
        json!({"type": "ByteLevel"}),
        json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": true,
            "lowercase": true}),
    ]);
    let behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
    let expressions = [r"\s+(?!\S)|\s+", r"\p{N}{1,3}", r"a|(?=b)", r"\w++|\s", "^|$", ""];
    let split = (prop::sample::select(behaviors.to_vec()), prop::sample::select(expressions.to_vec()), any::<bool>()).prop_map(
        |(behavior, expression, invert)| {
            json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": behavior, "invert": invert})
        },
    );
    let pre_tokenizers = prop_oneof![
        split,
        any_of(vec![
            json!({"type": "ByteLevel", "add_prefix_space": true}),
            json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}),
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}),
            json!({"type": "Metaspace", "replacement": "▁"}),
            json!({"type": "Digits", "individual_digits": true}),
            json!({"type": "Punctuation"}),
            json!({"type": "Whitespace"}),
            json!({"type": "BertPreTokenizer"}),
            json!({"type": "CharDelimiterSplit", "delimiter": "a"}),
            json!({"type": "UnicodeScripts"}),
            json!({"type": "FixedLength", "length": 2}),
        ]),
    ];
    let decoders = any_of(vec![
        json!({"type": "ByteLevel"}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "Strip", "content": " ", "start": 1, "stop": 2}),
        json!({"type": "Metaspace", "replacement": "▁"}),
        json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        json!({"type": "BPEDecoder", "suffix": ""}),
        json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "|", "cleanup": true}),
    ]);
    let vocab = || {
        let words =
            ["<unk>", "a", "b", "ab", "▁", "▁a", "##b", "Ġ", "Ã", "1", "語", "<0xE8>", "<0xAA>", "<0x9E>"];
        words
            .iter()
            .zip(0..)
            .map(|(word, id)| ((*word).to_owned(), json!(id)))
            .collect::<Map<String, serde_json::Value>>()
    };
    let scores =
        vocab().into_iter().map(|(word, id)| json!([word, -id.as_f64().unwrap()])).collect::<Vec<_>>();
    let models = any_of(vec![
        json!({"type": "BPE", "vocab": vocab(), "merges": ["a b", "▁ a"]}),
        json!({"type": "BPE", "vocab": vocab(), "merges": ["a b"], "unk_token": "<unk>", "byte_fallback": true}),
        json!({"type": "BPE", "vocab": vocab(), "merges": [], "unk_token": "<unk>", "continuing_subword_prefix": "##"}),
        json!({"type": "Unigram", "vocab": scores, "unk_id": 0, "byte_fallback": true}),
        json!({"type": "WordPiece", "vocab": vocab(), "unk_token": "<unk>"}),
        json!({"type": "WordLevel", "vocab": vocab(), "unk_token": "<unk>"}),
    ]);
    let added = (any::<[bool; 5]>(), "[a-c▁ <>]{1,4}").prop_map(|(flags, content)| {
        json!({"id": 14, "content": content, "special": flags[0], "normalized": flags[1], "lstrip": flags[2],
            "rstrip": flags[3], "single_word": flags[4]})
    });
    let parts = (
        prop::collection::vec(normalizers, 0..3),
        prop::collection::vec(pre_tokenizers, 0..4),
        prop::collection::vec(decoders, 0..4),
        prop::collection::vec(added, 0..3),
        models,
    );
    parts.prop_map(|(normalizers, pre_tokenizers, decoders, added, model)| {
        json!({"added_tokens": added, "model": model,
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": pre_tokenizers},
            "decoder": {"type": "Sequence", "decoders": decoders}})
    })
}

/// A valid file with a few bytes changed and an end cut off.
fn damaged(file: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = file.len();
    let changes = prop::collection::vec((0..length, any::<u8>()), 0..8);
    (Just(file), changes, 0..=length).prop_map(|(mut file, changes, keep)| {
        for (at, byte) in changes {
            file[at] = byte;
        }
        file.truncate(keep.max(1));
        file
    })
}

/// Reads a file and, should it be accepted, uses what came of it.
fn try_out(bytes: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_file_bytes(bytes, &TokenizerHints::default()) {
        use_it(&tokenizer);
    }
}

fn use_it(tokenizer: &Tokenizer) {
    let options = EncodeOptions { add_bos: true, add_eos: true, parse_special: true };
    let ids = tokenizer.encode(TEXT, options);
    tokenizer.decode(&ids);
    let mut stream = tokenizer.stream();
    for id in ids {
        stream.push(id);
    }
    stream.finish();
    tokenizer.iter().for_each(|(id, _)| drop(tokenizer.piece(id)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn text_survives_the_round_trip(text in text()) {
        for tokenizer in tokenizers() {
            let ids = tokenizer.encode(&text, EncodeOptions::default());
            prop_assert!(ids.iter().all(|id| !tokenizer.is_special(*id)));
            // SentencePiece cannot tell its own mark from a space.
            let expected = if tokenizer.id_of("<0x00>").is_some() { text.replace('▁', " ") } else { text.clone() };
            prop_assert_eq!(tokenizer.decode(&ids), expected);
        }
    }

    #[test]
    fn streaming_equals_decoding(text in text(), cut in any::<prop::sample::Index>()) {
        for tokenizer in tokenizers() {
            let mut ids = tokenizer.encode(&text, EncodeOptions::default());
            ids.truncate(cut.index(ids.len() + 1));
            let mut stream = tokenizer.stream();
            let mut streamed: String = ids.iter().map(|id| stream.push(*id).to_owned()).collect();
            streamed.push_str(stream.finish());
            prop_assert_eq!(streamed, tokenizer.decode_continuation(&ids));
        }
    }

    #[test]
    fn streams_of_any_ids_print_text(ids in prop::collection::vec(0u32..700, 0..40)) {
        for tokenizer in tokenizers() {
            let mut stream = tokenizer.stream();
            let mut streamed: String = ids.iter().map(|id| stream.push(*id).to_owned()).collect();
            streamed.push_str(stream.finish());
            let has_special = ids.iter().any(|id| tokenizer.is_special(*id));
            prop_assert!(has_special || streamed == tokenizer.decode_continuation(&ids));
        }
    }

    #[test]
    fn damaged_files_do_not_panic(
        json in damaged(trained().to_hf_json().into_bytes()),
        sentencepiece in damaged(sentencepiece_file()),
        tiktoken in damaged(tiktoken_file()),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for file in [json, sentencepiece, tiktoken, noise] {
            try_out(&file);
            let _ = HfTokenizerConfig::parse(&file);
        }
    }

    /// Whatever parts a file puts together: nothing panics, ordinary text is no control token, and a stream prints what
    /// all its tokens together do.
    #[test]
    fn any_composition_can_be_used(file in composed(), text in text()) {
        let file = file.to_string();
        if let Ok(tokenizer) = Tokenizer::from_hf_json(file.as_bytes()) {
            use_it(&tokenizer);
            let ids = tokenizer.encode(&text, EncodeOptions::default());
            prop_assert!(ids.iter().all(|id| !tokenizer.is_special(*id) && (*id as usize) < tokenizer.vocab_size()));
            let mut stream = tokenizer.stream();
            let mut streamed: String = ids.iter().map(|id| stream.push(*id).to_owned()).collect();
            streamed.push_str(stream.finish());
            prop_assert_eq!(streamed, tokenizer.decode_continuation(&ids));
            tokenizer.decode(&ids);
        }
    }

    #[test]
    fn damaged_compositions_do_not_panic(file in composed().prop_flat_map(|file| damaged(file.to_string().into_bytes()))) {
        try_out(&file);
    }

    #[test]
    fn odd_gguf_vocabularies_do_not_panic(
        mut vocab in prop_oneof![Just(sentencepiece_vocab()), Just(trained().to_gguf_vocab())],
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[a<▁Ġ>0x|é ]{0,7}", any::<f32>(), -1i32..8), 0..6),
        ids in prop::array::uniform4(prop::option::of(any::<u32>())),
        n_dropped in 0usize..4,
    ) {
        for (at, text, score, kind) in changes {
            let at = at.index(vocab.tokens.len());
            vocab.tokens[at] = text.clone();
            if let Some(old) = vocab.scores.get_mut(at) { *old = score; }
            if let Some(old) = vocab.token_types.get_mut(at) { *old = kind; }
            if !vocab.merges.is_empty() { let n = vocab.merges.len(); vocab.merges[at % n] = text; }
        }
        vocab.token_types.truncate(vocab.token_types.len() - n_dropped / 3);
        (vocab.bos_id, vocab.eos_id, vocab.unk_id, vocab.eot_id) = (ids[0], ids[1], ids[2], ids[3]);
        if let Ok(tokenizer) = Tokenizer::from_gguf(vocab) {
            use_it(&tokenizer);
        }
    }

    #[test]
    fn odd_templates_do_not_panic(source in "[{}%# a-c'\"\\\\\n.|\\[\\]-]{0,60}", text in text()) {
        if let Ok(template) = JinjaTemplate::new(&source) {
            let messages = [Message::new("user", text)];
            let _ = template.render_text(&messages, &RenderOptions::answer(), &SpecialNames::default());
        }
    }

    #[test]
    fn built_in_formats_print_what_users_wrote_as_text(text in text()) {
        let tokenizer = trained().to_tokenizer().unwrap();
        let prompt = ChatFormat::Llama3.render(&[Message::new("user", &*text)], &RenderOptions::default()).unwrap();
        let n_special = prompt.pieces().len() - prompt.pieces().filter(|piece| matches!(piece, puna_text::template::PromptPiece::Text(_))).count();
        prop_assert_eq!(n_special, 4);
        // This small vocabulary has no header tokens, and says so.
        prop_assert!(prompt.to_ids(&tokenizer).is_err());
    }
}

#[test]
fn long_runs_take_linear_time() {
    const N: usize = 1 << 20;
    for tokenizer in tokenizers() {
        for unit in ["a", " ", "\n", "<", "<|", "語", "9", "'s", "aB", " a"] {
            let text = unit.repeat(N / unit.len());
            let options = EncodeOptions { parse_special: true, ..EncodeOptions::default() };
            let ids = tokenizer.encode(&text, options);
            assert_eq!(tokenizer.decode(&ids), text);
        }
    }
}

#[test]
fn infilling_prompts_have_one_prefix_space() {
    let tokenizer = Tokenizer::from_gguf(sentencepiece_vocab()).unwrap();
    let id = |piece: &str| tokenizer.id_of(piece).unwrap();
    let (bos, pre, suf, mid) = (id("<s>"), id("▁<PRE>"), id("▁<SUF>"), id("▁<MID>"));
    let ids = tokenizer.encode_infill("the", "cat", InfillOrder::PrefixFirst).unwrap();
    assert_eq!(ids, [bos, pre, id("▁the"), suf, id("cat"), mid]);
    let ids = tokenizer.encode_infill("the", " cat", InfillOrder::SuffixFirst).unwrap();
    assert_eq!(ids, [bos, pre, suf, id("▁cat"), mid, id("▁the")]);
    assert_eq!(tokenizer.decode_continuation(&[id("▁cat")]), " cat");
    assert!(tokenizer.stop_ids().contains(&id("▁<EOT>")));
    assert!(trained().to_tokenizer().unwrap().encode_infill("", "", InfillOrder::default()).is_err());
}

/// `legacy` says whether text after a special token gets a space in front; GGUF and file agree.
#[test]
fn text_after_a_special_token() {
    let mut tokenizer = Tokenizer::from_sentencepiece(&sentencepiece_file()).unwrap();
    let options = EncodeOptions { parse_special: true, ..EncodeOptions::default() };
    let id = |piece: &str| tokenizer.id_of(piece).unwrap();
    let (eos, the, prefixed) = (id("</s>"), id("the"), id("▁the"));
    assert_eq!(tokenizer.encode("the</s>the", options), [prefixed, eos, prefixed]);
    tokenizer.configure(&HfTokenizerConfig { legacy: Some(false), ..Default::default() }).unwrap();
    assert_eq!(tokenizer.encode("the</s>the", options), [prefixed, eos, the]);
    assert_eq!(tokenizer.encode("</s>the", options), [eos, the]);
}
