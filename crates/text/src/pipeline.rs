//! The parts of a tokenizer file, put together as the file says: what changes a text, what cuts it into words, and the
//! model that makes tokens of them.
//!
//! Byte-level BPE is the usual one (Llama 3 and 4): there the text stays as it is, and the vocabulary holds bytes. All
//! other models look words up as the file writes its tokens.

use std::borrow::Cow;

use crate::decode::Decoding;
use crate::merge::{Merger, Scratch};
use crate::normalize::{Normalizer, Place, normalized};
use crate::pre_tokenize::{PreTokenizer, for_each_word};
use crate::sentencepiece::Prefix;
use crate::split::for_each_slice;
use crate::unigram::Unigram;
use crate::vocab::Vocab;
use crate::word_models::{WordLevel, WordPiece};

/// An encoder made of parts; the vocabulary is kept apart.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub normalizers: Vec<Normalizer>,
    pub cuts: Vec<PreTokenizer>,
    pub model: Model,
    /// Which stretches of a text some part may put a space in front of.
    pub prefix: Prefix,
    /// Whether `legacy` in a configuration beside the file decides that, the file itself saying nothing.
    pub legacy_decides: bool,
    /// Whether long runs are cut as Meta's tokenizer does; files of other makers mean no cut.
    pub cuts_long_runs: bool,
    /// How ids become text; `None` where a text is what its tokens hold.
    pub decoding: Option<Decoding>,
}

/// What makes tokens of words.
#[derive(Debug)]
pub(crate) enum Model {
    /// Bytes, merged: words are looked up in the tokenizer's own vocabulary.
    ByteBpe(Merger),
    /// Characters, merged: words are looked up among the tokens as the file writes them.
    CharBpe {
        merger: Merger,
        names: Box<Vocab>,
    },
    Unigram(Unigram),
    WordPiece(WordPiece),
    WordLevel(WordLevel),
}

impl Pipeline {
    /// Byte-level BPE whose words `cuts` make.
    pub fn byte_level(cuts: Vec<PreTokenizer>, merger: Merger) -> Pipeline {
        Pipeline {
            normalizers: Vec::new(),
            cuts,
            model: Model::ByteBpe(merger),
            prefix: Prefix::Never,
            legacy_decides: false,
            cuts_long_runs: false,
            decoding: None,
        }
    }

    /// `text` as the model sees it.
    pub fn normalize<'t>(&self, text: &'t str, place: &mut Place) -> Cow<'t, str> {
        normalized(&self.normalizers, text, place)
    }

    /// Appends the tokens of a normalised text, which is all ordinary text.
    pub fn encode(&self, vocab: &Vocab, text: &str, place: Place, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        match (self.cuts.as_slice(), &self.model) {
            ([PreTokenizer::Words(splitter)], Model::ByteBpe(merger)) => {
                splitter.for_each_word(text, |word| merger.encode_word(vocab, word, scratch, ids));
            }
            (cuts, model) => {
                for_each_word(cuts, text, place, &mut |word| model.encode_word(vocab, word, scratch, ids));
            }
        }
    }

    /// The slices of `text` that are encoded apart from each other.
    pub fn for_each_slice<'t>(&self, text: &'t str, mut slice: impl FnMut(&'t str)) {
        if self.cuts_long_runs { for_each_slice(text, slice) } else { slice(text) }
    }
}

impl Model {
    fn encode_word(&self, vocab: &Vocab, word: &str, scratch: &mut Scratch, ids: &mut Vec<u32>) {
        match self {
            Model::ByteBpe(merger) => merger.encode_word(vocab, word, scratch, ids),
            Model::CharBpe { merger, names } => merger.encode_word(names, word, scratch, ids),
            Model::Unigram(model) => model.encode_word(word, ids),
            Model::WordPiece(model) => model.encode_word(word, ids),
            Model::WordLevel(model) => model.encode_word(word, ids),
        }
    }
}
