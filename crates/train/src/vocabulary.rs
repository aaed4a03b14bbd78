//! A vocabulary of the data's own.

use puna_text::train_bpe::{TrainedBpe, train_bpe};

use crate::data::{DataConfig, read_texts};
use crate::error::TrainError;

/// The special tokens of every vocabulary that is trained here: Llama 3's, so that a model can be taught to chat later
/// without new rows.
pub const SPECIAL_TOKENS: [&str; 5] =
    ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"];

/// Text that a vocabulary is trained on at most: more changes only rare tokens, and words are counted in memory.
const MAX_BYTES: usize = 256 << 20;

/// Trains a vocabulary of `vocab_size` tokens on the data; a small text may have fewer.
pub fn train_vocabulary(config: &DataConfig, vocab_size: usize) -> Result<TrainedBpe, TrainError> {
    let texts = read_texts(config, MAX_BYTES)?;
    let trained = train_bpe(texts.iter().map(String::as_str), vocab_size, &SPECIAL_TOKENS);
    trained.map_err(|error| TrainError::Setting(format!("cannot train a vocabulary\n  {error}")))
}

/// The configuration beside the `tokenizer.json` of such a vocabulary.
pub fn tokenizer_config() -> String {
    let [bos, eos, ..] = SPECIAL_TOKENS;
    let config = serde_json::json!({
        "bos_token": bos, "eos_token": eos, "add_bos_token": true,
        "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
    });
    format!("{config:#}\n")
}
