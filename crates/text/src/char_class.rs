//! The Unicode classes that the pre-tokeniser patterns name: letters, numbers, white space, case.
//!
//! The ranges come from `regex-syntax`, the same tables the reference tokenizer's regular expressions
//! use, spread once into a two-level table of one byte per code point. It is a fact about Unicode, not
//! about a model, so one copy serves the process.

use std::sync::OnceLock;

use regex_syntax::hir::{Class, HirKind};

/// `\p{L}`
pub(crate) const LETTER: u8 = 1;
/// `\p{N}`
pub(crate) const NUMBER: u8 = 2;
/// `\s`: the White_Space property.
pub(crate) const SPACE: u8 = 4;
/// `\r` or `\n`; these are also [`SPACE`].
pub(crate) const NEWLINE: u8 = 8;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: what may begin a capitalised word.
pub(crate) const UPPERISH: u8 = 16;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: what may continue it.
pub(crate) const LOWERISH: u8 = 32;

const BLOCK: usize = 256;
const N_BLOCKS: usize = 0x11_0000 / BLOCK;

/// One byte of class bits for every code point.
pub(crate) struct CharClasses {
    ascii: [u8; 128],
    /// Which of `blocks` holds code points `BLOCK * i ..`.
    block_of: Vec<u16>,
    blocks: Vec<[u8; BLOCK]>,
}

impl CharClasses {
    /// The table, built on first use (about a millisecond).
    pub fn get() -> &'static CharClasses {
        static TABLE: OnceLock<CharClasses> = OnceLock::new();
        TABLE.get_or_init(CharClasses::build)
    }

    fn build() -> CharClasses {
        let mut bits = vec![0u8; N_BLOCKS * BLOCK];
        for (pattern, bit) in [
            (r"\p{L}", LETTER),
            (r"\p{N}", NUMBER),
            (r"\s", SPACE),
            (r"[\r\n]", NEWLINE),
            (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", UPPERISH),
            (r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", LOWERISH),
        ] {
            for (first, last) in ranges(pattern) {
                for bits in &mut bits[first as usize..=last as usize] {
                    *bits |= bit;
                }
            }
        }
        let mut blocks: Vec<[u8; BLOCK]> = Vec::new();
        let block_of = bits.chunks_exact(BLOCK).map(|chunk| {
            let known = blocks.iter().position(|block| block == chunk);
            known.unwrap_or_else(|| {
                blocks.push(std::array::from_fn(|i| chunk[i]));
                blocks.len() - 1
            }) as u16
        });
        let block_of = block_of.collect();
        CharClasses { ascii: std::array::from_fn(|i| bits[i]), block_of, blocks }
    }

    /// The class bits of a character.
    #[inline]
    pub fn of(&self, c: char) -> u8 {
        let code = c as usize;
        self.blocks[usize::from(self.block_of[code / BLOCK])][code % BLOCK]
    }

    /// The class bits and the length in bytes of the character that begins at byte `at` of `text`;
    /// `(0, 0)` at the end of the text.
    #[inline]
    pub fn at(&self, text: &str, at: usize) -> (u8, usize) {
        match text.as_bytes().get(at) {
            Some(&byte) if byte < 128 => (self.ascii[usize::from(byte)], 1),
            Some(_) => self.wide_at(text, at),
            None => (0, 0),
        }
    }

    fn wide_at(&self, text: &str, at: usize) -> (u8, usize) {
        text[at..].chars().next().map_or((0, 0), |c| (self.of(c), c.len_utf8()))
    }

    /// The end of the run, beginning at `at`, of characters that have any bit of `wanted`.
    #[inline]
    pub fn run(&self, text: &str, mut at: usize, wanted: u8) -> usize {
        loop {
            let (class, n) = self.at(text, at);
            if class & wanted == 0 {
                return at;
            }
            at += n;
        }
    }
}

/// A class that is asked for seldom, as its ranges. Built on first use.
#[derive(Debug)]
pub(crate) struct CharSet(Vec<(u32, u32)>);

impl CharSet {
    /// `\p{P}`
    pub fn punctuation() -> &'static CharSet {
        static SET: OnceLock<CharSet> = OnceLock::new();
        SET.get_or_init(|| CharSet(ranges(r"\p{P}")))
    }

    /// `\p{Mn}`: marks that take no space.
    pub fn nonspacing_marks() -> &'static CharSet {
        static SET: OnceLock<CharSet> = OnceLock::new();
        SET.get_or_init(|| CharSet(ranges(r"\p{Mn}")))
    }

    /// Control and format characters and those of private use.
    pub fn other() -> &'static CharSet {
        static SET: OnceLock<CharSet> = OnceLock::new();
        SET.get_or_init(|| CharSet(ranges(r"[\p{Cc}\p{Cf}\p{Co}]")))
    }

    /// `\w`: letters, marks, numbers, connectors.
    pub fn words() -> &'static CharSet {
        static SET: OnceLock<CharSet> = OnceLock::new();
        SET.get_or_init(|| CharSet(ranges(r"\w")))
    }

    /// Whether `c` belongs to the class.
    pub fn contains(&self, c: char) -> bool {
        let code = u32::from(c);
        let after = self.0.partition_point(|(first, _)| *first <= code);
        after > 0 && code <= self.0[after - 1].1
    }
}

/// The code point ranges of a pattern that is one character class.
pub(crate) fn ranges(pattern: &str) -> Vec<(u32, u32)> {
    let hir = regex_syntax::parse(pattern).expect("the class patterns are constants of this file");
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().map(|range| (range.start() as u32, range.end() as u32)).collect()
        }
        other => unreachable!("{pattern} is not a class: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_classes() {
        let classes = CharClasses::get();
        assert_eq!(classes.of('a'), LETTER | LOWERISH);
        assert_eq!(classes.of('A'), LETTER | UPPERISH);
        assert_eq!(classes.of('語'), LETTER | UPPERISH | LOWERISH);
        assert_eq!(classes.of('\u{301}'), UPPERISH | LOWERISH); // a combining mark is not a letter
        assert_eq!(classes.of('½'), NUMBER);
        assert_eq!(classes.of('\u{3000}'), SPACE);
        assert_eq!(classes.of('\n'), SPACE | NEWLINE);
        assert_eq!(classes.of('\u{1c}'), 0); // a space for Python, not for \s
        assert_eq!(classes.of('!'), 0);
    }

    #[test]
    fn every_code_point_agrees_with_the_standard_library_on_white_space() {
        let classes = CharClasses::get();
        for c in '\0'..=char::MAX {
            assert_eq!(classes.of(c) & SPACE != 0, c.is_whitespace(), "{c:?}");
        }
    }
}
