//! Ollama's own API.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use puna_wire::ollama::models::{self, Capability, Details, Model, Running, Shown};
use puna_wire::ollama::{Clock, Only, Shape, chat as chats, embed as embeds, generate as texts, manage};
use puna_wire::{Ask, Identity, Input, Problem, TextInput, Usage};
use serde_json::{Map, Value, json};

use crate::answer::{Answering, json};
use crate::aside::aside;
use crate::asked::{Asked, Handled};
use crate::models::Served;

pub(super) const LINES: &str = "application/x-ndjson";

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn clock() -> Clock {
    Box::new(since_1970)
}

/// A request that wants nothing but that the model is there, or goes.
async fn only(asked: &Asked, ask: &Ask) -> Result<Identity, Problem> {
    let models = &asked.app.models;
    let name = match ask.keep_alive {
        Some(0.0) => models.release(ask.model.as_deref())?.about.name.clone(),
        _ => models.get(ask.model.as_deref(), ask.keep_alive).await?.name.clone(),
    };
    Ok(Identity { model: ask.model.clone().unwrap_or(name), ..Identity::default() })
}

pub(super) async fn generate(asked: Asked) -> Handled {
    let (ask, shape) = texts::read(&asked.body)?;
    if shape.template.is_some() {
        shape.check_template(asked.app.models.find(ask.model.as_deref())?.own.template())?;
    }
    if let Some(what) = shape.only {
        let identity = only(&asked, &ask).await?;
        return Ok(json(&texts::only(&identity, since_1970(), what)));
    }
    let ask = after_context(&asked, ask, &shape).await?;
    let answering = Answering::begin(asked, ask).await?;
    let context = answering.prompts.first().cloned().unwrap_or_default();
    let made = answering.made();
    let all = move || [context, made.take()].concat();
    if shape.stream {
        let encoder = texts::Encoder::new(&answering.identity, clock()).with_context(all);
        return Ok(answering.stream(Box::new(encoder), LINES, |_, _| ()));
    }
    let (answered, identity) = answering.whole().await?;
    Ok(json(&texts::whole(&identity, since_1970(), &answered.reply, Some(&all()))))
}

/// The question with the ids of an earlier one before it.
async fn after_context(asked: &Asked, ask: Ask, shape: &Shape) -> Result<Ask, Problem> {
    if shape.context.is_empty() {
        return Ok(ask);
    }
    let loaded = asked.app.models.get(ask.model.as_deref(), ask.keep_alive).await?;
    let mut ids = shape.context.clone();
    let mut own: Vec<u32> =
        crate::prompt::prompts(&loaded, &ask)?.into_iter().flat_map(|prompt| prompt.ids).collect();
    // It does not begin anew.
    if let Ok(tokenizer) = loaded.llama.tokenizer()
        && own.first().copied() == tokenizer.bos_id()
        && !own.is_empty()
    {
        own.remove(0);
    }
    ids.append(&mut own);
    Ok(Ask { input: Input::Texts { texts: vec![TextInput::Ids(ids)], echo: false }, ..ask })
}

pub(super) async fn chat(asked: Asked) -> Handled {
    let (ask, shape) = chats::read(&asked.body)?;
    if let Some(what @ (Only::Load | Only::Unload)) = shape.only {
        let identity = only(&asked, &ask).await?;
        return Ok(json(&chats::only(&identity, since_1970(), what)));
    }
    let answering = Answering::begin(asked, ask).await?;
    if shape.stream {
        let encoder = chats::Encoder::new(&answering.identity, clock());
        return Ok(answering.stream(Box::new(encoder), LINES, |_, _| ()));
    }
    let (answered, identity) = answering.whole().await?;
    Ok(json(&chats::whole(&identity, since_1970(), &answered.reply)))
}

pub(super) async fn embed(asked: Asked) -> Handled {
    let ask = embeds::read(&asked.body)?;
    let (identity, vectors, usage) = vectors(&asked, ask).await?;
    aside(move || Ok(json(&embeds::body(&identity, &vectors, &usage)))).await
}

pub(super) async fn embeddings(asked: Asked) -> Handled {
    let ask = embeds::read_old(&asked.body)?;
    let (_, vectors, _) = vectors(&asked, ask).await?;
    Ok(json(&embeds::old_body(vectors.first().map_or(&[], Vec::as_slice))))
}

async fn vectors(asked: &Asked, ask: embeds::Embed) -> Result<(Identity, Vec<Vec<f32>>, Usage), Problem> {
    let loaded = asked.app.models.get(ask.model.as_deref(), ask.keep_alive).await?;
    let max = loaded.llama.engine().max_seq_len();
    let texts = ask.texts.into_iter().map(|text| match ask.truncate {
        true => cut(&loaded.llama, text, max),
        false => TextInput::Text(text),
    });
    let (vectors, prompt) = super::openai::vectors(&loaded, texts.collect(), ask.dimensions).await?;
    let model = ask.model.unwrap_or_else(|| loaded.name.clone());
    let total_ns = u64::try_from(asked.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let usage = Usage { prompt, total_ns, ..Usage::default() };
    Ok((Identity { model, ..Identity::default() }, vectors, usage))
}

/// A text, or the ids of what fits of one that is too long: the client allows that.
fn cut(llama: &puna::Llama, text: String, max: usize) -> TextInput {
    let Ok(tokenizer) = llama.tokenizer() else { return TextInput::Text(text) };
    let mut ids = tokenizer.encode(&text, tokenizer.default_options());
    match ids.len() > max {
        true => {
            ids.truncate(max);
            TextInput::Ids(ids)
        }
        false => TextInput::Text(text),
    }
}

fn with_tag(name: &str) -> String {
    // A tag comes after the last slash.
    let own = name.rsplit('/').next().unwrap_or(name);
    if own.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

fn details(served: &Served) -> Details {
    let about = &served.about;
    let known = &about.description;
    let is_gguf = about.path.as_ref().is_none_or(|path| path.extension().is_some_and(|e| e == "gguf"));
    let millions = known.n_params as f64 / 1e6;
    let parameter_size =
        if millions < 999.5 { format!("{millions:.0}M") } else { format!("{:.1}B", millions / 1e3) };
    Details {
        parent_model: served.own.parent.clone(),
        format: if is_gguf { "gguf" } else { "safetensors" }.into(),
        family: "llama".into(),
        families: vec!["llama".into()],
        parameter_size,
        quantization_level: known.quantisation.clone(),
    }
}

fn told(served: &Served) -> Model {
    let about = &served.about;
    Model {
        name: with_tag(&about.name),
        modified_at: about.modified.duration_since(UNIX_EPOCH).unwrap_or_default(),
        size: about.bytes,
        digest: about.digest.clone(),
        details: details(served),
    }
}

pub(super) async fn tags(asked: Asked) -> Handled {
    let all: Vec<Model> = asked.app.models.all().iter().map(|served| told(served)).collect();
    Ok(json(&models::tags(&all)))
}

pub(super) async fn ps(asked: Asked) -> Handled {
    let loaded = asked.app.models.loaded();
    // One that stays for ever goes in a hundred years.
    let ever = Duration::from_secs(100 * 365 * 86_400);
    let running = loaded.iter().map(|(served, stays, is_asleep)| Running {
        model: told(served),
        expires_at: since_1970() + stays.unwrap_or(ever),
        size_vram: 0,
        context_length: served.about.description.max_seq_len,
        is_asleep: *is_asleep,
    });
    Ok(json(&models::ps(&running.collect::<Vec<_>>())))
}

pub(super) async fn show(asked: Asked) -> Handled {
    let ask = manage::read_about(&asked.body)?;
    let served = asked.app.models.find(Some(&ask.model))?;
    let about = &served.about;
    let known = &about.description;
    let mut capabilities = vec![Capability::Completion, Capability::Embedding];
    capabilities.extend(known.can_chat.then_some(Capability::Tools));
    capabilities.extend(known.sees_images.then_some(Capability::Vision));
    capabilities.extend(known.can_infill.then_some(Capability::Insert));
    let mut info = Map::new();
    let mut set = |key: &str, value: Value| drop(info.insert(key.to_owned(), value));
    set("general.architecture", json!("llama"));
    set("general.parameter_count", json!(known.n_params));
    set("general.basename", json!(about.name));
    set("llama.context_length", json!(known.max_seq_len));
    set("llama.embedding_length", json!(known.dim));
    set("llama.vocab_size", json!(known.vocab_size));
    let shown = Shown {
        details: details(&served),
        capabilities,
        model_info: info,
        modelfile: format!("FROM {}\n", with_tag(&about.name)),
        modified_at: about.modified.duration_since(UNIX_EPOCH).unwrap_or_default(),
        ..Shown::default()
    };
    let Some(create) = &served.own.create else { return Ok(json(&models::show(&shown))) };
    Ok(json(&models::show(&Shown {
        parameters: models::parameters(&create.parameters),
        template: create.template.clone().unwrap_or_default(),
        system: create.system.clone().unwrap_or_default(),
        license: create.license.join("\n"),
        modelfile: create.modelfile(&with_tag(&about.name)).to_string(),
        messages: create.messages.clone(),
        ..shown
    })))
}

pub(super) async fn version(_: Asked) -> Handled {
    Ok(json(&models::version(env!("CARGO_PKG_VERSION"))))
}
