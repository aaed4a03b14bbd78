//! Normalisers: what changes a text before it is cut into words, with the names that `tokenizer.json` gives them.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::byte_level::char_of_byte;
use crate::char_class::CharSet;
use crate::charsmap::CharsMap;
use crate::pattern::{Pattern, max_grown};
use crate::piece::SPACE_MARK;
use crate::sentencepiece::Prefix;
use crate::trie::Trie;

/// Where a stretch of text stands, for what is put in front of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Whether it begins where the whole text begins.
    pub at_start: bool,
    /// Which stretches may get something in front.
    pub prefix: Prefix,
}

impl Place {
    fn may_prefix(self) -> bool {
        self.prefix == Prefix::EveryFragment || self.at_start && self.prefix == Prefix::TextStart
    }
}

/// One change of a text.
#[derive(Debug, Clone)]
pub(crate) enum Normalizer {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    /// Drops control characters and makes the rest of white space spaces.
    Nmt,
    /// The same for BERT, by other lists.
    CleanText,
    /// Spaces around Chinese characters.
    SpaceChinese,
    /// Drops all marks, or those that take no space.
    StripMarks,
    StripNonspacingMarks,
    Strip {
        left: bool,
        right: bool,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    Prepend(String),
    /// Every byte as the character that stands for it in byte-level vocabularies.
    ByteAlphabet,
    CharsMap(CharsMap),
    SentencePiece(Box<SentencePieceNormalizer>),
}

impl Normalizer {
    /// `text`, changed. `place` follows: what is left may no longer be the beginning.
    pub fn apply<'t>(&self, text: Cow<'t, str>, place: &mut Place) -> Cow<'t, str> {
        let filtered = |place: &mut Place, keeps: &dyn Fn(char) -> bool| -> Cow<'t, str> {
            place.at_start &= text.chars().next().is_none_or(keeps);
            text.chars().filter(|c| keeps(*c)).collect::<String>().into()
        };
        match self {
            Normalizer::Nfc | Normalizer::Nfd | Normalizer::Nfkc | Normalizer::Nfkd if text.is_ascii() => {
                text
            }
            Normalizer::Nfc if is_nfc_quick(text.chars()) == IsNormalized::Yes => text,
            Normalizer::Nfc => text.nfc().collect::<String>().into(),
            Normalizer::Nfd => text.nfd().collect::<String>().into(),
            Normalizer::Nfkc => text.nfkc().collect::<String>().into(),
            Normalizer::Nfkd => text.nfkd().collect::<String>().into(),
            Normalizer::Lowercase => text.chars().flat_map(char::to_lowercase).collect::<String>().into(),
            Normalizer::Nmt => {
                let kept = filtered(place, &|c| !is_nmt_control(c));
                kept.chars().map(|c| if is_nmt_space(c) { ' ' } else { c }).collect::<String>().into()
            }
            Normalizer::CleanText => {
                let kept = filtered(place, &|c| !matches!(c, '\0' | '\u{fffd}') && !is_bert_control(c));
                kept.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect::<String>().into()
            }
            Normalizer::SpaceChinese => space_chinese(&text).into(),
            Normalizer::StripMarks => {
                filtered(place, &|c| !unicode_normalization::char::is_combining_mark(c))
            }
            Normalizer::StripNonspacingMarks => {
                filtered(place, &|c| !CharSet::nonspacing_marks().contains(c))
            }
            Normalizer::Strip { left, right } => {
                let mut rest: &str = &text;
                if *left {
                    rest = rest.trim_start();
                    place.at_start &= rest.len() == text.len();
                }
                if *right {
                    rest = rest.trim_end();
                }
                rest.to_owned().into()
            }
            Normalizer::Replace { pattern, content } => {
                pattern.for_each_piece(&text, |range, is_match| {
                    let is_one_char = text[range.clone()].chars().nth(1).is_none();
                    if is_match && range.start == 0 && !range.is_empty() {
                        place.at_start &= is_one_char && !content.is_empty();
                    }
                });
                pattern.replace_all(&text, content, max_grown(text.len())).into()
            }
            Normalizer::Prepend(_) if text.is_empty() || place.prefix == Prefix::Never => text,
            Normalizer::Prepend(prefix) => (prefix.clone() + &text).into(),
            Normalizer::ByteAlphabet => text.bytes().map(char_of_byte).collect::<String>().into(),
            Normalizer::CharsMap(map) => map.apply_to_clusters(&text).into(),
            Normalizer::SentencePiece(normalizer) => normalizer.apply(&text, place.may_prefix()).into(),
        }
    }
}

/// `text` after all of `normalizers`.
pub(crate) fn normalized<'t>(normalizers: &[Normalizer], text: &'t str, place: &mut Place) -> Cow<'t, str> {
    let max_bytes = max_grown(text.len());
    normalizers.iter().fold(Cow::Borrowed(text), |text, normalizer| {
        if text.len() > max_bytes { text } else { normalizer.apply(text, place) }
    })
}

fn is_nmt_control(c: char) -> bool {
    matches!(u32::from(c), 0x1..=0x8 | 0xB | 0xE..=0x1F | 0x7F | 0x8F | 0x9F)
}

fn is_nmt_space(c: char) -> bool {
    matches!(
        u32::from(c),
        0x9 | 0xA | 0xC | 0xD | 0x1680 | 0x200B..=0x200F | 0x2028 | 0x2029 | 0x2581 | 0xFEFF | 0xFFFD
    )
}

fn is_bert_control(c: char) -> bool {
    !matches!(c, '\t' | '\n' | '\r') && CharSet::other().contains(c)
}

fn space_chinese(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    for c in text.chars() {
        let is_chinese = matches!(u32::from(c),
            0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F);
        if is_chinese {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    spaced
}

/// The normaliser of a SentencePiece model (its `normalizer_spec`).
#[derive(Debug, Clone)]
pub(crate) struct SentencePieceNormalizer {
    pub map: Option<CharsMap>,
    /// Pieces that are left as they are.
    pub user_defined: Trie,
    pub removes_extra_spaces: bool,
    pub marks_spaces: bool,
    /// Whether the space that is added goes to the end.
    pub space_is_suffix: bool,
}

impl SentencePieceNormalizer {
    fn apply(&self, text: &str, adds_space: bool) -> String {
        let space = if self.marks_spaces { SPACE_MARK } else { ' ' };
        let mut changed = String::with_capacity(text.len() + SPACE_MARK.len_utf8());
        let mut rest = text;
        if self.removes_extra_spaces {
            while let (" ", length) = self.first_of(rest) {
                rest = &rest[length..];
            }
        }
        if rest.is_empty() {
            return changed;
        }
        if adds_space && !self.space_is_suffix {
            changed.push(space);
        }
        let mut after_space = self.removes_extra_spaces;
        while !rest.is_empty() {
            let (mut part, length) = self.first_of(rest);
            if after_space {
                part = part.trim_start_matches(' ');
            }
            if !part.is_empty() {
                changed.extend(part.chars().map(|c| if c == ' ' { space } else { c }));
                after_space = self.removes_extra_spaces && part.ends_with(' ');
            }
            rest = &rest[length..];
        }
        if self.removes_extra_spaces {
            changed.truncate(changed.trim_end_matches(space).len());
        }
        if adds_space && self.space_is_suffix {
            changed.push(space);
        }
        changed
    }

    /// What the beginning of `text` becomes, and its length: nothing only where nothing is left.
    fn first_of<'t>(&'t self, text: &'t str) -> (&'t str, usize) {
        if let Some((length, _)) = self.user_defined.longest_prefix(text) {
            return (&text[..length], length);
        }
        if let Some((length, replacement)) = self.map.as_ref().and_then(|map| map.longest_prefix(text)) {
            return (replacement, length);
        }
        let length = text.chars().next().map_or(0, char::len_utf8);
        (&text[..length], length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Place = Place { at_start: true, prefix: Prefix::EveryFragment };

    fn sentencepiece(removes_extra_spaces: bool, space_is_suffix: bool) -> SentencePieceNormalizer {
        let user_defined = Trie::new([("  ", 7)]).unwrap();
        SentencePieceNormalizer {
            map: None,
            user_defined,
            removes_extra_spaces,
            marks_spaces: true,
            space_is_suffix,
        }
    }

    #[test]
    fn sentencepiece_spaces() {
        assert_eq!(sentencepiece(true, false).apply(" a b ", true), "▁a▁b");
        assert_eq!(sentencepiece(true, true).apply(" a b ", true), "a▁b▁");
        assert_eq!(sentencepiece(false, false).apply(" a   b ", true), "▁▁a▁▁▁b▁");
        for text in ["", " ", "   "] {
            assert_eq!(sentencepiece(true, false).apply(&text.replace("  ", ""), true), "");
        }
        assert_eq!(sentencepiece(false, false).apply("a", false), "a");
    }

    #[test]
    fn growth_is_bounded() {
        let double = Normalizer::Replace { pattern: Pattern::literal("a"), content: "aa".into() };
        let text = normalized(&vec![double; 64], &"a".repeat(100), &mut START.clone()).len();
        assert!((100 * 32..100 * 32 * 4 + (1 << 13)).contains(&text), "{text}");
    }

    #[test]
    fn the_beginning_is_followed() {
        let strip = Normalizer::Strip { left: true, right: false };
        for (normalizer, text, changed, at_start) in [
            (strip.clone(), " a ", "a ", false),
            (strip, "a ", "a ", true),
            (Normalizer::Nmt, "\u{1}\ta", " a", false),
            (Normalizer::Prepend("_".into()), "", "", true),
            (Normalizer::Prepend("_".into()), "a", "_a", true),
            (
                Normalizer::Replace { pattern: Pattern::literal("aa"), content: "b".into() },
                "aaa",
                "ba",
                false,
            ),
        ] {
            let mut place = START;
            assert_eq!(normalizer.apply(text.into(), &mut place), changed);
            assert_eq!(place.at_start, at_start, "{normalizer:?}");
        }
        let mut never = Place { prefix: Prefix::Never, ..START };
        assert_eq!(Normalizer::Prepend("_".into()).apply("a".into(), &mut never), "a");
    }
}
