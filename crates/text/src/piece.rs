//! How SentencePiece's files write a token: `▁` for a space, `<0x0A>` for a byte.

/// The character that stands for a space in token files.
pub(crate) const SPACE_MARK: char = '\u{2581}';

/// The bytes of a piece as files write it.
pub(crate) fn bytes_of_piece(piece: &str) -> Vec<u8> {
    piece.replace(SPACE_MARK, " ").into_bytes()
}

/// The byte that a piece such as `<0x0A>` stands for.
#[inline]
pub(crate) fn byte_of_piece(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_pieces() {
        assert_eq!(byte_of_piece("<0x0A>"), Some(10));
        assert_eq!(byte_of_piece("<0x+A>"), None);
        assert_eq!(byte_of_piece("<0x0A"), None);
    }
}
