//! What the next token may be: a grammar's part in choosing it.

use crate::sampling::SamplingError;

/// Says which tokens may come next, and is told which one did.
pub trait Constraint: Send {
    /// The tokens that may come next: bit `id % 32` of word `id / 32`; ids beyond the words may not. Where nothing more
    /// may come, these are the ids that end an answer. Fails, with the reason, if that cannot be said within the limits of
    /// whoever made it. Asked again before a token came, it says the same at once: it is asked beside a pass, on another
    /// thread, and again when its logits are there.
    fn allowed(&mut self) -> Result<&[u32], String>;

    /// This token came.
    fn accept(&mut self, token: u32) -> Result<(), String>;
}

/// Forbids what may not come: `masked` becomes the logits with negative infinity there.
pub(crate) fn mask(
    constraint: &mut dyn Constraint,
    logits: &[f32],
    masked: &mut Vec<f32>,
) -> Result<(), SamplingError> {
    let words = constraint.allowed().map_err(SamplingError::Constraint)?;
    masked.clear();
    masked.resize(logits.len(), f32::NEG_INFINITY);
    for ((masked, logits), word) in masked.chunks_mut(32).zip(logits.chunks(32)).zip(words) {
        match *word {
            0 => {}
            u32::MAX => masked.copy_from_slice(logits),
            word => {
                for (i, (masked, logit)) in masked.iter_mut().zip(logits).enumerate() {
                    if word >> i & 1 == 1 {
                        *masked = *logit;
                    }
                }
            }
        }
    }
    Ok(())
}
