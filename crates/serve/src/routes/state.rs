//! How the server is.

use axum::http::header::ACCEPT;
use puna_wire::openai::completions;
use puna_wire::{Ask, Fields, Kind, Problem};
use serde_json::{Value, json};

use crate::answer::{Answering, json as answer};
use crate::asked::{Asked, Handled};
use crate::models::State;
use crate::reply::text;

use super::page;

pub(super) async fn health(_: Asked) -> Handled {
    // Models were looked at before it listened.
    Ok(answer(&json!({"status": "ok"})))
}

pub(super) async fn metrics(asked: Asked) -> Handled {
    let figures = asked.app.metrics.text(&asked.app.models);
    Ok(text(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", figures))
}

/// Figures of the server and of each model, for whoever looks at them.
pub(super) async fn state(asked: Asked) -> Handled {
    let app = &asked.app;
    app.metrics.forget_others(&app.models);
    let models = app.models.looked_at().into_iter().map(|(served, state, memory)| {
        let about = &served.about.description;
        let answered = app.metrics.answered_by(&served.about.name);
        let tokens = app.metrics.tokens_of(&served.about.name);
        let counts = memory.as_ref().map(|memory| memory.worker.counts());
        json!({
            "name": served.about.name,
            "state": match state {
                State::Awake => "awake",
                State::Asleep => "asleep",
                State::Loading => "loading",
                State::Unloaded => "unloaded",
            },
            "bytes": served.about.bytes,
            "context": about.max_seq_len,
            "can_chat": about.can_chat,
            "can_see": about.sees_images,
            "can_infill": about.can_infill,
            "is_guard": about.judges,
            "running": counts.as_ref().map_or(0, |counts| counts.running),
            "waiting": counts.as_ref().map_or(0, |counts| counts.waiting),
            "cache_used": memory.map_or(0.0, |memory| memory.cache_used()),
            "answers": answered.answers,
            "prompt_tokens": tokens.prompt,
            "cached_tokens": tokens.cached,
            "completion_tokens": tokens.completion,
            "time_to_first_token_s": answered.time_to_first_token(),
            "time_between_tokens_s": answered.time_between_tokens(),
        })
    });
    Ok(answer(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": app.start.elapsed().as_secs_f64(),
        "memory": {"process_bytes": puna::resident_bytes(), "budget_bytes": app.models.memory()},
        "models": models.collect::<Vec<_>>(),
    })))
}

/// The page for browsers; for others the words that Ollama's clients look for.
pub(super) async fn root(asked: Asked) -> Handled {
    let accepted = asked.headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        return page::file("index.html", &asked.headers);
    }
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
