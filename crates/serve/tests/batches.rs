//! `/v1/batches` over real connections.

mod common;

use std::time::{Duration, Instant};

use common::Running;
use puna_serve::ServeOptions;
use serde_json::{Value, json};

fn options(folder: &tempfile::TempDir) -> ServeOptions {
    ServeOptions { files_dir: Some(folder.path().to_owned()), ..ServeOptions::default() }
}

fn upload(server: &Running, text: &str) -> String {
    let form = format!(
        "--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--B\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"b.jsonl\"\r\n\r\n{text}\r\n--B--\r\n"
    );
    let headers = [("content-type", "multipart/form-data; boundary=B")];
    let file = server.send("POST", "/v1/files", &headers, form.as_bytes()).ok();
    file["id"].as_str().unwrap().to_owned()
}

fn line(i: usize, body: Value) -> String {
    json!({"custom_id": format!("q{i}"), "method": "POST", "url": "/v1/completions", "body": body})
        .to_string()
        + "\n"
}

fn begin(server: &Running, text: &str) -> Value {
    let ask = json!({"input_file_id": upload(server, text), "endpoint": "/v1/completions",
        "completion_window": "24h", "metadata": {"a": "b"}});
    server.post("/v1/batches", &ask).ok()
}

fn wait(server: &Running, batch: &Value, is_it: impl Fn(&Value) -> bool) -> Value {
    let (path, start) = (format!("/v1/batches/{}", batch["id"].as_str().unwrap()), Instant::now());
    loop {
        let now = server.get(&path).ok();
        if is_it(&now) {
            return now;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{now}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_over(batch: &Value) -> bool {
    ["completed", "failed", "cancelled", "expired"].iter().any(|over| batch["status"] == *over)
}

fn lines(server: &Running, id: &Value) -> Vec<Value> {
    let Some(id) = id.as_str() else { return Vec::new() };
    let content = server.get(&format!("/v1/files/{id}/content"));
    assert_eq!(content.status, 200);
    content.lines()
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["custom_id"].as_str().unwrap()).collect()
}

#[test]
fn answers_are_those_of_the_endpoint_in_the_order_of_the_questions() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::with(common::builtin(), options(&folder));
    // The first takes longest.
    let body =
        |i: usize| json!({"prompt": format!("Story {i}"), "max_tokens": 60 - 10 * i, "temperature": 0});
    let mut text: String = (0..5).map(|i| line(i, body(i))).collect();
    text += "\n";
    text += &line(5, json!({"prompt": 5}));
    text += &line(6, json!({"prompt": "x", "stream": true}));
    let begun = begin(&server, &text);
    assert_eq!((&begun["object"], &begun["metadata"]["a"]), (&json!("batch"), &json!("b")));
    let over = wait(&server, &begun, is_over);
    assert_eq!(over["status"], "completed", "{over}");
    assert_eq!(over["request_counts"], json!({"total": 7, "completed": 5, "failed": 2}));
    let output = lines(&server, &over["output_file_id"]);
    assert_eq!(names(&output), ["q0", "q1", "q2", "q3", "q4"]);
    for (i, line) in output.iter().enumerate() {
        let want = server.post("/v1/completions", &body(i)).ok();
        assert_eq!(line["response"]["status_code"], 200);
        assert_eq!(line["response"]["body"]["choices"], want["choices"], "{i}");
    }
    let errors = lines(&server, &over["error_file_id"]);
    assert_eq!(names(&errors), ["q5", "q6"]);
    assert_eq!(errors[0]["response"]["status_code"], 400);
    assert_eq!(errors[0]["response"]["body"]["error"]["param"], "prompt");
    assert_eq!(server.get("/v1/batches").ok()["data"], json!([over]));
    let id = over["id"].as_str().unwrap();
    assert_eq!(server.post(&format!("/v1/batches/{id}/cancel"), &json!({})).status, 400);
}

#[test]
fn what_is_no_batch_fails_with_its_lines_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = ServeOptions { max_batch_lines: 3, ..options(&folder) };
    let server = Running::with(common::builtin(), options);
    let right = line(0, json!({"prompt": "x", "max_tokens": 1}));
    for (text, word, number) in [
        ("{\n".to_owned(), "JSON", json!(1)),
        (right.clone() + &right, "earlier", json!(2)),
        (right.clone() + &right.replace("/v1/completions", "/v1/embeddings"), "url", json!(2)),
        (String::new(), "empty", json!(null)),
        ((0..4).map(|i| line(i, json!({"prompt": "x"}))).collect(), "--max-batch-lines", json!(null)),
    ] {
        let over = wait(&server, &begin(&server, &text), is_over);
        let error = &over["errors"]["data"][0];
        assert_eq!((&over["status"], &error["line"]), (&json!("failed"), &number), "{over}");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
    let ask =
        |id: &str| json!({"input_file_id": id, "endpoint": "/v1/completions", "completion_window": "24h"});
    assert_eq!(server.post("/v1/batches", &ask("file-none")).status, 404);
    assert_eq!(server.post("/v1/batches", &ask("../lock")).status, 404);
    assert_eq!(server.get("/v1/batches/batch_none").status, 404);
    assert_eq!(Running::start().post("/v1/batches", &ask("file-none")).status, 400);
}

#[test]
fn a_batch_is_cancelled_and_keeps_what_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::with(common::builtin(), ServeOptions { max_batch_running: 1, ..options(&folder) });
    let long = json!({"prompt": "x", "max_tokens": 100_000, "ignore_eos": true});
    let text = line(0, json!({"prompt": "x", "max_tokens": 1})) + &line(1, long.clone()) + &line(2, long);
    let begun = begin(&server, &text);
    wait(&server, &begun, |now| now["request_counts"]["completed"] == 1);
    let id = begun["id"].as_str().unwrap();
    assert_eq!(server.post(&format!("/v1/batches/{id}/cancel"), &json!({})).ok()["status"], "cancelling");
    let over = wait(&server, &begun, is_over);
    assert_eq!(over["status"], "cancelled");
    assert_eq!(over["request_counts"], json!({"total": 3, "completed": 1, "failed": 2}));
    assert_eq!(names(&lines(&server, &over["output_file_id"])), ["q0"]);
    let errors = lines(&server, &over["error_file_id"]);
    assert_eq!(names(&errors), ["q1", "q2"]);
    assert_eq!(errors[0]["error"]["code"], "batch_cancelled");
}

#[test]
fn a_batch_expires() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Running::with(common::builtin(), ServeOptions { batch_time: Duration::ZERO, ..options(&folder) });
    let over = wait(&server, &begin(&server, &line(0, json!({"prompt": "x"}))), is_over);
    assert_eq!(over["status"], "expired");
    assert_eq!(lines(&server, &over["error_file_id"])[0]["error"]["code"], "batch_expired");
}

#[test]
fn a_batch_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = || ServeOptions { max_batch_running: 1, ..options(&folder) };
    let body = |i: usize| json!({"prompt": format!("Story {i}"), "max_tokens": 100, "temperature": 0, "ignore_eos": true});
    let text: String = (0..24).map(|i| line(i, body(i))).collect();
    let server = Running::with(common::builtin(), options());
    let begun = begin(&server, &text);
    wait(&server, &begun, |now| now["request_counts"]["completed"].as_u64() >= Some(2));
    drop(server);
    // Wherever a batch is when its server ends, it goes on.
    for n in 3..8 {
        let server = Running::with(common::builtin(), options());
        wait(&server, &begun, |now| now["request_counts"]["completed"].as_u64() >= Some(n));
    }
    // A line of the journal that was being written.
    let owners = std::fs::read_dir(folder.path().join("batches")).unwrap();
    for owner in owners {
        let id = begun["id"].as_str().unwrap();
        let journal = owner.unwrap().path().join(id).with_extension("journal");
        let whole = std::fs::read_to_string(&journal).unwrap();
        std::fs::write(&journal, &whole[..whole.len() - 5]).unwrap();
    }
    let server = Running::with(common::builtin(), options());
    let over = wait(&server, &begun, is_over);
    assert_eq!(over["request_counts"], json!({"total": 24, "completed": 24, "failed": 0}), "{over}");
    let output = lines(&server, &over["output_file_id"]);
    assert_eq!(names(&output), (0..24).map(|i| format!("q{i}")).collect::<Vec<_>>());
    for (i, line) in output.iter().enumerate() {
        let want = server.post("/v1/completions", &body(i)).ok();
        assert_eq!(line["response"]["body"]["choices"], want["choices"], "{i}");
    }
    assert_eq!(over["error_file_id"], Value::Null);
}
