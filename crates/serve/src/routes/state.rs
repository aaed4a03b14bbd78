//! How the server is.

use puna_wire::openai::completions;
use puna_wire::{Ask, Fields, Kind, Problem};
use serde_json::{Value, json};

use crate::answer::{Answering, json as answer};
use crate::asked::{Asked, Handled};
use crate::reply::text;

pub(super) async fn health(_: Asked) -> Handled {
    // Models were looked at before it listened.
    Ok(answer(&json!({"status": "ok"})))
}

pub(super) async fn metrics(asked: Asked) -> Handled {
    let figures = asked.app.metrics.text(&asked.app.models);
    Ok(text(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", figures))
}

pub(super) async fn root(_: Asked) -> Handled {
    // Ollama's clients look for these words.
    Ok(text(200, "text/plain; charset=utf-8", "Ollama is running".into()))
}

/// Text generation of Hugging Face's clients, which send it to the root.
pub(super) async fn root_post(asked: Asked) -> Handled {
    let Some(inputs) = asked.body.get("inputs") else {
        return Err(Problem::new(Kind::NotFound, "nothing is answered here; see /v1/chat/completions"));
    };
    let fields = Fields::of_body(&asked.body)?;
    fields.refuse("stream", |stream| stream == false, "/v1/completions has streams")?;
    let parameters = fields.object("parameters")?;
    let mut body = json!({"prompt": inputs});
    let same = |name: &'static str| (name, name);
    let names = ["temperature", "top_p", "top_k", "seed", "stop", "typical_p", "repetition_penalty"];
    let names =
        names.map(same).into_iter().chain([same("frequency_penalty"), ("max_new_tokens", "max_tokens")]);
    for (theirs, ours) in names {
        if let Some(value) = parameters.as_ref().and_then(|parameters| parameters.get(theirs)) {
            body[ours] = value.clone();
        }
    }
    let (ask, _) = completions::read(&body)?;
    let ask = Ask { default_max_tokens: Some(100), ..ask };
    let (answered, _) = Answering::begin(asked, ask).await?.whole().await?;
    let told = answered.reply.choices.iter().map(|choice| json!({"generated_text": choice.text}));
    Ok(answer(&Value::from_iter(told)))
}
