//! Whether texts are safe, as a Llama Guard judges them. What was not judged does not pass.

use puna::{GuardOptions, Message, Verdict};
use puna_wire::openai::moderations::{self, Judged};
use puna_wire::{Identity, Kind, Problem};

use super::openai::on_engine;
use crate::answer::json;
use crate::asked::{Asked, Handled};

pub(super) async fn create(asked: Asked) -> Handled {
    let ask = moderations::read(&asked.body)?;
    let name = asked.app.models.guard(ask.model.as_deref())?.about.name.clone();
    let loaded = asked.app.models.get(Some(&name), None).await?;
    let mut judged = Vec::with_capacity(ask.texts.len());
    // One after the other, so that others' answers go on between them.
    for text in ask.texts {
        let llama = loaded.llama.clone();
        let judging = move || llama.guard(&[Message::new("user", &text)], &[], &GuardOptions::default());
        judged.push(judged_of(on_engine(&loaded, judging).await?)?);
    }
    let created = crate::identity::seconds();
    Ok(json(&moderations::body(&Identity { id: asked.app.names.next(), created, model: name }, &judged)))
}

fn judged_of(verdict: Verdict) -> Result<Judged, Problem> {
    let fault = || Problem::new(Kind::Internal, "the guard gave no verdict: what it judged must not pass");
    let is_safe = verdict.is_safe.ok_or_else(fault)?;
    let named = verdict.categories.iter().map(|category| (category.code.clone(), category.name().to_owned()));
    Ok(Judged { is_unsafe: !is_safe, p_unsafe: verdict.p_unsafe, categories: named.collect() })
}
