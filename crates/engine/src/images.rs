//! Images among the tokens of a sequence.

use puna_model::PlacedImage;
use puna_tensor::Var;

/// An image, and the tokens of its sequence that stand for it.
#[derive(Clone)]
pub struct SequenceImage {
    /// The positions of these tokens, ascending: one where the decoder attends to images, one for each vector
    /// where vectors take the place of tokens.
    pub positions: Vec<usize>,
    /// What the model's encoder made of it.
    pub vectors: Var,
    /// Its identity: images with the same number are the same image.
    pub id: u128,
}

/// Tokens, and the images that some of them stand for.
#[derive(Clone, Copy, Default)]
pub struct Tokens<'a> {
    /// Token ids.
    pub ids: &'a [u32],
    /// In the order of their tokens, whose positions are counted from the sequence's beginning.
    pub images: &'a [SequenceImage],
}

impl<'a> From<&'a [u32]> for Tokens<'a> {
    fn from(ids: &'a [u32]) -> Tokens<'a> {
        Tokens { ids, images: &[] }
    }
}

impl<'a> From<&'a Vec<u32>> for Tokens<'a> {
    fn from(ids: &'a Vec<u32>) -> Tokens<'a> {
        ids.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for Tokens<'a> {
    fn from(ids: &'a [u32; N]) -> Tokens<'a> {
        ids.as_slice().into()
    }
}

/// The parts of images that stand at positions `start` to before `start + n`, for a pass whose token `row` is
/// the first of these.
pub(crate) fn placed(images: &[SequenceImage], start: usize, n: usize, row: usize) -> Vec<PlacedImage> {
    let part = |image: &SequenceImage| {
        let first = image.positions.partition_point(|position| *position < start);
        let end = image.positions.partition_point(|position| *position < start + n);
        let tokens: Vec<usize> = image.positions[first..end].iter().map(|p| p - start + row).collect();
        (!tokens.is_empty()).then(|| PlacedImage { tokens, vectors: image.vectors.clone(), first })
    };
    images.iter().filter_map(part).collect()
}

/// How far two sequences of images are the same: the first position where one has an image that the other has
/// not.
pub(crate) fn first_difference(a: &[SequenceImage], b: &[SequenceImage]) -> Option<usize> {
    let same = |(a, b): (&SequenceImage, &SequenceImage)| a.id == b.id && a.positions == b.positions;
    let n_same = a.iter().zip(b).take_while(|pair| same(*pair)).count();
    let start =
        |images: &[SequenceImage]| images.get(n_same).and_then(|image| image.positions.first().copied());
    [start(a), start(b)].into_iter().flatten().min()
}
