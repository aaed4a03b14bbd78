//! Training a byte-level BPE vocabulary on text.
//!
//! The text is cut into words by the Llama 3 pattern and the words are counted. Then the pair of
//! neighbouring tokens that occurs most often, over all words by their counts, becomes a new token, until
//! the vocabulary is full. Counts are kept up to date merge by merge: only words that hold the merged
//! pair are touched. Of pairs that occur equally often the one with the smaller ids wins, so the same
//! text gives the same vocabulary.
//!
//! Ids: the 256 bytes in the order of their printable alphabet (as in Llama 3), the merged tokens in the
//! order they were made, the special tokens last.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::byte_level::{char_of_byte, token_of_bytes};
use crate::error::TokenizerError;
use crate::load::gguf::GgufVocab;
use crate::split::{LLAMA3_PATTERN, Splitter};
use crate::tokenizer::Tokenizer;

const N_BYTES: usize = 256;

/// A pair must occur this often to become a token: once teaches nothing.
const MIN_COUNT: i64 = 2;

/// Why a vocabulary could not be trained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// The wanted vocabulary has no room for the bytes and the special tokens.
    #[error("a vocabulary of {wanted} is too small: {N_BYTES} bytes and {n_special} special tokens must fit")]
    TooSmall {
        /// The size asked for.
        wanted: usize,
        /// The number of special tokens.
        n_special: usize,
    },
    /// The wanted vocabulary is larger than any.
    #[error("a vocabulary of {0} is larger than the {limit} this program can hold", limit = crate::vocab::MAX_TOKENS)]
    TooLarge(usize),
    /// Two special tokens have one name, or one has none.
    #[error("the special token `{0}` is empty or given twice")]
    BadSpecialToken(String),
}

impl From<TrainError> for TokenizerError {
    fn from(error: TrainError) -> TokenizerError {
        TokenizerError::malformed("the vocabulary to be trained", error.to_string())
    }
}

/// A trained vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainedBpe {
    /// The bytes of every ordinary token, in order of id.
    tokens: Vec<Vec<u8>>,
    /// The pairs that became the tokens after the bytes, in order.
    merges: Vec<(u32, u32)>,
    special: Vec<String>,
}

/// Trains a vocabulary of `vocab_size` tokens, special ones included, on `texts`.
///
/// No merge reaches from one text into the next. A text too small or too uniform gives fewer tokens than
/// asked for; [`TrainedBpe::vocab_size`] says how many there are.
pub fn train_bpe<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    vocab_size: usize,
    special_tokens: &[&str],
) -> Result<TrainedBpe, TrainError> {
    let mut names = HashSet::new();
    if let Some(bad) = special_tokens.iter().find(|name| name.is_empty() || !names.insert(**name)) {
        return Err(TrainError::BadSpecialToken((*bad).to_owned()));
    }
    if vocab_size < N_BYTES + special_tokens.len() {
        return Err(TrainError::TooSmall { wanted: vocab_size, n_special: special_tokens.len() });
    }
    if vocab_size > crate::vocab::MAX_TOKENS {
        return Err(TrainError::TooLarge(vocab_size));
    }
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.sort_unstable_by_key(|byte| char_of_byte(*byte));
    let mut trainer = Trainer::new(&bytes, count_words(texts));
    let mut tokens: Vec<Vec<u8>> = bytes.iter().map(|byte| vec![*byte]).collect();
    let mut known: HashSet<Vec<u8>> = tokens.iter().cloned().collect();
    let mut merges = Vec::new();
    while tokens.len() + special_tokens.len() < vocab_size {
        let Some(pair) = trainer.most_frequent_pair() else {
            break;
        };
        let joined = [&tokens[pair.0 as usize][..], &tokens[pair.1 as usize]].concat();
        // The same bytes may be reached by other pairs; a second token for them would never be used.
        if known.insert(joined.clone()) {
            trainer.merge(pair, tokens.len() as u32);
            tokens.push(joined);
            merges.push(pair);
        } else {
            trainer.forget(pair);
        }
    }
    Ok(TrainedBpe { tokens, merges, special: special_tokens.iter().map(|name| (*name).to_owned()).collect() })
}

/// The distinct words of `texts` and how often each occurs, sorted so that the order is always the same.
fn count_words<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<(String, i64)> {
    let mut counts: HashMap<String, i64> = HashMap::new();
    for text in texts {
        Splitter::Llama3.for_each_word(text, |word| match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                counts.insert(word.to_owned(), 1);
            }
        });
    }
    let mut words: Vec<(String, i64)> = counts.into_iter().collect();
    words.sort_unstable();
    words
}

/// The words as they stand after the merges so far, and the counts of all pairs in them.
struct Trainer {
    words: Vec<Word>,
    counts: HashMap<(u32, u32), i64>,
    /// The words in which a pair was seen when its count last rose. Some may hold it no longer.
    places: HashMap<(u32, u32), HashSet<u32>>,
    /// Candidates by count, then by smaller ids. An entry whose count is no longer true is put back with
    /// the true one when it comes up.
    heap: BinaryHeap<(i64, Reverse<(u32, u32)>)>,
}

struct Word {
    ids: Vec<u32>,
    count: i64,
}

impl Trainer {
    /// `bytes[id]` is the byte that token `id` stands for.
    fn new(bytes: &[u8], words: Vec<(String, i64)>) -> Trainer {
        let mut id_of = [0u32; N_BYTES];
        for (id, byte) in (0u32..).zip(bytes) {
            id_of[usize::from(*byte)] = id;
        }
        let words: Vec<Word> = words
            .into_iter()
            .map(|(word, count)| Word {
                ids: word.bytes().map(|byte| id_of[usize::from(byte)]).collect(),
                count,
            })
            .collect();
        let mut trainer =
            Trainer { words, counts: HashMap::new(), places: HashMap::new(), heap: BinaryHeap::new() };
        for (word_idx, word) in (0u32..).zip(&trainer.words) {
            for pair in word.ids.windows(2) {
                let pair = (pair[0], pair[1]);
                *trainer.counts.entry(pair).or_default() += word.count;
                trainer.places.entry(pair).or_default().insert(word_idx);
            }
        }
        trainer.heap = trainer.counts.iter().map(|(pair, count)| (*count, Reverse(*pair))).collect();
        trainer
    }

    fn most_frequent_pair(&mut self) -> Option<(u32, u32)> {
        while let Some((count, Reverse(pair))) = self.heap.pop() {
            let true_count = self.counts.get(&pair).copied().unwrap_or(0);
            if true_count == count && count >= MIN_COUNT {
                return Some(pair);
            }
            if true_count >= MIN_COUNT {
                self.heap.push((true_count, Reverse(pair)));
            }
        }
        None
    }

    /// Makes every occurrence of `pair` the token `new_id`.
    fn merge(&mut self, pair: (u32, u32), new_id: u32) {
        let places = self.places.remove(&pair).unwrap_or_default();
        self.counts.remove(&pair);
        let mut grown = HashSet::new();
        for word_idx in places {
            let word = &mut self.words[word_idx as usize];
            let before = std::mem::take(&mut word.ids);
            word.ids = merged(&before, pair, new_id);
            for gone in before.windows(2).map(|pair| (pair[0], pair[1])).filter(|gone| *gone != pair) {
                *self.counts.entry(gone).or_default() -= word.count;
            }
            for there in word.ids.windows(2).map(|pair| (pair[0], pair[1])) {
                *self.counts.entry(there).or_default() += word.count;
                if there.0 == new_id || there.1 == new_id {
                    self.places.entry(there).or_default().insert(word_idx);
                    grown.insert(there);
                }
            }
        }
        self.heap
            .extend(grown.into_iter().filter_map(|pair| Some((*self.counts.get(&pair)?, Reverse(pair)))));
    }

    /// Never offers `pair` again.
    fn forget(&mut self, pair: (u32, u32)) {
        self.places.remove(&pair);
        self.counts.remove(&pair);
    }
}

/// `ids` with every occurrence of `pair`, from left to right, made `new_id`.
fn merged(ids: &[u32], pair: (u32, u32), new_id: u32) -> Vec<u32> {
    let mut result = Vec::with_capacity(ids.len());
    let mut rest = ids;
    while let [first, after @ ..] = rest {
        match after {
            [second, after @ ..] if (*first, *second) == pair => {
                result.push(new_id);
                rest = after;
            }
            _ => {
                result.push(*first);
                rest = after;
            }
        }
    }
    result
}

impl TrainedBpe {
    /// Number of tokens, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len() + self.special.len()
    }

    /// The id of a special token.
    pub fn special_id(&self, name: &str) -> Option<u32> {
        let at = self.special.iter().position(|other| other == name)?;
        u32::try_from(self.tokens.len() + at).ok()
    }

    /// The tokenizer, as it would be read back from [`to_hf_json`](Self::to_hf_json).
    pub fn to_tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_hf_json(self.to_hf_json().as_bytes())
    }

    /// The contents of a `tokenizer.json`. Where there is a `<|begin_of_text|>` or `<s>` among the special
    /// tokens, it is put in front of every text.
    pub fn to_hf_json(&self) -> String {
        let texts = self.token_texts();
        let vocab: Map<String, Value> =
            texts.iter().zip(0u32..).map(|(text, id)| (text.clone(), json!(id))).collect();
        let merges: Vec<[&String; 2]> =
            self.merges.iter().map(|(a, b)| [&texts[*a as usize], &texts[*b as usize]]).collect();
        let added: Vec<Value> = (self.tokens.len()..)
            .zip(&self.special)
            .map(|(id, name)| {
                json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true})
            })
            .collect();
        let file = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": LLAMA3_PATTERN}, "behavior": "Isolated", "invert": false},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
            ]},
            "post_processor": self.post_processor(),
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocab, "merges": merges},
        });
        file.to_string()
    }

    fn post_processor(&self) -> Value {
        let Some((name, id)) = self.bos() else {
            return Value::Null;
        };
        let bos = json!({"SpecialToken": {"id": name, "type_id": 0}});
        let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        json!({"type": "TemplateProcessing",
            "single": [bos, text("A")],
            "pair": [bos, text("A"), bos, text("B")],
            "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]}}})
    }

    /// The `tokenizer.ggml.*` values of a GGUF file with this vocabulary.
    pub fn to_gguf_vocab(&self) -> GgufVocab {
        const NORMAL: i32 = 1;
        const CONTROL: i32 = 3;
        let texts = self.token_texts();
        let merge = |(a, b): &(u32, u32)| format!("{} {}", texts[*a as usize], texts[*b as usize]);
        let merges = self.merges.iter().map(merge).collect();
        let types = std::iter::repeat_n(NORMAL, self.tokens.len())
            .chain(std::iter::repeat_n(CONTROL, self.special.len()));
        let bos_id = self.bos().map(|(_, id)| id);
        GgufVocab {
            model: "gpt2".to_owned(),
            pre: Some("llama-bpe".to_owned()),
            token_types: types.collect(),
            tokens: texts.into_iter().chain(self.special.iter().cloned()).collect(),
            merges,
            bos_id,
            eos_id: self.special_id("<|end_of_text|>").or_else(|| self.special_id("</s>")),
            eot_id: self.special_id("<|eot_id|>"),
            eom_id: self.special_id("<|eom_id|>"),
            add_bos: Some(bos_id.is_some()),
            ..GgufVocab::default()
        }
    }

    fn bos(&self) -> Option<(&'static str, u32)> {
        ["<|begin_of_text|>", "<s>"].into_iter().find_map(|name| Some((name, self.special_id(name)?)))
    }

    fn token_texts(&self) -> Vec<String> {
        self.tokens.iter().map(|bytes| token_of_bytes(bytes)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::EncodeOptions;

    const TEXT: &str = "the cat sat on the mat, the cat ate the rat; naïve 12 aaaa aaa aa\n\n\n";

    /// The definition, without any bookkeeping: count all pairs anew for every merge.
    fn slow_merges(text: &str, n_merges: usize) -> Vec<Vec<u8>> {
        let mut words: Vec<(Vec<Vec<u8>>, i64)> = count_words([text])
            .into_iter()
            .map(|(word, count)| (word.bytes().map(|byte| vec![byte]).collect(), count))
            .collect();
        let mut ids: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        ids.sort_unstable_by_key(|byte| char_of_byte(byte[0]));
        while ids.len() < N_BYTES + n_merges {
            let id = |token: &Vec<u8>| ids.iter().position(|other| other == token).unwrap();
            let mut counts: HashMap<(usize, usize), i64> = HashMap::new();
            for (word, count) in &words {
                for pair in word.windows(2) {
                    *counts.entry((id(&pair[0]), id(&pair[1]))).or_default() += count;
                }
            }
            let best = counts.into_iter().max_by_key(|(pair, count)| (*count, Reverse(*pair)));
            let Some(((left, right), _)) = best.filter(|(_, count)| *count >= MIN_COUNT) else { break };
            let joined = [&ids[left][..], &ids[right]].concat();
            for (word, _) in &mut words {
                let mut at = 0;
                while at + 1 < word.len() {
                    if word[at] == ids[left] && word[at + 1] == ids[right] {
                        word.splice(at..at + 2, [joined.clone()]);
                    }
                    at += 1;
                }
            }
            ids.push(joined);
        }
        ids.split_off(N_BYTES)
    }

    #[test]
    fn incremental_counts_equal_counting_anew() {
        let text = TEXT.repeat(3);
        let trained = train_bpe([&*text], N_BYTES + 40, &[]).unwrap();
        assert_eq!(trained.tokens[N_BYTES..], slow_merges(&text, 40));
    }

    #[test]
    fn all_forms_give_the_same_ids() {
        let trained = train_bpe([TEXT, TEXT], 300, &["<|begin_of_text|>", "<|eot_id|>"]).unwrap();
        let from_json = trained.to_tokenizer().unwrap();
        let from_gguf = Tokenizer::from_gguf(trained.to_gguf_vocab()).unwrap();
        assert_eq!(from_json.vocab_size(), trained.vocab_size());
        assert_eq!(from_json.bos_id(), trained.special_id("<|begin_of_text|>"));
        assert_eq!(from_json.stop_ids(), [trained.special_id("<|eot_id|>").unwrap()]);
        for text in [TEXT, "", "zzz<|eot_id|>", "\u{0} é 🙂"] {
            let options = EncodeOptions { add_bos: true, parse_special: true, ..Default::default() };
            let ids = from_json.encode(text, options);
            assert_eq!(ids, from_gguf.encode(text, options));
            assert_eq!(from_json.decode(&ids), text.replace("<|eot_id|>", ""));
        }
    }

    #[test]
    fn sizes_are_checked() {
        assert!(matches!(train_bpe([TEXT], 257, &["a", "b"]), Err(TrainError::TooSmall { .. })));
        assert!(matches!(train_bpe([TEXT], usize::MAX, &[]), Err(TrainError::TooLarge(_))));
        assert!(train_bpe([TEXT], 300, &["a", "a"]).is_err());
        assert_eq!(train_bpe(["x"], 1000, &["a"]).unwrap().vocab_size(), 257);
    }
}
