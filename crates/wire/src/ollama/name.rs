//! Names of models, `[host/][namespace/]model[:tag]`, and digests of blobs.

use std::fmt;

use crate::Problem;

/// The most bytes of a host; of other parts, [`MOST_PART`].
const MOST_HOST: usize = 350;

/// The most bytes of a namespace, a model or a tag.
const MOST_PART: usize = 80;

/// The tag of a name that has none.
const DEFAULT_TAG: &str = "latest";

/// A model's name. No part of it can lead out of a folder: parts begin with a letter, a digit or `_`, and have letters,
/// digits, `_`, `-` and `.` only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// Where it comes from, with a port perhaps: `hf.co`, `registry.example:5000`.
    pub host: Option<String>,
    /// Whose it is.
    pub namespace: Option<String>,
    /// The model.
    pub model: String,
    /// Which of its variants.
    pub tag: String,
}

impl Name {
    /// A name of a field's value; without a tag it is the one with `latest`.
    pub fn parse(text: &str, field: &str) -> Result<Name, Problem> {
        Name::of(text).ok_or_else(|| {
            Problem::field(
                field,
                format!(
                    "`{field}` is {:?}; it must be a model's name, like \"llama3.2:1b\": letters, digits, `_`, `-` \
                     and `.`, with `/` after whose it is",
                    text.chars().take(MOST_PART).collect::<String>(),
                ),
            )
        })
    }

    fn of(text: &str) -> Option<Name> {
        // A colon before the last slash is a port's.
        let (path, tag) = match text.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (text, DEFAULT_TAG),
        };
        let mut parts = path.rsplit('/');
        let model = parts.next()?;
        let namespace = parts.next();
        let host = parts.next();
        let is_name = is_part(model, b"_-.", MOST_PART)
            && is_part(tag, b"_-.", MOST_PART)
            && namespace.is_none_or(|part| is_part(part, b"_-.", MOST_PART))
            && host.is_none_or(|part| is_part(part, b"_-.:", MOST_HOST))
            && parts.next().is_none();
        is_name.then(|| Name {
            host: host.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
            model: model.to_owned(),
            tag: tag.to_owned(),
        })
    }
}

fn is_part(text: &str, others: &[u8], most: usize) -> bool {
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    begins
        && text.len() <= most
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

impl fmt::Display for Name {
    /// The whole name, always with its tag.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for part in [&self.host, &self.namespace].into_iter().flatten() {
            write!(f, "{part}/")?;
        }
        write!(f, "{}:{}", self.model, self.tag)
    }
}

/// Whether a text is a blob's digest: `sha256:` or `sha256-`, and 64 digits of base 16 in small letters. Digests are
/// names of files: nothing else may be looked for.
pub fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").or_else(|| text.strip_prefix("sha256-"));
    digits.is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A digest of a field's value.
pub fn digest<'t>(text: &'t str, field: &str) -> Result<&'t str, Problem> {
    if is_digest(text) {
        return Ok(text);
    }
    let message =
        format!("`{field}` is no digest; it must be `sha256:` and 64 digits of base 16 in small letters");
    Err(Problem::field(field, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_whole_forms() {
        let cases = [
            ("m", "m:latest"),
            ("llama3.2:1b", "llama3.2:1b"),
            ("u/m", "u/m:latest"),
            ("hf.co/user/repo-GGUF:Q4_K_M", "hf.co/user/repo-GGUF:Q4_K_M"),
            ("localhost:5000/u/m", "localhost:5000/u/m:latest"),
        ];
        for (text, whole) in cases {
            let name = Name::parse(text, "model").unwrap();
            assert_eq!(name.to_string(), whole);
            assert_eq!(Name::parse(whole, "model").unwrap(), name);
        }
    }

    #[test]
    fn what_is_no_name() {
        let long = "m".repeat(81);
        let others =
            ["", ":", "m:", ":t", "/m", "m/", "a//m", "../m", "u/..", ".m", "m:..", "-m", "a b", "m\0", "ü"];
        for text in others.into_iter().chain(["a/b/c/d", "m:t:u", "\\m", "m:t/../u", &long]) {
            let problem = Name::parse(text, "destination").unwrap_err();
            assert_eq!(problem.param.as_deref(), Some("destination"), "{text}");
        }
    }

    #[test]
    fn digests() {
        let digits = "0123456789abcdef".repeat(4);
        for begin in ["sha256:", "sha256-"] {
            assert!(is_digest(&format!("{begin}{digits}")));
        }
        let bad = [
            digits.clone(),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            format!("sha256:{}", digits.to_uppercase()),
            format!("sha256:../{}", &digits[3..]),
            format!("sha256/{digits}"),
            format!("sha512:{digits}"),
            format!("sha256:{}\n", &digits[1..]),
        ];
        for text in bad {
            assert!(digest(&text, "digest").is_err(), "{text}");
        }
    }
}
