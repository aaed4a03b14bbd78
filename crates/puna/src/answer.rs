//! An answer: tokens from the engine become pieces of text, one pass of the model at a time.

use std::iter::FusedIterator;
use std::time::{Duration, Instant};

use puna_engine::sampling::{Sampler, SamplingParams};
use puna_engine::{EngineError, FinishReason, Past, Request, Sequence};
use puna_text::template::Message;

use crate::text_stream::TextStream;
use crate::{Error, Form, Llama, Picture, PromptTokens};

/// The most tokens by which a text is continued, unless [`AnswerOptions::max_tokens`] says otherwise.
pub const COMPLETION_TOKENS: usize = 256;

/// How an answer is made. By default it is made as the model's makers recommend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerOptions {
    /// How the next token is chosen. If `None`, as the model recommends: [`Llama::chat_sampling`] in a chat,
    /// and [`Llama::raw_sampling`] where a text is continued. The same seed gives the same tokens on the same
    /// instruction set.
    pub sampling: Option<SamplingParams>,
    /// The most tokens to make. If `None`, a chat's answer has no limit but the context, and a text is
    /// continued by [`COMPLETION_TOKENS`].
    pub max_tokens: Option<usize>,
    /// Strings that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// What the answer may be; any text if `None`. One that ends otherwise than by itself, at
    /// [`max_tokens`](AnswerOptions::max_tokens) for example, is the beginning of such an answer.
    pub form: Option<Form>,
}

/// What one pass of the model brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part of the prompt was read.
    Prefill {
        /// Tokens read so far, those known from before included.
        n_done: usize,
        /// Tokens of the prompt.
        n_total: usize,
    },
    /// A token was made, and this is the text it completed: never a part of a character, never the beginning
    /// of a stop string. It is empty while it is not yet clear what the text will be.
    Text(String),
}

/// How long things took. Time between passes, when the caller did something else, is not counted.
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

/// An answer that is over, and how it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The text, all pieces together.
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

/// An answer while it is made: an iterator of pieces of text.
///
/// Nothing runs in the background: each call computes what it returns, and an answer that is dropped costs
/// nothing more. After an error there are no more pieces. [`Answer::finish`] says how the answer ended.
///
/// To show how far a long prompt is read, or to stop in the middle of it, call [`Answer::step`] instead of
/// iterating.
///
/// An answer can be sent to another thread. `async` code runs it on one that may block, and sends the pieces
/// back over a channel; there is no `Stream` here yet.
pub struct Answer<'c> {
    llama: Llama,
    /// `None` only while the answer is dropped.
    sequence: Option<Sequence>,
    text: TextStream,
    timings: Timings,
    /// Whether all pieces were given out, or an error.
    is_over: bool,
    turn: Option<Turn<'c>>,
}

/// What an answer leaves in a conversation.
pub(crate) struct Turn<'c> {
    pub messages: &'c mut Vec<Message>,
    pub pictures: &'c mut Vec<Picture>,
    pub past: &'c mut Option<Past>,
    /// Messages and pictures before the question, to which a failed answer returns.
    pub n_before: [usize; 2],
    /// Messages that the prompt leaves out.
    pub n_left_out: usize,
}

impl Llama {
    /// Continues a text, as the model recommends, by at most [`COMPLETION_TOKENS`].
    pub fn complete(&self, text: &str) -> Result<Answer<'static>, Error> {
        self.complete_with(text, &AnswerOptions::default())
    }

    /// Continues a text.
    pub fn complete_with(&self, text: &str, options: &AnswerOptions) -> Result<Answer<'static>, Error> {
        self.generate(self.encode(text)?, options)
    }

    /// Answers a prompt. What cannot be computed is refused here, before any piece.
    pub fn generate(
        &self,
        prompt: impl Into<PromptTokens>,
        options: &AnswerOptions,
    ) -> Result<Answer<'static>, Error> {
        self.generate_after(None, prompt, options)
    }

    /// The same, computing only what `past` does not know. [`Answer::into_past`] gives what is known
    /// afterwards.
    pub fn generate_after(
        &self,
        past: Option<Past>,
        prompt: impl Into<PromptTokens>,
        options: &AnswerOptions,
    ) -> Result<Answer<'static>, Error> {
        let (request, text) = self.prepare(prompt, options)?;
        let sequence = self.engine().begin(Request { past, ..request })?;
        let timings = Timings { n_prefill: sequence.n_pending(), ..Timings::default() };
        let sequence = Some(sequence);
        Ok(Answer { llama: self.clone(), sequence, text, timings, is_over: false, turn: None })
    }

    /// What an engine needs to answer a prompt, and what makes text of the tokens: for a
    /// [`Scheduler`](crate::Scheduler), which computes many answers at once.
    pub fn prepare(
        &self,
        prompt: impl Into<PromptTokens>,
        options: &AnswerOptions,
    ) -> Result<(Request, TextStream), Error> {
        let prompt = prompt.into();
        let constraint = options.form.as_ref().map(|form| self.constraint(form, &prompt)).transpose()?;
        let own_sampling = || if prompt.is_chat { self.chat_sampling() } else { self.raw_sampling() };
        let sampling = options.sampling.clone().unwrap_or_else(own_sampling);
        let tokenizer = match self.tokenizer() {
            Err(error) if !options.stop.is_empty() => return Err(error),
            tokenizer => tokenizer.ok(),
        };
        let stands_alone = prompt.stands_alone(tokenizer);
        let PromptTokens { ids, images, is_chat } = prompt;
        let mut stops = options.stop.clone();
        stops.extend(self.text().end_of_turn.clone().filter(|_| is_chat));
        let text = TextStream::new(tokenizer, &stops, stands_alone)?;
        let request = Request {
            prompt: ids,
            images,
            sampler: Sampler::new(&sampling).map_err(EngineError::from)?,
            stop_ids: self.stop_ids().to_vec(),
            max_new_tokens: options.max_tokens.or((!is_chat).then_some(COMPLETION_TOKENS)),
            past: None,
            constraint,
        };
        Ok((request, text))
    }
}

impl<'c> Answer<'c> {
    /// The same answer as a turn of a conversation.
    pub(crate) fn in_turn(mut self, turn: Turn<'c>) -> Answer<'c> {
        self.turn = Some(turn);
        self
    }

    fn sequence(&self) -> &Sequence {
        self.sequence.as_ref().expect("the sequence is there until the answer is dropped")
    }

    fn sequence_mut(&mut self) -> &mut Sequence {
        self.sequence.as_mut().expect("the sequence is there until the answer is dropped")
    }

    /// One pass of the model: reads a part of the prompt, or makes a token. `None` after the end.
    pub fn step(&mut self) -> Option<Result<Event, Error>> {
        if self.is_over {
            return None;
        }
        if self.sequence().finish_reason().is_some() {
            self.end();
            let held_back = self.text.last_piece();
            return (!held_back.is_empty()).then(|| Ok(Event::Text(held_back.to_owned())));
        }
        let event = self.compute();
        if event.is_err() {
            self.sequence_mut().finish(FinishReason::Failed);
            self.is_over = true;
        }
        Some(event)
    }

    fn compute(&mut self) -> Result<Event, Error> {
        let start = Instant::now();
        let llama = self.llama.clone();
        let sequence = self.sequence.as_mut().expect("the sequence is there until the answer is dropped");
        let mut chosen = None;
        llama.engine().step(&mut [sequence], |_, token| chosen = Some(token))?;
        let token = chosen.transpose().map_err(|error| llama.explain(error))?;
        if token.is_some_and(|token| self.text.push(token)) {
            sequence.finish(FinishReason::StopString);
        }
        match sequence.completion().len() {
            0 | 1 => self.timings.first_token += start.elapsed(),
            n => {
                self.timings.n_decode = n - 1;
                self.timings.decode += start.elapsed();
            }
        }
        Ok(match token {
            None => Event::Prefill { n_done: sequence.n_computed(), n_total: sequence.n_prompt() },
            Some(_) => Event::Text(self.text.last_piece().to_owned()),
        })
    }

    /// Nothing more will be made.
    fn end(&mut self) {
        if !self.is_over {
            self.text.finish();
            self.is_over = true;
        }
    }

    /// Ends the answer here, with [`FinishReason::Cancelled`]. Text that was held back still comes.
    pub fn stop(&mut self) {
        self.sequence_mut().finish(FinishReason::Cancelled);
    }

    /// Goes on to the end, and says what was made and how. Pieces that were not asked for are in its text.
    pub fn finish(&mut self) -> Result<Generation, Error> {
        while let Some(event) = self.step() {
            event?;
        }
        let sequence = self.sequence();
        Ok(Generation {
            text: self.text.text().to_owned(),
            ids: sequence.completion().to_vec(),
            finish: self.finish_reason().unwrap_or(FinishReason::Cancelled),
            seed: sequence.seed(),
            n_prompt: sequence.n_prompt(),
            n_reused: sequence.n_reused(),
            kv_bytes: sequence.kv_bytes(),
            timings: self.timings,
        })
    }

    /// How many messages of its conversation the prompt leaves out, because the context is full.
    pub fn n_left_out(&self) -> usize {
        self.turn.as_ref().map_or(0, |turn| turn.n_left_out)
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        self.text.text()
    }

    /// The ids of the prompt.
    pub fn prompt_ids(&self) -> &[u32] {
        let sequence = self.sequence();
        &sequence.tokens()[..sequence.n_prompt()]
    }

    /// Why the answer ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        // A stop string may be complete with the very token that was the last one allowed.
        let stopped = self.text.is_stopped().then_some(FinishReason::StopString);
        stopped.or(self.sequence().finish_reason())
    }
}

impl Answer<'static> {
    /// What was computed, for a prompt that begins alike. A chat keeps this by itself.
    pub fn into_past(mut self) -> Past {
        let sequence = self.sequence.take().expect("the sequence is there until the answer is dropped");
        sequence.into_past()
    }
}

impl Iterator for Answer<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Result<String, Error>> {
        loop {
            match self.step()? {
                Ok(Event::Text(text)) if !text.is_empty() => return Some(Ok(text)),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl FusedIterator for Answer<'_> {}

impl Drop for Answer<'_> {
    /// A conversation keeps what was made.
    fn drop(&mut self) {
        let (Some(turn), Some(sequence)) = (self.turn.take(), self.sequence.take()) else { return };
        // What failed, or was stopped before there was a word, was not said.
        let is_empty = sequence.completion().is_empty();
        let is_stopped = sequence.finish_reason() == Some(FinishReason::Cancelled);
        if sequence.finish_reason() == Some(FinishReason::Failed) || is_empty && is_stopped {
            turn.messages.truncate(turn.n_before[0]);
            turn.pictures.truncate(turn.n_before[1]);
        } else {
            self.end();
            turn.messages.push(Message::new("assistant", self.text.text()));
        }
        *turn.past = Some(sequence.into_past());
    }
}
