//! The vocabulary: the bytes and the kind of every token id, and the way back from bytes to an id.
//!
//! All token bytes lie in one buffer, and a hash table of 8-byte slots leads from bytes to ids; a lookup
//! is the inner step of every encoder here. Only tokens that text may become by itself are in the
//! table; control tokens are found by name elsewhere (`special.rs`), so that ordinary text cannot reach
//! them. SentencePiece's `▁` is stored as the space it stands for.

use std::hash::{BuildHasher, RandomState};

use crate::error::TokenizerError;

/// An id no vocabulary has; marks a symbol without a token.
pub(crate) const NO_TOKEN: u32 = u32::MAX;

/// More tokens than any vocabulary has. Also bounds ids, so that a hostile id cannot make us allocate.
pub(crate) const MAX_TOKENS: usize = 1 << 24;

/// What a token is for. The names are SentencePiece's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Ordinary text.
    Normal,
    /// Stands for text that has no token.
    Unknown,
    /// A marker such as BOS: no text of its own, never produced from ordinary text.
    Control,
    /// Text that is always one token, whatever the merges say.
    UserDefined,
    /// A row without a meaning: padding of the vocabulary, or a hole in the ids.
    Unused,
    /// One raw byte, used where a character has no token.
    Byte,
}

/// One token on its way into a [`Vocab`].
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub bytes: Vec<u8>,
    pub kind: TokenKind,
}

impl Token {
    pub fn new(bytes: impl Into<Vec<u8>>, kind: TokenKind) -> Token {
        Token { bytes: bytes.into(), kind }
    }

    /// A row that stands for nothing.
    pub fn unused() -> Token {
        Token::new([], TokenKind::Unused)
    }
}

/// Puts tokens that name their own ids in order of id; ids nobody names become unused rows.
///
/// Fails for an id that two tokens claim, and for ids so far apart that the gaps would dwarf the file.
pub(crate) fn order_by_id(
    form: &'static str,
    tokens: Vec<(u32, Token)>,
) -> Result<Vec<Token>, TokenizerError> {
    let id_limit = (2 * tokens.len() + (1 << 16)).min(MAX_TOKENS);
    let n_rows = tokens.iter().map(|(id, _)| *id as usize + 1).max().unwrap_or(0);
    if n_rows > id_limit {
        let what = format!("token id {} in a vocabulary of {} tokens", n_rows - 1, tokens.len());
        return Err(TokenizerError::malformed(form, what));
    }
    let mut rows: Vec<Option<Token>> = vec![None; n_rows];
    for (id, token) in tokens {
        let row = &mut rows[id as usize];
        if let Some(first) = row {
            let (a, b) = (String::from_utf8_lossy(&first.bytes), String::from_utf8_lossy(&token.bytes));
            return Err(TokenizerError::malformed(form, format!("id {id} is given to `{a}` and to `{b}`")));
        }
        *row = Some(token);
    }
    Ok(rows.into_iter().map(|row| row.unwrap_or_else(Token::unused)).collect())
}

/// All tokens of a tokenizer. Immutable.
#[derive(Debug)]
pub(crate) struct Vocab {
    bytes: Vec<u8>,
    /// `bytes[ends[id]..ends[id + 1]]` is token `id`; one longer than the vocabulary.
    ends: Vec<u32>,
    kinds: Vec<TokenKind>,
    table: ByteTable,
    byte_ids: [u32; 256],
}

impl Vocab {
    /// Builds the vocabulary; `form` names the file in an error.
    pub fn new(form: &'static str, tokens: &[Token]) -> Result<Vocab, TokenizerError> {
        if tokens.len() > MAX_TOKENS {
            return Err(TokenizerError::malformed(form, format!("{} tokens", tokens.len())));
        }
        let n_bytes: usize = tokens.iter().map(|t| t.bytes.len()).sum();
        if u32::try_from(n_bytes).is_err() {
            return Err(TokenizerError::malformed(form, format!("{n_bytes} bytes of tokens")));
        }
        let mut bytes = Vec::with_capacity(n_bytes);
        let mut ends = Vec::with_capacity(tokens.len() + 1);
        ends.push(0);
        for token in tokens {
            bytes.extend_from_slice(&token.bytes);
            ends.push(bytes.len() as u32);
        }
        let kinds = tokens.iter().map(|t| t.kind).collect();
        let mut vocab = Vocab { bytes, ends, kinds, table: ByteTable::empty(), byte_ids: [NO_TOKEN; 256] };
        vocab.fill_table(tokens);
        Ok(vocab)
    }

    fn fill_table(&mut self, tokens: &[Token]) {
        let mut table = ByteTable::with_room_for(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            match (token.kind, token.bytes.as_slice()) {
                (TokenKind::Byte, &[byte]) => self.byte_ids[usize::from(byte)] = id as u32,
                // Where two rows hold the same text the first one wins, as in the reference tables.
                (TokenKind::Normal, text) if !text.is_empty() => table.insert_first(self, id as u32, text),
                _ => {}
            }
        }
        // A byte-level vocabulary has its bytes as ordinary tokens.
        for byte in 0..=255u8 {
            if self.byte_ids[usize::from(byte)] == NO_TOKEN
                && let Some(id) = table.find(self, &[byte])
            {
                self.byte_ids[usize::from(byte)] = id;
            }
        }
        self.table = table;
    }

    /// A vocabulary of tokens as a file writes them, which text is looked up in as it stands. With `has_bytes` those
    /// called `<0x00>` to `<0xFF>` are bytes too.
    pub fn of_names(form: &'static str, names: &[Token], has_bytes: bool) -> Result<Vocab, TokenizerError> {
        let mut vocab = Vocab::new(form, names)?;
        vocab.byte_ids = [NO_TOKEN; 256];
        if has_bytes {
            for byte in 0..=255u8 {
                let id = vocab.find(format!("<0x{byte:02X}>").as_bytes());
                vocab.byte_ids[usize::from(byte)] = id.unwrap_or(NO_TOKEN);
            }
        }
        Ok(vocab)
    }

    /// Number of ids, unused ones included.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The bytes of `id`; empty for an id outside the vocabulary.
    #[inline]
    pub fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        if id >= self.len() {
            return &[];
        }
        &self.bytes[self.ends[id] as usize..self.ends[id + 1] as usize]
    }

    /// The kind of `id`; an id outside the vocabulary is unused.
    pub fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Unused)
    }

    /// The ordinary token with exactly these bytes.
    #[inline]
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        self.table.find(self, text)
    }

    /// The token for one raw byte, or [`NO_TOKEN`].
    #[inline]
    pub fn byte_id(&self, byte: u8) -> u32 {
        self.byte_ids[usize::from(byte)]
    }
}

/// Open addressing with linear probing over (hash tag, id); the keys themselves stay in the vocabulary.
#[derive(Debug)]
struct ByteTable {
    slots: Vec<(u32, u32)>,
    /// Drawn anew in every process, so that no file can be made whose tokens all collide.
    seed: u64,
}

impl ByteTable {
    fn empty() -> ByteTable {
        ByteTable { slots: vec![(0, NO_TOKEN)], seed: 0 }
    }

    fn with_room_for(n_tokens: usize) -> ByteTable {
        let n_slots = (2 * n_tokens).next_power_of_two().max(2);
        ByteTable { slots: vec![(0, NO_TOKEN); n_slots], seed: RandomState::new().hash_one(n_tokens) }
    }

    #[inline]
    fn find(&self, vocab: &Vocab, text: &[u8]) -> Option<u32> {
        let hash = hash(self.seed, text);
        let (tag, mask) = ((hash >> 32) as u32, self.slots.len() - 1);
        let mut at = hash as usize & mask;
        loop {
            let (slot_tag, id) = self.slots[at];
            if id == NO_TOKEN {
                return None;
            }
            if slot_tag == tag && vocab.bytes(id) == text {
                return Some(id);
            }
            at = (at + 1) & mask;
        }
    }

    fn insert_first(&mut self, vocab: &Vocab, id: u32, text: &[u8]) {
        if self.find(vocab, text).is_some() {
            return;
        }
        let hash = hash(self.seed, text);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].1 != NO_TOKEN {
            at = (at + 1) & mask;
        }
        self.slots[at] = ((hash >> 32) as u32, id);
    }
}

/// A seeded hash for short keys: two overlapping words folded by one wide multiplication.
#[inline]
fn hash(seed: u64, text: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 / golden ratio
    let word = |at: usize| u64::from_le_bytes(text[at..at + 8].try_into().unwrap_or_default());
    let half = |at: usize| u64::from(u32::from_le_bytes(text[at..at + 4].try_into().unwrap_or_default()));
    let n = text.len();
    let mut state = seed ^ (n as u64).wrapping_mul(ODD);
    let (low, high) = match n {
        0 => (0, 0),
        1..4 => (u64::from(text[0]) | u64::from(text[n / 2]) << 8 | u64::from(text[n - 1]) << 16, 0),
        4..8 => (half(0), half(n - 4)),
        _ => {
            let mut at = 0;
            while n - at > 16 {
                state = fold(state ^ word(at), ODD ^ word(at + 8));
                at += 16;
            }
            (word(at.min(n - 8)), word(n - 8))
        }
    };
    fold(state ^ low, ODD ^ high ^ seed.rotate_left(32))
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_length() {
        let tokens: Vec<Token> =
            (0..80).map(|n| Token::new(vec![b'a' + (n % 3) as u8; n], TokenKind::Normal)).collect();
        let vocab = Vocab::new("test", &tokens).unwrap();
        assert_eq!(vocab.find(b""), None);
        for (id, token) in tokens.iter().enumerate().skip(1) {
            assert_eq!(vocab.find(&token.bytes), Some(id as u32));
            assert_eq!(vocab.bytes(id as u32), token.bytes);
            assert_eq!(vocab.find(&[&token.bytes[..], b"x"].concat()), None);
        }
        assert_eq!(vocab.bytes(80), b"");
        assert_eq!(vocab.kind(80), TokenKind::Unused);
    }

    #[test]
    fn control_tokens_are_not_text() {
        let tokens = [Token::new("<s>", TokenKind::Control), Token::new("a", TokenKind::Normal)];
        let vocab = Vocab::new("test", &tokens).unwrap();
        assert_eq!(vocab.find(b"<s>"), None);
        assert_eq!(vocab.find(b"a"), Some(1));
        assert_eq!(vocab.byte_id(b'a'), 1);
    }

    #[test]
    fn rows_are_ordered_and_gaps_bounded() {
        let token = |text: &str| Token::new(text, TokenKind::Normal);
        let rows = order_by_id("test", vec![(2, token("b")), (0, token("a"))]).unwrap();
        assert_eq!(rows.iter().map(|t| t.bytes.len()).collect::<Vec<_>>(), [1, 0, 1]);
        assert!(order_by_id("test", vec![(1, token("a")), (1, token("b"))]).is_err());
        assert!(order_by_id("test", vec![(u32::MAX - 1, token("a"))]).is_err());
    }
}
