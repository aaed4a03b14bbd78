//! A hub and a registry on ports of their own, which can fail in the ways that networks do.

#![allow(dead_code)] // Each test file uses a part.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// How answers with files' bytes go wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Each answer ends after so many bytes.
    CutAfter(usize),
    /// Every so many answers is this one.
    EachIs(usize, u16),
    /// Ranges are passed over.
    NoRanges,
    /// A byte is another one, in so many answers from the first.
    WrongBytes(usize),
    /// More bytes are announced than come, and the connection stays open no longer.
    LongerThanSaid,
    /// A pause after each part of so many bytes.
    Slow(usize, Duration),
    /// Large files are said to have so many bytes.
    Claims(u64),
    /// What stands at an address changes after so many answers.
    ChangesAfter(usize),
    /// The file's host is another one, without encryption even where the hub has some.
    Elsewhere(SocketAddr),
}

pub type Files = BTreeMap<String, Arc<Vec<u8>>>;

/// What a server holds, and what it saw.
#[derive(Default)]
pub struct State {
    /// By `owner/name`: the files of its only commit.
    pub repositories: BTreeMap<String, Files>,
    /// By `/v2/…` or another path: what is there.
    pub paths: Files,
    pub fault: Mutex<Option<Fault>>,
    /// Repositories that need this token.
    pub gated: BTreeMap<String, String>,
    pub page: usize,
    /// Where files' bytes are: another server, as with large files of the hub.
    pub elsewhere: Mutex<Option<SocketAddr>>,
    pub n_answers: AtomicUsize,
    pub n_bytes: AtomicUsize,
    /// The hosts that were asked for here as by those who have this server as their proxy.
    pub proxied: Mutex<Vec<String>>,
    /// What asked with a token, and for what.
    pub tokens: Mutex<Vec<(String, String)>>,
    pub stop: AtomicBool,
    /// Hashes of files that were asked for before, by where they are.
    pub hashes: Mutex<BTreeMap<usize, String>>,
}

impl State {
    fn sha256(&self, bytes: &[u8]) -> String {
        let mut hashes = self.hashes.lock().unwrap();
        hashes.entry(bytes.as_ptr() as usize).or_insert_with(|| sha256(bytes)).clone()
    }
}

/// A server that runs until the test is over.
pub struct Server {
    pub address: SocketAddr,
    pub state: Arc<State>,
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes that are the same each time, and nowhere else.
pub fn noise(n: usize, seed: u64) -> Arc<Vec<u8>> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(n + 8);
    while bytes.len() < n {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(n);
    Arc::new(bytes)
}

/// The only commit of a repository.
pub fn commit(name: &str) -> String {
    hex(&Sha1::digest(name.as_bytes()))
}

impl Server {
    pub fn start(state: State) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(state));
        let own = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.stop.load(Ordering::SeqCst) {
                    return;
                }
                let state = own.clone();
                std::thread::spawn(move || serve(&state, stream, address));
            }
        });
        Server { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn fail(&self, fault: Option<Fault>) {
        *self.state.fault.lock().unwrap() = fault;
        self.state.n_answers.store(0, Ordering::SeqCst);
        self.state.n_bytes.store(0, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    range: Option<(usize, Option<usize>)>,
    token: Option<String>,
    /// The host of an address that is whole, as proxies are given it.
    proxied: Option<String>,
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut range, mut token) = (None, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let (start, end) = value.strip_prefix("bytes=")?.split_once('-')?;
                range = Some((start.parse().ok()?, end.parse().ok()));
            }
            "authorization" => token = Some(value.trim_start_matches("Bearer ").to_owned()),
            _ => {}
        }
    }
    let whole = target.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
    let proxied = whole.map(|(host, _)| host.to_owned());
    let target = whole.map_or(target.clone(), |(_, path)| format!("/{path}"));
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request { method, path: path.to_owned(), query: query.to_owned(), range, token, proxied })
}

fn serve(state: &State, stream: TcpStream, own: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let Ok(writer) = stream.try_clone() else { return };
    let (mut reader, mut writer) = (BufReader::new(stream), writer);
    while let Some(request) = read(&mut reader) {
        if let Some(token) = &request.token {
            state.tokens.lock().unwrap().push((token.clone(), request.path.clone()));
        }
        if let Some(host) = &request.proxied {
            state.proxied.lock().unwrap().push(host.clone());
        }
        if answer(state, &request, &mut writer, own).is_none() {
            return;
        }
    }
}

fn head(status: &str, headers: &[(&str, String)], n_bytes: usize) -> String {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {n_bytes}\r\n");
    headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    text + "\r\n"
}

fn send(
    writer: &mut TcpStream,
    status: &str,
    headers: &[(&str, String)],
    body: &[u8],
    is_head: bool,
) -> Option<()> {
    writer.write_all(head(status, headers, body.len()).as_bytes()).ok()?;
    if is_head { Some(()) } else { writer.write_all(body).ok() }
}

fn answer(state: &State, request: &Request, writer: &mut TcpStream, own: SocketAddr) -> Option<()> {
    let is_head = request.method == "HEAD";
    let json = |writer: &mut TcpStream, value: Value, headers: &[(&str, String)]| {
        let mut all = vec![("content-type", "application/json".to_owned())];
        all.extend_from_slice(headers);
        send(writer, "200 OK", &all, value.to_string().as_bytes(), is_head)
    };
    let refuse = |writer: &mut TcpStream, status: &str, code: &str| {
        send(
            writer,
            status,
            &[("X-Error-Code", code.to_owned()), ("X-Error-Message", code.to_owned())],
            b"",
            is_head,
        )
    };
    if let Some(rest) = request.path.strip_prefix("/api/models/") {
        let parts: Vec<&str> = rest.split('/').collect();
        let name = parts.get(..2)?.join("/");
        let Some(files) = state.repositories.get(&name) else {
            return refuse(writer, "404 Not Found", "RepoNotFound");
        };
        let sha = commit(&name);
        let revision = parts.get(3).copied().unwrap_or("main");
        if !["main", sha.as_str()].contains(&revision) {
            return refuse(writer, "404 Not Found", "RevisionNotFound");
        }
        if parts.get(2) != Some(&"tree") {
            let siblings: Vec<Value> = files.keys().map(|path| json!({"rfilename": path})).collect();
            return json(
                writer,
                json!({"id": name, "sha": sha, "siblings": siblings, "private": false}),
                &[],
            );
        }
        let entries: Vec<Value> = files.iter().map(|(path, bytes)| entry(state, path, bytes)).collect();
        let page = state.page.max(1);
        let first: usize =
            request.query.split('&').find_map(|pair| pair.strip_prefix("cursor=")?.parse().ok()).unwrap_or(0);
        let last = entries.len().min(if state.page == 0 { entries.len() } else { first + page });
        let mut headers = Vec::new();
        if last < entries.len() {
            let link = format!("<http://{own}{}?recursive=true&cursor={last}>; rel=\"next\"", request.path);
            headers.push(("Link", link));
        }
        return json(writer, Value::from(entries[first..last].to_vec()), &headers);
    }
    if let Some((name, rest)) = request.path.trim_start_matches('/').split_once("/resolve/") {
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        let Some(bytes) = state.repositories.get(name).and_then(|files| files.get(path)) else {
            return refuse(writer, "404 Not Found", "EntryNotFound");
        };
        if state.gated.get(name).is_some_and(|token| request.token.as_ref() != Some(token)) {
            return refuse(writer, "401 Unauthorized", "GatedRepo");
        }
        let mut headers = vec![("X-Repo-Commit", commit(name)), ("accept-ranges", "bytes".to_owned())];
        let is_large = bytes.len() > SMALL;
        headers.push(("ETag", format!("\"{}\"", if is_large { state.sha256(bytes) } else { git(bytes) })));
        let to = match &*state.fault.lock().unwrap() {
            Some(Fault::Elsewhere(address)) => Some(*address),
            _ => *state.elsewhere.lock().unwrap(),
        };
        if let Some(to) = to.filter(|_| is_large) {
            headers.push(("X-Linked-Size", bytes.len().to_string()));
            headers.push(("X-Linked-ETag", format!("\"{}\"", state.sha256(bytes))));
            headers.push(("Location", format!("http://{to}/cdn/{name}/{path}?signature=1")));
            return send(writer, "302 Found", &headers, b"", is_head);
        }
        return file(state, request, writer, bytes, &headers);
    }
    let key = request.path.strip_prefix("/cdn/").map(str::to_owned);
    let of_hub = key.and_then(|key| {
        let mut parts = key.splitn(3, '/');
        let name = format!("{}/{}", parts.next()?, parts.next()?);
        state.repositories.get(&name)?.get(parts.next()?).cloned()
    });
    match of_hub.or_else(|| state.paths.get(&request.path).cloned()) {
        Some(bytes) => {
            let n = state.n_answers.load(Ordering::SeqCst);
            let version =
                matches!(*state.fault.lock().unwrap(), Some(Fault::ChangesAfter(after)) if n >= after);
            let tag = format!("\"{}-{version}\"", bytes.len());
            file(state, request, writer, &bytes, &[("ETag", tag)])
        }
        None => refuse(writer, "404 Not Found", "EntryNotFound"),
    }
}

/// Files up to here are in Git itself.
const SMALL: usize = 10_000;

fn git(bytes: &[u8]) -> String {
    hex(&Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat()))
}

fn entry(state: &State, path: &str, bytes: &[u8]) -> Value {
    let n_bytes = match *state.fault.lock().unwrap() {
        Some(Fault::Claims(n_bytes)) => n_bytes,
        _ => bytes.len() as u64,
    };
    match bytes.len() > SMALL {
        true => json!({"type": "file", "oid": "0".repeat(40), "size": n_bytes, "path": path,
            "lfs": {"oid": state.sha256(bytes), "size": n_bytes, "pointerSize": 134}}),
        false => json!({"type": "file", "oid": git(bytes), "size": bytes.len(), "path": path}),
    }
}

/// A file's bytes, or a part of them, as well as the fault allows.
fn file(
    state: &State,
    request: &Request,
    writer: &mut TcpStream,
    bytes: &[u8],
    headers: &[(&str, String)],
) -> Option<()> {
    let n = state.n_answers.fetch_add(1, Ordering::SeqCst);
    let fault = state.fault.lock().unwrap().clone();
    let is_head = request.method == "HEAD";
    if let Some(Fault::EachIs(each, status)) = fault
        && n.is_multiple_of(each)
    {
        return send(writer, &format!("{status} Fault"), &[], b"", is_head);
    }
    let mut headers = headers.to_vec();
    let mut status = "200 OK";
    let mut part = bytes;
    if let Some((start, end)) = request.range
        && fault != Some(Fault::NoRanges)
    {
        if start >= bytes.len() {
            return send(writer, "416 Range Not Satisfiable", &[], b"", is_head);
        }
        let end = end.map_or(bytes.len(), |end| (end + 1).min(bytes.len()));
        part = &bytes[start..end];
        status = "206 Partial Content";
        headers.push(("content-range", format!("bytes {start}-{}/{}", end - 1, bytes.len())));
    }
    state.n_bytes.fetch_add(part.len(), Ordering::SeqCst);
    match fault {
        Some(Fault::CutAfter(most)) if part.len() > most && !is_head => {
            writer.write_all(head(status, &headers, part.len()).as_bytes()).ok()?;
            writer.write_all(&part[..most]).ok()?;
            None
        }
        Some(Fault::LongerThanSaid) if !is_head => {
            writer.write_all(head(status, &headers, part.len() + 1).as_bytes()).ok()?;
            writer.write_all(part).ok()?;
            None
        }
        Some(Fault::WrongBytes(count)) if n < count && !part.is_empty() => {
            let mut part = part.to_vec();
            part[0] ^= 1;
            send(writer, status, &headers, &part, is_head)
        }
        Some(Fault::Slow(most, pause)) => {
            writer.write_all(head(status, &headers, part.len()).as_bytes()).ok()?;
            for piece in part.chunks(most) {
                writer.write_all(piece).ok()?;
                std::thread::sleep(pause);
            }
            Some(())
        }
        _ => send(writer, status, &headers, part, is_head),
    }
}
