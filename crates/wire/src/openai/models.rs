//! `/v1/models`: which models there are.

use serde_json::{Value, json};

/// What is told of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name, as requests name it.
    pub id: String,
    /// Seconds since 1970 when its file was written.
    pub created: u64,
    /// The most tokens of a prompt and its answer together.
    pub max_seq_len: usize,
    /// The longest sequence that it was trained on.
    pub trained_seq_len: usize,
    /// Tokens it knows.
    pub vocab_size: usize,
    /// Numbers in a position's vector.
    pub dim: usize,
    /// Its parameters.
    pub n_params: u64,
    /// Bytes of its weights.
    pub weight_bytes: u64,
}

/// All of them.
pub fn list(models: &[ModelInfo]) -> Value {
    json!({"object": "list", "data": models.iter().map(one).collect::<Vec<_>>()})
}

/// That one is gone.
pub fn deleted(id: &str) -> Value {
    json!({"id": id, "object": "model", "deleted": true})
}

/// One of them. `max_model_len` is vLLM's, `meta` is llama.cpp's.
pub fn one(model: &ModelInfo) -> Value {
    json!({
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": super::FINGERPRINT,
        "max_model_len": model.max_seq_len,
        "meta": {
            "n_vocab": model.vocab_size,
            "n_ctx_train": model.trained_seq_len,
            "n_embd": model.dim,
            "n_params": model.n_params,
            "size": model.weight_bytes,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_holds_each_model_as_it_is_told_alone() {
        let models =
            ["a/b:c", "d"].map(|id| ModelInfo { id: id.into(), max_seq_len: 9, ..ModelInfo::default() });
        let found = list(&models);
        assert_eq!(found["data"], json!([one(&models[0]), one(&models[1])]));
        assert_eq!(
            (&found["data"][0]["id"], &found["data"][0]["object"]),
            (&json!("a/b:c"), &json!("model"))
        );
        assert_eq!(found["data"][1]["max_model_len"], json!(9));
    }
}
