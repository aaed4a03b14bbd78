//! A trie over bytes: which tokens does a text begin with? For models that try many lengths at each place.

/// The most bytes of all keys together; each may cost a node of twelve. Vocabularies have a hundredth of it.
const MAX_KEY_BYTES: usize = 1 << 24;

const NO_VALUE: u32 = u32::MAX;

/// Keys and their values. Of equal keys the last counts.
#[derive(Debug, Clone)]
pub(crate) struct Trie {
    /// The root first; the children of a node stand together, in order of their bytes.
    nodes: Vec<Node>,
    /// The root's child for each first byte, or 0.
    first: Box<[u32; 256]>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    first_child: u32,
    n_children: u16,
    byte: u8,
    value: u32,
}

impl Trie {
    /// The trie of `keys` with values below `u32::MAX`; `None` if they are too long together.
    pub fn new<'k>(keys: impl IntoIterator<Item = (&'k str, u32)>) -> Option<Trie> {
        let mut keys: Vec<(&[u8], u32)> = keys
            .into_iter()
            .map(|(key, value)| (key.as_bytes(), value))
            .filter(|(key, _)| !key.is_empty())
            .collect();
        if keys.iter().map(|(key, _)| key.len()).sum::<usize>() > MAX_KEY_BYTES {
            return None;
        }
        // The sort is stable: the last of equal keys comes last.
        keys.sort_by_key(|(key, _)| *key);
        let node = |byte, value| Node { first_child: 0, n_children: 0, byte, value };
        let mut nodes = vec![node(0, NO_VALUE)];
        // Nodes whose children are still to be made: which keys lie below them, and how deep they are.
        let mut open = std::collections::VecDeque::from([(0, 0..keys.len(), 0)]);
        while let Some((at, mut below, depth)) = open.pop_front() {
            while below.start < below.end && keys[below.start].0.len() == depth {
                nodes[at].value = keys[below.start].1;
                below.start += 1;
            }
            nodes[at].first_child = nodes.len() as u32;
            while below.start < below.end {
                let byte = keys[below.start].0[depth];
                let n_same = keys[below.clone()].partition_point(|(key, _)| key[depth] == byte);
                let same = below.start..below.start + n_same;
                open.push_back((nodes.len(), same.clone(), depth + 1));
                nodes.push(node(byte, NO_VALUE));
                nodes[at].n_children += 1;
                below.start = same.end;
            }
        }
        let mut first = Box::new([0; 256]);
        for child in children(&nodes[0]) {
            first[usize::from(nodes[child].byte)] = child as u32;
        }
        Some(Trie { nodes, first })
    }

    /// Calls `found` with length and value of every key that `text` begins with, shortest first.
    #[inline]
    pub fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, u32)) {
        let Some(mut at) = text.first().map(|byte| self.first[usize::from(*byte)] as usize) else { return };
        if at == 0 {
            return;
        }
        for n in 1.. {
            let node = &self.nodes[at];
            if node.value != NO_VALUE {
                found(n, node.value);
            }
            let Some(&byte) = text.get(n) else { return };
            let below = &self.nodes[children(node)];
            let child = match below.len() {
                0..8 => below.iter().position(|child| child.byte == byte),
                _ => below.binary_search_by_key(&byte, |child| child.byte).ok(),
            };
            let Some(child) = child else { return };
            at = node.first_child as usize + child;
        }
    }

    /// The longest key that `text` begins with: its length and value.
    pub fn longest_prefix(&self, text: &str) -> Option<(usize, u32)> {
        let mut longest = None;
        self.prefixes(text.as_bytes(), |length, value| longest = Some((length, value)));
        longest
    }

    /// The value of a whole text.
    pub fn get(&self, text: &str) -> Option<u32> {
        self.longest_prefix(text).filter(|(length, _)| *length == text.len()).map(|(_, value)| value)
    }
}

fn children(node: &Node) -> std::ops::Range<usize> {
    node.first_child as usize..node.first_child as usize + usize::from(node.n_children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there() {
        let words = ["a", "ab", "abc", "b", "é", "a", "", "zzzz"];
        let many: Vec<String> = ('a'..='y').map(|c| format!("q{c}")).collect();
        let keys = words.iter().copied().chain(many.iter().map(String::as_str)).zip(0..);
        let trie = Trie::new(keys.clone()).unwrap();
        for (key, value) in keys.filter(|(key, _)| !key.is_empty() && *key != "a") {
            assert_eq!(trie.get(key), Some(value), "{key}");
        }
        assert_eq!(trie.get("a"), Some(5));
        assert_eq!((trie.get(""), trie.get("zz"), trie.get("x"), trie.get("qz")), (None, None, None, None));
        let mut lengths = Vec::new();
        trie.prefixes(b"abcd", |length, value| lengths.push((length, value)));
        assert_eq!(lengths, [(1, 5), (2, 1), (3, 2)]);
        assert_eq!(trie.longest_prefix("abx"), Some((2, 1)));
        assert_eq!(Trie::new([]).unwrap().get("a"), None);
    }
}
