//! Continuing a prompt: tokens from the engine, text to the caller, stop strings, timings.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use puna_engine::sampling::{Sampler, SamplingParams};
use puna_engine::{EngineError, FinishReason, Past, Request, Sequence};
use puna_text::{StreamDecoder, Tokenizer};

use crate::stop_strings::StopStrings;
use crate::{Error, Llama, PromptTokens};

/// How to continue a prompt.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions<'a> {
    /// How the next token is chosen. With the same seed, machine and threads the same tokens come out.
    pub sampling: SamplingParams,
    /// The most tokens to make; until a stop or the end of the context if `None`.
    pub max_tokens: Option<usize>,
    /// Strings that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// The answer is a text of its own, so the space that SentencePiece writes before a first word is no part of it. A
    /// continuation keeps that space.
    pub stands_alone: bool,
    /// Ends the answer when it becomes true.
    pub cancel: Option<&'a AtomicBool>,
}

/// What happens while an answer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Part of the prompt was read.
    Prefill {
        /// Tokens read so far, those known from before included.
        n_done: usize,
        /// Tokens of the prompt.
        n_total: usize,
    },
    /// More of the answer, never part of a character, never the beginning of a stop string.
    Text(&'a str),
}

/// How long things took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the start to the first new token.
    pub first_token: Duration,
    /// From the first new token to the last.
    pub decode: Duration,
    /// Prompt tokens that had to be computed.
    pub n_prefill: usize,
    /// Tokens made after the first.
    pub n_decode: usize,
}

impl Timings {
    /// Prompt tokens computed per second; `None` if there was nothing to measure.
    pub fn prefill_tokens_per_s(&self) -> Option<f64> {
        per_second(self.n_prefill, self.first_token)
    }

    /// Tokens made per second, the first one not counted.
    pub fn decode_tokens_per_s(&self) -> Option<f64> {
        per_second(self.n_decode, self.decode)
    }
}

fn per_second(n: usize, time: Duration) -> Option<f64> {
    let measured = n > 0 && time > Duration::ZERO;
    measured.then(|| n as f64 / time.as_secs_f64())
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The text, as it was streamed.
    pub text: String,
    /// The ids, a final stop id included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: FinishReason,
    /// The seed that was used, given or found.
    pub seed: u64,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Of these, how many were known from before.
    pub n_reused: usize,
    /// Bytes of keys and values at the end.
    pub kv_bytes: usize,
    /// How long it took.
    pub timings: Timings,
}

impl Llama {
    /// Continues `prompt`. With `Break` from `on_event` the answer ends, [`FinishReason::Cancelled`].
    pub fn generate(
        &self,
        prompt: impl Into<PromptTokens>,
        options: &GenerateOptions,
        on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Generation, Error> {
        self.generate_after(&mut None, prompt, options, on_event)
    }

    /// The same, computing only what `past` does not know; it becomes what is known afterwards.
    pub fn generate_after(
        &self,
        past: &mut Option<Past>,
        prompt: impl Into<PromptTokens>,
        options: &GenerateOptions,
        mut on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Generation, Error> {
        let PromptTokens { ids, images } = prompt.into();
        let mut text = TextStream::new(self, &ids, options)?;
        let mut sequence = self.engine().begin(Request {
            prompt: ids,
            images,
            sampler: Sampler::new(&options.sampling).map_err(EngineError::from)?,
            stop_ids: self.stop_ids().to_vec(),
            max_new_tokens: options.max_tokens,
            past: past.take(),
        })?;
        let timings = self.run(&mut sequence, options, &mut text, &mut on_event)?;
        text.finish();
        if !text.last_piece().is_empty() {
            let _ = on_event(Event::Text(text.last_piece())); // It is over anyway.
        }
        // A stop string may be complete with the very token that was the last one allowed.
        let ended = sequence.finish_reason().unwrap_or(FinishReason::Cancelled);
        let generation = Generation {
            ids: sequence.completion().to_vec(),
            finish: if text.is_stopped { FinishReason::StopString } else { ended },
            seed: sequence.seed(),
            text: text.shown,
            n_prompt: sequence.n_prompt(),
            n_reused: sequence.n_reused(),
            kv_bytes: sequence.kv_bytes(),
            timings,
        };
        *past = Some(sequence.into_past());
        Ok(generation)
    }

    /// Steps until the sequence ends.
    fn run(
        &self,
        sequence: &mut Sequence,
        options: &GenerateOptions,
        text: &mut TextStream,
        on_event: &mut impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Timings, Error> {
        let start = Instant::now();
        let mut timings = Timings { n_prefill: sequence.n_pending(), ..Timings::default() };
        while sequence.finish_reason().is_none() {
            if options.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                sequence.finish(FinishReason::Cancelled);
                break;
            }
            let mut chosen = None;
            self.engine().step(&mut [sequence], |_, token| chosen = Some(token))?;
            let event = match chosen.transpose().map_err(|error| self.explain(error))? {
                None => Event::Prefill { n_done: sequence.n_computed(), n_total: sequence.n_prompt() },
                Some(token) => {
                    match sequence.completion().len() {
                        1 => timings.first_token = start.elapsed(),
                        n => {
                            (timings.n_decode, timings.decode) =
                                (n - 1, start.elapsed() - timings.first_token)
                        }
                    }
                    if text.push(token) {
                        sequence.finish(FinishReason::StopString);
                    }
                    Event::Text(text.last_piece())
                }
            };
            if event != Event::Text("") && on_event(event).is_break() {
                sequence.finish(FinishReason::Cancelled);
            }
        }
        Ok(timings)
    }
}

/// Ids to the text that is shown.
struct TextStream<'a> {
    /// Without a tokenizer there is no text.
    tokenizer: Option<(&'a Tokenizer, StreamDecoder)>,
    stops: StopStrings,
    is_stopped: bool,
    /// Whether the next text is the first, and its leading space not part of it.
    strip_space: bool,
    shown: String,
    /// Where in `shown` the last piece begins.
    last: usize,
}

impl<'a> TextStream<'a> {
    fn new(llama: &'a Llama, prompt: &[u32], options: &GenerateOptions) -> Result<TextStream<'a>, Error> {
        if options.stop.iter().any(String::is_empty) {
            return Err(Error::Request("a stop string is empty; it would end every answer at once".into()));
        }
        let tokenizer = match llama.tokenizer() {
            Ok(tokenizer) => Some((tokenizer, tokenizer.stream())),
            Err(_) if options.stop.is_empty() => None,
            Err(error) => return Err(error),
        };
        // After BOS alone a text begins as well.
        let begins = |tokenizer: &Tokenizer| prompt.iter().all(|id| tokenizer.is_special(*id));
        let stands_alone =
            options.stands_alone || tokenizer.as_ref().is_some_and(|(tokenizer, _)| begins(tokenizer));
        Ok(TextStream {
            tokenizer,
            stops: StopStrings::new(&options.stop),
            is_stopped: false,
            strip_space: stands_alone,
            shown: String::new(),
            last: 0,
        })
    }

    /// Adds what `id` says. Returns whether the text has ended at a stop string.
    fn push(&mut self, id: u32) -> bool {
        let Some((tokenizer, decoder)) = &mut self.tokenizer else { return false };
        let mut text = decoder.push(id);
        if self.strip_space && !tokenizer.is_special(id) {
            self.strip_space = false;
            // As if the answer were decoded alone.
            if text.starts_with(' ') && !tokenizer.decode(&[id]).starts_with(text) {
                text = &text[1..];
            }
        }
        let (piece, is_stopped) = self.stops.push(text);
        self.last = self.shown.len();
        self.shown += &piece;
        self.is_stopped = is_stopped;
        is_stopped
    }

    /// Adds what was held back, now that the answer is over.
    fn finish(&mut self) {
        self.last = self.shown.len();
        if let Some((_, decoder)) = self.tokenizer.as_mut().filter(|_| !self.is_stopped) {
            let (piece, is_stopped) = self.stops.push(decoder.finish());
            self.is_stopped = is_stopped;
            self.shown += &piece;
            self.shown += &self.stops.finish(); // Nothing, where it has stopped.
        }
    }

    /// What the last call added.
    fn last_piece(&self) -> &str {
        &self.shown[self.last..]
    }
}
