//! What keeps an answer of JSON from going on for ever where a schema would let it: numbers end after so many digits, and
//! brackets are nested so deep.
//!
//! A schema allows numbers of any length, and a model that is unsure, or chooses the likeliest token each time, may write
//! digits until its context is full. Exponents of more than two digits and nesting beyond what readers take (serde_json:
//! 128) are no better. The rule follows what was written and takes tokens out of those that are allowed, but never all of
//! them: where the schema itself wants a longer number, it is written.

use super::token_set::TokenSet;
use super::vocabulary::Vocabulary;

/// The most digits of a number before its exponent, but for those that its last token brings.
const MAX_DIGITS: usize = 24;

/// The most digits of an exponent.
const MAX_EXPONENT_DIGITS: usize = 2;

/// The depth at which no token opens another bracket.
const MAX_DEPTH: usize = 100;

/// Where in a document of JSON its end is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    place: Place,
    depth: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    String,
    /// After a backslash in a string.
    Escape,
    /// In a number, after so many digits.
    Number(usize),
    /// In its exponent, after so many digits of it.
    Exponent(usize),
}

impl Bounds {
    /// These bytes were written.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.place = match (self.place, byte) {
                (Place::Escape, _) => Place::String,
                (Place::String, b'\\') => Place::Escape,
                (Place::String, b'"') => Place::Between,
                (Place::String, _) => Place::String,
                (_, b'"') => Place::String,
                (Place::Number(n), b'0'..=b'9') => Place::Number(n + 1),
                (Place::Number(n), b'.') => Place::Number(n),
                (Place::Number(_), b'e' | b'E') => Place::Exponent(0),
                (Place::Exponent(n), b'0'..=b'9') => Place::Exponent(n + 1),
                (Place::Exponent(n), b'+' | b'-') => Place::Exponent(n),
                (_, b'0'..=b'9') => Place::Number(1),
                (_, b'-') => Place::Number(0),
                _ => Place::Between,
            };
            if self.place == Place::Between {
                match byte {
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
    }

    /// Takes out what would go too far.
    pub fn limit(&self, allowed: &mut TokenSet, vocabulary: &Vocabulary) {
        let numbers = &vocabulary.numbers;
        match self.place {
            Place::String | Place::Escape => {
                if self.depth >= MAX_DEPTH {
                    allowed.remove_unless_empty(&vocabulary.quote_openers);
                }
                return;
            }
            Place::Number(n) if n >= MAX_DIGITS => allowed.remove_unless_empty(&numbers.digits[0]),
            Place::Exponent(n) => {
                allowed.remove_unless_empty(&numbers.digits[MAX_EXPONENT_DIGITS.saturating_sub(n)]);
                allowed.remove_unless_empty(&numbers.signed);
            }
            Place::Between | Place::Number(_) => {}
        }
        allowed.remove_unless_empty(&numbers.exponents);
        if self.depth >= MAX_DEPTH {
            allowed.remove_unless_empty(&vocabulary.openers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> (Place, usize) {
        let mut bounds = Bounds::default();
        bounds.push(text.as_bytes());
        (bounds.place, bounds.depth)
    }

    #[test]
    fn numbers_strings_and_brackets_are_followed() {
        assert_eq!(after(r#"{"a": -12.34"#), (Place::Number(4), 1));
        assert_eq!(after("[1e-5"), (Place::Exponent(1), 1));
        assert_eq!(after("[1e"), (Place::Exponent(0), 1));
        assert_eq!(after(r#"{"a\"[{1"#), (Place::String, 1));
        assert_eq!(after(r#"{"a\\":[1,[2],"#), (Place::Between, 2));
        assert_eq!(after("[true, 1"), (Place::Number(1), 1));
    }
}
