//! Several models in less memory than all of them need, models that sleep, and prompts whose beginnings differ.

mod common;

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Answer, Running, request, talker};
use puna::Llama;
use puna_formats::gguf;
use puna_serve::{ServeOptions, ServedModel, Server};
use serde_json::{Value, json};

/// More tokens than a block of keys and values has.
const LONG: &str = "Once upon a time there was a dog who ran to the park and saw a cat. ";

/// A model that can chat, twice.
fn two(dir: &Path) -> Vec<ServedModel> {
    let named = |name: &str| ServedModel { name: Some(name.into()), ..talker(dir).remove(0) };
    vec![named("a"), named("b")]
}

/// The bytes that a model cannot do without: weights, what passes compute in, keys and values of its context.
fn least_bytes() -> usize {
    let llama = Llama::builtin().unwrap();
    let engine = llama.engine();
    let max_running = ServeOptions::default().scheduler.max_running;
    llama.weight_bytes() + engine.pass_bytes(max_running) + engine.kv_bytes_for(engine.max_seq_len())
}

fn ask(server: &Running, model: &str, more: &str) -> Answer {
    let prompt = format!("{}{more}", LONG.repeat(6));
    let ask = json!({"model": model, "prompt": prompt, "max_tokens": 4, "temperature": 0});
    server.post("/v1/completions", &ask)
}

fn cached(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
}

/// The models in memory and how they are.
fn states(server: &Running) -> Vec<(String, String)> {
    let told = server.get("/api/ps").ok();
    let state = |model: &Value| {
        let text = |name: &str| model[name].as_str().unwrap().to_owned();
        (text("name").replace(":latest", ""), text("state"))
    };
    told["models"].as_array().unwrap().iter().map(state).collect()
}

fn is(server: &Running, want: &[(&str, &str)]) -> bool {
    states(server).iter().map(|(name, state)| (&name[..], &state[..])).eq(want.iter().copied())
}

#[test]
fn who_waits_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let memory = least_bytes() / 2 * 3;
    let options = ServeOptions { memory: Some(memory), idle: None, ..ServeOptions::default() };
    let server = Running::with(two(dir.path()), options);
    assert!(is(&server, &[("a", "awake")]), "{:?}", states(&server));
    let text = ask(&server, "a", "Then").ok()["choices"][0]["text"].clone();
    assert_eq!(ask(&server, "b", "Then").ok()["choices"][0]["text"], text);
    assert!(is(&server, &[("a", "asleep"), ("b", "awake")]), "{:?}", states(&server));
    // What it computed is still known.
    let again = ask(&server, "a", "Then").ok();
    assert_eq!(again["choices"][0]["text"], text);
    assert!(cached(&again) > 64, "{again}");
    assert!(is(&server, &[("a", "awake"), ("b", "asleep")]), "{:?}", states(&server));

    // While it answers, nobody can take its place.
    let endless = json!({"model": "a", "prompt": LONG, "n": 16, "max_tokens": 100_000, "stream": true, "ignore_eos": true});
    let mut stream = server.connect();
    stream.write_all(&request("POST", "/v1/completions", &[], endless.to_string().as_bytes())).unwrap();
    stream.read_exact(&mut [0; 400]).unwrap();
    let refused = ask(&server, "b", "Then");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")), "{}", refused.text);
    assert!(refused.text.contains("MB of memory"), "{}", refused.text);
    drop(stream);
    let start = Instant::now();
    while ask(&server, "b", "Then").status != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "it has its turn");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn models_that_fit_stay_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let options = ServeOptions { memory: Some(least_bytes() * 2 + 4), ..ServeOptions::default() };
    let server = Running::with(two(dir.path()), options);
    for model in ["a", "b", "a"] {
        ask(&server, model, "Then").ok();
    }
    assert!(is(&server, &[("a", "awake"), ("b", "awake")]), "{:?}", states(&server));
}

#[test]
fn what_never_fits_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let options = ServeOptions { memory: Some(least_bytes() / 2), port: 0, ..ServeOptions::default() };
    let error = Server::new(talker(dir.path()), options).err().unwrap().to_string();
    assert!(error.contains("needs") && error.contains("--memory"), "{error}");
    let numbers = error.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).count();
    assert!(numbers >= 5, "{error}");
}

/// A context that does not fit is made shorter, and everybody is told; one that was asked for is not.
#[test]
fn a_context_is_what_memory_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = talker(dir.path()).remove(0).path.unwrap();
    let gguf::GgufCheckpoint { mut metadata, tensors, .. } = gguf::open(&path).unwrap();
    metadata.set("llama.context_length", gguf::Value::U32(16_384));
    let long = dir.path().join("long.gguf");
    gguf::Writer::write_all(metadata, &tensors, &long).unwrap();
    let model = |max_seq_len| {
        let options = puna::Options { n_threads: Some(2), max_seq_len, ..puna::Options::default() };
        vec![ServedModel { name: Some("long".into()), path: Some(long.clone()), options, own: None }]
    };
    let llama = Llama::load(&long).unwrap();
    let engine = llama.engine();
    let max_running = ServeOptions::default().scheduler.max_running;
    let bytes = llama.weight_bytes() + engine.pass_bytes(max_running) + engine.kv_bytes_for(5_000);
    let options = || ServeOptions { memory: Some(bytes), port: 0, ..ServeOptions::default() };

    let notes = Server::new(model(None), options()).unwrap().notes();
    assert!(notes.len() == 1 && notes[0].contains("5056 tokens, not 16384"), "{notes:?}");
    let server = Running::with(model(None), options());
    assert_eq!(server.get("/v1/models").ok()["data"][0]["max_model_len"], 5056);
    let shown = server.post("/api/show", &json!({"model": "long"})).ok();
    assert_eq!(shown["model_info"]["llama.context_length"], 5056);
    let too_long = json!({"prompt": "a ".repeat(6_000), "max_tokens": 1});
    let refused = server.post("/v1/completions", &too_long);
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("5056"), "{}", refused.text);

    assert!(Server::new(model(Some(4_000)), options()).unwrap().notes().is_empty());
    let error = Server::new(model(Some(8_000)), options()).err().unwrap().to_string();
    assert!(error.contains("of 8000 tokens"), "{error}");
}

#[test]
fn a_model_that_nobody_asks_sleeps() {
    let dir = tempfile::tempdir().unwrap();
    let sleep = Some(Duration::from_millis(100));
    let server = Running::with(talker(dir.path()), ServeOptions { sleep, ..ServeOptions::default() });
    let first = ask(&server, "m", "Then").ok();
    let start = Instant::now();
    // While it falls asleep it is not listed.
    while states(&server).first().is_none_or(|(_, state)| state != "asleep") {
        assert!(start.elapsed() < Duration::from_secs(20), "it sleeps");
        std::thread::sleep(Duration::from_millis(20));
    }
    let metrics = server.get("/metrics").text;
    for line in [
        r#"sleep_state="awake"} 0"#,
        r#"sleep_state="weights_offloaded"} 1"#,
        r#"sleep_state="discard_all"} 0"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let again = ask(&server, "m", "Then").ok();
    assert_eq!(again["choices"], first["choices"]);
    assert_eq!(cached(&again) + 1, again["usage"]["prompt_tokens"].as_u64().unwrap());
    assert_eq!(states(&server)[0].1, "awake");
}

/// Claude Code's first line is another in each request: nothing after it is known, unless it is left out.
#[test]
fn a_beginning_that_differs_is_seen_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let details = |stable_heads: bool| {
        let options = ServeOptions { stable_heads, ..ServeOptions::default() };
        let server = Running::with(talker(dir.path()), options);
        let ask = |cch: &str| {
            let head =
                format!("x-anthropic-billing-header: cc_version=2.1.332.7b4; cc_entrypoint=cli; cch={cch};");
            let system = json!([{"type": "text", "text": head}, {"type": "text", "text": LONG.repeat(6)}]);
            let ask = json!({"model": "m", "system": system, "max_tokens": 2, "temperature": 0,
                "messages": [{"role": "user", "content": "hi"}]});
            server.post("/v1/messages", &ask).ok()["usage"].clone()
        };
        [ask("eb6c6"), ask("1c8b4"), ask("1c8b4")]
    };
    let n = |usage: &Value, name: &str| usage[name].as_u64();
    let [first, second, same] = details(false);
    assert_eq!(
        (n(&first, "cache_read_input_tokens"), n(&first, "cache_left_at")),
        (Some(0), None),
        "{first}"
    );
    let left_at = n(&second, "cache_left_at").unwrap();
    assert!(
        left_at > 10 && left_at < 100 && n(&second, "cache_read_input_tokens") <= Some(left_at),
        "{second}"
    );
    // The same prompt leaves nothing.
    assert_eq!((n(&same, "cache_left_at"), n(&same, "stable_heads")), (None, None), "{same}");
    assert!(n(&same, "cache_read_input_tokens").unwrap() > 100, "{same}");

    let [first, second, _] = details(true);
    assert_eq!((n(&first, "stable_heads"), n(&second, "stable_heads")), (Some(1), Some(1)));
    assert_eq!(n(&second, "cache_left_at"), None);
    assert_eq!(n(&second, "input_tokens"), Some(1), "{second}");
}

/// A model that a client made has a part of the memory, gives it back when it goes, and leaves no figures behind.
#[test]
fn models_of_clients_come_and_go() {
    let (dir, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let memory = least_bytes() * 2;
    let models_dir = Some(store.path().to_owned());
    let server = Running::with(
        vec![ServedModel { name: Some("a".into()), ..talker(dir.path()).remove(0) }],
        ServeOptions { memory: Some(memory), models_dir, ..ServeOptions::default() },
    );
    let figures = || server.get("/metrics").text.matches("model_name=\"made\"").count();
    for _ in 0..3 {
        let create = json!({"model": "made", "from": "a", "system": "Be brief.", "stream": false});
        assert_eq!(server.post("/api/create", &create).ok()["status"], "success");
        ask(&server, "a", "and").ok();
        ask(&server, "made", "but").ok();
        assert!(figures() > 0);
        // Who only says that it may go does not bring it into memory.
        server.post("/api/generate", &json!({"model": "made", "keep_alive": 0})).ok();
        let gone = server.send("DELETE", "/api/delete", &[], json!({"model": "made"}).to_string().as_bytes());
        assert_eq!(gone.status, 200, "{}", gone.text);
        assert_eq!(figures(), 0);
        assert_eq!(ask(&server, "made", "but").status, 404);
    }
    ask(&server, "a", "still").ok();
}
