//! Hugging Face's hub: what a repository holds, and which of its files a model is.

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::check::Check;
use super::client::{Client, Failure, host, said, text};
use super::download::Wanted;
use super::error::{PullError, PullErrorKind};
use super::listing::{Listed, choose};
use crate::name::is_safe_path;

/// The most bytes of one answer, and pages of a listing.
const MAX_ANSWER: usize = 16 << 20;
const MAX_PAGES: usize = 100;

/// A repository at a commit, and the files of it that a model is.
pub(crate) struct Found {
    pub commit: String,
    pub files: Vec<(String, Wanted)>,
    /// What was chosen, where there was a choice.
    pub pick: Option<String>,
}

/// Where the hub is, and what is asked for.
pub(crate) struct Hub<'a> {
    pub client: &'a Client,
    pub endpoint: &'a Url,
    pub has_token: bool,
    pub repository: &'a str,
    pub revision: &'a str,
}

impl Hub<'_> {
    /// Finds the files.
    pub async fn find(&self, pick: Option<&str>) -> Result<Found, PullError> {
        let is_commit =
            self.revision.len() == 40 && self.revision.bytes().all(|byte| byte.is_ascii_hexdigit());
        let commit = match is_commit {
            true => self.revision.to_ascii_lowercase(),
            false => {
                let url =
                    self.url(&format!("api/models/{}/revision/{}", self.repository, escaped(self.revision)))?;
                let (about, _) = self.json(&url).await?;
                let commit = about["sha"].as_str().filter(|sha| crate::name::is_word(sha));
                commit.ok_or_else(|| self.nonsense("it names no commit"))?.to_owned()
            }
        };
        let listed = self.tree(&commit).await?;
        let (files, pick) = choose(&listed, pick).map_err(|why| {
            let message = format!("cannot pull `{}`\n  {why}", self.repository);
            PullError::new(PullErrorKind::Unusable, message)
        })?;
        let files = files.into_iter().map(|file| {
            let path: String = file.path.split('/').map(escaped).collect::<Vec<_>>().join("/");
            let url = self.url(&format!("{}/resolve/{commit}/{path}", self.repository))?;
            let wanted = Wanted {
                url,
                name: file.path.clone(),
                n_bytes: Some(file.n_bytes),
                check: file.check.clone(),
                object: None,
            };
            Ok((file.path.clone(), wanted))
        });
        Ok(Found { files: files.collect::<Result<_, PullError>>()?, commit, pick })
    }

    /// All files of a commit, page after page.
    async fn tree(&self, commit: &str) -> Result<Vec<Listed>, PullError> {
        let mut url =
            self.url(&format!("api/models/{}/tree/{commit}?recursive=true&expand=false", self.repository))?;
        let mut listed = Vec::new();
        for _ in 0..MAX_PAGES {
            let (page, headers) = self.json(&url).await?;
            for entry in page.as_array().ok_or_else(|| self.nonsense("its listing is no list"))? {
                if entry["type"] == "file"
                    && let Some(file) = listed_of(entry)
                {
                    listed.push(file);
                }
            }
            let next = text(&headers, "link").and_then(next_link).and_then(|link| url.join(&link).ok());
            match next {
                // The pages of one listing are in one place.
                Some(next) if next.origin() == url.origin() => url = next,
                _ => return Ok(listed),
            }
        }
        Err(self.nonsense("its listing has no end"))
    }

    /// What is at an address, and its headers.
    async fn json(&self, url: &Url) -> Result<(Value, HeaderMap), PullError> {
        let answer = self.client.bytes(url, "application/json", MAX_ANSWER).await;
        let (bytes, headers) = answer.map_err(|why| self.failed(why))?;
        let value = serde_json::from_slice(&bytes).map_err(|error| self.nonsense(&error.to_string()))?;
        Ok((value, headers))
    }

    fn url(&self, path: &str) -> Result<Url, PullError> {
        let base = self.endpoint.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{path}")).map_err(|error| self.nonsense(&error.to_string()))
    }

    fn nonsense(&self, why: &str) -> PullError {
        let fact = format!("what `{}` answered makes no sense: {why}", host(self.endpoint));
        PullError::new(PullErrorKind::Network, format!("cannot pull `{}`\n  {fact}", self.repository))
    }

    /// Why the hub refuses, as it says by a code of its own, and by the status where it does not.
    fn failed(&self, failure: Failure) -> PullError {
        let head = format!("cannot pull `{}`", self.repository);
        let (status, headers) = match failure {
            Failure::Network(why) => {
                let why = format!("{head}\n  `{}`: {why}", host(self.endpoint));
                return PullError::new(PullErrorKind::Network, why);
            }
            Failure::Status(status, headers) => (status, headers),
        };
        let page = format!("{}/{}", self.endpoint.as_str().trim_end_matches('/'), self.repository);
        let token = match self.has_token {
            true => "HF_TOKEN holds one of an account that has access",
            false => {
                "set HF_TOKEN to a token of an account that has access (it is made at huggingface.co/settings/tokens)"
            }
        };
        let code = text(&headers, "x-error-code").unwrap_or_default();
        let is_bad_token =
            text(&headers, "x-error-message") == Some("Invalid credentials in Authorization header");
        let (kind, why) = match (code, status) {
            _ if is_bad_token => (
                PullErrorKind::NoAccess,
                "the hub does not know the token in HF_TOKEN\n  make a new one".to_owned(),
            ),
            ("GatedRepo", _) => {
                let how = format!("open {page} in a browser, accept the licence there, and");
                (PullErrorKind::NoAccess, format!("access to it must be asked for\n  {how}\n  {token}"))
            }
            ("RevisionNotFound", _) => {
                (PullErrorKind::NotFound, format!("it has no revision `{}`", self.revision))
            }
            ("RepoNotFound", _) | ("", StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => (
                PullErrorKind::NotFound,
                format!("the hub has no such model, or it is private\n  if it is private, {token}"),
            ),
            (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                (PullErrorKind::NoAccess, format!("the hub refuses it ({})\n  {token}", said(status)))
            }
            _ => (PullErrorKind::Network, format!("`{}` answered {}", host(self.endpoint), said(status))),
        };
        PullError::new(kind, format!("{head}\n  {why}"))
    }
}

fn listed_of(entry: &Value) -> Option<Listed> {
    let path = entry["path"].as_str().filter(|path| is_safe_path(path))?;
    let is_hex =
        |hash: &&str| matches!(hash.len(), 40 | 64) && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let large = &entry["lfs"];
    let (n_bytes, check) = match large["oid"].as_str().or(large["sha256"].as_str()).filter(is_hex) {
        Some(hash) => (large["size"].as_u64()?, Check::Sha256(hash.to_owned())),
        None => (entry["size"].as_u64()?, Check::GitBlob(entry["oid"].as_str().filter(is_hex)?.to_owned())),
    };
    Some(Listed { path: path.to_owned(), n_bytes, check })
}

/// The address that `<…>; rel="next"` names.
fn next_link(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (address, relation) = link.split_once('>')?;
        relation.contains("rel=\"next\"").then(|| address.trim().trim_start_matches('<').to_owned())
    })
}

/// A part of a path as it stands in an address.
fn escaped(part: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    part.bytes()
        .map(|byte| if is_plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
