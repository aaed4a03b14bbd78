//! Attention of text to images: which tokens see which images, and where their keys and values are.

use std::ops::Range;

use puna_tensor::{AttentionShape, AttentionSpan, Graph, KeyValues, Queries, Sees, Var};

use crate::input::{CachedSequence, PlacedImage, Sequences};

/// The images that tokens of a pass see.
pub(crate) struct SeenImages {
    /// The vectors of those that are new in this pass, one after the other; `None` if none is.
    pub vectors: Option<Var>,
    /// Of each new one, its token and its rows among these.
    new: Vec<(usize, Range<usize>)>,
    /// The tokens that see an image. To all others the layer does nothing.
    pub rows: Vec<usize>,
    /// Without a cache: which of those rows see which vectors.
    pub spans: Vec<AttentionSpan>,
}

/// What tokens see of images: of those that are new in this pass and of those in the caches. A token sees the
/// images at and before it that follow each other without anything between them. `None` if no token sees one.
pub(crate) fn see_images<'m>(
    graph: &mut Graph<'m>,
    sequences: &Sequences,
    images: &[PlacedImage],
) -> Option<SeenImages> {
    let mut end = 0;
    let new: Vec<(usize, Range<usize>)> = images
        .iter()
        .map(|image| {
            let start = end;
            end += image.vectors.rows();
            (image.tokens[0], start..end)
        })
        .collect();
    let vectors: Vec<Var> = images.iter().map(|image| image.vectors.clone()).collect();
    let vectors = match &vectors[..] {
        [] => None,
        [only] => Some(only.clone()),
        several => Some(graph.stack_rows(several)),
    };
    let (mut rows, mut spans) = (Vec::new(), Vec::new());
    match sequences {
        Sequences::Whole(sequences) => {
            for sequence in sequences.iter() {
                let own: Vec<_> = new.iter().filter(|(token, _)| sequence.contains(token)).collect();
                let mut first_key = 0;
                for (i, (token, keys)) in own.iter().enumerate() {
                    if i == 0 || own[i - 1].0 + 1 < *token {
                        first_key = keys.start;
                    }
                    let end = own.get(i + 1).map_or(sequence.end, |(next, _)| *next);
                    let first_row = rows.len();
                    rows.extend(*token..end);
                    spans.push(AttentionSpan::all(first_row..rows.len(), first_key..keys.end));
                }
            }
        }
        Sequences::Cached(cached) => {
            let mut start = 0;
            for sequence in cached.iter() {
                rows.extend(sequence.cache.rows_that_see_images(sequence.n_tokens).map(|row| start + row));
                start += sequence.n_tokens;
            }
        }
    }
    (!rows.is_empty()).then_some(SeenImages { vectors, new, rows, spans })
}

/// Adds the keys and values of new images to the caches of their sequences.
pub(crate) fn store_images(
    graph: &mut Graph,
    cached: &mut [CachedSequence],
    layer: usize,
    images: &SeenImages,
    [k, v]: [&Var; 2],
) {
    let mut start = 0;
    for sequence in cached {
        let own = start..start + sequence.n_tokens;
        for (token, rows) in images.new.iter().filter(|(token, _)| own.contains(token)) {
            let position = sequence.cache.len() + token - start;
            let slots = sequence.cache.image_slots(layer, position, rows.clone());
            graph.store_kv(k, v, slots);
        }
        start = own.end;
    }
}

/// Attends from the tokens that see images to what they see; `q` are these tokens' alone.
pub(crate) fn attend_to_images(
    graph: &mut Graph,
    cached: &[CachedSequence],
    layer: usize,
    q: &Var,
    shape: AttentionShape,
) -> Var {
    let seen: Vec<_> =
        cached.iter().map(|sequence| sequence.cache.visible_images(layer, sequence.n_tokens)).collect();
    let mut row = 0;
    let queries: Vec<_> = cached
        .iter()
        .zip(&seen)
        .flat_map(|(sequence, seen)| seen.iter().map(|seen| (sequence.cache.layout(), seen)))
        .map(|(layout, seen)| {
            let first_row = row;
            row += seen.rows.len();
            let keys = KeyValues::Paged { layout, blocks: &seen.blocks };
            Queries { first_row, n_rows: seen.rows.len(), sees: Sees::All(seen.n_keys), keys }
        })
        .collect();
    graph.attention_cached(q, shape, &queries)
}
