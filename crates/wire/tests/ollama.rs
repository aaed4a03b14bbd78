//! Ollama's API as its clients use it: what they sent once, what is refused, and answers put together again.

use std::time::Duration;

use puna_text::template::{Content, Part};
use puna_wire::ollama::{self, Clock, Only, chat, embed, generate, manage};
use puna_wire::{
    Ask, Choice, Encode, Event, Finish, Format, Frames, Identity, Input, Kind, Problem, Reply, TextInput,
    Token, ToolChoice, Usage,
};
use serde_json::{Value, json};

/// Reads a body by the path it was sent to.
fn read(path: &str, body: &Value) -> Result<(), Problem> {
    match path {
        "/api/generate" => generate::read(body).map(drop),
        "/api/chat" => chat::read(body).map(drop),
        "/api/embed" => embed::read(body).map(drop),
        "/api/embeddings" => embed::read_old(body).map(drop),
        "/api/show" | "/api/delete" | "/api/pull" | "/api/push" => manage::read_about(body).map(drop),
        "/api/copy" => manage::read_copy(body).map(drop),
        "/api/create" => manage::read_create(body).map(drop),
        blob if blob.starts_with("/api/blobs/") => {
            ollama::name::digest(&blob["/api/blobs/".len()..], "digest").map(drop)
        }
        _ => panic!("{path} is not known"),
    }
}

#[test]
fn recorded_requests_are_read() {
    let recordings = puna_conformance::recordings("recorded_requests_are_read");
    if recordings.is_empty() {
        return;
    }
    let mut n_read = 0;
    let mut refused = Vec::new();
    for (name, recording) in recordings {
        for request in recording["requests"].as_array().into_iter().flatten() {
            let (path, body) = (request["path"].as_str().unwrap(), &request["body"]);
            if !path.starts_with("/api/") || request["method"] == "GET" {
                continue;
            }
            n_read += 1;
            if let Err(problem) = read(path, body) {
                assert_eq!(problem.status(), 400);
                refused.push((name.clone(), problem.message));
            }
        }
    }
    assert!(n_read > 40, "only {n_read} requests");
    // A client was told to send a raw prompt with a template, which Ollama refuses as well.
    refused.sort();
    let raw = "`template` is not supported beside `raw: true`, where the prompt is all that the model reads";
    let wanted = [("ollama-generate-full", raw)];
    assert_eq!(refused, wanted.map(|(name, message)| (name.to_owned(), message.to_owned())));
}

#[test]
fn refusals_name_the_field() {
    let f = json!({"type": "function", "function": {"name": "f"}});
    let both = [
        (json!([]), None),
        (json!({"think": 3}), Some("think")),
        (json!({"model": 1}), Some("model")),
        (json!({"format": "yaml"}), Some("format")),
        (json!({"format": 1}), Some("format")),
        (json!({"options": []}), Some("options")),
        (json!({"options": {"mirostat": 2}}), Some("options.mirostat")),
        (json!({"keep_alive": "soon"}), Some("keep_alive")),
        (json!({"stream": "yes"}), Some("stream")),
        (json!({"top_logprobs": 21}), Some("top_logprobs")),
    ];
    let of_generate = [
        (json!({"prompt": 1}), Some("prompt")),
        (json!({"prompt": "a", "images": ["aGVsbG8="]}), Some("images[0]")),
        (json!({"context": [-1]}), Some("context")),
        (json!({"prompt": "a", "raw": true, "template": "t"}), Some("template")),
        (json!({"prompt": "a", "raw": true, "system": "s"}), Some("system")),
        (json!({"prompt": "a", "raw": true, "context": [1]}), Some("context")),
        (json!({"prompt": "a", "raw": true, "images": ["iVBORw=="]}), Some("images")),
        (json!({"prompt": "a", "raw": true, "suffix": "b"}), Some("suffix")),
        (json!({"prompt": "a", "suffix": "b", "system": "s"}), Some("system")),
    ];
    let message = |message: Value| json!({"messages": [message]});
    let of_chat = [
        (json!({"messages": {}}), Some("messages")),
        (message(json!("hi")), Some("messages[0]")),
        (message(json!({"content": "hi"})), Some("messages[0].role")),
        (message(json!({"role": "robot", "content": "hi"})), Some("messages[0].role")),
        (message(json!({"role": "user", "content": 1})), Some("messages[0].content")),
        (message(json!({"role": "user", "images": [1]})), Some("messages[0].images[0]")),
        (
            message(json!({"role": "assistant", "tool_calls": [{}]})),
            Some("messages[0].tool_calls[0].function"),
        ),
        (
            message(
                json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}),
            ),
            Some("messages[0].tool_calls[0].function.arguments"),
        ),
        (json!({"tools": [f], "tool_choice": "f"}), Some("tool_choice")),
    ];
    let of_generate = both.iter().chain(&of_generate).map(|case| (case, generate::read(&case.0)));
    let of_chat = both.iter().chain(&of_chat).map(|case| (case, chat::read(&case.0)));
    for ((body, param), read) in of_generate.chain(of_chat) {
        let problem = read.expect_err(&body.to_string());
        assert_eq!((problem.param.as_deref(), problem.kind), (*param, Kind::Request), "{body}");
    }
}

fn generated(body: Value) -> (Ask, ollama::Shape) {
    generate::read(&body).unwrap_or_else(|problem| panic!("{body}: {problem:?}"))
}

#[test]
fn prompts_become_inputs() {
    let (ask, shape) = generated(json!({
        "name": "m", "prompt": "hi", "system": "s", "images": ["iVBORw=="], "format": "", "context": [1, 2],
        "template": "", "think": false, "keep_alive": "1h30m", "logprobs": true, "top_logprobs": 2,
        "options": {"num_ctx": 64, "stop": null},
    }));
    assert_eq!((ask.model.as_deref(), ask.n, ask.context), (Some("m"), 1, Some(64)));
    assert_eq!((ask.keep_alive, ask.logprobs, &ask.format), (Some(5400.0), Some(2), &Format::Text));
    assert_eq!((shape.stream, shape.only, &shape.context, &shape.template), (true, None, &vec![1, 2], &None));
    let Input::Chat(chat) = ask.input else { panic!("{:?}", ask.input) };
    assert_eq!((chat.messages[0].role.as_ref(), chat.messages[0].text()), ("system", "s".to_owned()));
    let url = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}});
    let parts = Content::Parts(vec![Part::Image(url), Part::Text("hi".to_owned())]);
    assert_eq!(chat.messages[1].content, Some(parts));
    assert!(!chat.continue_last);
    let (ask, _) = generated(json!({"prompt": "a", "raw": true, "stream": false}));
    let texts = vec![TextInput::Text("a".to_owned())];
    assert_eq!(ask.input, Input::Texts { texts, echo: false });
    let (ask, _) = generated(json!({"prompt": "a", "suffix": "b", "format": "json"}));
    assert_eq!(ask.input, Input::Infill { prefix: "a".to_owned(), suffix: "b".to_owned() });
    assert_eq!(ask.format, Format::Object);
    let (_, shape) = generated(json!({"prompt": "a", "template": "t"}));
    assert_eq!(shape.check_template("t"), Ok(()));
    assert_eq!(shape.check_template("u").unwrap_err().param.as_deref(), Some("template"));
}

#[test]
fn nothing_to_answer_loads_or_unloads() {
    let cases = [
        (json!({"model": "m"}), Only::Load, "load"),
        (json!({"model": "m", "prompt": "", "messages": [], "keep_alive": -1}), Only::Load, "load"),
        (json!({"model": "m", "keep_alive": 0}), Only::Unload, "unload"),
        (json!({"model": "m", "keep_alive": "0s"}), Only::Unload, "unload"),
    ];
    let identity = Identity { model: "m".to_owned(), ..Identity::default() };
    for (body, only, reason) in cases {
        assert_eq!(generate::read(&body).unwrap().1.only, Some(only), "{body}");
        assert_eq!(chat::read(&body).unwrap().1.only, Some(only), "{body}");
        let bodies =
            [generate::only(&identity, Duration::ZERO, only), chat::only(&identity, Duration::ZERO, only)];
        for body in bodies {
            assert_eq!((&body["done"], &body["done_reason"]), (&json!(true), &json!(reason)));
        }
    }
    assert_eq!(generate::read(&json!({"prompt": "a", "keep_alive": 0})).unwrap().1.only, None);
}

#[test]
fn conversations_become_inputs() {
    let call = json!({"id": "x", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}});
    let body = json!({
        "model": "m", "stream": false, "tool_choice": "required",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "format": {"$schema": "s", "type": "object"},
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "s"}], "images": []},
            {"role": "user", "content": "hi", "images": ["/9j/4AAQ"], "tool_calls": null},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "content": "3"},
            {"role": "tool", "content": {"c": 4}, "tool_name": "f", "tool_call_id": "x"},
            {"role": "assistant", "content": "So"},
        ],
    });
    let (ask, shape) = chat::read(&body).unwrap();
    assert!(!shape.stream);
    assert_eq!((&ask.tools.choice, ask.tools.offered.len()), (&ToolChoice::Required, 1));
    assert_eq!(ask.format, Format::Schema(body["format"].clone()));
    let Input::Chat(chat) = ask.input else { panic!("{:?}", ask.input) };
    let messages = chat.messages;
    assert!(chat.continue_last);
    assert_eq!((messages[0].role.as_ref(), messages[0].text()), ("system", "s".to_owned()));
    assert!(messages[1].has_image());
    assert_eq!(messages[2].tool_calls()[0].arguments().into_owned(), json!({"a": 1}));
    assert_eq!((messages[2].tool_calls()[0].id(), messages[2].text()), (Some("x"), String::new()));
    assert_eq!((messages[3].tool_call_id(), messages[3].name()), (None, None));
    assert_eq!((messages[4].tool_call_id(), messages[4].name()), (Some("x"), Some("f")));
    assert_eq!(messages[4].text(), r#"{"c": 4}"#);
}

/// A clock that is a nanosecond later each time.
fn clock() -> Clock {
    let mut now = Duration::from_secs(1_798_761_599);
    Box::new(move || {
        now += Duration::from_nanos(1);
        now
    })
}

fn lines_of(frames: &mut Frames) -> Vec<Value> {
    let text = String::from_utf8(frames.take()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn usage() -> Usage {
    let default = Usage::default();
    Usage { prompt: 3, completion: 5, load_ns: 7, prompt_ns: 11, completion_ns: 13, total_ns: 31, ..default }
}

fn text(text: &str) -> Event {
    Event::Text { choice: 0, text: text.to_owned(), tokens: Vec::new() }
}

fn identity() -> Identity {
    Identity { model: "m".to_owned(), ..Identity::default() }
}

#[test]
fn lines_have_what_clients_need() {
    let top = vec![(1, b"a".to_vec(), -0.5), (2, vec![0xc3], -1.5)];
    let token = Token { id: 1, bytes: b"a".to_vec(), logprob: Some(-0.5), top };
    let events = [
        Event::Text { choice: 0, text: "a\u{2028}".to_owned(), tokens: vec![token] },
        text(""),
        Event::End { choice: 0, finish: Finish::Length },
    ];
    let encoders: [(&str, Box<dyn Encode>); 2] = [
        ("response", Box::new(generate::Encoder::new(&identity(), clock()).with_context(|| vec![4, 5]))),
        ("message", Box::new(chat::Encoder::new(&identity(), clock()))),
    ];
    for (name, mut encoder) in encoders {
        let mut out = Frames::default();
        encoder.begin(&mut out);
        encoder.keep_alive(&mut out);
        events.iter().for_each(|event| encoder.event(event, &mut out));
        encoder.end(&usage(), &mut out);
        let lines = lines_of(&mut out);
        assert_eq!(lines.len(), 3);
        for (at, line) in lines.iter().enumerate() {
            assert_eq!(line["model"], "m");
            assert_eq!(line["created_at"], format!("2026-12-31T23:59:59.{:09}Z", at + 1));
            assert_eq!(line["done"], json!(at == 2));
            assert_eq!(line[name].is_object(), name == "message");
        }
        let said =
            |line: &Value| if name == "message" { line[name]["content"].clone() } else { line[name].clone() };
        assert_eq!(lines.iter().map(said).collect::<Vec<_>>(), ["", "a\u{2028}", ""]);
        assert_eq!(lines[1]["logprobs"][0]["top_logprobs"][1]["bytes"], json!([0xc3]));
        let last = &lines[2];
        assert_eq!((&last["done_reason"], &last["total_duration"]), (&json!("length"), &json!(31)));
        assert_eq!((&last["prompt_eval_count"], &last["eval_count"]), (&json!(3), &json!(5)));
        assert_eq!((&last["load_duration"], &last["eval_duration"]), (&json!(7), &json!(13)));
        assert_eq!(last.get("context"), (name == "response").then_some(&json!([4, 5])));
        encoder.fail(&Problem::new(Kind::Internal, "oh"), &mut out);
        assert_eq!(lines_of(&mut out), [json!({"error": "oh"})]);
    }
}

#[test]
fn calls_come_whole() {
    let call = |index: usize, name: &str| Event::Call {
        choice: 0,
        index,
        id: format!("c{index}"),
        name: name.to_owned(),
    };
    let arguments = |index, text: &str| Event::Arguments { choice: 0, index, text: text.to_owned() };
    let events = [
        text("Well"),
        call(0, "f"),
        arguments(0, "{\"a\""),
        arguments(0, ": 1}"),
        call(1, "g"),
        call(2, "half"),
        arguments(2, "{\"a\""),
        Event::End { choice: 0, finish: Finish::Calls },
    ];
    let mut encoder = chat::Encoder::new(&identity(), clock());
    let (mut out, mut reply) = (Frames::default(), Reply { usage: usage(), ..Reply::default() });
    for event in events {
        encoder.event(&event, &mut out);
        reply.push(event);
    }
    encoder.end(&usage(), &mut out);
    let lines = lines_of(&mut out);
    assert_eq!(lines.len(), 4);
    let f = json!({"id": "c0", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}});
    let g = json!({"id": "c1", "function": {"index": 1, "name": "g", "arguments": {}}});
    assert_eq!(lines[1]["message"], json!({"role": "assistant", "content": "", "tool_calls": [f]}));
    assert_eq!(lines[2]["message"]["tool_calls"], json!([g]));
    assert_eq!((&lines[3]["done_reason"], &lines[3]["message"]["content"]), (&json!("stop"), &json!("")));
    let body = chat::whole(&identity(), Duration::ZERO, &reply);
    assert_eq!(body["message"], json!({"role": "assistant", "content": "Well", "tool_calls": [f, g]}));
}

/// Numbers that are the same every time: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

#[test]
fn lines_together_say_what_the_whole_answer_says() {
    let mut random = Random(1);
    let pieces = ["a", "", "\n", "\u{2029}é", "\"", "\\", "𝄞", "\u{85}", "{}"];
    for round in 0..300 {
        let mut reply = Reply { choices: vec![Choice::default()], usage: usage() };
        let mut events: Vec<Event> = (0..random.below(9)).map(|_| text(pieces[random.below(9)])).collect();
        for index in 0..random.below(4) {
            let name = format!("f{index}");
            events.push(Event::Call { choice: 0, index, id: format!("{round}{index}"), name });
            let whole = json!({"a": pieces[random.below(9)], "b": index}).to_string();
            let (mut from, chars) = (0, whole.char_indices().map(|(at, _)| at).collect::<Vec<_>>());
            while from < whole.len() {
                let to = chars[random.below(chars.len())].max(from);
                let to = if to == from { whole.len() } else { to };
                events.push(Event::Arguments { choice: 0, index, text: whole[from..to].to_owned() });
                from = to;
            }
        }
        let finish = [Finish::Stop, Finish::Length, Finish::Calls][random.below(3)].clone();
        events.push(Event::End { choice: 0, finish });
        let (mut out, mut encoder) = (Frames::default(), chat::Encoder::new(&identity(), clock()));
        for event in events {
            encoder.event(&event, &mut out);
            reply.push(event);
        }
        encoder.end(&usage(), &mut out);
        let lines = lines_of(&mut out);
        let content: String = lines.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
        let calls =
            lines.iter().flat_map(|line| line["message"]["tool_calls"].as_array().into_iter().flatten());
        let calls: Vec<&Value> = calls.collect();
        let body = chat::whole(&identity(), Duration::ZERO, &reply);
        assert_eq!(body["message"]["content"], content);
        assert_eq!(body["message"].get("tool_calls").cloned().unwrap_or(json!([])), json!(calls));
        let last = lines.last().unwrap().as_object().unwrap();
        for (key, value) in last.iter().filter(|(key, _)| !["message", "created_at"].contains(&key.as_str()))
        {
            assert_eq!(&body[key], value, "{key}");
        }
    }
}
