//! An arbitrary chat template over an arbitrary conversation: bounded, without panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use puna_text::template::{JinjaTemplate, Message, RenderOptions, SpecialNames};

fuzz_target!(|data: (&str, &str)| {
    let (source, conversation) = data;
    let Ok(template) = JinjaTemplate::new(source) else { return };
    let messages = serde_json::from_str::<Vec<Message>>(conversation)
        .unwrap_or_else(|_| vec![Message::new("user", conversation)]);
    let names = SpecialNames { bos: "<s>".to_owned(), eos: String::new() };
    let _ = template.render_text(&messages, &RenderOptions::answer(), &names);
});
