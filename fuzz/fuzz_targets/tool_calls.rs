//! What a Llama writes, through the parser that finds calls of tools: the same however it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use puna_wire::tool_calls::Parser;
use puna_wire::{Event, Parts, Tools};
use serde_json::json;

fuzz_target!(|input: (u8, String)| {
    let (cut, text) = input;
    let parameters = json!({"type": "object", "properties": {"n": {"type": "integer"}, "q": {"type": "string"}, "l": {"type": "array"}}});
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    let tools = Tools { offered: vec![tool("f"), tool("brave_search")], ..Tools::default() };
    let parse = |pieces: &[&str]| {
        let mut n = 0;
        let mut parser = Parser::new(&tools, 0, move || {
            n += 1;
            format!("call_{n}")
        });
        let mut events: Vec<Event> = Vec::new();
        pieces.iter().for_each(|piece| parser.push(piece, &mut events));
        parser.finish(&mut events);
        let mut parts = Parts::default();
        events.iter().for_each(|event| parts.push(event));
        parts
    };
    let mut at = usize::from(cut).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    assert_eq!(parse(&[&text]), parse(&[&text[..at], &text[at..]]));
});
