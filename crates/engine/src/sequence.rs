//! One token stream: a prompt, what was made from it so far, and the state to go on.
//!
//! A [`Sequence`] is mutable and owns its tokens and its keys and values; the model it runs on is shared.
//! When it is over, what it computed can be taken out as a [`Past`] and given to the next sequence, which
//! then computes only the tokens after their longest common beginning: that is how the next turn of a chat
//! begins at once.

use puna_model::KvCache;

use crate::constraint::{Constraint, mask};
use crate::follower::Follower;
use crate::images::{SequenceImage, Tokens, first_difference};
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
    /// It could not go on: no token could be chosen, since the model computed nonsense or every token is
    /// forbidden, or a pass failed.
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
    pub(crate) tokens: Vec<u32>,
    /// Those that stand, as a whole or in part, at these tokens.
    pub(crate) images: Vec<SequenceImage>,
    pub(crate) cache: KvCache,
}

impl Past {
    /// What is known of the first `cache.len()` tokens.
    pub(crate) fn new(mut tokens: Vec<u32>, mut images: Vec<SequenceImage>, cache: KvCache) -> Past {
        tokens.truncate(cache.len());
        images.retain(|image| image.positions.first().is_some_and(|first| *first < cache.len()));
        Past { tokens, images, cache }
    }

    /// The tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// The first token in which `tokens` differ, or for which another image stands; the length of the shorter one where
    /// one begins with the other.
    pub(crate) fn n_common(&self, tokens: Tokens) -> usize {
        let n_common = self.tokens.iter().zip(tokens.ids).take_while(|(mine, theirs)| mine == theirs).count();
        first_difference(&self.images, tokens.images).map_or(n_common, |n| n_common.min(n))
    }

    /// Forgets all from the first token in which `tokens` differ, or for which another image stands.
    pub(crate) fn keep_common_beginning(self, tokens: Tokens) -> Past {
        let n_common = self.n_common(tokens);
        let Past { tokens: own, images, mut cache } = self;
        cache.truncate(n_common);
        Past::new(own, images, cache)
    }
}

/// What a sequence is to do.
pub struct Request {
    /// The ids to continue, BOS included where the model wants one.
    pub prompt: Vec<u32>,
    /// The images that some of them stand for.
    pub images: Vec<SequenceImage>,
    /// Chooses the next token.
    pub sampler: Sampler,
    /// Ids that end the answer.
    pub stop_ids: Vec<u32>,
    /// The most tokens to make; as many as the context has room for if `None`.
    pub max_new_tokens: Option<usize>,
    /// What was computed before and may be used again.
    pub past: Option<Past>,
    /// What the answer may be; anything if `None`.
    pub constraint: Option<Box<dyn Constraint>>,
}

impl Request {
    /// A request without an end but that of the context.
    pub fn new(prompt: Vec<u32>, sampler: Sampler) -> Request {
        Request {
            prompt,
            images: Vec::new(),
            sampler,
            stop_ids: Vec::new(),
            max_new_tokens: None,
            past: None,
            constraint: None,
        }
    }
}

/// One token stream. Made by [`Engine::begin`](crate::Engine::begin), advanced by
/// [`Engine::step`](crate::Engine::step).
pub struct Sequence {
    /// Prompt and completion.
    pub(crate) tokens: Vec<u32>,
    pub(crate) n_prompt: usize,
    pub(crate) images: Vec<SequenceImage>,
    /// Keys and values of the first `cache.len()` tokens.
    pub(crate) cache: KvCache,
    sampler: Sampler,
    /// Elsewhere while a pass runs.
    pub(crate) constraint: Option<Box<dyn Constraint>>,
    /// Logits that the constraint left, to work in.
    masked: Vec<f32>,
    /// Tokens that may come next, for a step to find out.
    pub(crate) draft: Vec<u32>,
    /// What a head that guesses for it knows.
    pub(crate) follower: Option<Follower>,
    stop_ids: Vec<u32>,
    max_new_tokens: usize,
    max_seq_len: usize,
    n_reused: usize,
    finish: Option<FinishReason>,
}

impl Sequence {
    pub(crate) fn new(request: Request, empty: KvCache, max_seq_len: usize) -> Sequence {
        let Request { prompt, images, sampler, stop_ids, max_new_tokens, past, constraint } = request;
        let cache = match past {
            // The last token of the prompt is always computed: its logits choose the next one.
            Some(past) => {
                let ids = &prompt[..prompt.len() - 1];
                past.keep_common_beginning(Tokens { ids, images: &images }).cache
            }
            None => empty,
        };
        let max_new_tokens = max_new_tokens.unwrap_or(usize::MAX);
        Sequence {
            n_prompt: prompt.len(),
            n_reused: cache.len(),
            tokens: prompt,
            images,
            cache,
            sampler,
            constraint,
            masked: Vec::new(),
            draft: Vec::new(),
            follower: None,
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
        let token = self.sample(logits).inspect_err(|_| self.finish = Some(FinishReason::Failed))?;
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

    /// Chooses tokens from the logits after the last one and after each proposed one, as long as those were right; tells
    /// each to `chosen`, which may end the sequence. What was computed of wrong proposals is forgotten.
    pub(crate) fn choose_each<'l>(
        &mut self,
        rows: impl Iterator<Item = &'l [f32]>,
        mut chosen: impl FnMut(Result<u32, SamplingError>, &[f32]) -> Option<FinishReason>,
    ) {
        let draft = std::mem::take(&mut self.draft);
        let n_before = self.tokens.len();
        for (i, row) in rows.enumerate() {
            let token = self.choose(row);
            let right = token.as_ref().ok().is_some_and(|token| draft.get(i) == Some(token));
            if let Some(reason) = chosen(token, row) {
                // Who hears the text knows better why it ended than ids do.
                self.finish = Some(reason);
            }
            if self.finish.is_some() || !right {
                break;
            }
        }
        // The last token that was chosen is not computed.
        let n_computed = self.tokens.len().max(n_before + 1) - 1;
        if self.cache.len() > n_computed {
            self.cache.truncate(n_computed);
        }
        self.draft = draft;
        self.draft.clear();
    }

    fn sample(&mut self, logits: &[f32]) -> Result<u32, SamplingError> {
        let Some(constraint) = &mut self.constraint else { return self.sampler.sample(logits, &self.tokens) };
        mask(&mut **constraint, logits, &mut self.masked)?;
        let token = self.sampler.sample(&self.masked, &self.tokens)?;
        constraint.accept(token).map_err(SamplingError::Constraint)?;
        Ok(token)
    }

    /// Proposes tokens that may come next. Where the sequence has but one token to compute, the next step computes them
    /// in the same pass and keeps those that it would have chosen anyway: what is chosen does not depend on proposals.
    pub fn propose(&mut self, draft: &[u32]) {
        self.draft.clear();
        self.draft.extend_from_slice(draft);
    }

    /// Gives back what was computed. It is computed again when the sequence goes on, with the same bits where keys and
    /// values are stored exactly.
    pub fn forget(&mut self) {
        self.cache.truncate(0);
        self.draft.clear();
        self.follower.iter_mut().for_each(Follower::forget);
    }

    /// Takes what another sequence computed of its tokens, where that is more than it has.
    pub(crate) fn remember(&mut self, past: Past) {
        let ids = &self.tokens[..self.tokens.len() - 1];
        let past = past.keep_common_beginning(Tokens { ids, images: &self.images });
        if past.cache.len() > self.cache.len() {
            self.cache = past.cache;
        }
    }

    /// What is computed so far, for a sequence that begins alike, while this one goes on. Both share the memory.
    pub fn past(&self) -> Past {
        Past::new(self.tokens.clone(), self.images.clone(), self.cache.clone())
    }

    /// What was computed, for a sequence that begins alike.
    pub fn into_past(self) -> Past {
        Past::new(self.tokens, self.images, self.cache)
    }
}
