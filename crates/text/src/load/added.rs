//! Tokens that were added to a vocabulary: where Hugging Face's files keep them, and which ids they get.

use serde::Deserialize;

/// An added token as Hugging Face's files describe it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub struct AddedToken {
    /// Its id, where the file says one.
    pub id: Option<u32>,
    /// Its text.
    pub content: String,
    /// Whether it steers the model: text must not become it by itself.
    pub special: bool,
    /// Whether it is looked for in the normalised text.
    pub normalized: bool,
    /// Whether it takes the white space in front of it.
    pub lstrip: bool,
    /// Whether it takes the white space after it.
    pub rstrip: bool,
    /// Whether it is found only where no word touches it.
    pub single_word: bool,
    /// Whether a file merely gives it a purpose: a token that is there already stays as it is described.
    pub is_only_named: bool,
}

/// The JSON as it stands.
#[derive(Deserialize)]
struct Raw {
    id: Option<u32>,
    content: String,
    #[serde(default)]
    special: bool,
    normalized: Option<bool>,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
}

impl From<Raw> for AddedToken {
    fn from(raw: Raw) -> AddedToken {
        AddedToken {
            id: raw.id,
            content: raw.content,
            special: raw.special,
            normalized: raw.normalized.unwrap_or(!raw.special),
            lstrip: raw.lstrip,
            rstrip: raw.rstrip,
            single_word: raw.single_word,
            is_only_named: false,
        }
    }
}

impl AddedToken {
    /// A token without flags but for being special.
    pub fn new(id: Option<u32>, content: impl Into<String>, special: bool) -> AddedToken {
        AddedToken {
            id,
            content: content.into(),
            special,
            normalized: !special,
            lstrip: false,
            rstrip: false,
            single_word: false,
            is_only_named: false,
        }
    }
}

/// Gives every token its id, the first way that works: the one of the vocabulary's token with this text (`known`), its
/// own if it is free, the next one after all others. Of tokens with one text the last describes it. Those that are only
/// named get no id beyond the `n_rows` of the model.
pub(crate) fn with_ids(
    tokens: impl IntoIterator<Item = AddedToken>,
    known: impl Fn(&str) -> Option<u32>,
    is_taken: impl Fn(u32) -> bool,
    n_known: u32,
    n_rows: Option<usize>,
) -> Vec<(u32, AddedToken)> {
    let mut placed: Vec<(u32, AddedToken)> = Vec::new();
    let mut place_of = std::collections::HashMap::new();
    let mut used = std::collections::HashSet::new();
    let mut next = n_known;
    // A purpose makes no marker of a word: some files name `!` as their padding.
    let is_word = |token: &AddedToken| {
        token.is_only_named && known(&token.content).is_some() && !is_marker(&token.content)
    };
    for token in tokens.into_iter().filter(|token| !token.content.is_empty() && !is_word(token)) {
        if let Some(&at) = place_of.get(&token.content) {
            let (id, _): (u32, _) = placed[at];
            if !token.is_only_named {
                placed[at] = (id, token);
            }
            continue;
        }
        let own = token.id.filter(|id| !is_taken(*id) && !used.contains(id));
        let id = known(&token.content).or(own).unwrap_or_else(|| {
            while next < u32::MAX && (is_taken(next) || used.contains(&next)) {
                next += 1;
            }
            next
        });
        if token.is_only_named && n_rows.is_some_and(|n_rows| id as usize >= n_rows) {
            continue;
        }
        used.insert(id);
        next = next.max(id.saturating_add(1));
        place_of.insert(token.content.clone(), placed.len());
        placed.push((id, token));
    }
    placed
}

/// Whether a text looks like the name of a marker: `<s>`, `[PAD]`.
fn is_marker(text: &str) -> bool {
    [('<', '>'), ('[', ']')].into_iter().any(|(open, close)| text.starts_with(open) && text.ends_with(close))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_or_given() {
        let token = |id: Option<u32>, content: &str| AddedToken::new(id, content, false);
        let known = |text: &str| Some(0).filter(|_| text == "a").or((text.contains('!')).then_some(1));
        let tokens = [
            token(Some(7), "a"),
            token(Some(5), "b"),
            token(Some(1), "c"),
            token(None, "d"),
            AddedToken::new(None, "b", true),
            token(None, ""),
            AddedToken { is_only_named: true, ..token(None, "b") },
            AddedToken { is_only_named: true, ..token(None, "!") },
            AddedToken { is_only_named: true, ..token(None, "<!>") },
            AddedToken { is_only_named: true, ..token(None, "e") },
        ];
        let placed = with_ids(tokens, known, |id| id < 2, 2, Some(8));
        let shown: Vec<(u32, &str, bool)> =
            placed.iter().map(|(id, token)| (*id, token.content.as_str(), token.special)).collect();
        assert_eq!(
            shown,
            [(0, "a", false), (5, "b", true), (6, "c", false), (7, "d", false), (1, "<!>", false)]
        );
    }

    #[test]
    fn flags_have_defaults() {
        let token: AddedToken = serde_json::from_str(r#"{"content": "x", "special": true}"#).unwrap();
        assert_eq!(token, AddedToken::new(None, "x", true));
    }
}
