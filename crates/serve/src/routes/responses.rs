//! OpenAI's Responses: made, kept, asked for again.

use puna_wire::responses::{
    Encoder, Page, body, deleted, input_items as items, input_tokens as tokens, read,
};
use puna_wire::{Kind, Parts, Problem, Usage};
use serde_json::Value;

use crate::answer::{Answering, EVENTS, json};
use crate::asked::{Asked, Handled};
use crate::stored::{Own, Stored};

pub(super) async fn create(asked: Asked) -> Handled {
    let (ask, shape) = read(&asked.body, &Own { store: &asked.app.store, tenant: &asked.tenant })?;
    let (app, tenant) = (asked.app.clone(), asked.tenant.clone());
    let answering = Answering::begin(asked, ask).await?;
    let identity = answering.identity.clone();
    let items = shape.items_of(&identity);
    let keeps = shape.store;
    let keep = move |response: &Value| {
        if let Some(id) = response["id"].as_str().filter(|_| keeps) {
            app.store.insert(id.to_owned(), Stored { tenant, response: response.clone(), items });
        }
    };
    if shape.stream {
        let encoder = Encoder::new(identity.clone(), shape.clone());
        let at_end = move |parts: &Parts, usage: &Usage| keep(&body(&identity, &shape, parts, usage));
        return Ok(answering.stream(Box::new(encoder), EVENTS, at_end));
    }
    let (answered, identity) = answering.whole().await?;
    let response = body(&identity, &shape, &answered.parts, &answered.reply.usage);
    keep(&response);
    Ok(json(&response))
}

pub(super) async fn input_tokens(asked: Asked) -> Handled {
    let (ask, _) = read(&asked.body, &Own { store: &asked.app.store, tenant: &asked.tenant })?;
    let n = super::anthropic::n_tokens(&asked, ask).await?;
    Ok(json(&tokens(n)))
}

/// The id in a path, and what is kept under it.
fn kept(asked: &Asked) -> Result<(String, Stored), Problem> {
    let id = asked.uri.path().split('/').nth(3).unwrap_or_default().to_owned();
    let missing =
        || Problem::new(Kind::NotFound, format!("there is no response {}", Value::from(id.as_str())));
    let stored = asked.app.store.get(&asked.tenant, &id).ok_or_else(missing)?;
    Ok((id, stored))
}

pub(super) async fn get(asked: Asked) -> Handled {
    Ok(json(&kept(&asked)?.1.response))
}

pub(super) async fn delete(asked: Asked) -> Handled {
    let (id, _) = kept(&asked)?;
    asked.app.store.remove(&asked.tenant, &id);
    Ok(json(&deleted(&id)))
}

pub(super) async fn cancel(asked: Asked) -> Handled {
    kept(&asked)?;
    let fact = "only responses in the background can be cancelled, and this one is over";
    Err(Problem::new(Kind::Request, fact))
}

pub(super) async fn input_items(asked: Asked) -> Handled {
    let (_, stored) = kept(&asked)?;
    let query = asked.uri.query().unwrap_or_default();
    let page = Page::read(query.split('&').filter_map(|pair| pair.split_once('=')))?;
    Ok(json(&items(&stored.items, &page)?))
}
