//! `config.json` of EAGLE-3 heads: as their authors publish it, and as speculators saves it.

use serde_json::Value;

use super::Config;
use super::json::{flag, object, size, sizes};

/// What a head's configuration says.
pub(crate) struct EagleConfig {
    /// Its layer. The vocabulary is the target's.
    pub decoder: Config,
    /// Tokens that it may guess.
    pub draft_vocab_size: usize,
    /// Its target's width, where it is said.
    pub target_dim: Option<usize>,
    /// The target's layers that it reads the inputs of, where they are said.
    pub layers: Option<Vec<usize>>,
    /// Whether the residual is taken after the norm of the features.
    pub norm_before_residual: bool,
}

impl EagleConfig {
    /// Reads `config.json`. The message names the key that is missing or not understood.
    pub fn from_hf(config: &Value) -> Result<EagleConfig, String> {
        let layer = object(config, "transformer_layer_config")?.unwrap_or(config);
        let decoder = Config { tied: false, ..Config::from_hf(layer)? };
        let is_plain = decoder.layer_kinds.is_empty() && decoder.cross_layers.is_empty();
        if decoder.n_layers != 1 || !is_plain || !decoder.layer_sizes.is_empty() {
            let n = decoder.n_layers;
            return Err(format!("num_hidden_layers is {n}; supported are draft heads of one plain layer"));
        }
        // Others count these layers in another way.
        if let Some(other) = object(config, "eagle_config")? {
            let says_layers =
                sizes(other, "eagle_aux_hidden_state_layer_ids")?.is_some_and(|l| !l.is_empty());
            let reads_one =
                other.get("use_aux_hidden_state").is_some() && !flag(other, "use_aux_hidden_state")?;
            if says_layers || reads_one {
                return Err(
                    "eagle_config names the layers that the head reads, which is not supported".into()
                );
            }
        }
        let draft_vocab_size = size(config, "draft_vocab_size")?.unwrap_or(decoder.vocab_size);
        if draft_vocab_size == 0 || draft_vocab_size > decoder.vocab_size {
            let vocab_size = decoder.vocab_size;
            return Err(format!("draft_vocab_size is {draft_vocab_size}; expected 1 to {vocab_size}"));
        }
        Ok(EagleConfig {
            decoder,
            draft_vocab_size,
            target_dim: size(config, "target_hidden_size")?,
            layers: sizes(config, "eagle_aux_hidden_state_layer_ids")?,
            norm_before_residual: flag(config, "norm_before_residual")?,
        })
    }
}
