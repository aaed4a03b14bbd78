//! What is told about models: `/api/tags`, `/api/ps`, `/api/show`, `/api/version`, and progress of what takes long.

use std::time::Duration;

use puna_text::template::Message;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::timestamp;

/// A model on the disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Its whole name, with a tag.
    pub name: String,
    /// When its files were written, since 1970.
    pub modified_at: Duration,
    /// Bytes of its files.
    pub size: u64,
    /// Unlike that of any other model: clients take models of one digest for one, and remember what it can do.
    /// 64 digits of base 16.
    pub digest: String,
    /// What it is.
    pub details: Details,
}

/// What a model is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// The model that it was made from; empty if none.
    pub parent_model: String,
    /// Its files' format: `gguf`, `safetensors`.
    pub format: String,
    /// Its architecture: `llama`.
    pub family: String,
    /// All architectures in it.
    pub families: Vec<String>,
    /// About how many parameters: `1.2B`.
    pub parameter_size: String,
    /// How its weights are stored: `Q4_K_M`.
    pub quantization_level: String,
}

/// A model in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// The model; its size is what it takes in memory.
    pub model: Model,
    /// When it goes, since 1970.
    pub expires_at: Duration,
    /// How many of its bytes are in an accelerator's memory.
    pub size_vram: u64,
    /// How many tokens its context has.
    pub context_length: usize,
    /// Whether it gave back what it can make again, until somebody asks it.
    pub is_asleep: bool,
}

/// What a model can do, by Ollama's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Answers.
    Completion,
    /// Calls tools.
    Tools,
    /// Sees pictures.
    Vision,
    /// Fills gaps.
    Insert,
    /// Makes vectors of texts.
    Embedding,
}

/// All about a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// What it is.
    pub details: Details,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// What its files say of it, by their keys: `llama.context_length`, `general.architecture`.
    pub model_info: Map<String, Value>,
    /// Its parameters, one a line, as `PARAMETER` has them.
    pub parameters: String,
    /// Its chat template.
    pub template: String,
    /// What it is told before every conversation.
    pub system: String,
    /// Its license.
    pub license: String,
    /// The Modelfile that makes it.
    pub modelfile: String,
    /// Messages that stand before every conversation.
    pub messages: Vec<Message>,
    /// When its files were written, since 1970.
    pub modified_at: Duration,
}

/// `/api/version`: plain numbers `X.Y.Z`, which clients compare.
pub fn version(version: &str) -> Value {
    json!({"version": version})
}

/// `/api/tags`.
pub fn tags(models: &[Model]) -> Value {
    let entry = |model: &Model| {
        let mut entry = entry(model);
        entry["modified_at"] = json!(timestamp(model.modified_at));
        entry
    };
    json!({"models": models.iter().map(entry).collect::<Vec<_>>()})
}

/// `/api/ps`.
pub fn ps(models: &[Running]) -> Value {
    let entry = |running: &Running| {
        let mut entry = entry(&running.model);
        entry["expires_at"] = json!(timestamp(running.expires_at));
        entry["size_vram"] = json!(running.size_vram);
        entry["context_length"] = json!(running.context_length);
        // Ours.
        entry["state"] = json!(if running.is_asleep { "asleep" } else { "awake" });
        entry
    };
    json!({"models": models.iter().map(entry).collect::<Vec<_>>()})
}

fn entry(model: &Model) -> Value {
    json!({
        "name": model.name,
        "model": model.name,
        "size": model.size,
        "digest": model.digest,
        "details": model.details,
    })
}

/// `/api/show`. Texts that are empty are left out.
pub fn show(shown: &Shown) -> Value {
    let mut body = json!({
        "details": shown.details,
        "model_info": shown.model_info,
        "capabilities": shown.capabilities,
        "modified_at": timestamp(shown.modified_at),
    });
    let texts = [
        ("license", &shown.license),
        ("modelfile", &shown.modelfile),
        ("parameters", &shown.parameters),
        ("template", &shown.template),
        ("system", &shown.system),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        body[name] = json!(text);
    }
    if !shown.messages.is_empty() {
        let message = |message: &Message| json!({"role": message.role, "content": message.text()});
        body["messages"] = shown.messages.iter().map(message).collect();
    }
    body
}

/// A model's parameters as `/api/show` tells them, one a line: a name, blanks, and the value, texts in quotes.
pub fn parameters(parameters: &Map<String, Value>) -> String {
    let one = |name: &str, value: &Value| format!("{name:<30} {value}");
    let lines = parameters.iter().flat_map(|(name, value)| match value {
        Value::Array(values) => values.iter().map(|value| one(name, value)).collect(),
        value => vec![one(name, value)],
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// How far something is that takes long: a line of `/api/pull`, `/api/push` and `/api/create`. The last one says
/// `success`.
pub fn status(status: &str) -> Value {
    json!({"status": status})
}

/// The same while bytes of a blob come in or go out.
pub fn progress(status: &str, digest: &str, total: u64, completed: u64) -> Value {
    json!({"status": status, "digest": digest, "total": total, "completed": completed})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_what_clients_read() {
        let model =
            Model { name: "m:latest".to_owned(), size: 5, digest: "d".to_owned(), ..Model::default() };
        let body = tags(std::slice::from_ref(&model));
        let keys: Vec<&String> = body["models"][0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "model", "size", "digest", "details", "modified_at"]);
        assert_eq!(body["models"][0]["modified_at"], "1970-01-01T00:00:00.000000000Z");
        assert_eq!(body["models"][0]["details"]["families"], json!([]));
        let body = ps(&[Running { model, size_vram: 3, context_length: 8, ..Running::default() }]);
        assert_eq!(body["models"][0]["context_length"], 8);
        assert_eq!(body["models"][0]["size_vram"], 3);
        assert_eq!((tags(&[]), ps(&[])), (json!({"models": []}), json!({"models": []})));
        let shown =
            Shown { capabilities: vec![Capability::Completion, Capability::Insert], ..Shown::default() };
        let body = show(&Shown { template: "t".to_owned(), ..shown });
        assert_eq!(body["capabilities"], json!(["completion", "insert"]));
        assert_eq!(body["model_info"], json!({}));
        assert_eq!(body["template"], "t");
        let given = json!({"temperature": 0.5, "stop": ["<|eot_id|>", "a b"]});
        let lines = parameters(given.as_object().unwrap());
        let width = |name: &str| format!("{name:<30} ");
        let want =
            [width("temperature") + "0.5", width("stop") + "\"<|eot_id|>\"", width("stop") + "\"a b\""];
        assert_eq!(lines, want.join("\n"));
        assert!(body.get("license").is_none());
    }
}
