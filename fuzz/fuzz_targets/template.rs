//! An arbitrary chat template over an arbitrary conversation: bounded, without panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use puna_text::Tokenizer;
use puna_text::template::{Conversation, JinjaTemplate, Message, RenderOptions, SpecialNames};
use puna_text::train_bpe::train_bpe;

static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| train_bpe([""], 258, &["<|e|>", "<|b|>"]).unwrap().to_tokenizer().unwrap());

fuzz_target!(|data: (&str, &str)| {
    let (source, conversation) = data;
    let Ok(template) = JinjaTemplate::new(source) else { return };
    let messages = serde_json::from_str::<Conversation>(conversation).map(|conversation| conversation.messages);
    let messages = messages.unwrap_or_else(|_| vec![Message::new("user", conversation)]);
    let names = SpecialNames { bos: "<|b|>".to_owned(), eos: "<|e|>".to_owned() };
    let _ = template.render_text(&messages, &RenderOptions::answer(), &names);
    if let Ok(prompt) = template.render(&messages, &RenderOptions::answer(), &TOKENIZER) {
        let _ = prompt.to_ids(&TOKENIZER);
    }
});
