//! Text in the encodings that editors and shells write.
//!
//! UTF-8 is what everything else here expects. A byte order mark in front of it is dropped; UTF-16, which
//! Windows' tools write, is told by its mark and turned into UTF-8. Without a mark UTF-16 is only named: a
//! guess could be wrong.

use std::borrow::Cow;

/// The text in `bytes`, or what is wrong with them.
pub fn decode_text(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    if let Some(bytes) = bytes.strip_prefix(b"\xff\xfe") {
        return utf16(bytes, u16::from_le_bytes).map(Cow::Owned);
    }
    if let Some(bytes) = bytes.strip_prefix(b"\xfe\xff") {
        return utf16(bytes, u16::from_be_bytes).map(Cow::Owned);
    }
    if looks_like_utf16(bytes) {
        return Err("it looks like UTF-16 without a byte order mark; save it as UTF-8".into());
    }
    let mark = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    std::str::from_utf8(&bytes[mark..]).map(Cow::Borrowed).map_err(|error| {
        let at = mark + error.valid_up_to();
        format!("byte {at} is not valid UTF-8")
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err("it begins as UTF-16 does, but has an odd number of bytes".into());
    }
    let units = pairs.iter().map(|pair| unit(*pair));
    let mut text = String::with_capacity(bytes.len() / 2);
    let mut n_units = 0;
    for c in char::decode_utf16(units) {
        let wrong = |_| format!("it begins as UTF-16 does, but byte {} is not valid UTF-16", 2 + 2 * n_units);
        let c = c.map_err(wrong)?;
        n_units += c.len_utf16();
        text.push(c);
    }
    Ok(text)
}

/// Whether every second byte at the beginning is zero and the others are not, as Latin letters are in UTF-16.
fn looks_like_utf16(bytes: &[u8]) -> bool {
    let (pairs, _) = bytes[..bytes.len().min(64)].as_chunks::<2>();
    let all = |zero: usize| pairs.iter().all(|pair| pair[zero] == 0 && pair[1 - zero] != 0);
    pairs.len() >= 2 && bytes.len().is_multiple_of(2) && (all(0) || all(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_and_dropped() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(bytes).collect()
        };
        let text = "[\"é🙂\"]";
        let marked = format!("\u{feff}{text}");
        assert_eq!(decode_text(text.as_bytes()).unwrap(), text);
        assert_eq!(decode_text(marked.as_bytes()).unwrap(), text);
        assert_eq!(decode_text(&utf16(&marked, u16::to_le_bytes)).unwrap(), text);
        assert_eq!(decode_text(&utf16(&marked, u16::to_be_bytes)).unwrap(), text);
        assert_eq!(decode_text(b"").unwrap(), "");
        for bytes in [utf16("[1, 2]", u16::to_le_bytes), utf16("[1, 2]", u16::to_be_bytes)] {
            assert!(decode_text(&bytes).unwrap_err().contains("looks like UTF-16"));
        }
    }

    #[test]
    fn broken_text_is_said() {
        let fact = |bytes: &[u8]| decode_text(bytes).unwrap_err();
        assert_eq!(fact(b"ab\xff"), "byte 2 is not valid UTF-8");
        assert_eq!(fact(b"\xef\xbb\xbfab\xff"), "byte 5 is not valid UTF-8");
        assert!(fact(b"\xff\xfea").contains("odd number"));
        assert!(fact(b"\xff\xfea\0\x00\xd8").contains("byte 4 is not valid UTF-16"));
    }
}
