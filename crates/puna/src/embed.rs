//! Texts as vectors, to find which are near each other.

use puna_engine::Pooling;

use crate::{Error, Llama};

impl Llama {
    /// A vector `[dim]` of length 1 for a text: the mean of its tokens' hidden states after the last norm,
    /// normalised. The nearer two texts are, the nearer to 1 is the sum of the products of their vectors'
    /// elements. A model that was trained to continue texts tells subjects apart, but less well than one that
    /// was trained for this.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, Error> {
        Ok(self.engine().embed(&self.encode(text)?, Pooling::Mean)?)
    }
}
