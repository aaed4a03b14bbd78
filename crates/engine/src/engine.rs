//! Steps: one forward pass for several sequences at once, then a choice for each whose prompt is complete.
//!
//! A step is schedule, forward, choose. The schedule gives each sequence that only needs its last token
//! computed that one token, and shares the rest of the step's tokens among the prompts that are still being
//! read. What a sequence yields does not depend on who else is in the step, nor on how its prompt was cut:
//! the model's results for a token are the same bits however it is fed.

use std::path::PathBuf;
use std::sync::Arc;

use puna_formats::SpillFile;
use puna_model::{BlockPool, CachedSequence, Input, KvCache, Model, Observer, Point, Sequences, Tower};
use puna_tensor::{Activations, Cpu, DType, Graph, KvLayout, RepackBudget, RunOptions, Var, Workspace};

use crate::error::EngineError;
use crate::images::{SequenceImage, Tokens, placed};
use crate::masks::MaskThreads;
use crate::sequence::{FinishReason, Past, Request, Sequence};

/// How a model is run.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The longest sequence, if shorter than the model's own context.
    pub max_seq_len: Option<usize>,
    /// How keys and values are stored: F32, F16 or Q8_0.
    pub kv_dtype: DType,
    /// A folder for a temporary file that keys and values of layers that see all positions are kept in,
    /// instead of in memory alone: the system writes to disk what it has no memory for.
    pub kv_dir: Option<PathBuf>,
    /// The most bytes that keys and values of all sequences take together; without a limit if `None`. What
    /// they share counts once.
    pub kv_bytes: Option<usize>,
    /// The most prompt tokens in one step. More makes long prompts a little faster; fewer lets a step end
    /// sooner.
    pub step_tokens: usize,
    /// How activations meet quantised weights.
    pub activations: Activations,
    /// Bytes that copies of weights, in the order in which products read them, may take.
    pub repack_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions {
            max_seq_len: None,
            kv_dtype: DType::F32,
            kv_dir: None,
            kv_bytes: None,
            step_tokens: 512,
            activations: Activations::F32,
            repack_bytes: 0,
        }
    }
}

/// A model, the device it runs on, and the limits of its sequences.
pub struct Engine {
    model: Arc<Model>,
    cpu: Arc<Cpu>,
    workspace: Workspace,
    options: EngineOptions,
    run: RunOptions,
    max_seq_len: usize,
    pool: BlockPool,
    spill: Option<SpillFile>,
    masks: MaskThreads,
}

/// The part of a step's prompt tokens that the oldest prompt has at least: one of so many.
const OLDEST_SHARE: usize = 4;

impl Engine {
    /// Fails if the options ask for more than the model has, or for a folder that cannot be written.
    pub fn new(model: Arc<Model>, cpu: Arc<Cpu>, options: EngineOptions) -> Result<Engine, EngineError> {
        let model_max = model.config.max_seq_len;
        let max_seq_len = options.max_seq_len.unwrap_or(model_max);
        if max_seq_len > model_max {
            return Err(EngineError::ContextTooLong { asked: max_seq_len, max_seq_len: model_max });
        }
        for (what, n) in [("context", max_seq_len), ("step", options.step_tokens)] {
            if n == 0 {
                return Err(EngineError::Option(format!("a {what} of 0 tokens can hold nothing")));
            }
        }
        if !KvLayout::DTYPES.contains(&options.kv_dtype) {
            let types = KvLayout::DTYPES.map(DType::name).join(", ");
            let fact = format!("the cache cannot be stored as {}; it can as {types}", options.kv_dtype);
            return Err(EngineError::Option(fact));
        }
        let spill = match &options.kv_dir {
            Some(folder) => model.spill_file(options.kv_dtype, folder)?,
            None => None,
        };
        let pool = options.kv_bytes.map_or_else(BlockPool::default, |bytes| {
            BlockPool::new(bytes / model.kv_layout(options.kv_dtype).block_bytes())
        });
        let run =
            RunOptions { activations: options.activations, repack: RepackBudget::new(options.repack_bytes) };
        let (workspace, masks) = Default::default();
        Ok(Engine { model, cpu, workspace, options, run, max_seq_len, pool, spill, masks })
    }

    /// The same model on the same device, run otherwise.
    pub fn with_options(&self, options: EngineOptions) -> Result<Engine, EngineError> {
        Engine::new(self.model.clone(), self.cpu.clone(), options)
    }

    /// The options that it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The device.
    pub fn cpu(&self) -> &Arc<Cpu> {
        &self.cpu
    }

    /// The longest sequence.
    pub fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    /// How keys and values are stored.
    pub fn kv_dtype(&self) -> DType {
        self.options.kv_dtype
    }

    /// The most prompt tokens in one step.
    pub fn step_tokens(&self) -> usize {
        self.options.step_tokens
    }

    /// The blocks that keys and values of all its sequences and pasts have.
    pub fn pool(&self) -> &BlockPool {
        &self.pool
    }

    /// A graph for a pass of this model as the options say.
    pub fn graph(&self) -> Graph<'_> {
        self.graph_in(&self.workspace)
    }

    /// The same, whose values are in another workspace: of a pass that takes much memory and is rare.
    pub fn graph_in<'e>(&'e self, workspace: &Workspace) -> Graph<'e> {
        Graph::inference(&self.cpu, workspace).with_options(&self.run)
    }

    /// Copies weights into the order in which products read them at once, as far as there is memory for
    /// copies, instead of while the first tokens are computed.
    pub fn repack(&self) {
        self.model.weights.repack(&self.cpu, &self.run);
    }

    /// Gives back the memory of what can be made again: copies of weights, and what passes compute in. Keys and values
    /// stay, and so do results. The next passes read weights as they are stored, until they were used a while.
    pub fn sleep(&self) {
        self.model.weights.drop_copies(&self.run);
        self.workspace.clear();
    }

    /// The same of copies of a head's weights.
    pub fn drop_copies_of(&self, head: &puna_model::Eagle) {
        head.drop_copies(&self.run);
    }

    /// Bytes that passes computed in and that wait for the next pass.
    pub fn workspace_bytes(&self) -> usize {
        self.workspace.free_bytes()
    }

    /// Bytes of keys and values that sequences and pasts have.
    pub fn kv_bytes_used(&self) -> usize {
        self.pool.blocks_used().saturating_mul(self.block_bytes())
    }

    fn block_bytes(&self) -> usize {
        self.model.kv_layout(self.options.kv_dtype).block_bytes()
    }

    /// Bytes of keys and values of a sequence of so many tokens, without images.
    pub fn kv_bytes_for(&self, n_tokens: usize) -> usize {
        let layout = self.model.kv_layout(self.options.kv_dtype);
        KvCache::bytes_for(layout, self.model.config.layer_attention(), n_tokens)
    }

    /// The longest sequence, up to the context, whose keys and values take at most so many bytes.
    pub fn context_within(&self, kv_bytes: usize) -> usize {
        let n_blocks = self.max_seq_len.div_ceil(KvLayout::BLOCK);
        // They take more with each block, or as many.
        let (mut fits, mut too_many) = (0, n_blocks + 1);
        while too_many - fits > 1 {
            let n = fits + (too_many - fits) / 2;
            let takes = self.kv_bytes_for((n * KvLayout::BLOCK).min(self.max_seq_len));
            *(if takes <= kv_bytes { &mut fits } else { &mut too_many }) = n;
        }
        (fits * KvLayout::BLOCK).min(self.max_seq_len)
    }

    /// Bytes that a pass computes in, at most: what is there at the same time of each row, and the logits of as many rows
    /// as sequences run. An estimate from above.
    pub fn pass_bytes(&self, n_running: usize) -> usize {
        let config = &self.model.config;
        let heads = (config.n_heads + 2 * config.n_kv_heads) * config.head_dim;
        let experts = config.experts.ffn_dim.saturating_mul(1 + config.experts.n_used);
        let row = 6 * config.dim + 2 * heads + 3 * config.ffn_dim.max(experts);
        let n_floats = self.options.step_tokens * row + 2 * n_running * config.vocab_size;
        n_floats.saturating_mul(size_of::<f32>())
    }

    /// A past of no tokens.
    pub fn empty_past(&self) -> Past {
        Past::new(Vec::new(), Vec::new(), self.empty_cache())
    }

    /// A past of `n_tokens` tokens, all 0, with pseudo-random keys and values: for measuring at depths that
    /// would take days to compute. Fails if they do not fit the context or the disk.
    pub fn synthetic_past(&self, n_tokens: usize) -> Result<Past, EngineError> {
        self.check_len(n_tokens, "the text")?;
        let mut cache = self.empty_cache();
        cache.fill_synthetic(&mut self.graph(), n_tokens)?;
        Ok(Past::new(vec![0; n_tokens], Vec::new(), cache))
    }

    pub(crate) fn empty_cache(&self) -> KvCache {
        let cache = self.model.new_cache(self.options.kv_dtype).in_pool(&self.pool);
        match &self.spill {
            Some(file) => cache.spilled_to(file),
            None => cache,
        }
    }

    /// Begins a sequence. Nothing is computed yet; what cannot be computed is refused here. A past must come
    /// from the same model.
    pub fn begin(&self, request: Request) -> Result<Sequence, EngineError> {
        self.check(&request)?;
        Ok(Sequence::new(request, self.empty_cache(), self.max_seq_len))
    }

    /// Refuses what [`Engine::begin`] refuses.
    pub fn check(&self, request: &Request) -> Result<(), EngineError> {
        let n_tokens = request.prompt.len();
        self.check_tokens(&request.prompt, "the prompt")?;
        self.check_images(&request.prompt, &request.images)?;
        if n_tokens == self.max_seq_len && request.max_new_tokens != Some(0) {
            return Err(EngineError::NoRoom { n_tokens, max_seq_len: self.max_seq_len });
        }
        Ok(())
    }

    /// Blocks of the pool that a sequence of so many tokens has, without images.
    pub fn blocks_for(&self, n_tokens: usize) -> usize {
        self.model.blocks_needed(&self.empty_cache(), 0..n_tokens, &[])
    }

    /// Refuses tokens that cannot be computed.
    pub(crate) fn check_tokens(&self, tokens: &[u32], what: &'static str) -> Result<(), EngineError> {
        self.check_more_tokens(0, tokens, what)
    }

    /// Refuses tokens that cannot be computed after `n_before` others, which were checked.
    fn check_more_tokens(
        &self,
        n_before: usize,
        tokens: &[u32],
        what: &'static str,
    ) -> Result<(), EngineError> {
        let vocab_size = self.model.config.n_embeddings();
        if tokens.is_empty() {
            return Err(EngineError::Empty(what));
        }
        if let Some(position) = tokens.iter().position(|&token| token as usize >= vocab_size) {
            let token = tokens[position];
            return Err(EngineError::OutsideVocabulary { token, position: n_before + position, vocab_size });
        }
        self.check_len(n_before + tokens.len(), what)
    }

    /// Refuses more tokens than the context has.
    fn check_len(&self, n_tokens: usize, what: &'static str) -> Result<(), EngineError> {
        let max_seq_len = self.max_seq_len;
        if n_tokens > max_seq_len {
            let model_max = Some(self.model.config.max_seq_len).filter(|&max| max > max_seq_len);
            return Err(EngineError::TooLong { what, n_tokens, max_seq_len, model_max });
        }
        self.check_memory([n_tokens], what)
    }

    /// Refuses sequences of these lengths, together, if their keys and values can never have as many bytes
    /// ([`EngineOptions::kv_bytes`]). `what` is what has these tokens, for the message.
    pub fn check_memory(
        &self,
        lens: impl IntoIterator<Item = usize>,
        what: &'static str,
    ) -> Result<(), EngineError> {
        let n_blocks = self.pool.n_blocks();
        if n_blocks == usize::MAX {
            return Ok(());
        }
        let sum = |(n_tokens, n_bytes): (usize, usize), len: usize| {
            (n_tokens.saturating_add(len), n_bytes.saturating_add(self.kv_bytes_for(len)))
        };
        let (n_tokens, n_bytes) = lens.into_iter().fold((0, 0), sum);
        let max_bytes = n_blocks.saturating_mul(self.block_bytes());
        if n_bytes > max_bytes {
            return Err(EngineError::NoMemory { what, n_tokens, n_bytes, max_bytes });
        }
        Ok(())
    }

    /// Refuses images that do not fit their tokens.
    fn check_images(&self, tokens: &[u32], images: &[SequenceImage]) -> Result<(), EngineError> {
        let Some(vision) = self.model.config.vision.as_ref().filter(|_| !images.is_empty()) else {
            let fact = "the model does not see images".to_owned();
            return if images.is_empty() { Ok(()) } else { Err(EngineError::Images(fact)) };
        };
        let mut next = 0;
        for (i, image) in images.iter().enumerate() {
            let wanted = match vision.tower {
                Tower::CrossAttention(_) => 1,
                Tower::EarlyFusion(_) => image.vectors.rows(),
            };
            if image.positions.len() != wanted {
                let n_given = image.positions.len();
                let fact = format!("image {} needs {wanted} tokens, but {n_given} stand for it", i + 1);
                return Err(EngineError::Images(fact));
            }
            for &position in &image.positions {
                if position < next || tokens.get(position) != Some(&vision.image_token) {
                    let fact = format!("the token at position {position} does not stand for image {}", i + 1);
                    return Err(EngineError::Images(fact));
                }
                next = position + 1;
            }
        }
        Ok(())
    }

    /// Advances every sequence that has not ended: reads on in its prompt, or makes one token. Calls
    /// `chosen(i, token)` for each new token of `sequences[i]`. Where none could be chosen, that sequence
    /// alone has ended. Where there was no room for a sequence's keys and values, `chosen` is told, and it
    /// stays as it was: it goes on in a later step, when others have ended, or its owner ends it. Where that is
    /// so of every sequence, none can go on and the step fails.
    pub fn step(
        &self,
        sequences: &mut [&mut Sequence],
        mut chosen: impl FnMut(usize, Result<u32, EngineError>),
    ) -> Result<(), EngineError> {
        self.step_within(self.options.step_tokens, sequences, |i, token, _| {
            chosen(i, token);
            None
        })
    }

    /// The same with at most `step_tokens` tokens of prompts. `chosen` sees the logits from which a token was chosen,
    /// `[vocab_size]`, and may end the sequence after it.
    pub fn step_within(
        &self,
        step_tokens: usize,
        sequences: &mut [&mut Sequence],
        mut chosen: impl FnMut(usize, Result<u32, EngineError>, &[f32]) -> Option<FinishReason>,
    ) -> Result<(), EngineError> {
        let plan = self.schedule(step_tokens, sequences);
        if plan.iter().all(|&n_tokens| n_tokens == 0) {
            return Ok(());
        }
        let mut tokens = Vec::with_capacity(plan.iter().sum());
        let mut wanted = Vec::new(); // Rows whose logits choose a token, in the order of the sequences.
        let mut images = Vec::new();
        let mut cached = Vec::with_capacity(sequences.len());
        let (mut choosers, mut constraints) = (Vec::new(), Vec::new());
        let mut refused = Vec::new();
        let mut computed = Vec::new(); // Sequences, their first new position and its row.
        let points = sequences.iter().find_map(|sequence| Some(sequence.follower.as_ref()?.points()));
        for (i, (sequence, &n_tokens)) in sequences.iter_mut().zip(&plan).enumerate() {
            if n_tokens == 0 {
                continue;
            }
            let (start, row) = (sequence.cache.len(), tokens.len());
            let n_draft = n_tokens - n_tokens.min(sequence.n_pending());
            sequence.draft.truncate(n_draft);
            let own = placed(&sequence.images, start, n_tokens, row);
            if let Err(error) = self.model.reserve(&mut sequence.cache, row..row + n_tokens, &own) {
                refused.push((i, error.into()));
                continue;
            }
            images.extend(own);
            tokens.extend_from_slice(&sequence.tokens[start..start + n_tokens - n_draft]);
            if start + n_tokens - n_draft == sequence.tokens.len() {
                wanted.extend(tokens.len() - 1..tokens.len() + n_draft);
                choosers.push(i);
                constraints.extend(sequence.constraint.take().map(|constraint| (i, constraint)));
            }
            tokens.extend_from_slice(&sequence.draft);
            computed.push((i, start, row));
            cached.push(CachedSequence { n_tokens, cache: &mut sequence.cache });
        }
        if cached.is_empty() {
            // The plan had tokens, so somebody was refused.
            let (_, error) = refused.remove(0);
            return Err(error);
        }
        let asked = self.masks.ask(constraints);
        let mut graph = self.graph();
        let input = Input { tokens: &tokens, images: &images };
        let mut features = [None, None, None];
        let mut keep = |point: Point, x: &Var| {
            let own = points.iter().flatten().zip(&mut features).filter(|(own, _)| **own == point);
            own.for_each(|(_, feature)| *feature = Some(x.clone()));
        };
        let observer: Option<Observer> = if points.is_some() { Some(&mut keep) } else { None };
        let of_pass = Sequences::Cached(&mut cached);
        let logits = self.model.forward(&mut graph, input, of_pass, Some(&wanted), observer);
        for (i, constraint) in asked.wait() {
            sequences[i].constraint = Some(constraint);
        }
        let logits = logits?;
        for (i, error) in refused {
            sequences[i].draft.clear();
            if let Some(reason) = chosen(i, Err(error), &[]) {
                sequences[i].finish(reason);
            }
        }
        let mut rows = logits.values();
        for i in choosers {
            let (own, rest) = rows.split_at((1 + sequences[i].draft.len()) * logits.cols());
            let own = own.chunks_exact(logits.cols());
            sequences[i].choose_each(own, |token, row| chosen(i, token.map_err(EngineError::from), row));
            rows = rest;
        }
        if let [Some(low), Some(middle), Some(high)] = features {
            let features = [low, middle, high];
            for (i, start, row) in computed {
                let Sequence { cache, follower, .. } = &mut *sequences[i];
                // Guesses that were wrong are forgotten by now.
                let n_kept = cache.len().saturating_sub(start);
                follower.iter_mut().for_each(|follower| follower.learn(start, &features, row..row + n_kept));
            }
        }
        Ok(())
    }

    /// The blocks of the pool that a sequence's next step needs beyond those that it has, if it is alone in it.
    pub fn blocks_needed(&self, sequence: &Sequence) -> usize {
        let start = sequence.cache.len();
        let n_tokens = sequence.n_pending().min(self.options.step_tokens);
        let images = placed(&sequence.images, start, n_tokens, 0);
        self.model.blocks_needed(&sequence.cache, 0..n_tokens, &images)
    }

    /// How many tokens of each sequence the next step computes.
    fn schedule(&self, step_tokens: usize, sequences: &[&mut Sequence]) -> Vec<usize> {
        let pending = |sequence: &Sequence| match sequence.finish_reason() {
            Some(_) => 0,
            None => sequence.n_pending(),
        };
        let n_decoding = sequences.iter().filter(|sequence| pending(sequence) == 1).count();
        let mut plan: Vec<usize> = sequences.iter().map(|sequence| pending(sequence)).collect();
        // The prompt that is read soonest comes first, so that most wait little; of equal ones the earlier. The first of all
        // has a part of every step, so that it does not starve beside many who come later.
        let mut prompts: Vec<usize> = (0..plan.len()).filter(|i| plan[*i] > 1).collect();
        let mut room = step_tokens.saturating_sub(n_decoding).max(1);
        if let Some(&first) = prompts.first() {
            let pending = plan[first];
            plan[first] = pending.min((room / OLDEST_SHARE).max(1));
            prompts.sort_by_key(|i| if *i == first { pending } else { plan[*i] });
            room -= plan[first];
            for i in prompts {
                let more = if i == first { pending - plan[first] } else { plan[i] };
                let more = more.min(room);
                plan[i] = if i == first { plan[i] + more } else { more };
                room -= more;
            }
        }
        for (n_tokens, sequence) in plan.iter_mut().zip(sequences).filter(|(n_tokens, _)| **n_tokens == 1) {
            if sequence.n_pending() == 1 {
                *n_tokens += self.room_for_draft(sequence);
            }
        }
        plan
    }

    /// How many of a sequence's proposed tokens can be tried: those that could be taken back, and that leave room.
    fn room_for_draft(&self, sequence: &Sequence) -> usize {
        let config = &self.model.config;
        let len = sequence.tokens.len();
        let is_text = |token: &&u32| {
            (**token as usize) < config.vocab_size
                && config.vision.as_ref().is_none_or(|v| v.image_token != **token)
        };
        let n = sequence.draft.iter().take_while(is_text).count();
        // What begins a chunk drops the one before it.
        let in_chunk = config.attention_chunk.map_or(usize::MAX, |chunk| chunk - 1 - (len - 1) % chunk);
        n.min(in_chunk).min(self.max_seq_len - len)
    }

    /// Computes `tokens` after those of the past, adds them to it, and returns the logits after the last one.
    pub fn extend<'t>(
        &self,
        past: &mut Past,
        tokens: impl Into<Tokens<'t>>,
    ) -> Result<Vec<f32>, EngineError> {
        let tokens = tokens.into();
        let Past { tokens: mut all, mut images, mut cache } = std::mem::replace(past, self.empty_past());
        let (n_before, n_images) = (all.len(), images.len());
        all.extend_from_slice(tokens.ids);
        images.extend_from_slice(tokens.images);
        let checked = self
            .check_more_tokens(n_before, tokens.ids, "the text")
            .and_then(|()| self.check_images(&all, &images))
            .inspect_err(|_| images.truncate(n_images));
        let logits = checked.and_then(|()| self.compute(&mut cache, tokens.ids, &images));
        // Where it failed, what was computed until then stays.
        *past = Past::new(all, images, cache);
        logits
    }

    /// Computes one token after those of each past in a single pass, adds it, and returns the logits after
    /// each of them: `[pasts, vocab_size]`. If one cannot be computed, none is.
    pub fn extend_each(&self, pasts: &mut [Past], tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        assert_eq!(pasts.len(), tokens.len(), "each past is extended by one token");
        for (past, &token) in pasts.iter().zip(tokens) {
            self.check_more_tokens(past.tokens().len(), &[token], "the text")?;
        }
        let mut cached = Vec::with_capacity(pasts.len());
        for past in pasts.iter_mut() {
            cached.push(CachedSequence { n_tokens: 1, cache: &mut past.cache });
        }
        let mut graph = self.graph();
        let logits = self.model.forward(&mut graph, tokens, Sequences::Cached(&mut cached), None, None)?;
        for (past, &token) in pasts.iter_mut().zip(tokens) {
            past.tokens.push(token);
        }
        Ok(logits.values().to_vec())
    }

    fn compute(
        &self,
        cache: &mut KvCache,
        tokens: &[u32],
        images: &[SequenceImage],
    ) -> Result<Vec<f32>, EngineError> {
        let mut last_row = Vec::new();
        let n_steps = tokens.len().div_ceil(self.options.step_tokens);
        for (i, tokens) in tokens.chunks(self.options.step_tokens).enumerate() {
            let images = placed(images, cache.len(), tokens.len(), 0);
            let last = [tokens.len() - 1];
            let wanted = if i + 1 == n_steps { &last[..] } else { &[] };
            let mut cached = [CachedSequence { n_tokens: tokens.len(), cache }];
            let mut graph = self.graph();
            let input = Input { tokens, images: &images };
            let logits =
                self.model.forward(&mut graph, input, Sequences::Cached(&mut cached), Some(wanted), None)?;
            last_row = logits.values().to_vec();
        }
        Ok(last_row)
    }
}
