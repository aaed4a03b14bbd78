//! A layer that a checkpoint stores in several tensors, about to be put together.

use puna_formats::{TensorMap, TensorView};
use puna_tensor::{DType, ParamId, Weight};

use super::grouped::{Codes, Grouped};

/// The tensor a message is about, and the message.
pub(crate) type Misfit = (String, String);

/// A layer to be put together, and the tensors to find its parts among.
pub(super) struct Layer<'a> {
    pub tensors: &'a TensorMap,
    /// What the names of its tensors begin with.
    pub base: &'a str,
    pub id: ParamId,
    /// Outputs and inputs, from the configuration.
    pub shape: [usize; 2],
}

impl<'a> Layer<'a> {
    /// The tensor of this last name, if it has one.
    pub(super) fn get(&self, last: &str) -> Option<&'a TensorView> {
        self.tensors.get(&format!("{}.{last}", self.base))
    }

    /// The tensor of this last name.
    pub(super) fn get_or_missing(&self, last: &str) -> Result<&'a TensorView, Misfit> {
        self.get(last).ok_or_else(|| self.misfit(last, "it is missing; others of its layer are there"))
    }

    /// The sizes of a matrix.
    pub(super) fn matrix(&self, last: &str, dtype: DType) -> Result<(usize, usize), Misfit> {
        let view = self.get_or_missing(last)?;
        match view.shape[..] {
            [a, b] if view.dtype == dtype => Ok((a, b)),
            _ => {
                let (shape, found) = (&view.shape, view.dtype);
                Err(self.misfit(last, format!("expected a matrix of {dtype}, found {shape:?} of {found}")))
            }
        }
    }

    /// The numbers of a tensor of 32 bits.
    pub(super) fn words(&self, last: &str) -> Result<Vec<u32>, Misfit> {
        let words = self.get_or_missing(last)?.data.as_chunks::<4>().0;
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// A message about a tensor.
    pub(super) fn misfit(&self, last: &str, fact: impl Into<String>) -> Misfit {
        (format!("{}.{last}", self.base), fact.into())
    }

    /// The weight; `scales` is the tensor that a message would be about.
    pub(super) fn join<C: Codes>(&self, scales: &str, layer: Grouped<C>) -> Result<Weight, Misfit> {
        layer.join(self.id).map_err(|fact| self.misfit(scales, fact))
    }
}
