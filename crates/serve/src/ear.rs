//! Hears the tokens of one answer on the engine's thread, and tells its client's task what they say.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use puna::{End, FinishReason, Listener, TextStream, Tokenizer};
use puna_wire::tool_calls::Parser;
use puna_wire::{Event, Finish, Problem, Token, Usage};

use crate::heard::{Heard, Teller};

/// Finds calls of tools.
pub(crate) struct Calls {
    pub parser: Parser,
    /// Writes special tokens that mark them.
    pub tokenizer: Tokenizer,
}

/// Log-probabilities that are wanted.
pub(crate) struct Logprobs {
    pub tokenizer: Tokenizer,
    /// How many of the most probable tokens.
    pub n_top: usize,
    /// Tokens whose text is not told yet.
    pub waiting: VecDeque<Token>,
}

/// The ids of an answer, for whoever wants them when it is over.
#[derive(Clone, Default)]
pub(crate) struct Made(Arc<Mutex<Vec<u32>>>);

impl Made {
    fn push(&self, token: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(token);
    }

    /// All of them.
    pub fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Hears one answer.
pub(crate) struct Ear {
    pub choice: usize,
    pub teller: Teller,
    pub text: TextStream,
    /// Where tools were offered.
    pub calls: Option<Box<Calls>>,
    pub logprobs: Option<Logprobs>,
    /// Strings that end the answer, to say which one did.
    pub stops: Vec<String>,
    pub made: Made,
    pub is_over: bool,
}

impl Ear {
    /// Tells what a piece of text says.
    fn tell_text(&mut self, text: String) {
        let tokens: Vec<Token> = match &mut self.logprobs {
            Some(logprobs) => logprobs.waiting.drain(..).collect(),
            None => Vec::new(),
        };
        let choice = self.choice;
        let Some(calls) = &mut self.calls else {
            if !(text.is_empty() && tokens.is_empty()) {
                self.teller.tell(Heard::Event(Event::Text { choice, text, tokens }));
            }
            return;
        };
        let mut events = Vec::new();
        calls.parser.push(&text, &mut events);
        if !tokens.is_empty() {
            events.push(Event::Text { choice, text: String::new(), tokens });
        }
        events.into_iter().for_each(|event| self.teller.tell(Heard::Event(event)));
    }
}

impl Listener for Ear {
    fn is_gone(&self) -> bool {
        self.teller.is_gone()
    }

    fn read(&mut self, _n_done: usize, _n_total: usize) {
        self.teller.tell(Heard::Read);
    }

    fn token(&mut self, token: u32, logits: &[f32]) -> ControlFlow<FinishReason> {
        self.made.push(token);
        if let Some(logprobs) = &mut self.logprobs {
            let told = logprobs.of(token, logits);
            logprobs.waiting.push_back(told);
        }
        // Marks of calls are special tokens, which a text has not.
        let mark = self.calls.as_ref().and_then(|calls| mark(&calls.tokenizer, token));
        let is_stopped = self.text.push(token);
        let piece = match mark {
            Some(mark) => mark + self.text.last_piece(),
            None => self.text.last_piece().to_owned(),
        };
        if !piece.is_empty() {
            self.tell_text(piece);
        }
        match is_stopped {
            true => ControlFlow::Break(FinishReason::StopString),
            false => ControlFlow::Continue(()),
        }
    }

    fn ended(&mut self, end: End) {
        self.is_over = true;
        let End { result, n_prompt, n_cached, left_at, n_made, prefill, decode, .. } = end;
        let reason = match result {
            Ok(reason) => reason,
            Err(error) => {
                return self.teller.tell(Heard::Over(self.choice, Box::new(Err(error.into()))));
            }
        };
        self.text.finish();
        let rest = self.text.last_piece().to_owned();
        self.tell_text(rest);
        let mut called = false;
        if let Some(Calls { parser, .. }) = self.calls.as_deref_mut() {
            let mut events = Vec::new();
            // A call that was cut off is none that a client could make: why it was cut off is said instead.
            let is_cut = parser.is_open() && !matches!(reason, FinishReason::StopId(_));
            called = parser.finish(&mut events) && !is_cut;
            events.into_iter().for_each(|event| self.teller.tell(Heard::Event(event)));
        }
        let stopped =
            self.text.stopped_by().and_then(|stop| self.stops.iter().find(|own| **own == stop).cloned());
        let finish = match (reason, stopped) {
            _ if called => Finish::Calls,
            (_, Some(stop)) => Finish::StopString(stop),
            (FinishReason::StopId(_) | FinishReason::StopString, None) => Finish::Stop,
            _ => Finish::Length,
        };
        self.teller.tell(Heard::Event(Event::End { choice: self.choice, finish }));
        self.teller.tell(Heard::Over(
            self.choice,
            Box::new(Ok(Usage {
                prompt: n_prompt,
                cached: n_cached,
                left_at,
                completion: n_made,
                prompt_ns: prefill.as_nanos() as u64,
                completion_ns: decode.as_nanos() as u64,
                ..Usage::default()
            })),
        ));
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if !self.is_over {
            self.teller.tell(Heard::Lost);
        }
    }
}

/// What a special token says that marks a call of a tool.
fn mark(tokenizer: &Tokenizer, token: u32) -> Option<String> {
    const MARKS: [&str; 3] = ["<|python_tag|>", "<|python_start|>", "<|python_end|>"];
    if !tokenizer.is_special(token) {
        return None;
    }
    let piece = tokenizer.piece(token);
    MARKS.contains(&&*piece).then(|| piece.into_owned())
}

impl Logprobs {
    /// How probable a token was, and which were the most probable.
    fn of(&self, token: u32, logits: &[f32]) -> Token {
        let log_sum = log_sum_exp(logits);
        let bytes = |id: u32| self.tokenizer.piece_bytes(id).to_vec();
        let top = largest(logits, self.n_top);
        Token {
            id: token,
            bytes: bytes(token),
            logprob: logits.get(token as usize).map(|logit| logit - log_sum),
            top: top.into_iter().map(|id| (id, bytes(id), logits[id as usize] - log_sum)).collect(),
        }
    }
}

/// ln of the sum of e to the logits.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from((logit - max).exp())).sum();
    max + sum.ln() as f32
}

/// The places of the `n` largest logits, the largest first; of equal ones, the first.
pub(crate) fn largest(logits: &[f32], n: usize) -> Vec<u32> {
    let mut top: Vec<u32> = Vec::with_capacity(n + 1);
    for (id, logit) in logits.iter().enumerate() {
        if top.len() == n && top.last().is_none_or(|last| logits[*last as usize] >= *logit) {
            continue;
        }
        let at = top.partition_point(|other| logits[*other as usize] >= *logit);
        top.insert(at, id as u32);
        top.truncate(n);
    }
    top
}

/// What went wrong, for the client.
pub(crate) fn problem_of(error: &puna::Error) -> Problem {
    use puna::{EngineError, Error, ErrorKind};
    use puna_wire::Kind;
    let text = error.to_string();
    match error {
        Error::Engine(EngineError::Busy { .. }) => {
            return Problem { retry_after: Some(2), ..Problem::new(Kind::Busy, text) };
        }
        Error::Engine(EngineError::Deadline) => return Problem::new(Kind::Deadline, text),
        _ => {}
    }
    match error.kind() {
        ErrorKind::Request | ErrorKind::Unsupported => Problem::new(Kind::Request, text),
        ErrorKind::TooLong => Problem::new(Kind::TooLong, text),
        ErrorKind::NoRoom => Problem { retry_after: Some(5), ..Problem::new(Kind::Unavailable, text) },
        // These may name files.
        ErrorKind::File | ErrorKind::Stopped | ErrorKind::Internal => {
            eprintln!("error: {text}");
            Problem::new(Kind::Internal, "the model failed; the server's log says how")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first() {
        let logits = [1.0, 5.0, 3.0, 5.0, f32::NEG_INFINITY, 4.0];
        assert_eq!(largest(&logits, 3), [1, 3, 5]);
        assert_eq!(largest(&logits, 0), [0u32; 0]);
        assert_eq!(largest(&logits, 9).len(), 6);
        let log_sum = log_sum_exp(&logits);
        let total: f32 = logits.iter().map(|logit| (logit - log_sum).exp()).sum();
        assert!((total - 1.0).abs() < 1e-6);
    }
}
