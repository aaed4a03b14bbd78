//! Fields that OpenAI, llama.cpp or vLLM document and that cannot be heeded: refused, unless they say what happens
//! anyway.

use serde_json::{Value, json};

use crate::{Fields, Problem};

/// A field, the values that ask for nothing, and why others are refused.
type Refused = (&'static str, fn(&Value) -> bool, &'static str);

const SAMPLER: &str = "choose tokens by `temperature`, `top_k`, `top_p`, `min_p` and `typical_p`";
const NO_AUDIO: &str = "answers are text";
const NO_IDS: &str = "the answer has no place for it";

/// Those of conversations and texts alike.
const FIELDS: &[Refused] = &[
    ("mirostat", is_off, SAMPLER),
    ("tfs_z", is_one, SAMPLER),
    ("top_a", is_off, SAMPLER),
    ("top_n_sigma", is_not_positive, SAMPLER),
    ("dry_multiplier", is_off, SAMPLER),
    ("xtc_probability", is_off, SAMPLER),
    ("dynatemp_range", is_off, SAMPLER),
    ("adaptive_target", is_negative, SAMPLER),
    ("min_keep", is_off, SAMPLER),
    ("samplers", is_off, "the samplers' order is fixed"),
    ("use_beam_search", is_off, SAMPLER),
    ("logits_processors", is_off, "no code of clients is run"),
    ("min_tokens", is_off, "answers end where the model ends them; `ignore_eos` never ends them"),
    ("stop_token_ids", is_off, "answers end at the model's own ids and at `stop`"),
    ("bad_words", is_off, "forbid single tokens by `logit_bias`"),
    ("allowed_token_ids", is_off, "forbid single tokens by `logit_bias`"),
    ("include_stop_str_in_output", is_off, "the answer ends before the string"),
    ("skip_special_tokens", is_true, "special tokens are never part of an answer"),
    ("prompt_logprobs", is_never, "/v1/completions tells them with `echo` and `logprobs`"),
    ("truncate_prompt_tokens", is_never, "prompts are never cut"),
    ("prompt_embeds", is_never, "prompts are text or token ids"),
    ("return_tokens_as_token_ids", is_off, NO_IDS),
    ("return_token_ids", is_off, NO_IDS),
    ("return_tokens", is_off, NO_IDS),
    ("return_hidden_states", is_off, NO_IDS),
    ("return_progress", is_off, NO_IDS),
    ("response_fields", is_off, "answers have all their fields"),
    ("timings_per_token", is_off, "`timings` come with the end"),
    ("n_probs", is_off, "ask for `logprobs`"),
    ("post_sampling_probs", is_off, "`logprobs` are the model's own"),
    ("t_max_predict_ms", is_not_positive, "bound the answer by `max_tokens`"),
    ("n_indent", is_off, "use a `grammar`"),
    ("grammar_lazy", is_off, "a grammar holds from the answer's beginning"),
    ("guided_whitespace_pattern", is_never, "use a `grammar`"),
    ("structural_tag", is_never, "use a `grammar`"),
    ("lora", is_off, "adapters are chosen when the server starts"),
    ("store", is_off, "answers are not kept"),
    ("modalities", is_text_only, NO_AUDIO),
    ("audio", is_never, NO_AUDIO),
    ("web_search_options", is_never, "there is no search; offer a tool for it"),
    ("documents", is_off, "pass them in a message, or in `chat_template_kwargs`"),
];

/// Those of conversations.
const OF_CHATS: &[Refused] = &[
    ("chat_template", is_never, "the template is chosen when the server starts"),
    ("echo", is_off, "/v1/completions knows it"),
    ("add_special_tokens", is_off, "the template says which special tokens there are"),
];

/// Those of texts.
const OF_TEXTS: &[Refused] = &[(
    "add_special_tokens",
    is_true,
    "texts begin as the model's tokenizer begins them; token ids are taken as they are",
)];

/// Refuses what a request for answers in a conversation cannot have.
pub(super) fn in_chat(fields: &Fields) -> Result<(), Problem> {
    refuse(fields, OF_CHATS)
}

/// Refuses what a request for continued texts cannot have.
pub(super) fn in_texts(fields: &Fields) -> Result<(), Problem> {
    refuse(fields, OF_TEXTS)
}

fn refuse(fields: &Fields, more: &[Refused]) -> Result<(), Problem> {
    for (name, is_neutral, why) in FIELDS.iter().chain(more) {
        fields.refuse(name, is_neutral, why)?;
    }
    Ok(())
}

/// False, zero, or empty.
pub(super) fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn is_never(_: &Value) -> bool {
    false
}

fn is_true(value: &Value) -> bool {
    value == &Value::Bool(true)
}

fn is_one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

fn is_negative(value: &Value) -> bool {
    value.as_f64().is_some_and(|x| x < 0.0)
}

fn is_not_positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|x| x <= 0.0)
}

fn is_text_only(value: &Value) -> bool {
    value == &json!(["text"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_refused_by_its_name_and_passes_where_it_asks_for_nothing() {
        for (name, is_neutral, why) in FIELDS.iter().chain(OF_CHATS).chain(OF_TEXTS) {
            let neutral: Vec<Value> =
                [json!(false), json!(true), json!(0), json!(1.0), json!(-1), json!([]), json!(["text"])]
                    .into_iter()
                    .filter(is_neutral)
                    .collect();
            for value in [json!(3), json!("x"), json!(["audio"]), json!({"a": 1})] {
                let body = json!({ *name: value });
                let found = [in_chat, in_texts].map(|read| read(&Fields::of_body(&body).unwrap()).err());
                let problem = found.into_iter().flatten().next().unwrap_or_else(|| panic!("{name} passes"));
                assert_eq!(
                    (problem.param.as_deref(), problem.code),
                    (Some(*name), Some("unsupported_parameter"))
                );
                assert!(problem.message.contains(why) || *name == "add_special_tokens", "{problem:?}");
            }
            for value in neutral {
                let body = json!({ *name: value });
                let found = [in_chat, in_texts].map(|read| read(&Fields::of_body(&body).unwrap()));
                assert!(found.contains(&Ok(())), "{name}: {value}");
            }
        }
    }
}
