//! Checkpoints that hold something other than a language model: told by their keys and the names of their
//! tensors, and called what they are.

use std::path::Path;

use serde_json::Value;

use super::Checkpoint;
use crate::error::{FormatError, Problem};
use crate::gguf::Metadata;
use crate::tensor_map::TensorMap;

impl Checkpoint {
    /// An error that says what the checkpoint is, if it is no language model; `path` is for messages.
    pub fn check_is_model(&self, path: &Path) -> Result<(), FormatError> {
        let found = match self {
            Checkpoint::Gguf(gguf) => gguf_kind(&gguf.metadata, &gguf.tensors),
            Checkpoint::HuggingFace(hf) => folder_kind(&hf.config, &hf.tensors),
            Checkpoint::Meta(_) => None,
        };
        found.map_or(Ok(()), |problem| Err(problem.in_file(path)))
    }
}

const ADAPTER: &str =
    "it changes a base model, which it was trained on, and cannot run alone; give that model";

/// What a GGUF file is, if it is no language model.
fn gguf_kind(metadata: &Metadata, tensors: &TensorMap) -> Option<Problem> {
    let said = |key: &str| metadata.opt_str(key).ok().flatten().unwrap_or_default();
    let has_key = |begin: &str| metadata.iter().any(|(key, _)| key.starts_with(begin));
    let has_tensor = |end: &str| tensors.names().any(|name| name.ends_with(end));
    let not = |fact: &str, hint: &str| Some(Problem::not_a_model(fact).hint(hint));
    let (kind, architecture) = (said("general.type"), said("general.architecture"));
    if kind == "adapter" || has_tensor(".lora_a") || has_key("adapter.") {
        return not("is a LoRA adapter, not a whole model", ADAPTER);
    }
    if kind == "imatrix" || architecture == "imatrix" || has_key("imatrix.") || has_tensor(".in_sum2") {
        let hint = "it says which weights matter when a model is quantised; give the model itself";
        return not("is an importance matrix (imatrix), not a model", hint);
    }
    if kind == "mmproj" || architecture == "clip" || has_key("clip.") {
        let hint = "give the language model, and this file as its projector";
        return not("is a vision projector (mmproj), the part of a model that sees, not the whole", hint);
    }
    if architecture == "controlvector" || has_key("controlvector.") {
        let hint = "it changes how a model answers and cannot run alone; give that model";
        return not("is a control vector, not a model", hint);
    }
    if tensors.names().next().is_none() {
        return match has_key("tokenizer.") {
            true => not(
                "is a vocabulary alone: it has a tokenizer, but no weights",
                "it can be used to turn text into tokens and back",
            ),
            false => not("has no tensors, so it is no model", "the download may be another file's"),
        };
    }
    match has_tensor("cls.weight") || has_tensor("cls.output.weight") {
        true => classifier("its tensors `cls.*` are a classifier's"),
        false => None,
    }
}

/// What a Hugging Face folder is, if it is no language model.
fn folder_kind(config: &Value, tensors: &TensorMap) -> Option<Problem> {
    let architecture = config["architectures"][0].as_str().unwrap_or_default();
    let begins = |begin: &str| tensors.names().any(|name| name.starts_with(begin));
    let has = |part: &str| tensors.names().any(|name| name.contains(part));
    let not = |fact: &str, hint: &str| Some(Problem::not_a_model(fact).hint(hint));
    if has(".lora_A.") || has(".lora_embedding_A") {
        return not("is a PEFT adapter (a LoRA), not a whole model", ADAPTER);
    }
    if begins("prompt_embeddings") {
        return not("is a trained prompt (PEFT's prompt or prefix tuning), not a whole model", ADAPTER);
    }
    let of_class = [
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForQuestionAnswering",
        "ForMultipleChoice",
        "RewardModel",
        "ForReward",
        "ForSequenceRegression",
        "ForScore",
        "ForRegression",
    ];
    if of_class.iter().any(|class| architecture.ends_with(class)) {
        return classifier(&format!("it is a `{architecture}`"));
    }
    let of_classifier =
        ["score.", "classifier.", "classification_head.", "qa_outputs.", "reward_head.", "regression"];
    if let Some(name) = of_classifier.iter().find(|name| begins(name)) {
        return classifier(&format!("its tensors `{name}*` are a classifier's"));
    }
    if begins("v_head.") || begins("value_head.") {
        return not(
            "has a value head (`v_head`), left over from training with rewards",
            "save the language model without it, as trl's `model.pretrained_model.save_pretrained` does",
        );
    }
    if architecture.contains("Eagle") || architecture.contains("Medusa") || begins("medusa_head.") {
        let hint = match architecture.contains("Eagle3") {
            true => {
                "it guesses ahead for the model that it was trained for; give that model, and this as its draft"
            }
            false => "it guesses ahead for the model that it was trained for; give that model",
        };
        return not(
            &format!("is a draft head for speculative decoding (`{architecture}`), not a model"),
            hint,
        );
    }
    // Codes in a form of their own, for the kernels of one program on a GPU.
    if has(".q_invperm") || has(".q_scale_max") {
        return Some(Problem::unsupported("is quantised as EXL2, which only ExLlama reads").hint(ORIGINAL));
    }
    if has(".trellis") {
        return Some(Problem::unsupported("is quantised as EXL3, which only ExLlama reads").hint(ORIGINAL));
    }
    None
}

const ORIGINAL: &str = "use the model that it was made from, or a GGUF, GPTQ or AWQ form of it";

fn classifier(fact: &str) -> Option<Problem> {
    let fact =
        format!("is a classifier or a reward model, which scores a text and does not continue it: {fact}");
    Some(Problem::not_a_model(fact).hint("give the language model that it was made from"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf;
    use serde_json::json;

    fn string(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// What is said of a GGUF file with these texts as keys, and tensors of one number.
    fn said_of_gguf(keys: &[(&str, &str)], tensors: &[&str]) -> String {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend([tensors.len() as u64, keys.len() as u64].iter().flat_map(|n| n.to_le_bytes()));
        for (key, value) in keys {
            bytes.extend([string(key), 8u32.to_le_bytes().to_vec(), string(value)].concat());
        }
        for (n, name) in tensors.iter().enumerate() {
            bytes.extend(string(name));
            bytes.extend([1u32.to_le_bytes(), 1u32.to_le_bytes(), [0; 4], [0; 4]].concat());
            bytes.extend((32 * n as u64).to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32) + 32 * tensors.len(), 0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.gguf");
        std::fs::write(&path, bytes).unwrap();
        let checkpoint = Checkpoint::Gguf(gguf::open(&path).unwrap());
        checkpoint.check_is_model(&path).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn gguf_files_are_called_what_they_are() {
        let llama = ("general.architecture", "llama");
        for (keys, tensors, word) in [
            (&[llama, ("general.type", "adapter")][..], &["a"][..], "LoRA adapter"),
            (&[llama, ("adapter.type", "lora")], &["a"], "LoRA adapter"),
            (&[llama], &["blk.0.attn_q.weight.lora_a"], "LoRA adapter"),
            (&[llama, ("general.type", "imatrix")], &["a"], "importance matrix"),
            (&[("general.architecture", "imatrix")], &["a"], "importance matrix"),
            (&[llama], &["blk.0.attn_q.weight.in_sum2"], "importance matrix"),
            (&[("general.architecture", "clip")], &["v.a"], "vision projector"),
            (&[llama, ("general.type", "mmproj")], &["v.a"], "vision projector"),
            (&[("general.architecture", "controlvector")], &["direction.1"], "control vector"),
            (&[llama, ("tokenizer.ggml.model", "llama")], &[], "vocabulary alone"),
            (&[llama], &[], "no tensors"),
            (&[llama], &["token_embd.weight", "cls.output.weight"], "classifier"),
            (&[llama, ("general.type", "model")], &["token_embd.weight"], ""),
            (&[("general.architecture", "bert")], &["token_embd.weight"], ""),
        ] {
            let said = said_of_gguf(keys, tensors);
            assert!(said.contains(word) && (said.is_empty() == word.is_empty()), "{word}: {said}");
        }
    }

    #[test]
    fn folders_are_called_what_they_are() {
        let said = |architecture: &str, names: &[&str]| {
            let mut header = serde_json::Map::new();
            for name in names {
                header.insert((*name).into(), json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}));
            }
            let header = Value::Object(header).to_string();
            let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
            let config = json!({"architectures": [architecture]}).to_string();
            std::fs::write(dir.path().join("config.json"), config).unwrap();
            let checkpoint = crate::open(dir.path()).unwrap();
            checkpoint.check_is_model(dir.path()).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let llama = "LlamaForCausalLM";
        for (architecture, name, word) in [
            ("LlamaForSequenceClassification", "model.norm.weight", "reward model"),
            ("LlamaForTokenClassification", "model.norm.weight", "classifier"),
            (llama, "score.weight", "`score.*`"),
            (llama, "v_head.summary.weight", "value head"),
            ("LlamaForCausalLMEagle3", "fc.weight", "draft head"),
            (llama, "medusa_head.0.linear.weight", "draft head"),
            (llama, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "LoRA"),
            (llama, "prompt_embeddings", "trained prompt"),
            (llama, "model.layers.0.self_attn.q_proj.q_invperm", "EXL2"),
            (llama, "model.layers.0.self_attn.q_proj.trellis", "EXL3"),
            (llama, "model.norm.weight", ""),
        ] {
            let said = said(architecture, &[name]);
            assert!(said.contains(word) && (said.is_empty() == word.is_empty()), "{word}: {said}");
        }
    }
}
