//! Streams: their shape, and that they say the same as whole answers, whatever happens.

use puna_wire::openai::{Counts, chat, completions};
use puna_wire::{Encode, Event, Finish, Frames, Identity, Kind, Problem, Reply, Token, Usage};
use serde_json::{Value, json};

fn identity() -> Identity {
    Identity { id: "7".into(), created: 5, model: "m".into() }
}

/// What the frames say; the last one is `None` where it is `[DONE]`.
fn frames(encoder: &mut impl Encode, events: &[Event], usage: &Usage) -> Vec<Option<Value>> {
    let mut out = Frames::default();
    encoder.begin(&mut out);
    assert!(out.is_empty(), "nothing is sent before the first event");
    for (i, event) in events.iter().enumerate() {
        encoder.counted(&Usage { prompt: 4, completion: i + 1, ..Usage::default() });
        encoder.event(event, &mut out);
    }
    encoder.end(usage, &mut out);
    parse(&out.take())
}

fn parse(bytes: &[u8]) -> Vec<Option<Value>> {
    let text = std::str::from_utf8(bytes).unwrap().strip_suffix("\n\n").unwrap();
    let data = text.split("\n\n").map(|frame| frame.strip_prefix("data: ").unwrap());
    data.map(|data| (data != "[DONE]").then(|| serde_json::from_str(data).unwrap())).collect()
}

/// Numbers that look random, by Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn text(&mut self) -> String {
        let n = self.below(4);
        (0..n).map(|_| ["a", "\n\n", "ä", "\u{2028}", "\"", "data: "][self.below(6) as usize]).collect()
    }

    fn tokens(&mut self) -> Vec<Token> {
        let n = self.below(3);
        let token = |random: &mut Random| {
            let bytes = [b"x".to_vec(), vec![0xe2], "ä".into()][random.below(3) as usize].clone();
            let logprob = Some(-(random.below(100) as f32) / 8.0);
            Token { id: 1, top: vec![(1, bytes.clone(), -0.5), (2, b"y".to_vec(), -2.0)], bytes, logprob }
        };
        (0..n).map(|_| token(self)).collect()
    }

    fn finish(&mut self) -> Finish {
        let all =
            [Finish::Stop, Finish::StopString("\n".into()), Finish::Length, Finish::Calls, Finish::Filtered];
        all[self.below(5) as usize].clone()
    }

    /// What happens to some answers, mixed; calls only where they are allowed.
    fn events(&mut self, most_calls: usize) -> Vec<Event> {
        let n = 1 + self.below(3) as usize;
        let (mut events, mut n_calls, mut open) = (Vec::new(), vec![0; n], (0..n).collect::<Vec<_>>());
        while !open.is_empty() {
            let at = self.below(open.len() as u64) as usize;
            let choice = open[at];
            events.push(match self.below(8) {
                0..=3 if n_calls[choice] == 0 => {
                    Event::Text { choice, text: self.text(), tokens: self.tokens() }
                }
                4 if n_calls[choice] < most_calls => {
                    n_calls[choice] += 1;
                    let index = n_calls[choice] - 1;
                    Event::Call { choice, index, id: format!("call_{choice}{index}"), name: "f".into() }
                }
                5 | 6 if n_calls[choice] > 0 => {
                    Event::Arguments { choice, index: n_calls[choice] - 1, text: self.text() }
                }
                7 => {
                    open.swap_remove(at);
                    Event::End { choice, finish: self.finish() }
                }
                _ => continue,
            });
        }
        events
    }
}

fn reply(events: &[Event], usage: &Usage) -> Reply {
    let mut reply = Reply { usage: usage.clone(), ..Reply::default() };
    events.iter().for_each(|event| reply.push(event.clone()));
    reply
}

fn some_usage() -> Usage {
    Usage {
        prompt: 9,
        cached: 4,
        completion: 6,
        prompt_ns: 1_000_000,
        completion_ns: 3_000_000,
        ..Usage::default()
    }
}

/// Adds a piece of text to a text.
fn append(to: &mut Value, more: &Value) {
    *to = Value::String(to.as_str().unwrap_or_default().to_owned() + more.as_str().unwrap());
}

/// The lists of an object, each longer by another's.
fn extend(to: &mut Value, more: &Value) {
    if to.is_null() {
        *to = more.clone();
        return;
    }
    for (name, list) in more.as_object().unwrap() {
        if let Some(list) = list.as_array() {
            to[name].as_array_mut().unwrap().extend(list.iter().cloned());
        }
    }
}

/// What a client makes of a chat's chunks: its choices.
fn gather_chat(chunks: &[Value], n: usize) -> Vec<Value> {
    let mut choices = vec![Value::Null; n];
    for (i, chunk) in chunks.iter().flat_map(|c| c["choices"].as_array().unwrap()).enumerate() {
        let index = chunk["index"].as_u64().unwrap() as usize;
        let (delta, own) = (&chunk["delta"], &mut choices[index]);
        if own.is_null() {
            assert_eq!(delta["role"], "assistant", "chunk {i}");
            let message = json!({"role": "assistant", "content": "", "refusal": null});
            *own = json!({"index": index, "message": message, "logprobs": null});
        } else {
            assert!(delta.get("role").is_none() && own.get("finish_reason").is_none(), "chunk {i}");
        }
        let message = &mut own["message"];
        if delta.get("content").is_some_and(Value::is_string) {
            append(&mut message["content"], &delta["content"]);
        }
        if let Some(call) = delta.get("function_call") {
            if call.get("name").is_some() {
                message["function_call"] = json!({"name": call["name"], "arguments": ""});
            }
            append(&mut message["function_call"]["arguments"], &call["arguments"]);
        }
        for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            gather_call(message, call);
        }
        if !chunk["logprobs"].is_null() {
            extend(&mut own["logprobs"], &chunk["logprobs"]);
        }
        if !chunk["finish_reason"].is_null() {
            assert_eq!(delta, &json!({}));
            gather_finish(own, chunk);
        }
    }
    choices
}

fn gather_call(message: &mut Value, call: &Value) {
    let index = call["index"].as_u64().unwrap() as usize;
    if message.get("tool_calls").is_none() {
        message["tool_calls"] = json!([]);
    }
    if call.get("id").is_some() {
        assert_eq!(message["tool_calls"].as_array().unwrap().len(), index);
        assert_eq!(call["function"]["arguments"], "");
        let whole = json!({"id": call["id"], "type": call["type"], "function": call["function"]});
        message["tool_calls"].as_array_mut().unwrap().push(whole);
    } else {
        append(&mut message["tool_calls"][index]["function"]["arguments"], &call["function"]["arguments"]);
    }
}

fn gather_finish(own: &mut Value, chunk: &Value) {
    for name in ["finish_reason", "stop_reason"] {
        if let Some(value) = chunk.get(name) {
            own[name] = value.clone();
        }
    }
}

/// Checks what all chunks share and how the stream ends; the chunks with a choice, and the last chunk.
fn check_frame(chunks: Vec<Option<Value>>, counts: Counts, body: &Value) -> (Vec<Value>, Value) {
    let n = chunks.len();
    assert_eq!(chunks.iter().position(Option::is_none), Some(n - 1), "`[DONE]` is last");
    let mut chunks: Vec<Value> = chunks.into_iter().flatten().collect();
    for (i, chunk) in chunks.iter().enumerate() {
        for name in ["id", "created", "model", "system_fingerprint"] {
            assert_eq!(chunk[name], body[name], "{name} of chunk {i}");
        }
        let is_last = i + 2 == n;
        assert_eq!(chunk.get("timings"), is_last.then_some(&body["timings"]), "chunk {i}");
        match (counts.at_end && is_last, counts.in_each, counts.at_end) {
            (true, ..) => assert_eq!(chunk["usage"], body["usage"]),
            (_, true, _) => assert_eq!(chunk["usage"]["prompt_tokens"], 4),
            (_, _, at_end) => assert_eq!(chunk.get("usage"), at_end.then_some(&Value::Null)),
        }
    }
    let last = chunks.last().unwrap().clone();
    if counts.at_end {
        assert_eq!(last["choices"], json!([]));
        chunks.pop();
    }
    assert!(chunks.iter().all(|chunk| chunk["choices"].as_array().unwrap().len() == 1));
    (chunks, last)
}

#[test]
fn a_chats_stream_says_the_same_as_the_whole_answer() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..600 {
        let functions = round % 5 == 0;
        let counts = Counts { at_end: round % 2 == 0, in_each: round % 3 == 0 };
        let shape = chat::ChatShape { stream: true, counts, logprobs: round % 4 < 2, functions };
        let events = random.events(if functions { 1 } else { 3 });
        let usage = some_usage();
        let body = chat::body(&identity(), &reply(&events, &usage), shape);
        let chunks = frames(&mut chat::ChatEncoder::new(identity(), shape), &events, &usage);
        let (chunks, _) = check_frame(chunks, counts, &body);
        assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
        let mut whole = body["choices"].as_array().unwrap().clone();
        for choice in &mut whole {
            let message = &mut choice["message"];
            if message["content"].is_null() {
                assert!(message.get("tool_calls").or(message.get("function_call")).is_some());
                message["content"] = "".into(); // which a stream cannot tell from nothing
            }
            // Nor can it tell that there were no tokens.
            if choice["logprobs"]["content"].as_array().is_some_and(Vec::is_empty) {
                choice["logprobs"] = Value::Null;
            }
        }
        assert_eq!(gather_chat(&chunks, whole.len()), whole, "round {round}: {events:?}");
    }
}

#[test]
fn a_texts_stream_says_the_same_as_the_whole_answer() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..600 {
        let counts = Counts { at_end: round % 2 == 0, in_each: round % 3 == 0 };
        let shape = completions::CompletionShape { stream: true, counts, logprobs: round % 4 < 2 };
        let events = random.events(0);
        let usage = some_usage();
        let body = completions::body(&identity(), &reply(&events, &usage), shape);
        let chunks = frames(&mut completions::CompletionEncoder::new(identity(), shape), &events, &usage);
        let (chunks, _) = check_frame(chunks, counts, &body);
        assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion"));
        let mut whole = body["choices"].as_array().unwrap().clone();
        let mut found: Vec<Value> =
            (0..whole.len()).map(|i| json!({"text": "", "index": i, "logprobs": null})).collect();
        for choice in chunks.iter().map(|chunk| &chunk["choices"][0]) {
            let own = &mut found[choice["index"].as_u64().unwrap() as usize];
            assert!(own.get("finish_reason").is_none());
            append(&mut own["text"], &choice["text"]);
            if !choice["logprobs"].is_null() {
                extend(&mut own["logprobs"], &choice["logprobs"]);
            }
            if !choice["finish_reason"].is_null() {
                gather_finish(own, choice);
            }
        }
        for choice in &mut whole {
            if choice["logprobs"]["tokens"].as_array().is_some_and(Vec::is_empty) {
                choice["logprobs"] = Value::Null;
            }
        }
        assert_eq!(found, whole, "round {round}: {events:?}");
    }
}

fn text(choice: usize, text: &str) -> Event {
    Event::Text { choice, text: text.into(), tokens: Vec::new() }
}

#[test]
fn a_chats_chunks_are_in_openais_order() {
    let events = [
        text(0, ""),
        text(0, "a"),
        Event::Call { choice: 0, index: 0, id: "call_1".into(), name: "f".into() },
        Event::Arguments { choice: 0, index: 0, text: "{}".into() },
        Event::End { choice: 0, finish: Finish::Calls },
    ];
    let shape = chat::ChatShape { stream: true, ..chat::ChatShape::default() };
    let chunks = frames(&mut chat::ChatEncoder::new(identity(), shape), &events, &some_usage());
    let told: Vec<(Value, Value)> = chunks
        .iter()
        .flatten()
        .map(|chunk| (chunk["choices"][0]["delta"].clone(), chunk["choices"][0]["finish_reason"].clone()))
        .collect();
    let call =
        json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}});
    let want = [
        (json!({"role": "assistant", "content": ""}), Value::Null),
        (json!({"content": "a"}), Value::Null),
        (json!({"tool_calls": [call]}), Value::Null),
        (json!({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}), Value::Null),
        (json!({}), json!("tool_calls")),
    ];
    assert_eq!(told, want);
    let first = chunks[0].as_ref().unwrap();
    assert_eq!(
        (&first["id"], &first["created"], &first["model"]),
        (&json!("chatcmpl-7"), &json!(5), &json!("m"))
    );
    assert_eq!(first["system_fingerprint"], "puna");

    // An answer that only calls says nothing; one that is empty still has its role and its end.
    let only_call = [events[2].clone(), events[4].clone()];
    let chunks = frames(&mut chat::ChatEncoder::new(identity(), shape), &only_call, &some_usage());
    assert_eq!(
        chunks[0].as_ref().unwrap()["choices"][0]["delta"],
        json!({"role": "assistant", "content": null})
    );
    let body = chat::body(&identity(), &reply(&only_call, &some_usage()), shape);
    assert_eq!(body["choices"][0]["message"]["content"], Value::Null);
    assert_eq!(body["choices"][0]["message"]["tool_calls"][0]["id"], "call_1");
    let chunks = frames(&mut chat::ChatEncoder::new(identity(), shape), &events[4..], &some_usage());
    assert_eq!(chunks.len(), 3);
}

#[test]
fn reasons_have_openais_names() {
    let shape = chat::ChatShape::default();
    for (finish, chat_name, text_name) in [
        (Finish::Stop, "stop", "stop"),
        (Finish::StopString("x".into()), "stop", "stop"),
        (Finish::Length, "length", "length"),
        (Finish::Calls, "tool_calls", "stop"),
        (Finish::Filtered, "content_filter", "content_filter"),
    ] {
        let reply = reply(&[text(0, "a"), Event::End { choice: 0, finish: finish.clone() }], &some_usage());
        let told = chat::body(&identity(), &reply, shape)["choices"][0].clone();
        assert_eq!(told["finish_reason"], chat_name);
        assert_eq!(told.get("stop_reason"), matches!(finish, Finish::StopString(_)).then_some(&json!("x")));
        let told = completions::body(&identity(), &reply, completions::CompletionShape::default());
        assert_eq!(told["choices"][0]["finish_reason"], text_name);
        let old = chat::ChatShape { functions: true, ..shape };
        let told = chat::body(&identity(), &reply, old)["choices"][0]["finish_reason"].clone();
        assert_eq!(told == "function_call", finish == Finish::Calls);
    }
}

#[test]
fn counts_grow_with_the_stream() {
    let counts = Counts { at_end: true, in_each: true };
    let shape = chat::ChatShape { stream: true, counts, ..chat::ChatShape::default() };
    let events = [text(0, "a"), text(0, "b"), Event::End { choice: 0, finish: Finish::Length }];
    let chunks = frames(&mut chat::ChatEncoder::new(identity(), shape), &events, &some_usage());
    let counted: Vec<u64> =
        chunks.iter().flatten().map(|chunk| chunk["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(counted, [1, 1, 2, 3, 6]);
    let usage = &chunks[4].as_ref().unwrap()["usage"];
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 4);
    assert_eq!(usage["total_tokens"], 15);
}

#[test]
fn a_broken_stream_says_why_and_not_that_it_is_done() {
    let problem = Problem::new(Kind::Internal, "no");
    for mut encoder in [
        Box::new(chat::ChatEncoder::new(identity(), chat::ChatShape::default())) as Box<dyn Encode>,
        Box::new(completions::CompletionEncoder::new(identity(), completions::CompletionShape::default())),
    ] {
        let mut out = Frames::default();
        encoder.begin(&mut out);
        encoder.event(&text(0, "a"), &mut out);
        encoder.event(&Event::End { choice: 0, finish: Finish::Stop }, &mut out);
        encoder.fail(&problem, &mut out);
        let found = parse(&out.take());
        let n = found.len();
        assert_eq!(found[n - 1], Some(problem.openai()));
        // What was held back comes before.
        assert_eq!(found[n - 2].as_ref().unwrap()["choices"][0]["finish_reason"], "stop");
        assert!(found.iter().all(Option::is_some));
    }
}

#[test]
fn a_scored_prompt_has_one_more_logprob_than_tokens_and_the_very_same_floats() {
    // lm-eval asks so: `echo`, one more token, and the likeliest token beside each.
    let token = |id: u32, bytes: &[u8], logprob: Option<f32>| {
        let top = logprob.map(|best| (id, bytes.to_vec(), best)).into_iter().collect();
        Token { id, bytes: bytes.to_vec(), logprob, top }
    };
    let prompt = vec![token(1, b"Is", None), token(2, b" it", Some(-0.1)), token(3, b"?", Some(-1.0 / 3.0))];
    let events = [
        Event::Text { choice: 0, text: "Is it?".into(), tokens: prompt.clone() },
        Event::Text { choice: 0, text: " y".into(), tokens: vec![token(4, b" y", Some(-0.7))] },
        Event::End { choice: 0, finish: Finish::Length },
    ];
    let shape = completions::CompletionShape { logprobs: true, ..completions::CompletionShape::default() };
    let body = completions::body(&identity(), &reply(&events, &some_usage()), shape);
    let body: Value = serde_json::from_str(&body.to_string()).unwrap();
    let (text, logprobs) = (&body["choices"][0]["text"], &body["choices"][0]["logprobs"]);
    assert_eq!(text, "Is it? y");
    let own = logprobs["token_logprobs"].as_array().unwrap();
    assert_eq!((own.len(), &own[0]), (prompt.len() + 1, &Value::Null));
    assert_eq!(logprobs["tokens"], json!(["Is", " it", "?", " y"]));
    assert_eq!(logprobs["text_offset"], json!([0, 2, 5, 6]));
    assert_eq!(logprobs["top_logprobs"][0], Value::Null);
    for (i, name) in [(1, " it"), (2, "?"), (3, " y")] {
        assert_eq!(logprobs["top_logprobs"][i][name].as_f64(), own[i].as_f64());
        assert!(own[i].is_f64());
    }
}
