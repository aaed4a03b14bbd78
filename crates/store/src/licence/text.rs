//! Which licence a text is.
//!
//! Copies differ in quotes, line ends, white space, Markdown, the addresses of links, and in what follows: some have
//! the acceptable use policy in the same file. So what is compared is the agreement alone, from its title to the end of
//! its last section, its words in small letters, without addresses.

use sha2::{Digest, Sha256};

use super::{FACTS, Licence};

/// What a text turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The licence that its title names.
    pub licence: Licence,
    /// Whether the agreement is, word for word, the one that was published.
    pub is_verbatim: bool,
}

/// The most bytes of a text that are looked at: agreements and policies together have twenty thousand.
const MAX_BYTES: usize = 1 << 20;
const LAST_WORDS: &str = "dispute arising out of this agreement";

impl Licence {
    /// The licence that a text is, if it is one of them.
    pub fn of_text(text: &str) -> Option<Found> {
        let words = words_of(&text[..text.floor_char_boundary(MAX_BYTES)]);
        // A text may name others later; its title comes first.
        let (start, facts) = FACTS
            .iter()
            .filter(|facts| facts.sha256.is_some())
            .filter_map(|facts| Some((words.find(&title_of(facts.models))?, facts)))
            .min_by_key(|(start, _)| *start)?;
        let agreement = &words[start..];
        let end = agreement.find(LAST_WORDS).map_or(agreement.len(), |at| at + LAST_WORDS.len());
        let is_verbatim = facts.sha256 == Some(sha256(&agreement[..end]).as_str());
        Some(Found { licence: facts.licence, is_verbatim })
    }
}

/// The title of an agreement, in words.
fn title_of(models: &str) -> String {
    let words = words_of(models);
    format!("{} community license agreement", words.strip_prefix("meta ").unwrap_or(&words))
}

/// The words of a text, with a blank between any two.
fn words_of(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for part in text.split_whitespace() {
        // An address, perhaps behind others' brackets, says where something is and not what.
        let part = ["http://", "https://"]
            .iter()
            .filter_map(|scheme| part.find(scheme))
            .min()
            .map_or(part, |at| &part[..at]);
        for word in part.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
            if !words.is_empty() {
                words.push(' ');
            }
            words.extend(word.chars().map(|c| c.to_ascii_lowercase()));
        }
    }
    words
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_copies_differ_in_is_left_out() {
        let plain = "“Agreement” means\r\n  it, at https://llama.meta.com/doc, [here](https://x.y/z). 1.b";
        let other =
            "**\"Agreement\"** means it, at https://www.llama.com/docs/overview, [here](http://a). 1.b";
        assert_eq!(words_of(plain), "agreement means it at here 1 b");
        assert_eq!(words_of(plain), words_of(other));
    }

    #[test]
    fn the_title_tells_a_changed_text() {
        let text = "Notes\n\n LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n\nAs the Llama 2 Community License Agreement, but";
        let found = Licence::of_text(text).unwrap();
        assert_eq!(found, Found { licence: Licence::Llama3_1, is_verbatim: false });
        let text =
            "META LLAMA 3 COMMUNITY LICENSE AGREEMENT\nMeta Llama 3 Version Release Date: April 18, 2024";
        assert_eq!(Licence::of_text(text).unwrap().licence, Licence::Llama3);
        for other in ["", "MIT License", "Llama 3.1 Community", "the llama 5 community license agreement"] {
            assert_eq!(Licence::of_text(other), None, "{other}");
        }
    }
}
