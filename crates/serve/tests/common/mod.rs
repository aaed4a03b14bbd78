//! A running server, and a client that sees every byte.

#![allow(dead_code)] // Each test file uses a part.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use puna_formats::gguf;
use puna_serve::{ServeOptions, ServedModel, Server, Stopper};
use serde_json::Value;

/// A server on a port of its own; it ends with the test.
pub struct Running {
    pub address: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// The built-in model.
    pub fn start() -> Running {
        Running::with(builtin(), ServeOptions::default())
    }

    pub fn with(models: Vec<ServedModel>, options: ServeOptions) -> Running {
        let options = ServeOptions { port: 0, log: false, drain: Duration::from_secs(1), ..options };
        let server = Server::new(models, options).unwrap();
        let (address, stopper) = (server.address().unwrap(), server.stopper());
        let thread = std::thread::spawn(move || server.run());
        Running { address, stopper, thread: Some(thread) }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends a request; the answer is over when the connection is.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&request(method, path, headers, body)).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// A figure of `/metrics`, all its labels added up.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text;
        let lines = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn two_threads() -> puna::Options {
    puna::Options { n_threads: Some(2), ..puna::Options::default() }
}

pub fn builtin() -> Vec<ServedModel> {
    vec![ServedModel { options: two_threads(), ..ServedModel::default() }]
}

/// The template of [`talker`].
pub const TEMPLATE: &str =
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";

/// The built-in model with a chat template, in a file of this folder.
pub fn talker(dir: &Path) -> Vec<ServedModel> {
    let builtin = concat!(env!("CARGO_MANIFEST_DIR"), "/../puna/assets/stories.gguf");
    let gguf::GgufCheckpoint { mut metadata, tensors, .. } = gguf::open(Path::new(builtin)).unwrap();
    metadata.set("tokenizer.chat_template", gguf::Value::String(TEMPLATE.into()));
    let path = dir.join("talker.gguf");
    gguf::Writer::write_all(metadata, &tensors, &path).unwrap();
    vec![ServedModel { path: Some(path), options: two_threads(), ..ServedModel::default() }]
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text += "host: localhost\r\n";
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("headers end");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_lowercase(), value.to_owned())
        };
        let headers: Vec<(String, String)> = lines.map(pair).collect();
        let body = &bytes[end + 4..];
        let is_chunked =
            headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if is_chunked { unchunked(body) } else { body.to_vec() };
        Answer { status, headers, text: String::from_utf8(body).unwrap() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The JSON of an answer that went well.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The data of each event.
    pub fn events(&self) -> Vec<Value> {
        let data = self
            .text
            .split("\n\n")
            .filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    /// The lines of a stream of JSON.
    pub fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return body };
        let n = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap().trim(), 16).unwrap();
        if n == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + n]);
        bytes = &bytes[end + 2 + n + 2..];
    }
}
