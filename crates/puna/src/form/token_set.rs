//! Sets of tokens, as bits.

/// A set of tokens: bit `id % 32` of word `id / 32`.
#[derive(Clone, Default)]
pub(crate) struct TokenSet(Vec<u32>);

impl TokenSet {
    /// The set of these ids, of a vocabulary of `n` tokens.
    pub fn new(n: usize, ids: impl IntoIterator<Item = u32>) -> TokenSet {
        let mut set = TokenSet(vec![0; n.div_ceil(32)]);
        ids.into_iter().for_each(|id| set.insert(id));
        set
    }

    /// The set that these words are, cut to a vocabulary of `n` tokens.
    pub fn copy(&mut self, n: usize, words: &[u32]) {
        self.0.clear();
        self.0.extend_from_slice(&words[..n.div_ceil(32).min(words.len())]);
        self.0.resize(n.div_ceil(32), 0);
        if let (Some(last), 1..) = (self.0.last_mut(), n % 32) {
            *last &= (1 << (n % 32)) - 1;
        }
    }

    /// Its words.
    pub fn words(&self) -> &[u32] {
        &self.0
    }

    pub fn insert(&mut self, id: u32) {
        self.0[id as usize / 32] |= 1 << (id % 32);
    }

    pub fn remove(&mut self, id: u32) {
        self.0[id as usize / 32] &= !(1 << (id % 32));
    }

    pub fn contains(&self, id: u32) -> bool {
        self.0.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Takes `other` out, unless nothing would be left.
    pub fn remove_unless_empty(&mut self, other: &TokenSet) {
        if self.0.iter().zip(&other.0).any(|(word, other)| word & !other != 0) {
            self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_left() {
        let mut set = TokenSet::new(70, [1, 33, 69]);
        set.remove_unless_empty(&TokenSet::new(70, [1, 33]));
        assert!(set.contains(69) && !set.contains(1) && !set.contains(33) && !set.contains(700));
        set.remove_unless_empty(&TokenSet::new(70, [69]));
        assert!(set.contains(69));
        set.remove(69);
        assert!(set.is_empty());
        set.copy(33, &[u32::MAX; 4]);
        assert_eq!(set.words(), [u32::MAX, 1]);
    }
}
