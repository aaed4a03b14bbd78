//! Why a run cannot go on.

use puna_model::ModelError;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model refused the batch.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file could not be read or written.
    #[error(transparent)]
    Format(#[from] puna_formats::FormatError),
    /// The data cannot be prepared.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// A saved state does not belong to this run, or is damaged.
    #[error("cannot resume from `{path}`\n  {fact}")]
    State {
        /// The file.
        path: String,
        /// What was found.
        fact: String,
    },
    /// The loss or its gradient is not a number, or out of all proportion.
    #[error(
        "training diverged at step {step}: loss {loss}, gradient norm {grad_norm}\n  try a lower learning rate, a longer warm-up, or passing over such batches"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// Its loss.
        loss: f64,
        /// Its gradient's norm.
        grad_norm: f64,
    },
    /// Many steps in a row were passed over.
    #[error(
        "{n} steps in a row had a loss or a gradient out of all proportion (the last is step {step})\n  the run has diverged: go back to an earlier checkpoint with a lower learning rate"
    )]
    ManySpikes {
        /// How many.
        n: u64,
        /// The last one.
        step: u64,
    },
    /// The settings do not fit what is there.
    #[error("{0}")]
    Setting(String),
    /// Somebody else still holds the model.
    #[error("the weights cannot be changed while another part of the program uses the model")]
    InUse,
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}
