//! The server as clients meet it: three APIs over real connections, with the model inside the library.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Running, request};
use puna::{AnswerOptions, Llama, SamplingParams};
use puna_serve::{ServeOptions, ServedModel, Server};
use serde_json::{Value, json};

const PROMPT: &str = "Once upon a time";

/// What the library makes of the prompt at temperature 0.
fn greedy(n: usize) -> String {
    let options = AnswerOptions {
        sampling: Some(SamplingParams::greedy()),
        max_tokens: Some(n),
        ..AnswerOptions::default()
    };
    let llama = Llama::builtin().unwrap();
    llama.complete_with(PROMPT, &options).unwrap().finish().unwrap().text
}

fn text_of(events: &[Value], path: &str) -> String {
    events.iter().filter_map(|event| event.pointer(path)?.as_str()).collect()
}

#[test]
fn every_api_gives_the_same_text_streamed_and_whole() {
    let server = Running::start();
    let want = greedy(30);
    let of = |more: Value| {
        let mut body = json!({"model": "m", "temperature": 0, "max_tokens": 30});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let whole = server.post("/v1/completions", &of(json!({"prompt": PROMPT}))).ok();
    assert_eq!(whole["choices"][0]["text"], want);
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 30);
    let stream = server.post("/v1/completions", &of(json!({"prompt": PROMPT, "stream": true})));
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert!(stream.text.ends_with("data: [DONE]\n\n"), "{}", stream.text);
    assert_eq!(text_of(&stream.events(), "/choices/0/text"), want);

    // A model without a chat format goes on with the conversation's text.
    let messages = json!([{"role": "user", "content": PROMPT}]);
    let whole = server.post("/v1/chat/completions", &of(json!({"messages": messages}))).ok();
    assert_eq!(whole["choices"][0]["message"]["content"], want);
    let options = json!({"include_usage": true});
    let stream = server.post(
        "/v1/chat/completions",
        &of(json!({"messages": messages, "stream": true, "stream_options": options})),
    );
    let events = stream.events();
    assert_eq!(text_of(&events, "/choices/0/delta/content"), want);
    assert_eq!(events.last().unwrap()["usage"]["completion_tokens"], 30);

    let whole = server.post("/v1/messages", &of(json!({"messages": messages}))).ok();
    assert_eq!(whole["content"][0]["text"], want);
    assert_eq!(whole["stop_reason"], "max_tokens");
    let stream = server.post("/v1/messages", &of(json!({"messages": messages, "stream": true})));
    assert_eq!(text_of(&stream.events(), "/delta/text"), want);
    assert_eq!(stream.events().last().unwrap()["type"], "message_stop");

    let ask = json!({"model": "m", "input": PROMPT, "temperature": 0, "max_output_tokens": 30});
    let whole = server.post("/v1/responses", &ask).ok();
    assert_eq!(whole["output"][0]["content"][0]["text"], want);
    assert_eq!(whole["status"], "incomplete");
    let id = whole["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/responses/{id}")).ok(), whole);

    let options = json!({"temperature": 0, "num_predict": 30});
    let ask = json!({"model": "m", "prompt": PROMPT, "options": options, "raw": true, "stream": false});
    let whole = server.post("/api/generate", &ask).ok();
    assert_eq!((&whole["response"], &whole["done_reason"]), (&json!(want), &json!("length")));
    let stream = server.post("/api/chat", &json!({"model": "m", "messages": messages, "options": options}));
    assert_eq!(stream.header("content-type"), Some("application/x-ndjson"));
    let lines = stream.lines();
    assert_eq!(text_of(&lines, "/message/content"), want);
    assert_eq!(lines.last().unwrap()["eval_count"], 30);
}

#[test]
fn several_answers_differ_and_come_back_with_their_seed() {
    let server = Running::start();
    let ask = json!({"prompt": PROMPT, "n": 3, "seed": 5, "max_tokens": 12, "temperature": 1.5});
    let texts = |value: &Value| -> Vec<String> {
        value["choices"].as_array().unwrap().iter().map(|c| c["text"].as_str().unwrap().to_owned()).collect()
    };
    let first = texts(&server.post("/v1/completions", &ask).ok());
    assert_eq!(first.len(), 3);
    assert!(first[0] != first[1] && first[1] != first[2]);
    assert_eq!(texts(&server.post("/v1/completions", &ask).ok()), first);
    let two = json!({"prompt": [PROMPT, "The dog"], "max_tokens": 4, "temperature": 0});
    let both = texts(&server.post("/v1/completions", &two).ok());
    assert_eq!(both[0], greedy(4));
}

/// What `lm-eval` sends: the prompt's own probabilities.
#[test]
fn probabilities_are_those_of_the_model() {
    let server = Running::start();
    let llama = Llama::builtin().unwrap();
    let ids = llama.encode(PROMPT).unwrap();
    let ask = json!({"prompt": ids, "echo": true, "logprobs": 1, "max_tokens": 1, "temperature": 0});
    let answer = server.post("/v1/completions", &ask).ok();
    let logprobs = &answer["choices"][0]["logprobs"];
    let told: Vec<Option<f64>> =
        logprobs["token_logprobs"].as_array().unwrap().iter().map(Value::as_f64).collect();
    assert_eq!(told.len(), ids.len() + 1);
    assert_eq!(told[0], None);
    let want = llama.score_ids(&ids).unwrap();
    for (told, nll) in told[1..].iter().zip(&want.nlls) {
        assert!((told.unwrap() + nll).abs() < 1e-4, "{told:?} {nll}");
    }
    // The token chosen at temperature 0 is the most probable one, with the very same number.
    let top = logprobs["top_logprobs"].as_array().unwrap().last().unwrap().as_object().unwrap();
    assert_eq!(top.values().next().unwrap().as_f64(), told[ids.len()]);
}

#[test]
fn a_beginning_is_computed_once() {
    let server = Running::start();
    let long = "The dog ran to the park and saw a cat. ".repeat(10);
    let ask = |more: &str| {
        let prompt = format!("{long}{more}");
        server.post("/v1/completions", &json!({"prompt": prompt, "max_tokens": 2, "temperature": 0})).ok()
    };
    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    assert_eq!(cached(&ask("Then")), 0);
    let second = ask("But");
    let n_prompt = second["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(cached(&second) > n_prompt / 2, "{second}");
    // Another user's is not told from its time.
    let other = json!({"prompt": format!("{long}But"), "max_tokens": 2, "temperature": 0, "user": "other"});
    assert_eq!(cached(&server.post("/v1/completions", &other).ok()), 0);
}

#[test]
fn who_leaves_is_not_computed_for() {
    let server = Running::start();
    let ask = json!({"prompt": PROMPT, "max_tokens": 100_000, "stream": true, "ignore_eos": true});
    let mut stream = server.connect();
    stream.write_all(&request("POST", "/v1/completions", &[], ask.to_string().as_bytes())).unwrap();
    let mut some = [0; 400];
    stream.read_exact(&mut some).unwrap();
    let start = Instant::now();
    while server.metric("vllm:num_requests_running") != 1.0 {
        assert!(start.elapsed() < Duration::from_secs(20), "it runs");
    }
    drop(stream);
    while server.metric("vllm:num_requests_running") != 0.0 {
        assert!(start.elapsed() < Duration::from_secs(20), "it ends when its client leaves");
    }
}

/// It is read elsewhere than small ones.
#[test]
fn a_large_body_is_answered_as_a_small_one() {
    let server = Running::start();
    let filler = "x".repeat(200_000);
    let ask = json!({"prompt": PROMPT, "max_tokens": 20, "temperature": 0, "user": filler});
    let answer = server.post("/v1/completions", &ask).ok();
    assert_eq!(answer["choices"][0]["text"], greedy(20));
    let text = "The dog ran. ".repeat(10_000);
    let ids = server.post("/tokenize", &json!({"content": text})).ok();
    let told = server.post("/detokenize", &json!({"tokens": ids["tokens"]})).ok();
    assert_eq!(told["content"], text);
    assert_eq!(server.post("/v1/completions", &json!({"prompt": text})).status, 400);
    let broken = filler.as_bytes();
    assert_eq!(server.send("POST", "/v1/completions", &[], broken).status, 400);
}

/// Without encryption nothing is agreed on: what a client says first tells its version.
#[test]
fn http2_is_known_by_its_first_bytes() {
    let server = Running::start();
    let mut stream = server.connect();
    stream.set_nodelay(true).unwrap();
    for part in [&b"P"[..], b"RI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0, 0, 0, 4, 0, 0, 0, 0, 0]] {
        stream.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "it answers with its settings: {head:?}");
}

#[test]
fn who_says_nothing_holds_up_no_end() {
    let options = ServeOptions { port: 0, drain: Duration::from_secs(60), ..ServeOptions::default() };
    let server = Server::new(common::builtin(), options).unwrap();
    let (address, stopper) = (server.address().unwrap(), server.stopper());
    let running = std::thread::spawn(move || server.run());
    let silent = TcpStream::connect(address).unwrap();
    let mut other = TcpStream::connect(address).unwrap();
    other.write_all(&request("GET", "/health", &[], b"")).unwrap();
    other.read_to_end(&mut Vec::new()).unwrap();
    let start = Instant::now();
    stopper.stop();
    running.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(30));
    drop(silent);
}

#[test]
fn who_says_nothing_is_let_go() {
    let options =
        ServeOptions { port: 0, read_timeout: Duration::from_millis(300), ..ServeOptions::default() };
    let server = Server::new(common::builtin(), options).unwrap();
    let (address, stopper) = (server.address().unwrap(), server.stopper());
    let running = std::thread::spawn(move || server.run());
    for said in [&b""[..], b"P", b"GET /health HT"] {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(said).unwrap();
        // The connection ends, perhaps with a word about it; what was not read of it makes the end a reset.
        if let Err(error) = client.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{said:?}");
        }
    }
    stopper.stop();
    running.join().unwrap();
}

#[test]
fn what_is_wrong_is_said_in_each_apis_shape() {
    let server = Running::start();
    let long = "a b c ".repeat(2000);
    let messages = json!([{"role": "user", "content": long}]);
    let too_long = [
        ("/v1/completions", json!({"prompt": long}), "/error/code", "context_length_exceeded"),
        ("/v1/chat/completions", json!({"messages": messages}), "/error/code", "context_length_exceeded"),
        (
            "/v1/messages",
            json!({"messages": messages, "max_tokens": 9}),
            "/error/type",
            "invalid_request_error",
        ),
        ("/api/chat", json!({"messages": messages}), "/error", ""),
    ];
    for (path, body, pointer, word) in too_long {
        let answer = server.post(path, &body);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
        let told = answer.json();
        assert!(told.pointer(pointer).unwrap().as_str().unwrap().contains(word), "{path}: {told}");
        let numbers = answer.text.split(|c: char| !c.is_ascii_digit()).filter(|n| n.len() > 2).count();
        assert!(numbers >= 2, "both numbers are said: {told}");
    }
    // Words that clients look for, where all they have is the message.
    for (path, words) in [
        (
            "/v1/chat/completions",
            &["prompt is too long", "this model's maximum context length is 512 tokens"][..],
        ),
        ("/v1/messages", &["prompt is too long: ", " > 512 maximum"]),
    ] {
        let told = server.post(path, &json!({"messages": messages, "max_tokens": 9})).json();
        let message = told["error"]["message"].as_str().unwrap();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    for (method, path, status) in [
        ("GET", "/v1/nothing", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/api/chat", 405),
        ("GET", "/v1/responses/resp_none", 404),
    ] {
        let answer = server.send(method, path, &[], b"");
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["error"].is_object() || path.starts_with("/api/"), "{}", answer.text);
    }
    for body in [&b"{"[..], b"[]", b"{\"messages\": 5}", b"\xff\xfe", b"{\"messages\": [{}]}", b""] {
        let answer = server.send("POST", "/v1/chat/completions", &[], body);
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    let deep = format!("{{\"messages\": {}", "[".repeat(100_000));
    assert_eq!(server.send("POST", "/v1/chat/completions", &[], deep.as_bytes()).status, 400);
    // All of that did nothing to the server.
    assert_eq!(server.get("/health").ok(), json!({"status": "ok"}));
}

#[test]
fn keys_hosts_and_sizes_are_checked() {
    let options =
        ServeOptions { keys: vec!["secret".into()], max_body_bytes: 1000, ..ServeOptions::default() };
    let server = Running::with(common::builtin(), options);
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.get("/metrics").status, 401);
    assert_eq!(server.get("/health").status, 200);
    let with = |headers: &[(&str, &str)]| server.send("GET", "/v1/models", headers, b"").status;
    assert_eq!(with(&[("authorization", "Bearer secret")]), 200);
    assert_eq!(with(&[("x-api-key", "secret")]), 200);
    assert_eq!(with(&[("x-api-key", "wrong")]), 401);
    assert_eq!(with(&[("x-api-key", "secret"), ("host", "evil.example")]), 403);
    assert_eq!(with(&[("x-api-key", "secret"), ("origin", "http://evil.example")]), 403);
    let large = json!({"prompt": "x".repeat(2000)}).to_string();
    let key = [("x-api-key", "secret")];
    assert_eq!(server.send("POST", "/v1/completions", &key, large.as_bytes()).status, 413);
    let named = server.send("GET", "/v1/models", &[("x-api-key", "secret"), ("x-request-id", "mine")], b"");
    assert_eq!(named.header("x-request-id"), Some("mine"));
}

#[test]
fn a_crowd_is_served_and_the_rest_is_told_to_wait() {
    let scheduler = puna::SchedulerOptions { max_running: 2, max_waiting: 3, ..Default::default() };
    let server = Running::with(common::builtin(), ServeOptions { scheduler, ..ServeOptions::default() });
    let ask = json!({"prompt": PROMPT, "max_tokens": 200, "temperature": 0, "ignore_eos": true});
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| server.post("/v1/completions", &ask))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let ok: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(ok.len() >= 5, "{}", ok.len());
    let text = &ok[0].json()["choices"][0]["text"];
    assert!(ok.iter().all(|answer| answer.json()["choices"][0]["text"] == *text));
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.status, 429, "{}", answer.text);
        assert!((1..=60).contains(&answer.header("retry-after").unwrap().parse::<u32>().unwrap()));
    }
}

#[test]
fn vectors_and_tokens_are_those_of_the_library() {
    let server = Running::start();
    let llama = Llama::builtin().unwrap();
    let want = llama.embed("The dog ran.").unwrap();
    let answer = server.post("/v1/embeddings", &json!({"input": ["The dog ran.", "A"]})).ok();
    let got: Vec<f32> = answer["data"][0]["embedding"]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap() as f32)
        .collect();
    assert!(got.len() == want.len() && got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6));
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    let old = server.post("/api/embeddings", &json!({"model": "m", "prompt": "The dog ran."})).ok();
    assert_eq!(old["embedding"].as_array().unwrap().len(), want.len());
    let few = server.post("/v1/embeddings", &json!({"input": "A", "dimensions": 8})).ok();
    assert_eq!(few["data"][0]["embedding"].as_array().unwrap().len(), 8);
    assert_eq!(server.post("/v1/embeddings", &json!({"input": "A", "dimensions": 100_000})).status, 400);

    let ids = server.post("/tokenize", &json!({"content": "The dog ran."})).ok();
    let told = server.post("/detokenize", &json!({"tokens": ids["tokens"]})).ok();
    assert_eq!(told["content"], "The dog ran.");
    assert_eq!(server.post("/detokenize", &json!({"tokens": [99_999_999]})).status, 400);
}

/// `lm-eval` writes conversations itself, with the template that the server tells.
#[test]
fn a_models_template_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::with(common::talker(folder.path()), ServeOptions::default());
    let told = server.get("/tokenizer_info").ok();
    assert_eq!(told["chat_template"], common::TEMPLATE);
    assert_eq!(told["bos_token"], "<|begin_of_text|>");
    let messages = json!([{"role": "user", "content": PROMPT}]);
    let told = server.post("/apply-template", &json!({"messages": messages})).ok();
    assert_eq!(told["prompt"], format!("<|begin_of_text|>user: {PROMPT}\nassistant:"));
    // A model without one has none.
    assert_eq!(Running::start().get("/tokenizer_info").ok()["chat_template"], Value::Null);
}

/// The requests that real clients sent.
#[test]
fn recorded_requests_are_answered() {
    let recordings = puna_conformance::recordings("recorded_requests_are_answered");
    if recordings.is_empty() {
        return;
    }
    let kept = tempfile::tempdir().unwrap();
    let options = ServeOptions { files_dir: Some(kept.path().to_owned()), ..ServeOptions::default() };
    let server = Running::with(common::builtin(), options);
    let mut n_answered = 0;
    for (file, recorded) in recordings {
        for request in recorded["requests"].as_array().unwrap() {
            let (method, path) = (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
            let body = match &request["body"] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                body => body.to_string(),
            };
            let headers: Vec<(&str, &str)> = request["headers"]
                .as_object()
                .unwrap()
                .iter()
                .filter_map(|(name, value)| {
                    let sent = !["host", "content-length", "connection"].contains(&name.as_str());
                    Some((name.as_str(), value.as_str()?)).filter(|_| sent)
                })
                .collect();
            let answer = server.send(method, path, &headers, body.as_bytes());
            let what = format!("{file} {method} {path}: {} {}", answer.status, answer.text);
            if let Some(status) = refused(path, &request["body"]) {
                assert_eq!(answer.status, status, "{what}");
            } else {
                assert!((200..300).contains(&answer.status), "{what}");
                n_answered += 1;
            }
        }
    }
    assert!(n_answered > 150, "only {n_answered}");
}

/// What is not there yet, or is refused for a reason.
fn refused(path: &str, body: &Value) -> Option<u16> {
    let asks = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    match path {
        "/api/push" | "/v1/messages/batches" => Some(404),
        // This server keeps no models of clients; `tests/models.rs` asks one that does.
        "/api/create" | "/api/copy" | "/api/delete" => Some(400),
        path if path.starts_with("/api/blobs/") => Some(400),
        // There is no such file.
        "/v1/files/file-1/content" | "/v1/batches" => Some(404),
        // The model ranks nothing and judges nothing.
        path if path.ends_with("rerank") || path.ends_with("moderations") => Some(400),
        path if path.starts_with("/v1/messages") && asks("thread") => Some(400),
        // Pictures for a model that sees none.
        _ if body.to_string().contains("image") && body.to_string().contains("data:image") => Some(400),
        "/api/generate" | "/api/chat" if body.to_string().contains("iVBOR") => Some(400),
        "/api/generate" if asks("suffix") => Some(400),
        _ => None,
    }
}

/// What was computed is found after a restart, in a folder, by the same model.
#[test]
fn prompts_come_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = || ServeOptions { cache_dir: Some(folder.path().to_owned()), ..ServeOptions::default() };
    let prompt = "The dog ran to the park and saw a cat. ".repeat(10);
    let ask = json!({"prompt": prompt, "max_tokens": 2, "temperature": 0});
    let answer = |server: &Running| server.post("/v1/completions", &ask).ok();
    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    let first = answer(&Running::with(common::builtin(), options()));
    let again = answer(&Running::with(common::builtin(), options()));
    assert_eq!(first["choices"], again["choices"]);
    let n_prompt = first["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(cached(&first), 0);
    assert_eq!(cached(&again), (n_prompt - 1) / 64 * 64);
}

/// Clients give up on what was cut off, or ask for more tokens, where they are told; a call with half its arguments would
/// be made.
#[test]
fn a_call_that_is_cut_off_is_none() {
    let server = Running::start();
    let messages = json!([{"role": "user", "content": PROMPT}]);
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["text"], "properties": {
        "text": {"type": "string", "minLength": 1000}}});
    let tool = json!({"type": "function", "function": {"name": "save", "parameters": schema}});
    let ask = json!({"messages": messages, "tools": [tool], "tool_choice": "required", "max_tokens": 100, "temperature": 0});
    let choice = server.post("/v1/chat/completions", &ask).ok()["choices"][0].clone();
    assert_eq!(choice["finish_reason"], "length", "{choice}");
    let begun = choice["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert!(begun.starts_with('{') && serde_json::from_str::<Value>(begun).is_err(), "{begun}");
    let mut streamed = ask.clone();
    streamed["stream"] = json!(true);
    let events = server.post("/v1/chat/completions", &streamed).events();
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "length");

    let tool = json!({"name": "save", "input_schema": schema});
    let ask =
        json!({"messages": messages, "tools": [tool], "tool_choice": {"type": "any"}, "max_tokens": 100});
    assert_eq!(server.post("/v1/messages", &ask).ok()["stop_reason"], "max_tokens");
    let tool = json!({"type": "function", "name": "save", "parameters": schema});
    let ask = json!({"input": PROMPT, "tools": [tool], "tool_choice": "required", "max_output_tokens": 100});
    let told = server.post("/v1/responses", &ask).ok();
    assert_eq!(told["status"], "incomplete", "{told}");
}

/// The story model knows nothing of JSON: what it answers is of the form that was asked for, or cut off.
#[test]
fn answers_have_the_form_that_was_asked_for() {
    let server = Running::start();
    let messages = json!([{"role": "user", "content": PROMPT}]);
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["name", "age", "kind"], "properties": {
        "name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "kind": {"enum": ["cat", "dog"]}}});
    let check = |text: &Value| {
        let made: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        assert!(
            made["name"].is_string()
                && made["age"].is_u64()
                && ["cat", "dog"].contains(&made["kind"].as_str().unwrap())
        );
    };
    for seed in 0..4 {
        let format =
            json!({"type": "json_schema", "json_schema": {"name": "pet", "schema": schema, "strict": true}});
        let ask = json!({"messages": messages, "response_format": format, "seed": seed, "max_tokens": 200});
        check(&server.post("/v1/chat/completions", &ask).ok()["choices"][0]["message"]["content"]);
        let ask = json!({"model": "m", "messages": messages, "format": schema, "stream": false, "options": {"seed": seed}});
        check(&server.post("/api/chat", &ask).ok()["message"]["content"]);
        let ask = json!({"model": "m", "messages": messages, "max_tokens": 200,
            "output_config": {"format": {"type": "json_schema", "schema": schema}}});
        check(&server.post("/v1/messages", &ask).ok()["content"][0]["text"]);

        // A tool that must be called is called, with arguments that it takes.
        let tool = json!({"type": "function", "function": {"name": "save_pet", "parameters": schema}});
        let ask = json!({"messages": messages, "tools": [tool], "tool_choice": "required", "seed": seed, "max_tokens": 300});
        let answer = server.post("/v1/chat/completions", &ask).ok();
        let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
        assert_eq!(
            (&call["name"], &answer["choices"][0]["finish_reason"]),
            (&json!("save_pet"), &json!("tool_calls"))
        );
        check(&call["arguments"]);
        let mut streamed = ask.clone();
        streamed["stream"] = json!(true);
        let events = server.post("/v1/chat/completions", &streamed).events();
        check(&json!(text_of(&events, "/choices/0/delta/tool_calls/0/function/arguments")));
    }
    let ask = |more: Value| {
        let mut body = json!({"prompt": PROMPT, "max_tokens": 40, "temperature": 1});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/completions", &body)
    };
    let text = ask(json!({"guided_choice": ["red", "green"]})).ok()["choices"][0]["text"].clone();
    assert!([json!("red"), json!("green")].contains(&text), "{text}");
    let text = ask(json!({"guided_regex": "[0-9]{3}-[a-f]+!"})).ok()["choices"][0]["text"].clone();
    assert!(text.as_str().unwrap()[..3].bytes().all(|b| b.is_ascii_digit()), "{text}");
    // What cannot be kept is refused by its name: never an answer without.
    for (format, word) in [
        (json!({"type": "array", "uniqueItems": true, "items": {}}), "uniqueItems"),
        (json!({"type": "string", "pattern": "(?=a)b"}), "pattern"),
        (json!({"not": {"type": "string"}}), "not"),
    ] {
        let ask = json!({"messages": messages, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": format}}});
        let answer = server.post("/v1/chat/completions", &ask);
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains(word), "{}", answer.text);
    }
}

/// What is wrong with a model is said once, when the server starts, with its path and a way out.
#[test]
fn models_that_cannot_be_served_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.gguf");
    std::fs::write(&bad, "garbage").unwrap();
    for (path, word) in [(folder.path().join("none.gguf"), "puna list"), (bad, "not a model file")] {
        let model =
            ServedModel { name: Some("m".into()), path: Some(path.clone()), ..ServedModel::default() };
        let error =
            Server::new(vec![model], ServeOptions { port: 0, ..ServeOptions::default() }).err().unwrap();
        let error = error.to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains(word), "{error}");
    }
}

/// A head of another model is refused with both numbers.
#[test]
fn a_head_guesses_for_its_own_model_alone() {
    let head = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/eagle/published"));
    let options = ServeOptions { port: 0, draft: Some(head.to_owned()), ..ServeOptions::default() };
    let error = Server::new(common::builtin(), options).err().unwrap().to_string();
    assert!(error.contains("vocabulary is 40") && error.contains("the model here is 2048"), "{error}");
}
