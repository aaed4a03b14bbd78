//! Decoders: what makes text of tokens, with the names that `tokenizer.json` gives them.
//!
//! Ids become text in two ways. A stream wants what each token adds to a text that has begun: that follows from the
//! token alone and is found out once, when the file is loaded ([`Decoder::bytes_of`]). A whole text may begin or end
//! otherwise: the chain is run over all its tokens.

use crate::byte_level::bytes_of_token;
use crate::pattern::{Pattern, max_grown};
use crate::piece::{SPACE_MARK, byte_of_piece};

/// One step of decoding.
#[derive(Debug, Clone)]
pub(crate) enum Decoder {
    /// Tokens in the byte-level alphabet become bytes, and one text.
    ByteLevel,
    /// `<0x0A>` becomes a byte; a row of them becomes text.
    ByteFallback,
    /// All tokens become one.
    Fuse,
    Replace {
        pattern: Pattern,
        content: String,
    },
    /// Takes up to so many of a character off both ends of each token.
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    /// `mark` becomes a space, or in the first token nothing.
    Metaspace {
        mark: char,
        drops_first: bool,
    },
    /// A space in front of tokens but the first, unless they begin with the prefix.
    WordPiece {
        prefix: String,
        cleans_up: bool,
    },
    /// What ends a word becomes a space, or at the end nothing.
    WordEnd(String),
    /// Repetitions count once.
    Ctc {
        pad: String,
        delimiter: String,
        cleans_up: bool,
    },
    /// Takes SentencePiece's mark of a space off the first token, or off all of them until something is left.
    FirstMark {
        off_all: bool,
    },
    /// A space between tokens: what no decoder at all means.
    Spaced,
}

/// A chain of decoders, and the tokens as the file writes them; `None` for those that are passed over.
#[derive(Debug, Clone)]
pub(crate) struct Decoding {
    pub chain: Vec<Decoder>,
    pub names: Vec<Option<String>>,
}

impl Decoding {
    /// The text of `ids` as a whole.
    pub fn text_of(&self, ids: &[u32]) -> String {
        let name = |id: &u32| self.names.get(*id as usize)?.clone();
        let tokens: Vec<String> = ids.iter().filter_map(name).collect();
        let n_bytes = |tokens: &[String]| tokens.iter().map(String::len).sum::<usize>();
        let max_bytes = max_grown(n_bytes(&tokens));
        let apply = |tokens: Vec<String>, decoder: &Decoder| {
            if n_bytes(&tokens) > max_bytes { tokens } else { decoder.apply(tokens) }
        };
        self.chain.iter().fold(tokens, apply).concat()
    }
}

impl Decoding {
    /// The token that the file writes so. Goes through all of them.
    pub fn id_of(&self, name: &str) -> Option<u32> {
        (0u32..).zip(&self.names).find(|(_, token)| token.as_deref() == Some(name)).map(|(id, _)| id)
    }
}

impl Decoder {
    fn apply(&self, tokens: Vec<String>) -> Vec<String> {
        let n = tokens.len();
        let each = |change: &dyn Fn(usize, &str) -> String| {
            tokens.iter().enumerate().map(|(at, token)| change(at, token)).collect()
        };
        match self {
            Decoder::ByteLevel => {
                let bytes: Vec<u8> = tokens.iter().flat_map(|token| byte_level(token)).collect();
                vec![String::from_utf8_lossy(&bytes).into_owned()]
            }
            Decoder::ByteFallback => join_bytes(tokens),
            Decoder::FirstMark { off_all } => without_first_mark(tokens, *off_all),
            Decoder::Fuse => vec![tokens.concat()],
            Decoder::Replace { .. } => each(&|_, token| self.changed(token, false, false)),
            Decoder::Strip { content, start, stop } => {
                each(&|_, token| strip(token, *content, *start, *stop).to_owned())
            }
            Decoder::Metaspace { mark, drops_first } => {
                each(&|at, token| token.replace(*mark, if at == 0 && *drops_first { "" } else { " " }))
            }
            Decoder::WordPiece { .. } | Decoder::Spaced => {
                each(&|at, token| self.changed(token, at == 0, false))
            }
            Decoder::WordEnd(_) => each(&|at, token| self.changed(token, false, at + 1 == n)),
            Decoder::Ctc { .. } => {
                let mut tokens = tokens;
                tokens.dedup();
                tokens
                    .iter()
                    .map(|token| self.changed(token, false, false))
                    .filter(|token| !token.is_empty())
                    .collect()
            }
        }
    }

    /// One token of a kind that does not care for its neighbours, but for whether it has any.
    fn changed(&self, token: &str, is_first: bool, is_last: bool) -> String {
        match self {
            Decoder::WordPiece { prefix, cleans_up } => {
                let token = match token.strip_prefix(prefix) {
                    _ if is_first => token.to_owned(),
                    Some(rest) => rest.to_owned(),
                    None => format!(" {token}"),
                };
                if *cleans_up { clean_up(token) } else { token }
            }
            Decoder::Spaced if is_first => token.to_owned(),
            Decoder::Spaced => format!(" {token}"),
            Decoder::WordEnd(suffix) => replace(token, suffix, if is_last { "" } else { " " }),
            Decoder::Ctc { pad, delimiter, cleans_up } => {
                let token = replace(token, pad, "");
                if *cleans_up { replace(&clean_up(token), delimiter, " ") } else { token }
            }
            Decoder::Metaspace { mark, .. } => token.replace(*mark, " "),
            Decoder::Replace { pattern, content } => {
                pattern.replace_all(token, content, max_grown(token.len()))
            }
            Decoder::ByteLevel
            | Decoder::ByteFallback
            | Decoder::Fuse
            | Decoder::Strip { .. }
            | Decoder::FirstMark { .. } => token.to_owned(),
        }
    }

    /// What the token called `name` adds to a text that has begun and goes on.
    pub fn bytes_of(chain: &[Decoder], name: &str) -> Vec<u8> {
        let mut text = name.to_owned();
        let mut is_whole_text = false;
        for decoder in chain {
            if text.len() > max_grown(name.len()) {
                break;
            }
            match decoder {
                Decoder::ByteLevel => return byte_level(&text),
                Decoder::ByteFallback => {
                    if let Some(byte) = byte_of_piece(&text) {
                        return vec![byte];
                    }
                }
                Decoder::Fuse => is_whole_text = true,
                Decoder::Strip { .. } if is_whole_text => {}
                Decoder::Strip { content, start, stop } => {
                    text = strip(&text, *content, *start, *stop).to_owned();
                }
                // Behind `Fuse` there is one token, the first.
                Decoder::WordPiece { .. } | Decoder::Spaced if is_whole_text => {}
                decoder => text = decoder.changed(&text, false, false),
            }
        }
        text.into_bytes()
    }
}

fn replace(text: &str, from: &str, to: &str) -> String {
    // An empty string is everywhere.
    if from.is_empty() { text.to_owned() } else { text.replace(from, to) }
}

/// The bytes of a token in the byte-level alphabet, or of its text if it is not in it.
pub(crate) fn byte_level(token: &str) -> Vec<u8> {
    bytes_of_token(token).unwrap_or_else(|| token.as_bytes().to_vec())
}

/// Rows of byte tokens as text; what is not UTF-8 becomes U+FFFD.
fn join_bytes(tokens: Vec<String>) -> Vec<String> {
    let mut joined = Vec::with_capacity(tokens.len());
    let mut bytes = Vec::new();
    for token in tokens {
        match byte_of_piece(&token) {
            Some(byte) => bytes.push(byte),
            None => {
                if !bytes.is_empty() {
                    joined.push(String::from_utf8_lossy(&bytes).into_owned());
                    bytes.clear();
                }
                joined.push(token);
            }
        }
    }
    if !bytes.is_empty() {
        joined.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    joined
}

fn strip(token: &str, content: char, start: usize, stop: usize) -> &str {
    let mut rest = token;
    for _ in 0..start.min(token.len()) {
        rest = rest.strip_prefix(content).unwrap_or(rest);
    }
    for _ in 0..stop.min(token.len()) {
        rest = rest.strip_suffix(content).unwrap_or(rest);
    }
    rest
}

/// The usual English spacing around punctuation, in the order in which `tokenizers` mends it.
fn clean_up(text: String) -> String {
    const MENDED: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    MENDED.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

fn without_first_mark(mut tokens: Vec<String>, off_all: bool) -> Vec<String> {
    for token in &mut tokens {
        let had_mark = token.starts_with(SPACE_MARK);
        if had_mark {
            token.remove(0);
        }
        if !token.is_empty() || had_mark && !off_all {
            break;
        }
    }
    tokens
}

/// How SentencePiece decodes; `strips` says whether the first mark is taken off, `off_all` whether all first ones are.
pub(crate) fn sentencepiece_chain(strips: bool, off_all: bool) -> Vec<Decoder> {
    let first = strips.then_some(Decoder::FirstMark { off_all });
    let rest = [Decoder::Metaspace { mark: SPACE_MARK, drops_first: false }, Decoder::ByteFallback];
    first.into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(chain: &[Decoder], tokens: &[&str]) -> String {
        let names = tokens.iter().map(|token| Some((*token).to_owned())).collect();
        let ids: Vec<u32> = (0..tokens.len() as u32).collect();
        Decoding { chain: chain.to_vec(), names }.text_of(&ids)
    }

    #[test]
    fn chains() {
        let chain = sentencepiece_chain(true, false);
        assert_eq!(text(&chain, &["▁▁a", "<0xC3>", "<0xA9>", "▁b"]), " aé b");
        assert_eq!(text(&chain, &["▁", "▁b"]), " b");
        assert_eq!(text(&sentencepiece_chain(true, true), &["▁", "▁▁b"]), " b");
        let strip = Decoder::Strip { content: ' ', start: 1, stop: 0 };
        assert_eq!(text(&[Decoder::Fuse, strip], &["  a", " b"]), " a b");
        assert_eq!(text(&[Decoder::Metaspace { mark: '▁', drops_first: true }], &["▁▁a", "▁b"]), "a b");
        assert_eq!(text(&[Decoder::ByteLevel], &["Ġa", "Ã", "©", "語"]), " aé語");
        let wordpiece = Decoder::WordPiece { prefix: "##".into(), cleans_up: true };
        assert_eq!(text(&[wordpiece], &["un", "##aff", "able", "."]), "unaff able.");
        assert_eq!(text(&[Decoder::WordEnd("</w>".into())], &["a", "b</w>", "c</w>"]), "ab c");
        let ctc = Decoder::Ctc { pad: "-".into(), delimiter: "|".into(), cleans_up: true };
        assert_eq!(text(&[ctc], &["a", "a", "-", "a", "|", "|", "b"]), "aa b");
        assert_eq!(text(&[Decoder::Spaced], &["a", "b"]), "a b");
        assert_eq!(text(&[Decoder::Strip { content: 'a', start: 1, stop: 9 }], &["aaba", "aaa", ""]), "ab");
        assert_eq!(text(&[Decoder::WordEnd(String::new())], &[]), "");
    }

    #[test]
    fn tokens_of_a_text_that_has_begun() {
        let bytes = |chain: &[Decoder], token: &str| Decoder::bytes_of(chain, token);
        let chain = sentencepiece_chain(true, false);
        assert_eq!((bytes(&chain, "▁a"), bytes(&chain, "<0xFF>")), (b" a".to_vec(), vec![0xFF]));
        assert_eq!(bytes(&[Decoder::Spaced], "a"), b" a");
        assert_eq!(bytes(&[Decoder::ByteLevel], "Ã"), [0xC3]);
        assert_eq!(bytes(&[Decoder::WordEnd("</w>".into())], "a</w>"), b"a ");
    }
}
