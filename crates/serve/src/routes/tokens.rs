//! Tokens and prompts as they are: llama.cpp's and vLLM's paths.

use puna::EncodeOptions;
use puna_wire::openai::completions;
use puna_wire::openai::tokenize::{self, Source, TokenizerInfo};
use puna_wire::{Ask, Fields, Input, Problem, Tools};
use serde_json::json;

use crate::answer::{Answering, EVENTS, json as answer};
use crate::asked::{Asked, Handled};
use crate::ear::problem_of;
use crate::prompt::prompts;

pub(super) async fn tokenize(asked: Asked) -> Handled {
    let ask = tokenize::read(&asked.body)?;
    let loaded = asked.app.models.get(ask.model.as_deref(), None).await?;
    let tokenizer = loaded.llama.tokenizer().map_err(|error| problem_of(&error))?;
    let ids = match ask.source {
        Source::Text(text) => {
            let add_bos = ask.add_special && tokenizer.adds_bos();
            let add_eos = ask.add_special && tokenizer.adds_eos();
            tokenizer.encode(&text, EncodeOptions { add_bos, add_eos, parse_special: ask.parse_special })
        }
        Source::Chat(chat, offered) => {
            let tools = Tools { offered, ..Tools::default() };
            let ask = Ask { input: Input::Chat(chat), tools, ..Ask::default() };
            prompts(&loaded, &loaded.own.complete(ask))?.into_iter().flat_map(|prompt| prompt.ids).collect()
        }
    };
    let piece = |id: &u32| tokenizer.piece_bytes(*id).to_vec();
    let pieces: Option<Vec<Vec<u8>>> = ask.with_pieces.then(|| ids.iter().map(piece).collect());
    Ok(answer(&tokenize::body(&ids, pieces.as_deref(), loaded.llama.engine().max_seq_len())))
}

pub(super) async fn detokenize(asked: Asked) -> Handled {
    let ids = tokenize::read_detokenize(&asked.body)?;
    let model = Fields::of_body(&asked.body)?.str("model")?;
    let loaded = asked.app.models.get(model, None).await?;
    let tokenizer = loaded.llama.tokenizer().map_err(|error| problem_of(&error))?;
    if let Some(id) = ids.iter().find(|id| **id as usize >= tokenizer.vocab_size()) {
        let n = tokenizer.vocab_size();
        return Err(Problem::field("tokens", format!("token {id} is outside the vocabulary of {n}")));
    }
    Ok(answer(&tokenize::detokenize_body(&tokenizer.decode(&ids))))
}

pub(super) async fn tokenizer_info(asked: Asked) -> Handled {
    let loaded = asked.app.models.get(None, None).await?;
    let tokenizer = loaded.llama.tokenizer().map_err(|error| problem_of(&error))?;
    let piece = |id: u32| tokenizer.piece(id).into_owned();
    Ok(answer(&tokenize::info_body(&TokenizerInfo {
        tokenizer_class: "PreTrainedTokenizerFast".into(),
        bos_token: tokenizer.bos_id().map(piece),
        eos_token: tokenizer.eos_id().map(piece),
        chat_template: loaded.llama.text().template.clone(),
        max_seq_len: loaded.llama.engine().max_seq_len(),
    })))
}

pub(super) async fn apply_template(asked: Asked) -> Handled {
    let ask = tokenize::read_template(&asked.body)?;
    let loaded = asked.app.models.get(ask.model.as_deref(), None).await?;
    let tokenizer = loaded.llama.tokenizer().map_err(|error| problem_of(&error))?;
    let prompts = prompts(&loaded, &loaded.own.complete(ask))?;
    let ids: Vec<u32> = prompts.into_iter().flat_map(|prompt| prompt.ids).collect();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.piece_bytes(*id)).copied().collect();
    Ok(answer(&tokenize::template_body(&String::from_utf8_lossy(&bytes))))
}

/// llama.cpp's own form of infilling.
pub(super) async fn infill(asked: Asked) -> Handled {
    let fields = Fields::of_body(&asked.body)?;
    let text =
        |name: &str| -> Result<String, Problem> { Ok(fields.str(name)?.unwrap_or_default().to_owned()) };
    let prefix = text("input_prefix")? + &text("prompt")?;
    let suffix = text("input_suffix")?;
    let mut body = asked.body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("prompt".into(), json!(prefix));
    }
    let (ask, shape) = completions::read(&body)?;
    let default_max_tokens = Some(128);
    let ask = Ask { input: Input::Infill { prefix, suffix }, default_max_tokens, ..ask };
    let answering = Answering::begin(asked, ask).await?;
    if shape.stream {
        let encoder = completions::CompletionEncoder::new(answering.identity.clone(), shape);
        return Ok(answering.stream(Box::new(encoder), EVENTS, |_, _| ()));
    }
    let (answered, identity) = answering.whole().await?;
    let mut told = completions::body(&identity, &answered.reply, shape);
    told["content"] = json!(answered.reply.choices.first().map_or("", |choice| &choice.text));
    Ok(answer(&told))
}
