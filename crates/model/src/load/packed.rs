//! GPTQ and AWQ: linear layers whose small codes, zeros and scales lie in tensors of their own, input after
//! input.
//!
//! They are put together row after row, in blocks that hold the same codes, scales and zeros
//! ([`DType::Q4_Z`], [`DType::Q8_Z`]), so nothing is rounded. Sizes tell what a layer is: its bits, its
//! groups, and which of the two; only the convention of GPTQ's zeros is in the configuration. Inputs in the
//! order of their activations' size (`desc_act`) are sorted by their group, and the weight remembers the
//! order.

use puna_formats::{TensorMap, TensorView};
use puna_tensor::{Bytes, DType, ParamId, Weight};
use serde_json::Value;

/// Elements of a block.
const BLOCK: usize = 32;

/// What the configuration says of packed layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Whether zeros are stored one too low: the first of GPTQ's conventions.
    zeros_are_low: bool,
}

impl Packing {
    /// Reads `quantization_config`; `None` where there is none. The message names what is not supported.
    pub(crate) fn from_hf(config: &Value) -> Result<Option<Packing>, String> {
        let Some(quantization) = config.get("quantization_config").filter(|q| !q.is_null()) else {
            return Ok(None);
        };
        let text = |key: &str| quantization.get(key).and_then(Value::as_str);
        let format = text("checkpoint_format").unwrap_or("gptq");
        match (text("quant_method").unwrap_or("unknown"), format) {
            ("gptq", "gptq") => Ok(Some(Packing { zeros_are_low: true })),
            ("gptq", "gptq_v2") => Ok(Some(Packing { zeros_are_low: false })),
            ("gptq", other) => Err(format!(
                "GPTQ's checkpoint_format is `{other}`, which is made for one kernel; supported are gptq and gptq_v2"
            )),
            ("awq", _) => match text("version").unwrap_or("gemm").to_lowercase().as_str() {
                "gemm" => Ok(Some(Packing { zeros_are_low: false })),
                other => Err(format!("AWQ's version is `{other}`; supported is gemm")),
            },
            (other, _) => Err(format!(
                "weights quantised by `{other}` are not supported yet; supported are gptq, awq, fbgemm_fp8, fp8 and \
                 compressed-tensors"
            )),
        }
    }
}

/// The tensors of a packed layer, by their last names.
pub(crate) const NAMES: [&str; 4] = ["qweight", "qzeros", "scales", "g_idx"];

/// Puts together the layer `base` as a weight of shape `[rows, cols]`; `None` if it is not packed. The
/// message is about the tensor it names.
pub(crate) fn weight(
    tensors: &TensorMap,
    packing: Packing,
    base: &str,
    id: ParamId,
    [rows, cols]: [usize; 2],
) -> Option<Result<Weight, (String, String)>> {
    let get = |name: &str| tensors.get(&format!("{base}.{name}"));
    let codes = get("qweight")?;
    let fail = |name: &str, fact: String| Err((format!("{base}.{name}"), fact));
    let (Some(zeros), Some(scales)) = (get("qzeros"), get("scales")) else {
        return Some(fail("qzeros", "it or the scales of this layer are missing".into()));
    };
    let layer = match Layer::new(packing, [codes, zeros, scales], get("g_idx"), [rows, cols]) {
        Ok(layer) => layer,
        Err((name, fact)) => return Some(fail(name, fact)),
    };
    Some(
        layer
            .join(id)
            .ok_or_else(|| (format!("{base}.g_idx"), "its inputs are not each in one place".into())),
    )
}

/// A packed layer, checked.
struct Layer<'a> {
    rows: usize,
    cols: usize,
    bits: usize,
    /// AWQ packs outputs, GPTQ inputs.
    by_outputs: bool,
    zero_offset: u32,
    codes: &'a [[u8; 4]],
    zeros: &'a [[u8; 4]],
    scales: &'a [[u8; 2]],
    /// Inputs, group after group.
    order: Vec<u32>,
    /// The group of each input.
    groups: Vec<u32>,
    sorted: bool,
}

type Misfit = (&'static str, String);

impl<'a> Layer<'a> {
    fn new(
        packing: Packing,
        [codes, zeros, scales]: [&'a TensorView; 3],
        g_idx: Option<&TensorView>,
        [rows, cols]: [usize; 2],
    ) -> Result<Layer<'a>, Misfit> {
        let shape = |name, view: &TensorView, dtype| match view.shape[..] {
            [a, b] if view.dtype == dtype => Ok((a, b)),
            _ => {
                Err((name, format!("expected a matrix of {dtype}, found {:?} of {}", view.shape, view.dtype)))
            }
        };
        let (words, width) = shape("qweight", codes, DType::I32)?;
        let (n_groups, n_zeros) = shape("qzeros", zeros, DType::I32)?;
        let (scale_rows, scale_cols) = shape("scales", scales, DType::F16)?;
        let by_outputs = words == cols && width != rows;
        let bits = match by_outputs {
            true => width.saturating_mul(32) / rows.max(1),
            false => words.saturating_mul(32) / cols.max(1),
        };
        let fits = match by_outputs {
            true => bits <= 8 && width.saturating_mul(32) == rows * bits,
            false => bits <= 8 && width == rows && words.saturating_mul(32) == cols * bits,
        };
        if !fits || !(bits == 4 || (bits == 8 && !by_outputs)) {
            let found = format!("{:?} holds {bits} bits for each of {rows} x {cols} weights", codes.shape);
            return Err(("qweight", format!("{found}; supported are 4 and 8, in GPTQ's or AWQ's order")));
        }
        if n_groups == 0
            || (scale_rows, scale_cols) != (n_groups, rows)
            || n_zeros.saturating_mul(32) != rows * bits
        {
            let found = format!("zeros {:?} and scales {:?}", zeros.shape, scales.shape);
            return Err(("scales", format!("{found} do not fit {rows} outputs of {bits} bits")));
        }
        let group_len = cols.div_ceil(n_groups);
        let groups: Vec<u32> = match g_idx {
            None => (0..cols).map(|col| (col / group_len) as u32).collect(),
            Some(view) if view.dtype == DType::I32 && view.shape == [cols] => {
                view.data.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
            }
            Some(view) => {
                return Err((
                    "g_idx",
                    format!("expected {cols} of I32, found {:?} of {}", view.shape, view.dtype),
                ));
            }
        };
        if let Some(group) = groups.iter().find(|group| **group as usize >= n_groups) {
            return Err(("g_idx", format!("there is no group {group}; there are {n_groups}")));
        }
        let sorted = groups.is_sorted();
        let mut order: Vec<u32> = (0..cols as u32).collect();
        order.sort_by_key(|col| groups[*col as usize]);
        let group_of = |col: &u32| groups[*col as usize];
        if !cols.is_multiple_of(BLOCK)
            || order.chunks(BLOCK).any(|block| block.iter().any(|col| group_of(col) != group_of(&block[0])))
        {
            let fact = format!("{n_groups} groups of {cols} inputs are not whole numbers of {BLOCK}");
            return Err(("g_idx", fact));
        }
        let zero_offset = packing.zeros_are_low as u32;
        let (codes, zeros) = (codes.data.as_chunks::<4>().0, zeros.data.as_chunks::<4>().0);
        let scales = scales.data.as_chunks::<2>().0;
        Ok(Layer { rows, cols, bits, by_outputs, zero_offset, codes, zeros, scales, order, groups, sorted })
    }

    /// The place of output `row`'s bits in AWQ's words, which are interleaved, and in GPTQ's zeros, which are
    /// not.
    fn shift_of_output(&self, row: usize) -> u32 {
        const AWQ: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
        let per_word = 32 / self.bits;
        match self.by_outputs {
            true => 4 * AWQ[row % 8],
            false => ((row % per_word) * self.bits) as u32,
        }
    }

    fn code(&self, row: usize, col: usize) -> u8 {
        let per_word = 32 / self.bits;
        let (word, shift) = match self.by_outputs {
            true => (col * (self.rows / per_word) + row / per_word, self.shift_of_output(row)),
            false => (col / per_word * self.rows + row, ((col % per_word) * self.bits) as u32),
        };
        (u32::from_le_bytes(self.codes[word]) >> shift) as u8 & (((1u32 << self.bits) - 1) as u8)
    }

    fn zero(&self, row: usize, group: usize) -> u32 {
        let per_word = 32 / self.bits;
        let word = u32::from_le_bytes(self.zeros[group * (self.rows / per_word) + row / per_word]);
        ((word >> self.shift_of_output(row)) & ((1 << self.bits) - 1)) + self.zero_offset
    }

    fn join(&self, id: ParamId) -> Option<Weight> {
        let dtype = if self.bits == 4 { DType::Q4_Z } else { DType::Q8_Z };
        let block_bytes = dtype.block_bytes();
        let mut bytes = vec![0; self.rows * self.cols / BLOCK * block_bytes];
        let row_bytes = self.cols / BLOCK * block_bytes;
        // Some rows at a time, because neighbouring outputs share what is read.
        for first in (0..self.rows).step_by(64) {
            for (i, cols) in self.order.chunks_exact(BLOCK).enumerate() {
                let group = self.groups[cols[0] as usize] as usize;
                for row in first..self.rows.min(first + 64) {
                    let block = &mut bytes[row * row_bytes + i * block_bytes..][..block_bytes];
                    let zero = self.zero(row, group) as u16;
                    block[..2].copy_from_slice(&self.scales[group * self.rows + row]);
                    block[2..4].copy_from_slice(&zero.to_le_bytes());
                    let code = |j: usize| self.code(row, cols[j] as usize);
                    for (j, byte) in block[4..].iter_mut().enumerate() {
                        *byte = if self.bits == 4 { code(j) | code(j + 16) << 4 } else { code(j) };
                    }
                }
            }
        }
        let weight = Weight::stored(id, dtype, self.rows, self.cols, Bytes::new(bytes))?;
        if self.sorted { Some(weight) } else { weight.with_columns(self.order.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dtype: DType, shape: &[usize], byte: u8) -> TensorView {
        let len = dtype.bytes_of(shape.iter().product()).unwrap();
        TensorView { name: String::new(), dtype, shape: shape.to_vec(), data: Bytes::new(vec![byte; len]) }
    }

    /// 64 inputs in 2 groups, 16 outputs, four bits.
    fn parts() -> [TensorView; 3] {
        [(DType::I32, [8, 16], 0x98), (DType::I32, [2, 2], 0x77), (DType::F16, [2, 16], 0x3c)]
            .map(|(dtype, shape, byte)| tensor(dtype, &shape, byte))
    }

    fn join(parts: &[TensorView; 3], g_idx: Option<&TensorView>) -> Result<Vec<f32>, Misfit> {
        let packing = Packing { zeros_are_low: true };
        let layer = Layer::new(packing, parts.each_ref(), g_idx, [16, 64])?;
        Ok(layer.join(ParamId(0)).unwrap().to_f32())
    }

    fn indices(of: impl Fn(u32) -> u32) -> TensorView {
        let data = (0..64).flat_map(|i| of(i).to_le_bytes()).collect::<Vec<u8>>();
        TensorView { data: Bytes::new(data), ..tensor(DType::I32, &[64], 0) }
    }

    #[test]
    fn layers_are_joined_in_the_order_of_their_inputs() {
        let mut parts = parts();
        // 0x3c3c is 1 + 60/1024, the second group's scale is twice that.
        let one = 1.0 + 60.0 / 1024.0;
        let scales = [[0x3c, 0x3c]; 16].into_iter().chain([[0x3c, 0x40]; 16]).flatten().collect::<Vec<u8>>();
        parts[2].data = Bytes::new(scales);
        // Codes 8 and 9 in turn, zero 7 + 1.
        let plain = join(&parts, None).unwrap();
        assert!(
            plain[..64]
                .iter()
                .enumerate()
                .all(|(i, x)| *x == [0.0, one][i % 2] * if i < 32 { 1.0 } else { 2.0 })
        );
        // Odd inputs are of the second group: they keep their places.
        let turned = join(&parts, Some(&indices(|i| i % 2))).unwrap();
        assert!(turned.iter().enumerate().all(|(i, x)| *x == [0.0, 2.0 * one][i % 2]));
    }

    #[test]
    fn layers_that_do_not_fit_are_named() {
        for (i, dtype, shape, name) in [
            (0, DType::F32, vec![8, 16], "qweight"),
            (0, DType::I32, vec![8, 15], "qweight"),
            (0, DType::I32, vec![6, 16], "qweight"),
            (0, DType::I32, vec![128], "qweight"),
            (0, DType::I32, vec![1 << 62, 0], "qweight"),
            (1, DType::I32, vec![2, 3], "scales"),
            (1, DType::I32, vec![0, 2], "scales"),
            (2, DType::F16, vec![3, 16], "scales"),
            (2, DType::F32, vec![2, 16], "scales"),
        ] {
            let mut parts = parts();
            parts[i] = tensor(dtype, &shape, 0);
            assert_eq!(join(&parts, None).unwrap_err().0, name, "{i} {shape:?}");
        }
        for wrong in [indices(|i| i / 16), indices(|i| (i > 40) as u32), tensor(DType::I32, &[63], 0)] {
            assert_eq!(join(&parts(), Some(&wrong)).unwrap_err().0, "g_idx");
        }
        assert_eq!(join(&parts(), Some(&indices(|_| u32::MAX))).unwrap_err().0, "g_idx");
    }

    #[test]
    fn configurations_are_told_apart() {
        let read = |text: &str| Packing::from_hf(&serde_json::from_str(text).unwrap());
        let low = |zeros_are_low| Ok(Some(Packing { zeros_are_low }));
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read(r#"{"quantization_config": {"quant_method": "gptq"}}"#), low(true));
        let v2 = r#"{"quantization_config": {"quant_method": "gptq", "checkpoint_format": "gptq_v2"}}"#;
        assert_eq!(read(v2), low(false));
        assert_eq!(
            read(r#"{"quantization_config": {"quant_method": "awq", "version": "GEMM"}}"#),
            low(false)
        );
        for (text, word) in [
            (r#"{"quant_method": "gptq", "checkpoint_format": "marlin"}"#, "marlin"),
            (r#"{"quant_method": "awq", "version": "gemv"}"#, "gemv"),
            (r#"{"quant_method": "bitsandbytes"}"#, "bitsandbytes"),
            (r#"{}"#, "unknown"),
        ] {
            assert!(read(&format!(r#"{{"quantization_config": {text}}}"#)).unwrap_err().contains(word));
        }
    }
}
