//! A model's vocabulary as llguidance walks it: a tree of the bytes of all tokens. Made once for each model.

use std::sync::Arc;

use llguidance::api::ParserLimits;
use llguidance::earley::SlicedBiasComputer;
use llguidance::{ParserFactory, panic_utils};
use puna_text::{TokenKind, Tokenizer};
use toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};

use super::token_set::TokenSet;
use super::words::first_line;

/// The most bytes of a token that takes part; a longer one is never allowed.
const MAX_TOKEN_BYTES: usize = 1024;

/// Bounds of what compiling a form and each token's mask may take. One that needs more is an error, never a wait.
const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 2000,
    // About 20 ms.
    initial_lexer_fuel: 1_000_000,
    // About 15 ms.
    step_lexer_fuel: 200_000,
    step_max_items: 50_000,
    // About 1 kB each.
    max_lexer_states: 100_000,
    max_grammar_size: 500_000,
    precompute_large_lexemes: true,
    verbose_errors: false,
};

/// The vocabulary, and sets of its tokens.
pub(crate) struct Vocabulary {
    pub factory: ParserFactory,
    /// The bytes that each token writes; none for special tokens.
    pub bytes: Vec<Box<[u8]>>,
    /// The ids that end an answer.
    pub stop: TokenSet,
    /// Tokens that begin with a space, each with the one that is the same without it: as the first of a text, it writes
    /// that. Empty for vocabularies where the first space is a part of the text.
    pub spaced: Vec<(u32, Option<u32>)>,
    pub numbers: NumberTokens,
    /// Tokens with an opening bracket.
    pub openers: TokenSet,
    /// Tokens with an opening bracket after a quotation mark.
    pub quote_openers: TokenSet,
}

/// Tokens by how they go on with a number.
pub(crate) struct NumberTokens {
    /// Those that begin with at least one, two, three digits.
    pub digits: [TokenSet; 3],
    /// Those that begin with a sign and at least three digits.
    pub signed: TokenSet,
    /// Those that are a number with an exponent of at least three digits.
    pub exponents: TokenSet,
}

impl Vocabulary {
    /// The vocabulary of a tokenizer. Fails where no token ends an answer.
    pub fn new(tokenizer: &Tokenizer) -> Result<Vocabulary, String> {
        let n = tokenizer.vocab_size();
        let ids = || 0..n as u32;
        let stop_ids: Vec<u32> =
            tokenizer.stop_ids().iter().copied().filter(|id| (*id as usize) < n).collect();
        let Some(first_stop) = stop_ids.first() else {
            return Err("its vocabulary has no token that ends an answer".into());
        };
        let bytes: Vec<Box<[u8]>> = ids().map(|id| bytes_of(tokenizer, id).into()).collect();
        let words: Vec<Vec<u8>> = ids().map(|id| word_of(tokenizer, id, &bytes[id as usize])).collect();
        // What it checks of our words are assertions.
        let factory = panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let trie =
                TokTrie::from(&TokRxInfo::new(n as u32, *first_stop), &words).with_eos_tokens(&stop_ids);
            // Bytes that a grammar leaves no choice about are not forced as the tokens of one way to cut them.
            let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            let slices = SlicedBiasComputer::general_slices();
            let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices)?;
            factory.quiet();
            *factory.limits_mut() = LIMITS;
            Ok(factory)
        }));
        let factory = factory.map_err(|error| first_line(&error.to_string()))?;
        let set =
            |has: &dyn Fn(&[u8]) -> bool| TokenSet::new(n, ids().filter(|id| has(&bytes[*id as usize])));
        let is_opener = |byte: &u8| matches!(byte, b'{' | b'[');
        Ok(Vocabulary {
            stop: TokenSet::new(n, stop_ids.iter().copied()),
            spaced: spaced(tokenizer, &bytes),
            numbers: NumberTokens {
                digits: [1, 2, 3].map(|n| set(&|bytes| n_digits(bytes) >= n)),
                signed: set(&|bytes| matches!(bytes, [b'+' | b'-', rest @ ..] if n_digits(rest) >= 3)),
                exponents: set(&has_long_exponent),
            },
            openers: set(&|bytes| bytes.iter().any(is_opener)),
            quote_openers: set(&|bytes| bytes.iter().skip_while(|byte| **byte != b'"').any(is_opener)),
            factory,
            bytes,
        })
    }
}

/// What a token writes.
fn bytes_of(tokenizer: &Tokenizer, id: u32) -> &[u8] {
    match tokenizer.kind(id) {
        TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte => {
            let bytes = tokenizer.decode_bytes(id);
            if bytes.len() > MAX_TOKEN_BYTES { &[] } else { bytes }
        }
        TokenKind::Control | TokenKind::Unknown | TokenKind::Unused => &[],
    }
}

/// A token in the tree: its bytes, or the name of a special token behind a byte that no text has.
fn word_of(tokenizer: &Tokenizer, id: u32, bytes: &[u8]) -> Vec<u8> {
    match tokenizer.kind(id) {
        TokenKind::Control if tokenizer.piece_bytes(id).len() < MAX_TOKEN_BYTES => {
            [&[TokTrie::SPECIAL_TOKEN_MARKER], tokenizer.piece_bytes(id)].concat()
        }
        _ if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) => Vec::new(),
        _ => bytes.to_vec(),
    }
}

/// The tokens whose first space is not a part of a text that begins with them.
fn spaced(tokenizer: &Tokenizer, bytes: &[Box<[u8]>]) -> Vec<(u32, Option<u32>)> {
    let loses_space =
        |id: u32| bytes[id as usize].first() == Some(&b' ') && !tokenizer.decode(&[id]).starts_with(' ');
    let ids = (0..bytes.len() as u32).filter(|id| loses_space(*id));
    let mut bare = std::collections::HashMap::new();
    for (id, bytes) in (0u32..).zip(bytes).filter(|(_, bytes)| !bytes.is_empty()) {
        bare.entry(&**bytes).or_insert(id);
    }
    ids.map(|id| (id, bare.get(&bytes[id as usize][1..]).copied())).collect()
}

fn n_digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Whether it begins like `1.5e100`.
fn has_long_exponent(bytes: &[u8]) -> bool {
    let n = bytes.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-')).count();
    let Some((b'e' | b'E', rest)) = bytes[n..].split_first() else { return false };
    n_digits(rest.strip_prefix(b"+").or(rest.strip_prefix(b"-")).unwrap_or(rest)) >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_seen() {
        for long in ["e100", "E+999", "1.5e-123", ".5e000,"] {
            assert!(has_long_exponent(long.as_bytes()), "{long}");
        }
        for short in ["e10", "name100", "\"e100", "1e5", "", "1.5"] {
            assert!(!has_long_exponent(short.as_bytes()), "{short}");
        }
    }
}
