//! What a file really is when it has a model's name but is not a model.
//!
//! Downloads fail in a few well-known ways: a web page with an error, a Git-LFS pointer, an archive that was
//! never unpacked. Each is told from its first bytes, so that the message can say what happened.

use std::path::Path;

use crate::error::{FormatError, Problem};

/// How much of a file is looked at.
const HEAD_BYTES: usize = 4096;

/// An error if the bytes of a file are something other than a file of a model: a Git-LFS pointer, a web page, an
/// archive.
pub fn check_is_itself(bytes: &[u8], path: &Path) -> Result<(), FormatError> {
    explain(bytes).map_or(Ok(()), |problem| Err(problem.in_file(path)))
}

/// An explanation for bytes that are not what was expected, if they are something we know.
pub(crate) fn explain(bytes: &[u8]) -> Option<Problem> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let starts = |magic: &[u8]| head.starts_with(magic);
    let text = head.trim_ascii_start();
    let text_starts =
        |tag: &str| text.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag.as_bytes()));

    if starts(b"version https://git-lfs.github.com/spec/") {
        let problem = Problem::not_a_model("is a Git-LFS pointer, not the file itself");
        return Some(
            problem.hint("run `git lfs pull` in the folder it came from, or download the file directly"),
        );
    }
    if ["<!doctype", "<html", "<head", "<?xml"].iter().any(|tag| text_starts(tag)) {
        let problem = Problem::not_a_model("is a web page (HTML), not a model");
        return Some(
            problem.hint("the download probably needed a login or another address; open the file to see"),
        );
    }
    if !head.is_empty() && head.iter().all(|&byte| byte == 0) {
        let problem = Problem::malformed(format!("begins with {} zero bytes", head.len()));
        return Some(problem.hint("the download was reserved on disk but never finished; fetch it again"));
    }
    if [b"lmgg", b"fmgg", b"tjgg", b"algg"].iter().any(|magic| starts(*magic)) {
        let problem = Problem::unsupported("is a GGML file from before GGUF (2023)");
        return Some(problem.hint("convert the original checkpoint to GGUF again with a current tool"));
    }
    if starts(b"24ka") {
        let problem = Problem::unsupported("is a llama2.c checkpoint, which is not supported yet");
        return Some(problem.hint("use the model's Hugging Face, Meta or GGUF form"));
    }
    let archives: [(&[u8], &str); 4] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
        (b"\xfd7zXZ\0", "xz"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
    ];
    let (_, archive) = archives.iter().find(|(magic, _)| starts(magic))?;
    Some(Problem::not_a_model(format!("is a {archive} archive")).hint("unpack it first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_lookalikes_are_named() {
        let fact = |bytes: &[u8]| explain(bytes).map(|problem| problem.fact).unwrap_or_default();
        assert!(fact(b"version https://git-lfs.github.com/spec/v1\noid sha256:12").contains("Git-LFS"));
        assert!(fact(b"\n\n<!DOCTYPE html><html>").contains("HTML"));
        assert!(fact(b"<HTML>").contains("HTML"));
        assert!(fact(&[0; 64]).contains("zero bytes"));
        assert!(fact(b"tjgg\x01\0\0\0").contains("before GGUF"));
        assert!(fact(b"\x1f\x8b\x08").contains("gzip"));
        assert_eq!(fact(b"GGUF\x03\0\0\0"), "");
        assert_eq!(fact(b"<"), "");
    }
}
