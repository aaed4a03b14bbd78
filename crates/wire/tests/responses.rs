//! OpenAI's Responses API, as its clients meet it.

mod replay;

use puna_wire::responses::{self, Earlier, Encoder, Shape};
use puna_wire::{Ask, Encode, Event, Finish, Format, Frames, Input, Kind, Parts, Problem, Reply, ToolChoice};
use replay::{append, events, frames, identity, usage};
use serde_json::{Value, json};

fn read(body: &Value) -> Result<(Ask, Shape), Problem> {
    responses::read(body, &())
}

/// The roles and texts of what was read.
fn told(ask: Ask) -> Vec<(String, String)> {
    let Input::Chat(chat) = ask.input else { panic!("no chat") };
    chat.messages.iter().map(|message| (message.role.to_string(), message.text())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(role, text)| (role.to_string(), text.to_string())).collect()
}

#[test]
fn recorded_requests_are_read() {
    for replay::Recorded { file, body } in replay::recorded("/v1/responses") {
        let (ask, shape) = read(&body).unwrap_or_else(|problem| panic!("{file}: {problem:?}"));
        assert_eq!(shape.stream, body["stream"] == true, "{file}");
        assert_eq!(shape.store, body["store"] != false, "{file}");
        assert_eq!(ask.model.as_deref(), body["model"].as_str(), "{file}");
        assert_eq!(matches!(ask.format, Format::Schema(_)), body["text"]["format"]["type"] == "json_schema");
        let tools = body["tools"].as_array().cloned().unwrap_or_default();
        let n_functions = |tool: &Value| match tool["type"].as_str() {
            Some("function") => 1,
            Some("namespace") => tool["tools"].as_array().unwrap().len(),
            _ => 0,
        };
        assert_eq!(ask.tools.offered.len(), tools.iter().map(n_functions).sum::<usize>(), "{file}");
        assert!(!told(ask).is_empty(), "{file}");
        // The answer says again what was asked.
        let response = responses::body(&identity(), &shape, &Parts::default(), &usage());
        for field in ["instructions", "tools", "metadata", "max_output_tokens", "temperature"] {
            let default = match field {
                "tools" => json!([]),
                "metadata" => json!({}),
                _ => Value::Null,
            };
            let given = Some(body[field].clone()).filter(|value| !value.is_null()).unwrap_or(default);
            assert_eq!(response[field], given, "{file}: {field}");
        }
    }
}

#[test]
fn a_request_with_everything() {
    let body = json!({
        "model": "m", "input": "hi", "instructions": "be brief", "max_output_tokens": 9, "temperature": 0.5,
        "top_p": 0.9, "store": false, "stream": true, "stream_options": {"include_obfuscation": false},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "truncation": "auto",
        "reasoning": {"effort": "none"}, "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "top_logprobs": 2, "metadata": {"a": "b"}, "user": "u", "service_tier": "auto", "max_tool_calls": 3,
        "background": false, "conversation": null, "prompt": null, "parallel_tool_calls": false,
        "prompt_cache_key": "k", "client_metadata": {"x": 1}, "tools": [], "tool_choice": "none",
    });
    let (ask, shape) = read(&body).unwrap();
    assert_eq!((ask.max_tokens, ask.logprobs, ask.tenant.as_deref()), (Some(9), Some(2), Some("u")));
    assert_eq!((ask.sampling.temperature, ask.sampling.top_p), (Some(0.5), Some(0.9)));
    assert_eq!(
        (&ask.format, &ask.tools.choice, ask.tools.one_only),
        (&Format::Object, &ToolChoice::Nothing, true)
    );
    assert!(shape.stream && !shape.store && shape.truncates);
    let response = responses::body(&identity(), &shape, &Parts::default(), &usage());
    for field in
        ["instructions", "metadata", "user", "top_p", "truncation", "store", "max_tool_calls", "text"]
    {
        assert_eq!(response[field], body[field]);
    }
    assert_eq!(told(ask), pairs(&[("system", "be brief"), ("user", "hi")]));
    let logprobs = |body: Value| read(&body).unwrap().0.logprobs;
    assert_eq!(logprobs(json!({"input": "hi"})), None);
    assert_eq!(logprobs(json!({"input": "hi", "top_logprobs": 0})), None);
    assert_eq!(logprobs(json!({"input": "hi", "include": ["message.output_text.logprobs"]})), Some(0));
}

/// One response, kept.
struct Kept(Vec<Value>);

impl Earlier for Kept {
    fn response(&self, id: &str) -> Option<Vec<Value>> {
        (id == "resp_1a2b").then(|| self.0.clone())
    }

    fn item(&self, id: &str) -> Option<Value> {
        self.0.iter().find(|item| item["id"] == id).cloned()
    }
}

#[test]
fn a_later_request_goes_on() {
    let (_, shape) = read(&json!({"input": "hi", "instructions": "of the first"})).unwrap();
    let mut parts = Parts::default();
    parts.push(&Event::Text { choice: 0, text: "hello".to_owned(), tokens: Vec::new() });
    parts.push(&Event::End { choice: 0, finish: Finish::Stop });
    let response = responses::body(&identity(), &shape, &parts, &usage());
    let mut items = shape.items_of(&identity());
    items.extend(response["output"].as_array().unwrap().iter().cloned());
    let kept = Kept(items);

    let next = json!({"input": "and?", "previous_response_id": response["id"]});
    let (ask, shape) = responses::read(&next, &kept).unwrap();
    assert_eq!(shape.previous.as_deref(), Some("resp_1a2b"));
    assert_eq!(told(ask), pairs(&[("user", "hi"), ("assistant", "hello"), ("user", "and?")]));
    // What is kept of this one begins with what was kept of the first, under the same ids.
    let again = shape.items_of(&puna_wire::Identity { id: "second".to_owned(), ..identity() });
    assert_eq!(again[..2], kept.0[..]);
    assert_eq!(again[2]["id"], "msg_second_in2");

    let reference = json!({"input": [{"type": "item_reference", "id": response["output"][0]["id"]},
        {"id": "msg_1a2b_in0"}, {"role": "user", "content": "x"}]});
    let (ask, _) = responses::read(&reference, &kept).unwrap();
    assert_eq!(told(ask), pairs(&[("assistant", "hello"), ("user", "hi"), ("user", "x")]));

    let problem = read(&next).unwrap_err();
    assert_eq!((problem.status(), problem.code), (400, Some("previous_response_not_found")));
    let problem = read(&reference).unwrap_err();
    assert_eq!((problem.status(), problem.param.as_deref()), (404, Some("input[0].id")));
}

#[test]
fn refusals_name_the_field() {
    let with = |name: &str, value: Value| {
        let mut body = json!({"input": "hi"});
        body[name] = value;
        body
    };
    let item = |item: Value| json!({"input": [item]});
    let part = |part: Value| item(json!({"type": "message", "role": "user", "content": [part]}));
    let cases = [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 1}), "input"),
        (item(json!("hi")), "input[0]"),
        (item(json!({"role": "tool", "content": "x"})), "input[0].role"),
        (item(json!({"role": "user", "content": 1})), "input[0].content"),
        (item(json!({"type": "local_shell_call", "id": "l"})), "input[0].type"),
        (item(json!({"type": "web_search_call", "id": "w"})), "input[0].type"),
        (item(json!({"type": "function_call", "name": "f"})), "input[0].call_id"),
        (item(json!({"type": "function_call", "call_id": "c"})), "input[0].name"),
        (item(json!({"type": "function_call_output", "call_id": "c"})), "input[0].output"),
        (part(json!({"type": "input_file", "file_id": "f"})), "input[0].content[0].type"),
        (part(json!({"type": "input_audio"})), "input[0].content[0].type"),
        (part(json!({"type": "input_text"})), "input[0].content[0].text"),
        (part(json!({"type": "input_image", "file_id": "f"})), "input[0].content[0].file_id"),
        (
            part(json!({"type": "input_image", "image_url": "https://x/y.png"})),
            "input[0].content[0].image_url",
        ),
        (part(json!({"type": "input_image"})), "input[0].content[0].image_url"),
        (with("background", json!(true)), "background"),
        (with("conversation", json!("conv_1")), "conversation"),
        (with("prompt", json!({"id": "p"})), "prompt"),
        (with("previous_response_id", json!("resp_0")), "previous_response_id"),
        (with("truncation", json!("middle")), "truncation"),
        (with("max_output_tokens", json!(0)), "max_output_tokens"),
        (with("temperature", json!(3)), "temperature"),
        (with("top_p", json!("x")), "top_p"),
        (with("top_logprobs", json!(21)), "top_logprobs"),
        (with("metadata", json!({"a": 1})), "metadata.a"),
        (with("reasoning", json!("high")), "reasoning"),
        (with("text", json!({"format": {"type": "grammar"}})), "text.format.type"),
        (with("text", json!({"format": {"type": "json_schema", "name": "n"}})), "text.format.schema"),
        (with("text", json!({"format": {"type": "json_schema", "schema": "s"}})), "text.format.schema"),
        (with("tools", json!([{"type": "function"}])), "tools[0].name"),
        (with("tools", json!([{"name": "f"}])), "tools[0].type"),
        (with("tools", json!([{"type": "function", "name": "f", "parameters": 1}])), "tools[0].parameters"),
        (with("tool_choice", json!("required")), "tools"),
        (with("tool_choice", json!("some")), "tool_choice"),
        (with("tool_choice", json!({"type": "function", "name": "f"})), "tool_choice.name"),
        (with("tool_choice", json!({"type": "web_search_preview"})), "tool_choice.type"),
        (with("store", json!("no")), "store"),
    ];
    for (body, param) in cases {
        let problem = read(&body).expect_err(&body.to_string());
        assert_eq!(problem.param.as_deref(), Some(param), "{body}");
        assert!(problem.message.contains(param.rsplit('.').next().unwrap()), "{param}: {}", problem.message);
        assert_eq!(problem.status(), 400);
    }
}

/// The output as clients put it together from frames, whose order and numbers it checks.
fn assembled(frames: &[(String, Value)]) -> Vec<Value> {
    let mut output: Vec<Value> = Vec::new();
    let mut open = None;
    for (n, (name, data)) in frames.iter().enumerate() {
        assert_eq!(data["sequence_number"], n as u64);
        let index = data["output_index"].as_u64().map(|index| index as usize);
        if data.get("item_id").is_some() {
            assert_eq!(open, index, "{name} is about an item that is not open");
            assert_eq!(data["item_id"], output[index.unwrap()]["id"]);
        }
        match name.as_str() {
            "response.output_item.added" => {
                assert_eq!((open, index), (None, Some(output.len())));
                open = index;
                output.push(data["item"].clone());
            }
            "response.content_part.added" => {
                output[open.unwrap()]["content"].as_array_mut().unwrap().push(data["part"].clone());
            }
            "response.output_text.delta" => {
                let part = &mut output[open.unwrap()]["content"][0];
                append(&mut part["text"], &data["delta"]);
                let more = data["logprobs"].as_array().unwrap().clone();
                part["logprobs"].as_array_mut().unwrap().extend(more);
            }
            "response.output_text.done" => {
                let part = &output[open.unwrap()]["content"][0];
                assert_eq!((&part["text"], &part["logprobs"]), (&data["text"], &data["logprobs"]));
            }
            "response.content_part.done" => assert_eq!(output[open.unwrap()]["content"][0], data["part"]),
            "response.function_call_arguments.delta" => {
                append(&mut output[open.unwrap()]["arguments"], &data["delta"]);
            }
            "response.function_call_arguments.done" => {
                assert_eq!(output[open.unwrap()]["arguments"], data["arguments"]);
            }
            "response.output_item.done" => {
                let item = &mut output[open.take().unwrap()];
                assert_eq!(item["status"], "in_progress");
                item["status"] = data["item"]["status"].clone();
                assert_eq!(*item, data["item"]);
            }
            "response.created" | "response.in_progress" => assert!(n < 2),
            "response.completed" | "response.incomplete" => assert_eq!((n + 1, open), (frames.len(), None)),
            other => panic!("{other}"),
        }
    }
    output
}

#[test]
fn frames_make_up_the_whole() {
    let mut random = replay::Random(0x2545_f491_4f6c_dd1d);
    let tool = json!({"type": "function", "name": "g"});
    let request = json!({"input": "hi", "tools": [{"type": "namespace", "name": "n", "tools": [tool]}]});
    let (_, shape) = read(&request).unwrap();
    for round in 0..2000 {
        let events = events(&mut random, round % 2 == 0);
        let mut parts = Parts::default();
        events.iter().for_each(|event| parts.push(event));
        let whole = responses::body(&identity(), &shape, &parts, &usage());
        let frames = frames(&mut Encoder::new(identity(), shape.clone()), &events, &usage());
        assert_eq!(Value::from(assembled(&frames)), whole["output"], "{events:?}");
        let (name, last) = frames.last().unwrap();
        assert_eq!(last["response"], whole);
        assert_eq!(name, &format!("response.{}", whole["status"].as_str().unwrap()));
        assert_eq!(frames[0].0, "response.created");
        for call in whole["output"].as_array().unwrap().iter().filter(|item| item["type"] == "function_call")
        {
            let namespace = if call["name"] == "g" { json!("n") } else { Value::Null };
            assert_eq!(call["namespace"], namespace);
        }
        // Collected as a reply, texts are one and stand before the calls.
        let mut reply = Reply::default();
        events.into_iter().for_each(|event| reply.push(event));
        let collected = responses::body(&identity(), &shape, &Parts::from(&reply), &usage());
        assert_eq!(text_of(&collected), text_of(&whole));
        assert_eq!(collected["status"], whole["status"]);
    }
}

fn text_of(response: &Value) -> String {
    let items = response["output"].as_array().unwrap().iter();
    items.filter_map(|item| item["content"][0]["text"].as_str()).collect()
}

#[test]
fn an_answer_in_frames() {
    let (_, shape) = read(&json!({"input": "hi"})).unwrap();
    let events = [
        Event::Text { choice: 0, text: "I add.".to_owned(), tokens: Vec::new() },
        Event::Call { choice: 0, index: 0, id: "9".to_owned(), name: "add".to_owned() },
        Event::Arguments { choice: 0, index: 0, text: "{\"a\":1}".to_owned() },
        Event::End { choice: 0, finish: Finish::Calls },
    ];
    let frames = frames(&mut Encoder::new(identity(), shape), &events, &usage());
    let names: Vec<_> = frames.iter().map(|(name, _)| name.strip_prefix("response.").unwrap()).collect();
    let want = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(names, want);
    let (begun, over) = (&frames[0].1["response"], &frames[12].1["response"]);
    assert_eq!(
        (&begun["status"], &begun["output"], &begun["usage"]),
        (&json!("in_progress"), &json!([]), &Value::Null)
    );
    let call = json!({"id": "fc_1a2b_1", "type": "function_call", "status": "completed", "arguments": "{\"a\":1}",
        "call_id": "call_9", "name": "add"});
    assert_eq!(over["output"][1], call);
    let usage = json!({"input_tokens": 20, "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
        "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 25});
    assert_eq!(over["usage"], usage);
    assert_eq!((&over["id"], &over["completed_at"]), (&json!("resp_1a2b"), &json!(1_700_000_002_u64)));
}

#[test]
fn how_responses_end() {
    let (_, shape) = read(&json!({"input": "hi"})).unwrap();
    for (finish, status, reason) in [
        (Finish::Stop, "completed", None),
        (Finish::Calls, "completed", None),
        (Finish::StopString("x".to_owned()), "completed", None),
        (Finish::Length, "incomplete", Some("max_output_tokens")),
        (Finish::Filtered, "incomplete", Some("content_filter")),
    ] {
        let mut parts = Parts::default();
        parts.push(&Event::End { choice: 0, finish });
        let body = responses::body(&identity(), &shape, &parts, &usage());
        assert_eq!(body["status"], status);
        assert_eq!(body["incomplete_details"]["reason"], json!(reason));
        // An answer of nothing is one empty message.
        assert_eq!(body["output"][0]["content"][0]["text"], "");
        assert_eq!(body["output"][0]["status"], status);
    }
}

#[test]
fn a_failure_is_the_last_frame() {
    let (_, shape) = read(&json!({"input": "hi"})).unwrap();
    for (kind, code) in [
        (Kind::Internal, "server_error"),
        (Kind::Deadline, "server_error"),
        (Kind::Busy, "rate_limit_exceeded"),
        (Kind::TooLong, "context_length_exceeded"),
        (Kind::Request, "invalid_prompt"),
    ] {
        let mut out = Frames::default();
        let mut encoder = Encoder::new(identity(), shape.clone());
        if kind != Kind::Busy {
            encoder.begin(&mut out);
            encoder.event(&Event::Text { choice: 0, text: "a".to_owned(), tokens: Vec::new() }, &mut out);
        }
        encoder.fail(&Problem::new(kind, "why"), &mut out);
        let frames = replay::parsed(&mut out);
        assert_eq!(frames[0].0, "response.created");
        let (name, last) = frames.last().unwrap();
        assert_eq!((name.as_str(), &last["sequence_number"]), ("response.failed", &json!(frames.len() - 1)));
        let response = &last["response"];
        assert_eq!(response["error"], json!({"code": code, "message": "why"}));
        assert_eq!((&response["status"], &response["usage"]), (&json!("failed"), &Value::Null));
        let statuses = response["output"].as_array().unwrap().iter().map(|item| &item["status"]);
        assert!(statuses.eq((kind != Kind::Busy).then_some(&json!("incomplete"))));
    }
}

#[test]
fn what_else_there_is_to_ask() {
    assert_eq!(responses::deleted("resp_1"), json!({"id": "resp_1", "object": "response", "deleted": true}));
    assert_eq!(responses::input_tokens(3), json!({"object": "response.input_tokens", "input_tokens": 3}));
}
