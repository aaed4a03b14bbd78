//! Anthropic's messages.

use std::time::UNIX_EPOCH;

use axum::response::Response;
use puna_wire::anthropic::{Encoder, messages, models as wire};
use puna_wire::{Ask, Problem};

use crate::answer::{Answering, EVENTS, json};
use crate::aside::aside;
use crate::asked::{Asked, Handled};
use crate::loading::About;
use crate::prompt::prompts;
use crate::stable_heads::stabilise;

pub(super) async fn messages(asked: Asked) -> Handled {
    let (ask, shape) = messages::read(&asked.body)?;
    let answering = Answering::begin(asked, ask).await?;
    if shape.stream {
        let encoder = Encoder::new(answering.identity.clone(), answering.n_prompt);
        return Ok(answering.stream(Box::new(encoder), EVENTS, |_, _| ()));
    }
    let (answered, identity) = answering.whole().await?;
    Ok(json(&messages::body(&identity, &answered.parts, &answered.reply.usage)))
}

pub(super) async fn count_tokens(asked: Asked) -> Handled {
    let (ask, _) = messages::read(&asked.body)?;
    let n = n_tokens(&asked, ask).await?;
    Ok(json(&messages::input_tokens(n)))
}

/// The tokens of a question's prompt.
pub(super) async fn n_tokens(asked: &Asked, mut ask: Ask) -> Result<usize, Problem> {
    if asked.app.options.stable_heads {
        stabilise(&mut ask);
    }
    let loaded = asked.app.models.get(ask.model.as_deref(), ask.keep_alive).await?;
    let counted = move || {
        let prompts = prompts(&loaded, &loaded.own.complete(ask))?;
        Ok(prompts.iter().map(|prompt| prompt.ids.len()).sum())
    };
    aside(counted).await
}

fn told(about: &About) -> wire::Model {
    wire::Model {
        id: about.name.clone(),
        created: about.modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        context: Some(about.description.max_seq_len),
    }
}

pub(super) fn models(asked: &Asked) -> Response {
    let all: Vec<wire::Model> = asked.app.models.all().iter().map(|served| told(&served.about)).collect();
    json(&wire::list(&all))
}

pub(super) fn model(about: &About) -> Response {
    json(&wire::body(&told(about)))
}
