//! The printable alphabet in which `tokenizer.json` and GGUF files write byte-level tokens: every byte is
//! a character, most of them the character of the same code, the unprintable ones moved up from U+0100.

/// The character that stands for `byte` in token files.
pub(crate) fn char_of_byte(byte: u8) -> char {
    /// How many bytes below 0x7F, and how many from there to 0xA0, are moved: all of them.
    const LOW: u32 = 0x21;
    const HIGH: u32 = 0xA1 - 0x7F;
    let moved = match byte {
        0..0x21 => u32::from(byte),
        0x7F..0xA1 => LOW + u32::from(byte) - 0x7F,
        0xAD => LOW + HIGH,
        _ => return char::from(byte),
    };
    char::from_u32(0x100 + moved).unwrap_or('\0')
}

/// The byte that `c` stands for, if it belongs to the alphabet.
pub(crate) fn byte_of_char(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(code as u8),
        code @ 0x100..0x121 => Some((code - 0x100) as u8),
        code @ 0x121..0x143 => Some((code - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// The bytes of a token written in the alphabet; `None` if it is not.
pub(crate) fn bytes_of_token(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of_char).collect()
}

/// A token written in the alphabet.
pub(crate) fn token_of_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char_of_byte(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_is_one_to_one() {
        for byte in 0..=255 {
            assert_eq!(byte_of_char(char_of_byte(byte)), Some(byte));
        }
        assert_eq!(char_of_byte(b' '), 'Ġ');
        assert_eq!(char_of_byte(b'\n'), 'Ċ');
        assert_eq!(char_of_byte(0xAD), 'Ń');
        assert_eq!(
            (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter_map(byte_of_char).count(),
            256
        );
        assert_eq!(bytes_of_token("a b"), None);
    }
}
