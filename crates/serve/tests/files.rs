//! `/v1/files` over real connections.

mod common;

use common::{Answer, Running, request};
use puna_serve::ServeOptions;
use serde_json::{Value, json};
use std::io::{Read, Write};

const FORM: &str = "multipart/form-data; boundary=BOUNDARY";

fn part(name: &str, text: &str) -> String {
    let filename = if name == "file" { "; filename=\"../b.jsonl\"" } else { "" };
    format!("--BOUNDARY\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n{text}\r\n")
}

fn form(parts: &[(&str, &str)]) -> String {
    parts.iter().map(|(name, text)| part(name, text)).collect::<String>() + "--BOUNDARY--\r\n"
}

fn upload(server: &Running, parts: &[(&str, &str)], key: &str) -> Answer {
    let headers = [("content-type", FORM), ("x-api-key", key)];
    server.send("POST", "/v1/files", &headers, form(parts).as_bytes())
}

fn options(folder: &tempfile::TempDir) -> ServeOptions {
    ServeOptions { files_dir: Some(folder.path().to_owned()), ..ServeOptions::default() }
}

/// Every file in the folder that has content.
fn n_on_disk(folder: &tempfile::TempDir) -> usize {
    let mut n = 0;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => n += usize::from(path.file_name().unwrap() != "lock"),
            }
        }
    }
    n
}

#[test]
fn a_file_is_kept_given_back_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::with(common::builtin(), options(&folder));
    let long = "line\r\n".repeat(100_000);
    let first = upload(&server, &[("purpose", "batch"), ("file", &long)], "").ok();
    assert_eq!((&first["object"], &first["bytes"]), (&json!("file"), &json!(long.len())));
    assert_eq!((&first["filename"], &first["purpose"]), (&json!("b.jsonl"), &json!("batch")));
    // Either order.
    let second = upload(&server, &[("file", ""), ("purpose", "user_data")], "").ok();
    assert_eq!(second["bytes"], 0);
    let path = format!("/v1/files/{}", first["id"].as_str().unwrap());
    assert_eq!(server.get(&path).ok(), first);
    let content = server.get(&format!("{path}/content"));
    assert_eq!((content.status, content.text == long), (200, true));
    assert_eq!(content.header("content-disposition"), Some("attachment"));
    assert_eq!(server.get("/v1/files").ok()["data"].as_array().unwrap().len(), 2);
    assert_eq!(server.get("/v1/files?purpose=batch").ok()["data"], json!([first]));
    assert_eq!(server.get("/v1/files?limit=0").status, 400);
    drop(server);
    let server = Running::with(common::builtin(), options(&folder));
    assert_eq!(server.get(&path).ok(), first, "after a restart");
    assert_eq!(server.send("DELETE", &path, &[], b"").ok()["deleted"], true);
    assert_eq!(server.get(&path).status, 404);
    assert_eq!(server.get(&format!("{path}/content")).status, 404);
    assert_eq!(server.send("DELETE", &path, &[], b"").status, 404);
    assert_eq!(n_on_disk(&folder), 2);
}

#[test]
fn nobody_sees_anothers_files() {
    let folder = tempfile::tempdir().unwrap();
    let keys = vec!["one".to_owned(), "two".to_owned()];
    let server = Running::with(common::builtin(), ServeOptions { keys, ..options(&folder) });
    let file = upload(&server, &[("purpose", "batch"), ("file", "x")], "one").ok();
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    let of = |method: &str, path: &str, key: &str| server.send(method, path, &[("x-api-key", key)], b"");
    assert_eq!(of("GET", &path, "one").status, 200);
    for (method, path) in
        [("GET", path.clone()), ("GET", format!("{path}/content")), ("DELETE", path.clone())]
    {
        assert_eq!(of(method, &path, "two").status, 404, "{method} {path}");
    }
    assert_eq!(of("GET", "/v1/files", "two").ok()["data"], json!([]));
    for id in ["..", "..%2F..%2Flock", "%2e%2e", "a.json", &"x".repeat(500)] {
        assert_eq!(of("GET", &format!("/v1/files/{id}/content"), "one").status, 404, "{id}");
    }
}

#[test]
fn what_is_too_large_or_half_sent_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        ServeOptions { max_file_bytes: 1000, max_files_bytes: 2500, max_files: 3, ..options(&folder) };
    let server = Running::with(common::builtin(), options);
    let of = |n: usize| upload(&server, &[("purpose", "batch"), ("file", &"x".repeat(n))], "");
    let refused = of(1001);
    assert_eq!(refused.status, 413, "{}", refused.text);
    assert!(refused.text.contains("--max-file-bytes"));
    let kept: Value = of(1000).ok();
    assert_eq!(of(1000).status, 200);
    assert!(of(1000).text.contains("--max-files-bytes"));
    // What is deleted makes room, and what was refused took none.
    assert_eq!(
        server.send("DELETE", &format!("/v1/files/{}", kept["id"].as_str().unwrap()), &[], b"").status,
        200
    );
    assert_eq!(of(1000).status, 200);
    assert_eq!(of(1).status, 200);
    assert!(of(1).text.contains("--max-files "));
    let n = n_on_disk(&folder);

    for parts in [&[("purpose", "batch")][..], &[("file", "x")], &[("purpose", "theft"), ("file", "x")], &[]]
    {
        assert_eq!(upload(&server, parts, "").status / 100, 4, "{parts:?}");
    }
    let not_a_form = server.post("/v1/files", &json!({"purpose": "batch"}));
    assert_eq!(not_a_form.status / 100, 4);
    let whole = form(&[("purpose", "batch"), ("file", "xxxx")]);
    let cut =
        server.send("POST", "/v1/files", &[("content-type", FORM)], &whole.as_bytes()[..whole.len() - 20]);
    assert_eq!(cut.status / 100, 4, "{}", cut.text);
    // A client that leaves in the middle.
    let mut stream = server.connect();
    let bytes = request("POST", "/v1/files", &[("content-type", FORM)], whole.as_bytes());
    stream.write_all(&bytes[..bytes.len() - 20]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(n_on_disk(&folder), n);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn without_a_folder_nothing_is_kept() {
    let server = Running::start();
    for answer in [upload(&server, &[("purpose", "batch"), ("file", "x")], ""), server.get("/v1/files")] {
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains("--files-dir"));
    }
}

/// Only one server writes in a folder.
#[test]
fn a_folder_has_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let _server = Running::with(common::builtin(), options(&folder));
    let second = puna_serve::Server::new(common::builtin(), ServeOptions { port: 0, ..options(&folder) });
    assert!(second.err().unwrap().to_string().contains("another server"));
}
