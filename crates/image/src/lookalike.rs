//! What a file is that is not a picture of a kind we read, told by its first bytes.
//!
//! The bytes themselves are never shown: whoever may name a file to a program, but not read it, would read it
//! by its error messages.

/// What `bytes` begin like, with an article; `None` for what we do not know.
pub(crate) fn begins_like(bytes: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if at(4, b"ftyp") {
        let is_one_of = |brands: &[&[u8]]| brands.iter().any(|brand| at(8, brand));
        return Some(match () {
            _ if is_one_of(&[b"heic", b"heix", b"hevc", b"mif1", b"msf1"]) => "a HEIC picture",
            _ if is_one_of(&[b"avif", b"avis"]) => "an AVIF picture",
            _ => "an MP4 or QuickTime film",
        });
    }
    let known: [(&[u8], &str); 21] = [
        (b"%PDF", "a PDF"),
        (b"BM", "a BMP picture"),
        (b"II*\0", "a TIFF picture"),
        (b"MM\0*", "a TIFF picture"),
        (b"\0\0\x01\0", "an icon (ICO)"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
        (b"\xff\x0a", "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
        (b"8BPS", "a Photoshop file"),
        (b"gimp xcf", "a GIMP file"),
        (b"PK\x03\x04", "a ZIP archive or an office document"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!", "a RAR archive"),
        (b"\x1a\x45\xdf\xa3", "a Matroska or WebM film"),
        (b"OggS", "an Ogg file"),
        (b"RIFF", "a RIFF file without a picture, such as WAV or AVI"),
        (b"ID3", "an MP3 file"),
        (b"GGUF", "a GGUF model"),
        (b"\x7fELF", "a program"),
        (b"version https://git-lfs", "a Git-LFS pointer, not the file itself"),
    ];
    if let Some((_, name)) = known.iter().find(|(magic, _)| at(0, magic)) {
        return Some(name);
    }
    let head = &bytes[..bytes.len().min(512)];
    let text = head.trim_ascii_start();
    let starts =
        |tag: &str| text.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag.as_bytes()));
    match () {
        _ if ["<!doctype html", "<html", "<head"].iter().any(|tag| starts(tag)) => Some("a web page (HTML)"),
        _ if starts("<svg") => Some("an SVG drawing"),
        _ if starts("<?xml") => Some("an XML file, perhaps an SVG drawing"),
        _ if head.iter().all(|byte| *byte == 0) => Some("zeros, as an unfinished download does"),
        _ if is_text(head) => Some("text"),
        _ => None,
    }
}

fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character may be cut at the end.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_beginning() {
        for (bytes, what) in [
            (&b"%PDF-1.7\n"[..], Some("a PDF")),
            (b"\0\0\0\x18ftypheic\0\0", Some("a HEIC picture")),
            (b"\0\0\0\x18ftypavif", Some("an AVIF picture")),
            (b"\0\0\0\x18ftypisom", Some("an MP4 or QuickTime film")),
            (b"\n <!DOCTYPE html>", Some("a web page (HTML)")),
            (b"<svg>", Some("an SVG drawing")),
            (b"root:x:0:0:root", Some("text")),
            ("secret é".as_bytes().split_last().unwrap().1, Some("text")),
            (&[0; 40], Some("zeros, as an unfinished download does")),
            (b"\x80\x81\x82", None),
        ] {
            assert_eq!(begins_like(bytes), what, "{bytes:?}");
        }
    }
}
