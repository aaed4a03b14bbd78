//! The tensors of Meta's model-parallel shards, put together.

use puna_formats::{ErrorKind, FormatError, MetaCheckpoint, TensorMap, TensorView};
use puna_tensor::Bytes;

use super::Source;
use crate::Config;
use crate::error::ModelError;
use crate::names::{EXTRA_EMBEDDINGS, LayerPart, Naming, Part, Slice};

/// What the norm before the feed-forward block is called.
pub(super) const FFN_NORMS: [&str; 2] = ["feed_forward.norm.weight", "feed_forward.mlp.layer_norm_weight"];

/// Whether all shards are there. Nothing in a shard says how many there are, but each has its share of the
/// heads, so the columns of `wo` in one of them tell. Without this a missing shard looks like wrong shapes.
pub(super) fn check_shards(meta: &MetaCheckpoint, wo: &str) -> Result<(), FormatError> {
    let size = |key: &str| meta.params.get(key).and_then(|size| size.as_u64());
    let (Some(dim), Some(n_heads @ 1..)) = (size("dim"), size("n_heads")) else { return Ok(()) };
    let all = n_heads.saturating_mul(size("head_dim").unwrap_or(dim / n_heads));
    let in_first = meta.shards.first().and_then(|shard| shard.get(wo)).and_then(|wo| wo.shape.get(1));
    let (found, n_all) = match in_first {
        Some(&share @ 1..) if all.is_multiple_of(share as u64) => (meta.shards.len(), all / share as u64),
        _ => return Ok(()),
    };
    if found as u64 >= n_all {
        return Ok(());
    }
    Err(FormatError {
        kind: ErrorKind::NotFound,
        doing: "read",
        path: meta.dir.join(format!("consolidated.{found:02}.pth")),
        fact: format!("this shard of the model is missing: it has {n_all}, found are {found}"),
        hint: Some("all shards, numbered from 00, must be in the folder".into()),
    })
}

impl Source<'_> {
    /// A parameter as it lies in the files, of all shards; the embedding with its rows beyond the vocabulary.
    pub(super) fn merged(
        &self,
        config: &Config,
        shards: &[TensorMap],
        part: Part,
    ) -> Result<TensorView, ModelError> {
        let stored = config.stored(part, Naming::Meta);
        let name = self.meta_name(shards, part, stored.name);
        let merged = self.joined(config, shards, &name, part, stored.slice)?;
        if part != Part::TokEmbeddings || config.n_extra_embeddings == 0 {
            return Ok(merged);
        }
        let extra = self.joined(config, shards, EXTRA_EMBEDDINGS, part, None)?;
        let same_rows = merged.shape.len() == 2 && merged.shape[1..] == extra.shape[1..];
        if !same_rows || merged.dtype != extra.dtype {
            let fact = format!("its shape {:?} or type is not that of {name}'s rows", extra.shape);
            return Err(self.tensor_error(EXTRA_EMBEDDINGS, fact));
        }
        let data = [&merged.data[..], &extra.data[..]];
        self.count_copy(&name, data.iter().map(|d| d.len()).sum())?;
        let shape = vec![merged.shape[0] + extra.shape[0], merged.shape[1]];
        Ok(TensorView { shape, data: Bytes::new(data.concat()), ..merged })
    }

    /// Llama 4 has two names for one norm.
    fn meta_name(&self, shards: &[TensorMap], part: Part, name: String) -> String {
        let is_norm = matches!(part, Part::Layer(_, LayerPart::FfnNorm));
        match FFN_NORMS.iter().find_map(|end| name.strip_suffix(end)) {
            Some(layer) if is_norm && !shards[0].contains(&name) => {
                let other = FFN_NORMS.into_iter().find(|end| !name.ends_with(end));
                format!("{layer}{}", other.expect("there are two"))
            }
            _ => name,
        }
    }

    /// That part of a tensor in each shard, joined along the axis that they split.
    fn joined(
        &self,
        config: &Config,
        shards: &[TensorMap],
        name: &str,
        part: Part,
        slice: Option<Slice>,
    ) -> Result<TensorView, ModelError> {
        let parts: Vec<&TensorView> =
            shards.iter().map(|shard| self.named(shard, name)).collect::<Result<_, _>>()?;
        let first = parts[0];
        let axis = part.shard_axis().filter(|_| parts.len() > 1);
        if axis.is_none() && slice.is_none() {
            return Ok(first.clone());
        }
        let same = parts.iter().all(|p| p.dtype == first.dtype && p.shape == first.shape);
        let [rows, cols] = match first.shape[..] {
            [rows, cols] if same => [rows, cols],
            [len] if same => [len, 1],
            _ => {
                let shapes: Vec<_> = parts.iter().map(|p| &p.shape).collect();
                return Err(self.tensor_error(name, format!("the shards disagree: {shapes:?}")));
            }
        };
        let slice = slice.unwrap_or(Slice::WHOLE);
        let (range, n_rows) = match (slice.of_len(first.data.len()), slice.of_len(rows)) {
            (Some(range), Some(own)) => (range, own.len()),
            _ => {
                let fact = format!("its {rows} rows are not {} parts of equal size", slice.of);
                return Err(self.tensor_error(name, fact));
            }
        };
        let own: Vec<Bytes> = parts
            .iter()
            .map(|part| part.data.slice(range.clone()).expect("a part of what is there"))
            .take(if axis.is_some() { parts.len() } else { 1 })
            .collect();
        // The embedding is split by columns up to Llama 2 and by rows since.
        let by_columns = axis == Some(1) || (part == Part::TokEmbeddings && rows == config.vocab_size);
        let kept: Vec<&Bytes> =
            if by_columns { own.iter().collect() } else { distinct_heads(config, part, &own, n_rows) };
        let shape = match by_columns {
            true => [n_rows, cols.saturating_mul(kept.len())],
            false => [n_rows.saturating_mul(kept.len()), cols],
        };
        let shape = shape[..first.shape.len()].to_vec();
        let (name, dtype) = (name.to_owned(), first.dtype);
        if let [only] = kept[..] {
            return Ok(TensorView { name, dtype, shape, data: only.clone() });
        }
        let n_bytes = kept.iter().map(|part| part.len()).sum();
        self.count_copy(&name, n_bytes)?;
        let mut data = Vec::with_capacity(n_bytes);
        let row_bytes = if by_columns { range.len() / n_rows.max(1) } else { range.len() };
        for row in 0..range.len() / row_bytes.max(1) {
            kept.iter().for_each(|part| data.extend_from_slice(&part[row * row_bytes..][..row_bytes]));
        }
        Ok(TensorView { name, dtype, shape, data: Bytes::new(data) })
    }
}

/// With more shards than key-value heads, as in the 16-way 405B, neighbouring shards repeat a head: one of
/// each is kept.
fn distinct_heads<'t>(config: &Config, part: Part, parts: &'t [Bytes], shard_rows: usize) -> Vec<&'t Bytes> {
    let is_kv = matches!(part, Part::Layer(_, LayerPart::Wk | LayerPart::Wv));
    let repeats = if is_kv && shard_rows == config.head_dim {
        parts.len() * shard_rows / config.kv_dim().max(1)
    } else {
        1
    };
    parts.iter().step_by(repeats.max(1)).collect()
}
