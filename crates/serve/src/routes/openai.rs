//! OpenAI's chat, completions, embeddings and models; rerank.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use puna::{Llama, Tokenizer};
use puna_wire::openai::{chat, completions, embeddings, models, rerank};
use puna_wire::{Ask, Encode, Event, Frames, Input, Kind, Problem, TextInput, Token};

use crate::answer::{Answering, EVENTS, json};
use crate::aside::aside;
use crate::asked::{Asked, Handled};
use crate::ear::{largest, log_sum_exp, problem_of};
use crate::loading::About;
use crate::models::Loaded;
use crate::reply;

pub(super) async fn chat(asked: Asked) -> Handled {
    let (ask, shape) = chat::read(&asked.body)?;
    let answering = Answering::begin(asked, ask).await?;
    if shape.stream {
        let encoder = chat::ChatEncoder::new(answering.identity.clone(), shape);
        return Ok(answering.stream(Box::new(encoder), EVENTS, |_, _| ()));
    }
    let (answered, identity) = answering.whole().await?;
    Ok(json(&chat::body(&identity, &answered.reply, shape)))
}

pub(super) async fn completions(asked: Asked) -> Handled {
    let (ask, shape) = completions::read(&asked.body)?;
    if matches!(ask.input, Input::Texts { echo: true, .. }) {
        return echoed(asked, ask, shape).await;
    }
    let answering = Answering::begin(asked, ask).await?;
    if shape.stream {
        let encoder = completions::CompletionEncoder::new(answering.identity.clone(), shape);
        return Ok(answering.stream(Box::new(encoder), EVENTS, |_, _| ()));
    }
    let (answered, identity) = answering.whole().await?;
    Ok(json(&completions::body(&identity, &answered.reply, shape)))
}

/// Answers that begin with their prompts: what was asked is said first, with its probabilities if they are wanted.
async fn echoed(asked: Asked, ask: Ask, shape: completions::CompletionShape) -> Handled {
    let (n, n_top) = (ask.n.max(1), ask.logprobs);
    let loaded = asked.app.models.get(ask.model.as_deref(), ask.keep_alive).await?;
    let answering = Answering::begin(asked, ask).await?;
    let mut echoes = Vec::new();
    for ids in &answering.prompts {
        echoes.push(echo(&loaded, ids.clone(), n_top).await?);
    }
    let (mut answered, identity) = answering.whole().await?;
    for (i, choice) in answered.reply.choices.iter_mut().enumerate() {
        let (text, tokens) = &echoes[i / n];
        choice.text.insert_str(0, text);
        choice.tokens.splice(0..0, tokens.iter().cloned());
    }
    if !shape.stream {
        return Ok(json(&completions::body(&identity, &answered.reply, shape)));
    }
    let mut encoder = completions::CompletionEncoder::new(identity, shape);
    let mut frames = Frames::default();
    encoder.begin(&mut frames);
    for (i, choice) in answered.reply.choices.into_iter().enumerate() {
        encoder.event(&Event::Text { choice: i, text: choice.text, tokens: choice.tokens }, &mut frames);
        if let Some(finish) = choice.finish {
            encoder.event(&Event::End { choice: i, finish }, &mut frames);
        }
    }
    encoder.end(&answered.reply.usage, &mut frames);
    let text = String::from_utf8(frames.take()).unwrap_or_default();
    Ok(reply::text(200, EVENTS, text))
}

/// A prompt's text, and its tokens with their probabilities.
async fn echo(
    loaded: &Arc<Loaded>,
    ids: Vec<u32>,
    n_top: Option<usize>,
) -> Result<(String, Vec<Token>), Problem> {
    let tokenizer = loaded.llama.tokenizer().map_err(|error| problem_of(&error))?.clone();
    // What begins every text is not said.
    let begins = usize::from(tokenizer.bos_id().is_some() && ids.first().copied() == tokenizer.bos_id());
    let text = tokenizer.decode(&ids[begins..]);
    let Some(n_top) = n_top else { return Ok((text, Vec::new())) };
    let llama = loaded.llama.clone();
    let tokens = on_engine(loaded, move || scored(&llama, &tokenizer, &ids, n_top)).await?;
    Ok((text, tokens))
}

/// Does something on the engine's thread, between two steps.
pub(super) async fn on_engine<T: Send + 'static>(
    loaded: &Loaded,
    task: impl FnOnce() -> Result<T, puna::Error> + Send + 'static,
) -> Result<T, Problem> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    loaded.worker.run(move |_| {
        // Who has left is not waited for.
        if !sender.is_closed() {
            let _ = sender.send(task());
        }
    });
    let lost = |_| Problem::new(Kind::Internal, "the engine failed; ask again");
    receiver.await.map_err(lost)?.map_err(|error| problem_of(&error))
}

fn scored(
    llama: &Llama,
    tokenizer: &Tokenizer,
    ids: &[u32],
    n_top: usize,
) -> Result<Vec<Token>, puna::Error> {
    let bytes = |id: u32| tokenizer.piece_bytes(id).to_vec();
    let first = ids.first().map(|id| Token { id: *id, bytes: bytes(*id), logprob: None, top: Vec::new() });
    let mut tokens: Vec<Token> = first.into_iter().collect();
    if ids.len() < 2 {
        return Ok(tokens);
    }
    let vocab_size = llama.config().vocab_size;
    let on_logits = |first: usize, rows: &[f32]| {
        for (i, logits) in rows.chunks_exact(vocab_size).enumerate() {
            let Some(&id) = ids.get(first + i + 1) else { continue };
            let log_sum = log_sum_exp(logits);
            let top = largest(logits, n_top).into_iter();
            tokens.push(Token {
                id,
                bytes: bytes(id),
                logprob: logits.get(id as usize).map(|logit| logit - log_sum),
                top: top.map(|id| (id, bytes(id), logits[id as usize] - log_sum)).collect(),
            });
        }
        ControlFlow::<Infallible>::Continue(())
    };
    match llama.score_with(ids, on_logits)? {
        ControlFlow::Continue(_) => Ok(tokens),
        ControlFlow::Break(never) => match never {},
    }
}

/// Vectors of texts, and how many tokens they had.
pub(super) async fn vectors(
    loaded: &Loaded,
    texts: Vec<TextInput>,
    dimensions: Option<usize>,
) -> Result<(Vec<Vec<f32>>, usize), Problem> {
    let dim = loaded.llama.config().dim;
    if let Some(n) = dimensions.filter(|n| *n > dim) {
        let fact = format!("`dimensions` is {n}, but the model's vectors have {dim}");
        return Err(Problem::field("dimensions", fact));
    }
    let (mut vectors, mut n_tokens) = (Vec::with_capacity(texts.len()), 0);
    // One after the other, so that others' answers go on between them.
    for text in texts {
        let llama = loaded.llama.clone();
        let (mut vector, n) = on_engine(loaded, move || vector(&llama, &text)).await?;
        if let Some(n) = dimensions {
            vector.truncate(n);
            let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            if norm > 0.0 {
                vector.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
            }
        }
        vectors.push(vector);
        n_tokens += n;
    }
    Ok((vectors, n_tokens))
}

fn vector(llama: &Llama, text: &TextInput) -> Result<(Vec<f32>, usize), puna::Error> {
    match text {
        TextInput::Text(text) => {
            let tokenizer = llama.tokenizer()?;
            let n = tokenizer.encode(text, tokenizer.default_options()).len();
            Ok((llama.embed(text)?, n))
        }
        TextInput::Ids(ids) => Ok((llama.engine().embed(ids, llama.pooling()?)?, ids.len())),
    }
}

pub(super) async fn embeddings(asked: Asked) -> Handled {
    let ask = embeddings::read(&asked.body)?;
    let loaded = asked.app.models.get(ask.model.as_deref(), None).await?;
    let (vectors, n_tokens) = vectors(&loaded, ask.texts, ask.dimensions).await?;
    let model = ask.model.unwrap_or_else(|| loaded.name.clone());
    // Millions of numbers, maybe.
    aside(move || Ok(json(&embeddings::body(&model, &vectors, n_tokens, ask.base64)))).await
}

pub(super) fn info(about: &About) -> models::ModelInfo {
    let known = &about.description;
    models::ModelInfo {
        id: about.name.clone(),
        created: about.modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        max_seq_len: known.max_seq_len,
        trained_seq_len: known.trained_seq_len,
        vocab_size: known.vocab_size,
        dim: known.dim,
        n_params: known.n_params,
        weight_bytes: known.weight_bytes,
    }
}

pub(super) async fn models(asked: Asked) -> Handled {
    if asked.headers.contains_key("anthropic-version") {
        return Ok(super::anthropic::models(&asked));
    }
    let all: Vec<models::ModelInfo> =
        asked.app.models.all().iter().map(|served| info(&served.about)).collect();
    Ok(json(&models::list(&all)))
}

pub(super) async fn model(asked: Asked) -> Handled {
    let name = model_of(&asked);
    let served = asked.app.models.find(Some(&name))?;
    let about = &served.about;
    if asked.headers.contains_key("anthropic-version") {
        return Ok(super::anthropic::model(about));
    }
    Ok(json(&models::one(&models::ModelInfo { id: name, ..info(about) })))
}

/// The model that a path names.
pub(super) fn model_of(asked: &Asked) -> String {
    decoded(asked.uri.path().strip_prefix("/v1/models/").unwrap_or_default())
}

/// A part of a path, as it was meant.
fn decoded(path: &str) -> String {
    let hex = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let [first, tail @ ..] = rest {
        (bytes, rest) = match tail {
            [a, b, after @ ..] if *first == b'%' && hex(*a).is_some() && hex(*b).is_some() => {
                bytes.push(hex(*a).unwrap_or(0) << 4 | hex(*b).unwrap_or(0));
                (bytes, after)
            }
            _ => {
                bytes.push(*first);
                (bytes, tail)
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) async fn rerank(asked: Asked) -> Handled {
    let ask = rerank::read(&asked.body)?;
    asked.app.models.find(ask.model.as_deref())?;
    // The order that a model finds which was not made for it says little.
    Err(Problem::new(
        Kind::Request,
        "the model ranks no documents: that needs one which was made for it (a reranker); vectors of /v1/embeddings \
         can be compared instead",
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_are_decoded() {
        assert_eq!(super::decoded("a%2Fb%3ac"), "a/b:c");
        assert_eq!(super::decoded("100%"), "100%");
        assert_eq!(super::decoded("%zz%4"), "%zz%4");
    }
}
