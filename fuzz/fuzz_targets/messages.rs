//! Arbitrary bytes as a conversation in JSON, through every built-in prompt format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use puna_text::template::{ChatFormat, Message, MetaFormat, RenderOptions, ToolCallSyntax};

fuzz_target!(|data: &[u8]| {
    let Ok(messages) = serde_json::from_slice::<Vec<Message>>(data) else { return };
    for format in [
        ChatFormat::Llama2,
        ChatFormat::Llama3,
        ChatFormat::Llama31,
        ChatFormat::Llama32,
        ChatFormat::Llama32Vision,
        ChatFormat::Llama4,
    ] {
        let _ = format.render(&messages, &RenderOptions::answer()).map(|prompt| prompt.to_text());
    }
    for format in [MetaFormat::Llama3, MetaFormat::Llama4] {
        for syntax in [ToolCallSyntax::Json, ToolCallSyntax::FunctionTag, ToolCallSyntax::PythonList] {
            let _ = format.render(&messages, syntax).map(|prompt| prompt.to_text());
        }
    }
    let _ = serde_json::to_string(&messages);
});
