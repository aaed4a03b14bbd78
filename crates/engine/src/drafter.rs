//! Guessing the next tokens with a smaller model of the same vocabulary.
//!
//! It continues each sequence by its most probable tokens, all sequences together; the large model then computes these in
//! one pass and keeps those that it would have chosen anyway. What it computed of a sequence is kept for the next time.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::sampling::{Sampler, SamplingParams};
use crate::sequence::{Past, Request, Sequence};

/// A smaller model.
pub(crate) struct Drafter {
    engine: Arc<Engine>,
}

/// A sequence to be continued.
pub(crate) struct Ask<'t> {
    pub tokens: &'t [u32],
    pub past: Option<Past>,
    pub n: usize,
}

impl Drafter {
    pub fn new(engine: Arc<Engine>) -> Drafter {
        Drafter { engine }
    }

    /// Tokens that may follow each sequence, and what was computed for them. Where that fails there are none.
    pub fn propose(&self, asks: Vec<Ask>) -> Vec<(Vec<u32>, Option<Past>)> {
        let begun: Vec<Option<Sequence>> = asks.into_iter().map(|ask| self.begin(ask).ok()).collect();
        let mut begun = begun;
        loop {
            let is_going = |sequence: &&mut Sequence| sequence.finish_reason().is_none();
            let mut going: Vec<&mut Sequence> = begun.iter_mut().flatten().filter(is_going).collect();
            if going.is_empty() || self.engine.step(&mut going, |_, _| ()).is_err() {
                break;
            }
        }
        let outcome = |sequence: Option<Sequence>| match sequence {
            Some(sequence) => (sequence.completion().to_vec(), Some(sequence.into_past())),
            None => (Vec::new(), None),
        };
        begun.into_iter().map(outcome).collect()
    }

    fn begin(&self, Ask { tokens, past, n }: Ask) -> Result<Sequence, EngineError> {
        let sampler = Sampler::new(&SamplingParams::greedy())?;
        self.engine.begin(Request { past, max_new_tokens: Some(n), ..Request::new(tokens.to_vec(), sampler) })
    }
}
