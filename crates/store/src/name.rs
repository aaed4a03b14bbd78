//! What people call a model that is elsewhere.

use std::fmt;

use reqwest::Url;

use crate::catalogue;

/// A model that is elsewhere, as somebody called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// `owner/name[@revision][:quantisation or file]` on Hugging Face's hub; `hf:` and the page's address are taken too.
    Hub {
        /// `owner/name`.
        repository: String,
        /// A branch, a tag or a commit; `main` where none was named.
        revision: Option<String>,
        /// What to take of a repository that holds several: `Q4_K_M`, or a file's name.
        pick: Option<String>,
    },
    /// `ollama:[namespace/]model[:tag]` in Ollama's registry.
    Ollama {
        /// `library` where none was named.
        namespace: String,
        /// The model.
        model: String,
        /// `latest` where none was named.
        tag: String,
    },
    /// A file's address, and perhaps its SHA-256 (`https://host/file.gguf#sha256=…`).
    Address {
        /// Where it is.
        url: Url,
        /// In hexadecimal digits.
        sha256: Option<String>,
    },
    /// The address that Meta sends, with a `*` where a file's path belongs, and the folder that is wanted
    /// (`https://download.llamameta.net/*?Policy=…#Llama3.2-1B`).
    Meta {
        /// Up to the `*`, and from there on.
        url: [String; 2],
        /// The folder.
        folder: String,
    },
    /// A folder or a file in an object store: `s3://bucket/folder`, `gs://…`, `az://…`.
    Bucket {
        /// The whole address.
        url: Url,
    },
}

/// Why something is no name of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError(String);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NameError {}

fn error<T>(fact: impl Into<String>) -> Result<T, NameError> {
    Err(NameError(fact.into()))
}

/// The longest part of a name.
const MAX_PART: usize = 200;

impl ModelName {
    /// Reads a name.
    ///
    /// # Errors
    /// If it is none; the message says what one looks like.
    pub fn parse(text: &str) -> Result<ModelName, NameError> {
        let text = text.trim();
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return error("a model's name has no blanks");
        }
        if let Some(name) = text.strip_prefix("ollama:") {
            return ollama(name.trim_start_matches("//"));
        }
        if let Some(name) = text.strip_prefix("hf:").or(text.strip_prefix("hf.co/")) {
            return hub(name.trim_start_matches("//"));
        }
        match text.split_once("://") {
            Some(("http" | "https", _)) => address(text),
            Some(("s3" | "gs" | "az" | "abfs" | "abfss", _)) => match Url::parse(text) {
                Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) => {
                    Ok(ModelName::Bucket { url })
                }
                _ => error(format!("`{text}` names no bucket: `s3://BUCKET/FOLDER`")),
            },
            Some((scheme, _)) => error(format!("`{scheme}://` is no place that models are pulled from")),
            // Meta's by their names alone; and `llama3.2:1b`, as Ollama's users type it.
            None if !text.contains('/') => match catalogue::named(text) {
                Some(known) if known.is_hubs(text) => hub(known.hub),
                None if !text.contains(':') => hub(text),
                _ => ollama(text),
            },
            None => hub(text),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelName::Hub { repository, revision, pick } => {
                f.write_str(repository)?;
                revision.iter().try_for_each(|revision| write!(f, "@{revision}"))?;
                pick.iter().try_for_each(|pick| write!(f, ":{pick}"))
            }
            ModelName::Ollama { namespace, model, tag } if namespace == "library" => {
                write!(f, "ollama:{model}:{tag}")
            }
            ModelName::Ollama { namespace, model, tag } => write!(f, "ollama:{namespace}/{model}:{tag}"),
            // Without the query, which may be a key.
            ModelName::Address { url, .. } | ModelName::Bucket { url } => {
                let mut url = url.clone();
                url.set_query(None);
                url.set_fragment(None);
                write!(f, "{url}")
            }
            ModelName::Meta { folder, .. } => write!(f, "Meta's {folder}"),
        }
    }
}

/// Whether it may stand in a path: of letters, digits, `.`, `_` and `-`, not only of dots.
pub(crate) fn is_word(text: &str) -> bool {
    let is_one = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=MAX_PART).contains(&text.len()) && text.chars().all(is_one) && !text.chars().all(|c| c == '.')
}

/// Whether it is a path inside a folder that no system reads otherwise.
pub(crate) fn is_safe_path(path: &str) -> bool {
    let is_part = |part: &str| {
        let is_plain =
            |c: char| !c.is_control() && !matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
        (1..=255).contains(&part.len()) && part.chars().all(is_plain) && part != "." && part != ".."
    };
    path.len() <= 1024 && path.split('/').all(is_part)
}

fn hub(text: &str) -> Result<ModelName, NameError> {
    let (name, pick) = match text.split_once(':') {
        Some((name, pick)) => (name, Some(pick)),
        None => (text, None),
    };
    let (name, revision) = match name.split_once('@') {
        Some((name, revision)) => (name, Some(revision)),
        None => (name, None),
    };
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() != 2 || !parts.iter().all(|part| is_word(part)) {
        let nearest = match catalogue::nearest(text).as_slice() {
            [] => String::new(),
            near => format!("\n  there are {}", near.join(", ")),
        };
        return error(format!(
            "`{text}` is no name of a model: `OWNER/NAME`, `llama3.2:1b` or an address are{nearest}"
        ));
    }
    if revision.is_some_and(|revision| !is_safe_path(revision))
        || pick.is_some_and(|pick| !is_safe_path(pick))
    {
        return error(format!("`{text}`: what comes after `@` or `:` is no revision, quantisation or file"));
    }
    let [revision, pick] = [revision, pick].map(|part| part.map(str::to_owned));
    Ok(ModelName::Hub { repository: name.to_owned(), revision, pick })
}

fn ollama(text: &str) -> Result<ModelName, NameError> {
    let (name, tag) = text.rsplit_once(':').unwrap_or((text, "latest"));
    let (namespace, model) = name.split_once('/').unwrap_or(("library", name));
    if ![namespace, model, tag].into_iter().all(is_word) {
        return error(format!("`ollama:{text}` is no name of a model: `ollama:llama3.2:3b` is"));
    }
    let [namespace, model, tag] = [namespace, model, tag].map(str::to_owned);
    Ok(ModelName::Ollama { namespace, model, tag })
}

fn address(text: &str) -> Result<ModelName, NameError> {
    // Meta's have a `*` where a file's path belongs.
    if let Some((before, after)) = text.split_once('*') {
        let (after, folder) = after.split_once('#').unwrap_or((after, ""));
        if !is_word(folder) {
            return error("an address with a `*` needs the folder that is wanted: `ADDRESS#Llama3.2-1B`");
        }
        if Url::parse(&format!("{before}{after}")).is_err() {
            return error("the address cannot be read");
        }
        return Ok(ModelName::Meta { url: [before.to_owned(), after.to_owned()], folder: folder.to_owned() });
    }
    let Ok(mut url) = Url::parse(text) else { return error("the address cannot be read") };
    if matches!(url.host_str(), Some("huggingface.co" | "hf.co" | "www.huggingface.co")) {
        return page(&url);
    }
    let sha256 = match url.fragment() {
        None | Some("") => None,
        Some(fragment) => match fragment.strip_prefix("sha256=").or(fragment.strip_prefix("sha256:")) {
            Some(hash) if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Some(hash.to_ascii_lowercase())
            }
            _ => return error("behind `#` a checksum may stand, as `#sha256=` and 64 hexadecimal digits"),
        },
    };
    url.set_fragment(None);
    let file = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    if !is_safe_path(file) {
        return error("the address names no file");
    }
    Ok(ModelName::Address { url, sha256 })
}

/// A page of the hub: of a repository, a revision or a file.
fn page(url: &Url) -> Result<ModelName, NameError> {
    let parts: Vec<&str> =
        url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [owner, name] => hub(&format!("{owner}/{name}")),
        [owner, name, "tree", revision] => hub(&format!("{owner}/{name}@{revision}")),
        [owner, name, "blob" | "resolve", revision, path @ ..] if !path.is_empty() => {
            hub(&format!("{owner}/{name}@{revision}:{}", path.join("/")))
        }
        _ => error("the address is no page of a model on the hub"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_people_type() {
        for (text, want) in [
            ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B"),
            ("a/b-GGUF:Q4_K_M", "a/b-GGUF:Q4_K_M"),
            ("hf.co/a/b:x/y.gguf", "a/b:x/y.gguf"),
            ("hf:a/b@refs/pr/1", "a/b@refs/pr/1"),
            ("https://huggingface.co/a/b", "a/b"),
            ("https://huggingface.co/a/b/blob/main/x.gguf?download=true", "a/b@main:x.gguf"),
            ("ollama:llama3.2", "ollama:llama3.2:latest"),
            ("llama3.2:1b", "ollama:llama3.2:1b"),
            ("llama3.1", "ollama:llama3.1:latest"),
            ("llama-guard-4-12b", "meta-llama/Llama-Guard-4-12B"),
            ("ollama:me/llama3.2:3b", "ollama:me/llama3.2:3b"),
            ("s3://models/llama/1b", "s3://models/llama/1b"),
            ("https://host.org/x.gguf?key=secret", "https://host.org/x.gguf"),
            ("https://download.llamameta.net/*?Policy=p#Llama3.2-1B", "Meta's Llama3.2-1B"),
        ] {
            assert_eq!(ModelName::parse(text).map(|name| name.to_string()).as_deref(), Ok(want), "{text}");
        }
        for text in [
            "",
            "llama",
            "a/b/c",
            "../a",
            "a/..",
            "a/b@../../x",
            "a/b:..",
            "ollama:",
            "ollama:a/../b",
            "ftp://a/b",
            "https://host.org/",
            "https://host.org/x.gguf#sha256=12",
            "https://h/*?x",
            "a b/c",
            "s3:///x",
        ] {
            assert!(ModelName::parse(text).is_err(), "{text}");
        }
    }
}
