//! Unicode's scripts, as SentencePiece and `tokenizers` count them: a space belongs to any of them, Japanese is one,
//! and scripts newer than their table are none.

use std::ops::Range;
use std::sync::OnceLock;

use crate::char_class::ranges;

const SCRIPTS: &str = "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali \
    Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee \
    Common Coptic Cuneiform Cypriot Cyrillic Deseret Devanagari Duployan Egyptian_Hieroglyphs Elbasan Ethiopic Georgian \
    Glagolitic Gothic Grantha Greek Gujarati Gurmukhi Han Hangul Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic \
    Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi Khmer \
    Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Malayalam Mandaic Manichaean \
    Marchen Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar \
    Nabataean New_Tai_Lue Newa Nko Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian \
    Old_South_Arabian Old_Turkic Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician \
    Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sora_Sompeng \
    Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangut Telugu Thaana Thai \
    Tibetan Tifinagh Tirhuta Ugaritic Vai Warang_Citi Yi";

/// The number of a character's script; `None` for a space and for a character of no script.
fn script_of(c: char) -> Option<u8> {
    /// First and last code point, and the script's number.
    static RANGES: OnceLock<Vec<(u32, u32, u8)>> = OnceLock::new();
    let table = RANGES.get_or_init(|| {
        let han = SCRIPTS.split(' ').position(|name| name == "Han").unwrap_or_default();
        let numbered = SCRIPTS.split(' ').enumerate().flat_map(|(number, name)| {
            let number = if matches!(name, "Hiragana" | "Katakana") { han } else { number };
            ranges(&format!(r"\p{{Script={name}}}")).into_iter().map(move |(a, b)| (a, b, number as u8))
        });
        let mut table: Vec<(u32, u32, u8)> = numbered.collect();
        table.sort_unstable();
        table
    });
    let c = match c {
        ' ' => return None,
        // The mark of a long vowel, common to both of Japanese's alphabets, counts as theirs.
        'ー' => '語',
        c => c,
    };
    let after = table.partition_point(|(first, _, _)| *first <= u32::from(c));
    let (_, last, script) = table.get(after.checked_sub(1)?)?;
    (u32::from(c) <= *last).then_some(*script)
}

/// Calls `word` for each stretch of one script. As in `tokenizers`, what stands in front of the first character that
/// has a script is lost.
pub(crate) fn for_each_script(text: &str, word: &mut dyn FnMut(Range<usize>)) {
    let mut last: Option<(usize, u8)> = None;
    for (at, c) in text.char_indices() {
        let Some(script) = script_of(c) else { continue };
        match last {
            Some((_, last)) if last == script => {}
            Some((start, _)) => {
                word(start..at);
                last = Some((at, script));
            }
            None => last = Some((at, script)),
        }
    }
    if let Some((start, _)) = last {
        word(start..text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_change() {
        let words = |text: &str| {
            let mut words = Vec::new();
            for_each_script(text, &mut |range| words.push(text[range].to_owned()));
            words
        };
        assert_eq!(words("Apples are りんご 林檎"), ["Apples are ", "りんご 林檎"]);
        assert_eq!(words("どこで生れ。Yes"), ["どこで生れ", "。", "Yes"]);
        assert_eq!(words("  aé1"), ["aé", "1"]);
        assert_eq!(words("カーд"), ["カー", "д"]);
        assert_eq!(words("  "), [""; 0]);
    }
}
