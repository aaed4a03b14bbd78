//! Anthropic's API, as its clients meet it.

mod replay;

use puna_wire::anthropic::{Encoder, messages};
use puna_wire::{Encode, Event, Finish, Frames, Input, Kind, Parts, Problem, Reply, ToolChoice};
use replay::{append, events, frames, identity, usage};
use serde_json::{Value, json};

#[test]
fn recorded_requests_are_read() {
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        for replay::Recorded { file, body } in replay::recorded(path) {
            let answer = messages::read(&body);
            if !body["thread"].is_null() {
                assert_eq!(answer.unwrap_err().code, Some("thread_unsupported_request"), "{file}");
                continue;
            }
            let (ask, shape) = answer.unwrap_or_else(|problem| panic!("{file}: {problem:?}"));
            assert_eq!(shape.stream, body["stream"] == true, "{file}");
            assert_eq!(ask.model.as_deref(), body["model"].as_str(), "{file}");
            assert_eq!(ask.max_tokens.map(|n| n as u64), body["max_tokens"].as_u64(), "{file}");
            let n_tools = body["tools"].as_array().map_or(0, Vec::len);
            assert_eq!(ask.tools.offered.len(), n_tools, "{file}");
            let Input::Chat(chat) = ask.input else { panic!("{file}: no chat") };
            let n_system = usize::from(!body["system"].is_null());
            assert_eq!(chat.messages.len(), body["messages"].as_array().unwrap().len() + n_system, "{file}");
        }
    }
}

/// Claude Code's first turn has all of these; refusing one ends its run.
#[test]
fn what_a_llama_has_no_part_in_is_accepted() {
    let body = json!({
        "model": "m", "max_tokens": 32000, "stream": true,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": "be brief"}],
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"}, "metadata": {"user_id": "u"}, "service_tier": "auto",
        "container": null, "mcp_servers": [], "thread": null, "stop_sequences": ["a", "b"],
    });
    let (ask, shape) = messages::read(&body).unwrap();
    assert!(shape.stream);
    assert_eq!((ask.max_tokens, ask.n, ask.tenant.as_deref()), (Some(32000), 1, Some("u")));
    assert_eq!(ask.stop, ["a", "b"]);
    let Input::Chat(chat) = ask.input else { panic!() };
    let roles: Vec<_> = chat.messages.iter().map(|message| &*message.role).collect();
    assert_eq!(roles, ["system", "user", "system"]);
}

#[test]
fn the_assistants_last_message_is_continued() {
    let chat = |last: Value| {
        let body =
            json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": last}]});
        let Input::Chat(chat) = messages::read(&body).unwrap().0.input else { panic!() };
        (chat.messages.len(), chat.messages[chat.messages.len() - 1].text(), chat.continue_last)
    };
    assert_eq!(chat(json!("The ")), (2, "The ".to_owned(), true));
    assert_eq!(chat(json!([{"type": "text", "text": "{"}])), (2, "{".to_owned(), true));
    let thought = json!([{"type": "thinking", "thinking": "hm", "signature": "s"}]);
    for empty in [json!(""), json!([]), Value::Null, thought] {
        assert_eq!(chat(empty), (1, "hi".to_owned(), false));
    }
}

#[test]
fn tools_may_be_forced() {
    let choice = |choice: Value| {
        let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
        let hi = json!([{"role": "user", "content": "hi"}]);
        let body = json!({"messages": hi, "tools": tools, "tool_choice": choice});
        let tools = messages::read(&body).unwrap().0.tools;
        (tools.choice, tools.one_only)
    };
    assert_eq!(choice(Value::Null), (ToolChoice::Auto, false));
    assert_eq!(choice(json!({"type": "none"})), (ToolChoice::Nothing, false));
    let any = json!({"type": "any", "disable_parallel_tool_use": true});
    assert_eq!(choice(any), (ToolChoice::Required, true));
    assert_eq!(choice(json!({"type": "tool", "name": "f"})), (ToolChoice::Named("f".to_owned()), false));
}

#[test]
fn refusals_name_the_field() {
    let with = |name: &str, value: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
        body[name] = value;
        body
    };
    let block = |block: Value| with("messages", json!([{"role": "user", "content": [block]}]));
    let image = |source: Value| block(json!({"type": "image", "source": source}));
    let document = |source: Value| block(json!({"type": "document", "source": source}));
    let within = |rest: &str| format!("messages[0].content[0].{rest}");
    let cases = [
        (json!({}), "messages".to_owned()),
        (with("messages", json!([])), "messages".to_owned()),
        (with("messages", json!("hi")), "messages".to_owned()),
        (with("messages", json!([{"role": "assistant", "content": ""}])), "messages".to_owned()),
        (with("messages", json!([{"role": "tool", "content": ""}])), "messages[0].role".to_owned()),
        (with("messages", json!([{"role": "user"}])), "messages[0].content".to_owned()),
        (with("messages", json!([{"role": "user", "content": 1}])), "messages[0].content".to_owned()),
        (image(json!({"type": "url", "url": "http://x/y.png"})), within("source.type")),
        (image(json!({"type": "file", "file_id": "f"})), within("source.type")),
        (image(json!({"type": "base64", "data": ""})), within("source.media_type")),
        (
            document(json!({"type": "base64", "media_type": "application/pdf", "data": ""})),
            within("source.type"),
        ),
        (document(json!({"type": "url", "url": "http://x"})), within("source.type")),
        (block(json!({"type": "container_upload", "file_id": "f"})), within("type")),
        (block(json!({"type": "tool_result", "content": "2"})), within("tool_use_id")),
        (block(json!({"type": "text"})), within("text")),
        (
            block(
                json!({"type": "document", "source": {"type": "text", "data": "x"}, "citations": {"enabled": true}}),
            ),
            within("citations"),
        ),
        (
            with(
                "messages",
                json!([{"role": "assistant", "content": [
                {"type": "tool_use", "id": "t", "name": "f", "input": "x"}]}]),
            ),
            within("input"),
        ),
        (
            with(
                "messages",
                json!([{"role": "assistant", "content": [
                {"type": "tool_use", "id": "t", "name": "f", "input": {}}]}]),
            ),
            "messages".to_owned(),
        ),
        (with("system", json!(1)), "system".to_owned()),
        (with("max_tokens", json!(-1)), "max_tokens".to_owned()),
        (with("temperature", json!("hot")), "temperature".to_owned()),
        (with("top_p", json!(1.5)), "top_p".to_owned()),
        (with("stream", json!("yes")), "stream".to_owned()),
        (with("tools", json!([{"name": "f"}])), "tools[0].input_schema".to_owned()),
        (with("tools", json!([{"input_schema": {}}])), "tools[0].name".to_owned()),
        (with("tool_choice", json!({"type": "any"})), "tools".to_owned()),
        (with("tool_choice", json!({"type": "tool", "name": "f"})), "tool_choice.name".to_owned()),
        (with("tool_choice", json!({"type": "some"})), "tool_choice.type".to_owned()),
        (with("output_config", json!({"format": {"type": "xml"}})), "output_config.format.type".to_owned()),
        (
            with("output_config", json!({"format": {"type": "json_schema"}})),
            "output_config.format.schema".to_owned(),
        ),
        (
            with("mcp_servers", json!([{"type": "url", "url": "http://x", "name": "x"}])),
            "mcp_servers".to_owned(),
        ),
        (with("container", json!("c")), "container".to_owned()),
        (with("compaction", json!({"type": "enabled"})), "compaction".to_owned()),
        (with("thread", json!({"type": "create"})), "thread".to_owned()),
        (with("thread", json!({"type": "continue", "previous_message_id": "msg_1"})), "thread".to_owned()),
    ];
    for (body, param) in cases {
        let problem = messages::read(&body).expect_err(&body.to_string());
        assert_eq!(problem.param.as_deref(), Some(param.as_str()), "{body}");
        let name = param.rsplit('.').next().unwrap();
        assert!(problem.message.contains(name), "{param}: {}", problem.message);
        assert_eq!(problem.status(), 400);
    }
    let thread = messages::read(&with("thread", json!({"type": "create"}))).unwrap_err().anthropic();
    assert_eq!(thread["error"]["details"]["error_code"], "thread_unsupported_request");
}

/// A message as clients put it together from frames.
fn assembled(frames: &[(String, Value)]) -> Value {
    let mut message = Value::Null;
    let mut arguments = String::new();
    let mut open = None;
    for (name, data) in frames {
        match name.as_str() {
            "message_start" => message = data["message"].clone(),
            "content_block_start" => {
                assert_eq!(open, None, "a block begins within another");
                open = Some(data["index"].as_u64().unwrap() as usize);
                assert_eq!(open, Some(message["content"].as_array().unwrap().len()));
                message["content"].as_array_mut().unwrap().push(data["content_block"].clone());
                arguments.clear();
            }
            "content_block_delta" => {
                assert_eq!(open.map(Value::from), Some(data["index"].clone()));
                match data["delta"]["type"].as_str().unwrap() {
                    "text_delta" => {
                        append(&mut message["content"][open.unwrap()]["text"], &data["delta"]["text"])
                    }
                    "input_json_delta" => arguments += data["delta"]["partial_json"].as_str().unwrap(),
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" => {
                let block = &mut message["content"][open.take().unwrap()];
                if block["type"] == "tool_use" && !arguments.is_empty() {
                    let broken = |_| json!({"INVALID_JSON": arguments});
                    block["input"] = serde_json::from_str(&arguments).unwrap_or_else(broken);
                }
            }
            "message_delta" => {
                for field in ["stop_reason", "stop_sequence"] {
                    message[field] = data["delta"][field].clone();
                }
                message["usage"] = data["usage"].clone();
            }
            "message_stop" | "ping" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(open, None, "a block has no end");
    message
}

#[test]
fn frames_make_up_the_whole() {
    let mut random = replay::Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        let events = events(&mut random, false);
        let mut parts = Parts::default();
        events.iter().for_each(|event| parts.push(event));
        let whole = messages::body(&identity(), &parts, &usage());
        let frames = frames(&mut Encoder::new(identity(), 20), &events, &usage());
        assert_eq!(assembled(&frames), whole, "{events:?}");
        assert_eq!(frames[0].0, "message_start");
        assert_eq!(frames.last().unwrap().0, "message_stop");
        // Collected as a reply, texts are one and stand before the calls.
        let mut reply = Reply::default();
        events.into_iter().for_each(|event| reply.push(event));
        let collected = messages::body(&identity(), &Parts::from(&reply), &usage());
        assert_eq!(of_type(&collected, "tool_use"), of_type(&whole, "tool_use"));
        assert_eq!(text_of(&collected), text_of(&whole));
    }
}

fn of_type<'v>(message: &'v Value, kind: &str) -> Vec<&'v Value> {
    message["content"].as_array().unwrap().iter().filter(|block| block["type"] == kind).collect()
}

fn text_of(message: &Value) -> String {
    of_type(message, "text").iter().map(|block| block["text"].as_str().unwrap()).collect()
}

#[test]
fn an_answer_in_frames() {
    let events = [
        Event::Text { choice: 0, text: "I add.".to_owned(), tokens: Vec::new() },
        Event::Call { choice: 0, index: 0, id: "9".to_owned(), name: "add".to_owned() },
        Event::Arguments { choice: 0, index: 0, text: "{\"a\":1}".to_owned() },
        Event::End { choice: 0, finish: Finish::Calls },
    ];
    let frames = frames(&mut Encoder::new(identity(), 20), &events, &usage());
    let names: Vec<_> = frames.iter().map(|(name, _)| name.as_str()).collect();
    let block = ["content_block_start", "content_block_delta", "content_block_stop"];
    assert_eq!(names, [&["message_start"][..], &block, &block, &["message_delta", "message_stop"]].concat());
    assert_eq!(frames[0].1["message"]["usage"]["input_tokens"], 20);
    assert_eq!(frames[0].1["message"]["content"], json!([]));
    let call = json!({"type": "tool_use", "id": "toolu_9", "name": "add", "input": {}});
    assert_eq!(frames[4].1["content_block"], call);
    let usage = json!({"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 8,
        "output_tokens": 5});
    let delta = json!({"stop_reason": "tool_use", "stop_sequence": null});
    assert_eq!(frames[7].1, json!({"type": "message_delta", "delta": delta, "usage": usage}));
}

#[test]
fn reasons_of_the_end() {
    for (finish, reason, sequence) in [
        (Finish::Stop, "end_turn", Value::Null),
        (Finish::Length, "max_tokens", Value::Null),
        (Finish::StopString("x".to_owned()), "stop_sequence", json!("x")),
        (Finish::Calls, "tool_use", Value::Null),
        (Finish::Filtered, "refusal", Value::Null),
    ] {
        let mut parts = Parts::default();
        parts.push(&Event::End { choice: 0, finish });
        let body = messages::body(&identity(), &parts, &usage());
        assert_eq!((&body["stop_reason"], &body["stop_sequence"]), (&json!(reason), &sequence));
        assert_eq!(body["content"], json!([]));
    }
}

#[test]
fn a_stream_says_that_it_waits_and_that_it_fails() {
    let mut out = Frames::default();
    let mut encoder = Encoder::new(identity(), 0);
    encoder.keep_alive(&mut out);
    encoder.fail(&Problem::new(Kind::Unavailable, "no room"), &mut out);
    let frames = replay::parsed(&mut out);
    assert_eq!(frames[0], ("ping".to_owned(), json!({"type": "ping"})));
    let error = json!({"type": "overloaded_error", "message": "no room"});
    assert_eq!(frames[1], ("error".to_owned(), json!({"type": "error", "error": error})));
    assert_eq!(messages::input_tokens(3), json!({"input_tokens": 3}));
    assert_eq!(messages::too_long(9, 8), "prompt is too long: 9 tokens > 8 maximum");
}
