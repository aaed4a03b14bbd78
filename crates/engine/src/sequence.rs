//! One token stream: a prompt, what was made from it so far, and the state to go on.
//!
//! A [`Sequence`] is mutable and owns its tokens and its keys and values; the model it runs on is shared. When it is
//! over, what it computed can be taken out as a [`Past`] and given to the next sequence, which then computes only the
//! tokens after their longest common beginning: that is how the next turn of a chat begins at once.

use puna_model::KvCache;

use crate::sampling::{Sampler, SamplingError};

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model chose an id that ends an answer. The id is the last of the completion.
    StopId(u32),
    /// The text reached a stop string. Ids know no text, so the owner of the sequence says so.
    StopString,
    /// The completion has as many tokens as were asked for.
    Length,
    /// Prompt and completion fill the context.
    Context,
    /// The owner wanted no more.
    Cancelled,
    /// No token could be chosen: the model computed nonsense, or every token is forbidden.
    Failed,
}

impl FinishReason {
    /// The reason in one word, for programs: `stop`, `length`, `context`, `cancelled` or `failed`.
    pub const fn name(self) -> &'static str {
        match self {
            FinishReason::StopId(_) | FinishReason::StopString => "stop",
            FinishReason::Length => "length",
            FinishReason::Context => "context",
            FinishReason::Cancelled => "cancelled",
            FinishReason::Failed => "failed",
        }
    }
}

/// Tokens whose keys and values are known.
#[derive(Clone)]
pub struct Past {
    tokens: Vec<u32>,
    cache: KvCache,
}

impl Past {
    pub(crate) fn new(tokens: Vec<u32>, cache: KvCache) -> Past {
        debug_assert_eq!(tokens.len(), cache.len());
        Past { tokens, cache }
    }

    /// The tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Forgets all from the first token in which `tokens` differs.
    pub(crate) fn keep_common_beginning(&mut self, tokens: &[u32]) {
        let n_common = self.tokens.iter().zip(tokens).take_while(|(mine, theirs)| mine == theirs).count();
        let n_left = self.cache.truncate(n_common);
        self.tokens.truncate(n_left);
    }

    pub(crate) fn into_parts(self) -> (Vec<u32>, KvCache) {
        (self.tokens, self.cache)
    }

    /// What is computed is added to both.
    pub(crate) fn parts_mut(&mut self) -> (&mut Vec<u32>, &mut KvCache) {
        (&mut self.tokens, &mut self.cache)
    }
}

/// What a sequence is to do.
pub struct Request {
    /// The ids to continue, BOS included where the model wants one.
    pub prompt: Vec<u32>,
    /// Chooses the next token.
    pub sampler: Sampler,
    /// Ids that end the answer.
    pub stop_ids: Vec<u32>,
    /// The most tokens to make; as many as the context has room for if `None`.
    pub max_new_tokens: Option<usize>,
    /// What was computed before and may be used again.
    pub past: Option<Past>,
}

/// One token stream. Made by [`Engine::begin`](crate::Engine::begin), advanced by
/// [`Engine::step`](crate::Engine::step).
pub struct Sequence {
    /// Prompt and completion.
    pub(crate) tokens: Vec<u32>,
    pub(crate) n_prompt: usize,
    /// Keys and values of the first `cache.len()` tokens.
    pub(crate) cache: KvCache,
    sampler: Sampler,
    stop_ids: Vec<u32>,
    max_new_tokens: usize,
    max_seq_len: usize,
    n_reused: usize,
    finish: Option<FinishReason>,
}

impl Sequence {
    pub(crate) fn new(request: Request, empty: KvCache, max_seq_len: usize) -> Sequence {
        let Request { prompt, sampler, stop_ids, max_new_tokens, past } = request;
        let cache = match past {
            Some(mut past) => {
                // The last token of the prompt is always computed: its logits choose the next one.
                past.keep_common_beginning(&prompt[..prompt.len() - 1]);
                past.into_parts().1
            }
            None => empty,
        };
        let max_new_tokens = max_new_tokens.unwrap_or(usize::MAX);
        Sequence {
            n_prompt: prompt.len(),
            n_reused: cache.len(),
            tokens: prompt,
            cache,
            sampler,
            stop_ids,
            max_new_tokens,
            max_seq_len,
            finish: (max_new_tokens == 0).then_some(FinishReason::Length),
        }
    }

    /// Prompt and completion.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The tokens made so far, a final stop id included.
    pub fn completion(&self) -> &[u32] {
        &self.tokens[self.n_prompt..]
    }

    /// Tokens of the prompt.
    pub fn n_prompt(&self) -> usize {
        self.n_prompt
    }

    /// Tokens of the prompt whose keys and values came from the past.
    pub fn n_reused(&self) -> usize {
        self.n_reused
    }

    /// Tokens whose keys and values are known.
    pub fn n_computed(&self) -> usize {
        self.cache.len()
    }

    /// Tokens the next step has to compute before it can choose another one.
    pub fn n_pending(&self) -> usize {
        self.tokens.len() - self.cache.len()
    }

    /// Bytes of its keys and values.
    pub fn kv_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Why it ended, if it has.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Ends it for a reason that ids do not show. A sequence that has ended keeps its first reason.
    pub fn finish(&mut self, reason: FinishReason) {
        self.finish.get_or_insert(reason);
    }

    /// The seed of its random choices.
    pub fn seed(&self) -> u64 {
        self.sampler.seed()
    }

    /// Chooses the next token from the logits after the last one.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> Result<u32, SamplingError> {
        let token = self
            .sampler
            .sample(logits, &self.tokens)
            .inspect_err(|_| self.finish = Some(FinishReason::Failed))?;
        self.tokens.push(token);
        let n_new = self.tokens.len() - self.n_prompt;
        if self.stop_ids.contains(&token) {
            self.finish(FinishReason::StopId(token));
        } else if n_new >= self.max_new_tokens {
            self.finish(FinishReason::Length);
        } else if self.tokens.len() >= self.max_seq_len {
            self.finish(FinishReason::Context);
        }
        Ok(token)
    }

    /// What was computed, for a sequence that begins alike.
    pub fn into_past(mut self) -> Past {
        self.tokens.truncate(self.cache.len());
        Past::new(self.tokens, self.cache)
    }
}
