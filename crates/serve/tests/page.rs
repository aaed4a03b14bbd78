//! The page's files, the links that let a browser in, and what the page shows of the server.

mod common;

use std::time::{Duration, Instant};

use common::{Answer, Running};
use puna_serve::{Invitations, ServeOptions};
use serde_json::{Value, json};

const AS_BROWSERS: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// The names of the page's files that its first one names.
fn named_files(html: &str) -> Vec<&str> {
    html.split("\"/page/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn browsers_get_the_page_and_others_what_they_look_for() {
    let server = Running::start();
    for headers in [&[][..], &[("accept", "*/*")]] {
        let answer = server.send("GET", "/", headers, b"");
        assert_eq!((answer.status, answer.text.as_str()), (200, "Ollama is running"));
    }
    let page = server.send("GET", "/", &[AS_BROWSERS], b"");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    let head = server.send("HEAD", "/", &[AS_BROWSERS], b"");
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    let files = named_files(&page.text);
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let answer = server.get(&format!("/page/{file}"));
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.header("content-type").unwrap().starts_with("application/octet-stream"), "{file}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        // What a browser has is not sent again.
        let tag = answer.header("etag").unwrap();
        let again = server.send("GET", &format!("/page/{file}"), &[("if-none-match", tag)], b"");
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{file}");
    }
}

#[test]
fn files_are_sent_compressed() {
    let server = Running::start();
    let page = server.send("GET", "/", &[AS_BROWSERS], b"");
    let script = named_files(&page.text).into_iter().find(|name| name.ends_with(".js")).unwrap();
    let length = |headers: &[(&str, &str)]| -> usize {
        let answer = server.send("HEAD", &format!("/page/{script}"), headers, b"");
        assert_eq!(answer.header("content-encoding").is_some(), !headers.is_empty());
        answer.header("content-length").unwrap().parse().unwrap()
    };
    assert!(length(&[("accept-encoding", "gzip, br")]) < length(&[]) * 2 / 3);
}

#[test]
fn there_are_no_other_files() {
    let server = Running::start();
    for path in
        ["/page/", "/page/x.js", "/page/../Cargo.toml", "/page/%2e%2e/Cargo.toml", "/page//etc/passwd"]
    {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_link_lets_one_browser_in() {
    let invitations = Invitations::new().unwrap();
    let options = ServeOptions {
        keys: vec![invitations.key().to_owned()],
        invitations: Some(invitations.clone()),
        ..ServeOptions::default()
    };
    let server = Running::with(common::builtin(), options);
    assert_eq!(server.send("GET", "/", &[AS_BROWSERS], b"").status, 200);
    assert_eq!(server.get("/state").status, 401);
    let take = |code: &str| server.post("/page/key", &json!({"code": code}));
    let invited = invitations.invite().unwrap();
    let code = invited.strip_prefix("/#code=").unwrap();
    assert_eq!(take("00000000000000000000000000000000").status, 403);
    let key = take(code).json()["key"].as_str().unwrap().to_owned();
    assert_eq!(take(code).status, 403);
    let bearer = format!("Bearer {key}");
    assert_eq!(server.send("GET", "/state", &[("authorization", &bearer)], b"").status, 200);
    // A page elsewhere gets none, even with a code.
    let code = invitations.invite().unwrap();
    let body = json!({"code": code.strip_prefix("/#code=").unwrap()}).to_string();
    let headers = [("content-type", "application/json"), ("origin", "http://evil.example")];
    assert_eq!(server.send("POST", "/page/key", &headers, body.as_bytes()).status, 403);
    assert_eq!(server.post("/page/key", &json!({})).status, 400);
    // A server that nobody is invited to.
    assert_eq!(Running::start().post("/page/key", &json!({"code": "x"})).status, 403);
}

#[test]
fn figures_follow_what_is_answered() {
    let server = Running::start();
    let model = |answer: &Answer| -> Value { answer.json()["models"][0].clone() };
    let before = server.get("/state");
    assert!(before.json()["memory"]["process_bytes"].as_u64().unwrap() > 1 << 20);
    let own = model(&before);
    assert_eq!((&own["state"], &own["answers"]), (&json!("awake"), &json!(0)));
    assert_eq!(own["time_to_first_token_s"], Value::Null);
    let asked = json!({"prompt": "Once upon a time", "max_tokens": 5, "ignore_eos": true});
    let usage = server.post("/v1/completions", &asked).json()["usage"].clone();
    let own = model(&server.get("/state"));
    assert_eq!(own["answers"], 1);
    assert_eq!(own["completion_tokens"], usage["completion_tokens"]);
    assert_eq!(own["prompt_tokens"], usage["prompt_tokens"]);
    assert!(own["time_to_first_token_s"].as_f64().unwrap() > 0.0);
    assert!(own["time_between_tokens_s"].as_f64().unwrap() > 0.0);
    // Whoever waits for the answer may have it before the engine has counted that it is over.
    let start = Instant::now();
    while model(&server.get("/state"))["running"] != 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "an answer that is over is counted as running");
    }
}
