//! SentencePiece's table of characters and what they are replaced by (`precompiled_charsmap`).
//!
//! The bytes are the length of a trie, the trie as a double array of 32-bit units, and all replacements one after
//! another, each ended by a zero. A unit holds the byte that leads to it, how far away its children lie, and whether
//! one of them is a leaf, whose value is the place of the replacement. Indices come from the file: each is checked.

use unicode_segmentation::UnicodeSegmentation;

/// The table; `None` of it matches nothing.
#[derive(Debug, Clone)]
pub(crate) struct CharsMap {
    units: Vec<u32>,
    replacements: String,
}

impl CharsMap {
    /// Reads the table; the error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<CharsMap, &'static str> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or("shorter than its own length")?;
        let length = u32::from_le_bytes(*length) as usize;
        if !length.is_multiple_of(4) || length == 0 {
            return Err("a trie that is not made of 32-bit units");
        }
        let (trie, replacements) = rest.split_at_checked(length).ok_or("a trie longer than the table")?;
        let unit = |bytes: &[u8]| bytes.iter().rev().fold(0, |unit, byte| unit << 8 | u32::from(*byte));
        let units = trie.chunks_exact(4).map(unit).collect();
        let replacements =
            String::from_utf8(replacements.to_vec()).map_err(|_| "replacements that are not UTF-8")?;
        Ok(CharsMap { units, replacements })
    }

    /// Calls `found` with the length of each key that `text` begins with and the key's value, shortest first, until it
    /// says `false`.
    fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, u32) -> bool) {
        let unit = |at: u32| self.units.get(at as usize).copied();
        let offset = |unit: u32| (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let Some(root) = unit(0) else { return };
        let mut at = offset(root);
        for (n, &byte) in text.iter().enumerate() {
            if byte == 0 {
                return;
            }
            at ^= u32::from(byte);
            // The top bit marks a value, which no byte leads to.
            let Some(next) = unit(at).filter(|unit| unit & (1 << 31 | 0xFF) == u32::from(byte)) else {
                return;
            };
            at ^= offset(next);
            if next >> 8 & 1 == 1 {
                let Some(value) = unit(at) else { return };
                if !found(n + 1, value & !(1 << 31)) {
                    return;
                }
            }
        }
    }

    fn replacement(&self, value: u32) -> Option<&str> {
        /// Several times as long as any of Unicode's own.
        const MAX_BYTES: usize = 256;
        let all = self.replacements.get(value as usize..)?;
        all.split('\0').next().filter(|replacement| replacement.len() <= MAX_BYTES)
    }

    /// What `text` as a whole is replaced by in `tokenizers`, which takes the shortest key that it begins with.
    fn replacement_of(&self, text: &str) -> Option<&str> {
        let mut first = None;
        self.prefixes(text.as_bytes(), |_, value| {
            first = Some(value);
            false
        });
        self.replacement(first?)
    }

    /// The text as `tokenizers` changes it: short clusters of characters as a whole, else character by character.
    pub fn apply_to_clusters(&self, text: &str) -> String {
        const SHORT_BYTES: usize = 6;
        let mut changed = String::with_capacity(text.len());
        for cluster in text.graphemes(true) {
            if let Some(replacement) =
                Some(cluster).filter(|c| c.len() < SHORT_BYTES).and_then(|c| self.replacement_of(c))
            {
                changed.push_str(replacement);
                continue;
            }
            for c in cluster.chars() {
                match self.replacement_of(c.encode_utf8(&mut [0; 4])) {
                    Some(replacement) => changed.push_str(replacement),
                    None => changed.push(c),
                }
            }
        }
        changed
    }

    /// The longest key that `text` begins with, by its length, and its replacement: SentencePiece's own way.
    pub fn longest_prefix(&self, text: &str) -> Option<(usize, &str)> {
        let mut longest = None;
        self.prefixes(text.as_bytes(), |length, value| {
            longest = Some((length, value));
            true
        });
        let (length, value) = longest.filter(|(length, _)| text.is_char_boundary(*length))?;
        Some((length, self.replacement(value)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of the one key `a`, for `bc`.
    fn table() -> Vec<u8> {
        let mut units = vec![0u32; 512];
        // The root's children lie at 0x100 ^ byte.
        units[0] = 0x100 << 10;
        let a = 0x100 ^ u32::from(b'a');
        // Its leaf lies at `a ^ (1 << 7)`, and its value is 1.
        units[a as usize] = u32::from(b'a') | 1 << 8 | (1 << 7) << 10;
        units[(a ^ 1 << 7) as usize] = 1 << 31 | 1;
        let mut bytes = (units.len() as u32 * 4).to_le_bytes().to_vec();
        units.iter().for_each(|unit| bytes.extend(unit.to_le_bytes()));
        bytes.extend(b"\0bc\0");
        bytes
    }

    #[test]
    fn characters_are_replaced() {
        let map = CharsMap::parse(&table()).unwrap();
        assert_eq!(map.apply_to_clusters("xaé\r\na"), "xbcé\r\nbc");
        assert_eq!(map.longest_prefix("ab"), Some((1, "bc")));
        assert_eq!(map.longest_prefix("b"), None);
        // A cluster that begins with a key goes with it, as `tokenizers` has it.
        assert_eq!(map.apply_to_clusters("a\u{301}"), "bc");
    }

    #[test]
    fn broken_tables_are_refused_or_harmless() {
        assert!(CharsMap::parse(b"abc").is_err());
        assert!(CharsMap::parse(&[9, 0, 0, 0, 1]).is_err());
        assert!(CharsMap::parse(&[8, 0, 0, 0, 1]).is_err());
        let mut bytes = table();
        for at in 4..bytes.len() - 4 {
            bytes[at] ^= 0x5A;
            if let Ok(map) = CharsMap::parse(&bytes) {
                map.apply_to_clusters("aéb\u{301}日");
                map.longest_prefix("aéb");
            }
        }
    }
}
