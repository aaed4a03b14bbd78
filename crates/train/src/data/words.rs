//! A text as its words: what is compared when two texts are.
//!
//! A word is a run of letters and digits in small letters; case, spaces and punctuation do not count. Scripts
//! without spaces have a word for each character. A word is known by 64 bits of a hash, which does not change from
//! one version of this program to the next: it stands in files.

use sha2::{Digest, Sha256};

/// The words of a text, by their hashes.
pub(crate) fn words(text: &str) -> Vec<u64> {
    let mut words = Vec::with_capacity(text.len() / 6);
    let mut hash = SEED;
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            hash = step(hash, u64::from(c.to_ascii_lowercase()));
        } else if c.is_ascii() || !c.is_alphanumeric() {
            finish(&mut hash, &mut words);
        } else if stands_alone(c) {
            finish(&mut hash, &mut words);
            hash = step(hash, u64::from(c));
            finish(&mut hash, &mut words);
        } else {
            hash = c.to_lowercase().fold(hash, |hash, c| step(hash, u64::from(c)));
        }
    }
    finish(&mut hash, &mut words);
    words
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

fn finish(hash: &mut u64, words: &mut Vec<u64>) {
    if *hash != SEED {
        words.push(mixed(*hash));
        *hash = SEED;
    }
}

fn step(hash: u64, c: u64) -> u64 {
    // FNV-1a's multiplication (Fowler, Noll and Vo), a character at a time.
    (hash ^ c).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Every bit depends on every other: the last steps of SplitMix64.
pub(crate) fn mixed(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Characters of scripts that put no spaces between words: Thai to Khmer, kana, Han.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// The hash of so many words in a row, for each place where they begin. A text of fewer words has one, of all of them.
pub(crate) fn runs(words: &[u64], len: usize) -> impl Iterator<Item = u64> {
    let windows = words.windows(len.min(words.len()).max(1));
    windows.map(|run| run.iter().fold(run.len() as u64, |hash, word| mixed(hash.rotate_left(23) ^ word)))
}

/// What stands for all words in their order: texts with the same are the same.
pub(crate) fn digest(words: &[u64]) -> [u8; 16] {
    let mut hash = Sha256::new();
    let mut buffer = [0u8; 512];
    for part in words.chunks(64) {
        for (bytes, word) in buffer.chunks_exact_mut(8).zip(part) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        hash.update(&buffer[..part.len() * 8]);
    }
    *hash.finalize().first_chunk().expect("a hash of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_count() {
        assert_eq!(words("Once upon -- a TIME!"), words("once  upon\na 'time'"));
        assert_ne!(words("once upon"), words("onceupon"));
        assert_eq!(words("Ärger").len(), 1);
        assert_eq!(words("Ärger"), words("ärger"));
        assert_eq!(words("我喜欢 cats").len(), 4);
        assert!(words(" -- ").is_empty());
        assert_ne!(digest(&words("a b")), digest(&words("b a")));
        assert_eq!(runs(&words("a b c"), 2).count(), 2);
        assert_eq!(runs(&words("a b c"), 5).count(), 1);
        assert_eq!(runs(&[], 5).count(), 0);
        // Files hold these.
        assert_eq!(words("a"), [mixed((SEED ^ 97).wrapping_mul(0x0000_0100_0000_01b3))]);
    }
}
