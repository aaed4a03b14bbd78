//! What goes into a pass: tokens, the images among them, and the sequences they belong to.

use std::ops::Range;

use puna_tensor::Var;

use crate::config::{Config, LayerAttention, Tower};
use crate::error::ModelError;
use crate::kv_cache::{ImageKeys, KvCache};

/// New tokens of one sequence, and the cache of those before.
pub struct CachedSequence<'a> {
    /// How many of the step's tokens belong to this sequence.
    pub n_tokens: usize,
    /// What the sequence has seen; the new tokens are added.
    pub cache: &'a mut KvCache,
}

/// What a pass computes: tokens, and the images that some of them stand for.
#[derive(Clone, Copy, Default)]
pub struct Input<'a> {
    /// Token ids.
    pub tokens: &'a [u32],
    /// In the order of their tokens.
    pub images: &'a [PlacedImage],
}

/// An image, or a part of one, among the tokens of a pass.
#[derive(Clone)]
pub struct PlacedImage {
    /// The tokens that stand for it, as indices into the pass's tokens, ascending: one where the decoder
    /// attends to images, one for each vector where vectors take the place of tokens.
    pub tokens: Vec<usize>,
    /// What [`Model::encode_image`](crate::Model::encode_image) made of it.
    pub vectors: Var,
    /// The first vector that takes the place of a token, where this is not the image's beginning.
    pub first: usize,
}

impl<'a> From<&'a [u32]> for Input<'a> {
    fn from(tokens: &'a [u32]) -> Input<'a> {
        Input { tokens, images: &[] }
    }
}

impl<'a> From<&'a Vec<u32>> for Input<'a> {
    fn from(tokens: &'a Vec<u32>) -> Input<'a> {
        tokens.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for Input<'a> {
    fn from(tokens: &'a [u32; N]) -> Input<'a> {
        tokens.as_slice().into()
    }
}

/// How the tokens of a pass are divided into sequences.
pub enum Sequences<'a, 'b> {
    /// Whole sequences, given as ranges of the tokens, in order and covering all of them; positions begin at
    /// 0 in each.
    Whole(&'a [Range<usize>]),
    /// Continuations of cached sequences, in the order of the tokens.
    Cached(&'a mut [CachedSequence<'b>]),
}

impl Sequences<'_, '_> {
    /// The positions of each sequence's tokens.
    pub(crate) fn positions(&self) -> Vec<Range<usize>> {
        match self {
            Sequences::Whole(sequences) => sequences.iter().map(|rows| 0..rows.len()).collect(),
            Sequences::Cached(cached) => {
                cached.iter().map(|s| s.cache.len()..s.cache.len() + s.n_tokens).collect()
            }
        }
    }

    /// Reserves what the caches need for the new tokens. Fails with all caches as before.
    pub(crate) fn reserve(&mut self, config: &Config, images: &[PlacedImage]) -> Result<(), ModelError> {
        let Sequences::Cached(cached) = self else { return Ok(()) };
        let mut first = 0;
        let reserved = cached.iter_mut().try_for_each(|sequence| {
            let own = first..first + sequence.n_tokens;
            first = own.end;
            config.reserve(sequence.cache, own, images)
        });
        reserved.inspect_err(|_| cached.iter_mut().for_each(|sequence| sequence.cache.release_reserved()))
    }

    /// Counts the new tokens as held by their caches, once all layers have stored their keys and values.
    pub(crate) fn advance(&mut self) {
        if let Sequences::Cached(cached) = self {
            cached.iter_mut().for_each(|sequence| sequence.cache.advance(sequence.n_tokens));
        }
    }
}

impl Config {
    /// Reserves what a sequence's cache needs for its part `own` of the tokens of a pass with these images.
    pub(crate) fn reserve(
        &self,
        cache: &mut KvCache,
        own: Range<usize>,
        images: &[PlacedImage],
    ) -> Result<(), ModelError> {
        cache.reserve(own.len(), &self.image_keys(&own, images))
    }

    /// The keys of the images among a sequence's part `own` of the tokens of a pass.
    pub(crate) fn image_keys(&self, own: &Range<usize>, images: &[PlacedImage]) -> Vec<ImageKeys> {
        // Images that are fused early have no keys of their own.
        let images = if self.cross_layers.is_empty() { &[] } else { images };
        let of_image = |image: &PlacedImage| Some((*image.tokens.first()?, image.vectors.rows()));
        let own_images = images.iter().filter_map(of_image).filter(|(token, _)| own.contains(token));
        own_images.map(|(token, n_keys)| ImageKeys { position: token - own.start, n_keys }).collect()
    }

    /// Refuses tokens, sequences and rows that a pass of these layers cannot compute.
    pub(crate) fn check_tokens(
        &self,
        tokens: &[u32],
        sequences: &Sequences,
        wanted: Option<&[usize]>,
        layers: &Range<usize>,
    ) -> Result<(), ModelError> {
        let input = |fact: String| Err(ModelError::Input(fact));
        if tokens.is_empty() {
            return input("there are no tokens to compute".into());
        }
        let n_tokens = self.n_embeddings();
        if let Some(token) = tokens.iter().find(|t| **t as usize >= n_tokens) {
            return input(format!("token id {token} is outside the vocabulary of {n_tokens}"));
        }
        if let Some(row) = wanted.into_iter().flatten().find(|row| **row >= tokens.len()) {
            return input(format!("logits of token {row} were asked for, but there are {}", tokens.len()));
        }
        // A cache keeps what a window has left behind.
        let kept =
            self.layer_attention().skip(layers.start).take(layers.len()).map(|attention| match attention {
                LayerAttention::Window(_) => LayerAttention::Full,
                other => other,
            });
        let kept: Vec<LayerAttention> = kept.collect();
        let layout_fits = |cache: &KvCache| {
            let layout = cache.layout();
            layout.head_dim() == self.head_dim
                && cache.first_layer() == layers.start
                && cache.layer_attention().eq(kept.iter().copied())
                && layers.clone().all(|i| cache.layer_layout(i).n_kv_heads() == self.heads(i).n_kv_heads)
        };
        let lens: Vec<(usize, usize)> = match sequences {
            Sequences::Whole(sequences) => {
                let in_order = sequences.windows(2).all(|pair| pair[0].end == pair[1].start);
                let ends = sequences.first().map(|s| s.start) == Some(0);
                if !(in_order && ends && sequences.iter().all(|s| s.start < s.end)) {
                    return input("sequences must be non-empty, in order and without gaps".into());
                }
                sequences.iter().map(|rows| (0, rows.len())).collect()
            }
            Sequences::Cached(cached) => {
                if let Some(sequence) = cached.iter().find(|s| !layout_fits(s.cache) || s.n_tokens == 0) {
                    let n_tokens = sequence.n_tokens;
                    return input(format!(
                        "a sequence's cache and its {n_tokens} new tokens do not fit these layers"
                    ));
                }
                cached.iter().map(|s| (s.cache.len(), s.n_tokens)).collect()
            }
        };
        let total = lens.iter().fold(0usize, |sum, (_, new)| sum.saturating_add(*new));
        if total != tokens.len() {
            return input(format!("there are {} tokens, but the sequences count {total}", tokens.len()));
        }
        let max = self.max_seq_len;
        if let Some((past, new)) = lens.iter().find(|(past, new)| past + new > max) {
            return input(format!(
                "a sequence of {} tokens ({past} cached and {new} new) is longer than the model's context of {max}",
                past + new
            ));
        }
        Ok(())
    }

    /// Refuses images that do not fit their tokens or the model.
    pub(crate) fn check_images(&self, tokens: &[u32], images: &[PlacedImage]) -> Result<(), ModelError> {
        let input = |fact: String| Err(ModelError::Input(fact));
        let Some(vision) = &self.vision else {
            return if images.is_empty() { Ok(()) } else { input("the model does not see images".into()) };
        };
        let mut next = 0;
        for PlacedImage { tokens: at, vectors, first } in images {
            if vectors.cols() != self.dim || vectors.rows() == 0 || at.is_empty() {
                return input(format!(
                    "an image of {} vectors of {} is none",
                    vectors.rows(),
                    vectors.cols()
                ));
            }
            for token in at {
                if *token < next || tokens.get(*token) != Some(&vision.image_token) {
                    return input(format!("token {token} does not stand for an image"));
                }
                next = token + 1;
            }
            let fits = match vision.tower {
                Tower::CrossAttention(_) => at.len() == 1 && *first == 0,
                Tower::EarlyFusion(_) => first.saturating_add(at.len()) <= vectors.rows(),
            };
            if !fits {
                return input(format!(
                    "{} tokens do not fit an image of {} vectors",
                    at.len(),
                    vectors.rows()
                ));
            }
        }
        Ok(())
    }

    /// Refuses layers that there are not, and hidden states of other sizes.
    pub(crate) fn check_stage(
        &self,
        layers: &Range<usize>,
        hidden: Option<[usize; 2]>,
        n_tokens: usize,
    ) -> Result<(), ModelError> {
        let input = |fact: String| Err(ModelError::Input(fact));
        if layers.start >= layers.end || layers.end > self.n_layers {
            return input(format!("layers {layers:?} are not layers of {}", self.n_layers));
        }
        match hidden {
            Some(sizes) if sizes != [n_tokens, self.dim] => {
                input(format!("hidden states {sizes:?} do not fit {n_tokens} tokens of width {}", self.dim))
            }
            None if layers.start > 0 => input("layers after the first need hidden states".into()),
            _ => Ok(()),
        }
    }
}
