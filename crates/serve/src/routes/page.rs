//! The page: a chat for browsers, whose files are a part of the program. Its sources are the folder `web`.

use std::collections::HashMap;
use std::io::Write;
use std::sync::OnceLock;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use puna_wire::{Fields, Kind, Problem};
use rust_embed::Embed;
use serde_json::json;

use crate::answer::json as answer;
use crate::asked::{Asked, Handled};
use crate::loading::hex;

/// What `npm run build` wrote.
#[derive(Embed)]
#[folder = "page"]
struct Files;

/// What the page may do: run and load what comes with it, and talk to this server. So nothing that a model writes is
/// run or fetched, whatever becomes of it on the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A file as it is sent.
struct Sent {
    content_type: &'static str,
    tag: String,
    bytes: Bytes,
    /// Made when it is first asked for: the page's first paint does not wait for files that are not a part of it.
    compressed: OnceLock<Option<Bytes>>,
    /// Whether another content would have another name.
    is_named_by_content: bool,
}

impl Sent {
    /// The bytes compressed; `None` where that would not be smaller.
    fn compressed(&self) -> Option<&Bytes> {
        let smaller = || gzip(&self.bytes).filter(|compressed| compressed.len() < self.bytes.len());
        self.compressed.get_or_init(|| smaller().map(Bytes::from)).as_ref()
    }
}

pub(super) async fn get(asked: Asked) -> Handled {
    file(asked.uri.path().trim_start_matches("/page/"), &asked.headers)
}

/// Gives whoever comes with a code that was not used yet the key of this server.
pub(super) async fn key(asked: Asked) -> Handled {
    let fields = Fields::of_body(&asked.body)?;
    let code = fields.required_str("code")?;
    let invitations = asked.app.options.invitations.as_ref();
    match invitations.and_then(|invitations| invitations.take(code)) {
        Some(key) => Ok(answer(&json!({"key": key}))),
        None => Err(Problem::new(
            Kind::Forbidden,
            "this link was used already, or is too old; Enter in the terminal where the program runs opens another",
        )),
    }
}

/// One of the page's files, for a request with these headers.
pub(super) fn file(name: &str, headers: &HeaderMap) -> Handled {
    let nothing = || Problem::new(Kind::NotFound, "the page has no such file");
    let sent = files().get(name).ok_or_else(nothing)?;
    let says = |header: HeaderName, what: &str| {
        headers.get_all(header).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(what)))
    };
    let is_known = says(IF_NONE_MATCH, &sent.tag);
    let compressed = if says(ACCEPT_ENCODING, "gzip") { sent.compressed() } else { None };
    let body = if is_known { Bytes::new() } else { compressed.unwrap_or(&sent.bytes).clone() };
    let mut response = Response::new(Body::from(body));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(CONTENT_TYPE, sent.content_type);
    set(ETAG, &sent.tag);
    set(VARY, "accept, accept-encoding");
    set(CACHE_CONTROL, if sent.is_named_by_content { "max-age=31536000, immutable" } else { "no-cache" });
    if compressed.is_some() && !is_known {
        set(CONTENT_ENCODING, "gzip");
    }
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    // The worker that keeps the page's files is told of by one of them, and is for all of it.
    set(HeaderName::from_static("service-worker-allowed"), "/");
    Ok(response)
}

/// All files by their names.
fn files() -> &'static HashMap<String, Sent> {
    static FILES: OnceLock<HashMap<String, Sent>> = OnceLock::new();
    FILES.get_or_init(|| {
        let named = |name: std::borrow::Cow<'static, str>| {
            let file = Files::get(&name)?;
            let sent = Sent {
                content_type: content_type(&name),
                tag: format!("\"{}\"", hex(&file.metadata.sha256_hash()[..16])),
                bytes: Bytes::from_owner(file.data),
                compressed: OnceLock::new(),
                is_named_by_content: is_named_by_content(&name),
            };
            Some((name.into_owned(), sent))
        };
        Files::iter().filter_map(named).collect()
    })
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("md" | "txt") => "text/plain; charset=utf-8",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

/// Whether a name ends with a hash, as in `index-B2TG0zkF.js`.
fn is_named_by_content(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.len() > 9 && stem.as_bytes()[stem.len() - 9] == b'-' && stem.is_char_boundary(stem.len() - 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_first_is_small_and_there() {
        const MOST: usize = 150_000;
        let index = &files()["index.html"];
        let html = std::str::from_utf8(&index.bytes).unwrap();
        let named: Vec<&str> =
            html.split("\"/page/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        let ending = |wanted: &str| named.iter().any(|name| name.ends_with(wanted));
        assert!(ending(".js") && ending(".css") && ending(".webmanifest"), "{named:?}");
        let size = |sent: &Sent| sent.compressed().unwrap_or(&sent.bytes).len();
        let bytes = size(index) + named.iter().map(|name| size(&files()[*name])).sum::<usize>();
        assert!(bytes < MOST, "{bytes} bytes");
        // The policy would not let these run.
        assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("<script>"));
    }

    #[test]
    fn names_with_hashes() {
        for (name, want) in [
            ("index-B2TG0zkF.js", true),
            ("sw.js", false),
            ("icon.svg", false),
            ("a-b.js", false),
            ("", false),
        ] {
            assert_eq!(is_named_by_content(name), want, "{name}");
        }
    }
}
