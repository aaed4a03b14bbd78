//! GPTQ and AWQ: linear layers whose small codes, zeros and scales lie in tensors of their own, input after
//! input.
//!
//! Sizes tell what a layer is: its bits, its groups, and which of the two; only the convention of GPTQ's zeros
//! and which of AWQ's kernels a layer is packed for are in the configuration. Inputs in the order of their
//! activations' size (`desc_act`) are sorted by their group, and the weight remembers the order.

use puna_formats::TensorView;
use puna_tensor::{DType, Weight};
use serde_json::Value;

use super::grouped::{Codes, Dense, Grouped, Groups, Offsets, floats, transposed};
use super::layer::{Layer, Misfit};

/// What the configuration says of packed layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Inputs share a word. Zeros are stored one too low in the first of GPTQ's conventions.
    Gptq { zeros_are_low: bool },
    /// Outputs share a word.
    AwqGemm,
    /// Inputs share a word, row after row.
    AwqGemv { group: Option<usize> },
    /// Four rows and 64 inputs are interleaved, and zeros are minima.
    AwqGemvFast { group: Option<usize> },
}

impl Packing {
    /// Reads `quantization_config` of GPTQ. The message names what is not supported.
    pub(super) fn gptq(quantization: &Value) -> Result<Packing, String> {
        // Its two names; the second alone tells nothing where it is the name of a file's format.
        let text = |key: &str| quantization.get(key).and_then(Value::as_str);
        match text("checkpoint_format").or(text("format")).unwrap_or("gptq") {
            "gptq" => Ok(Packing::Gptq { zeros_are_low: true }),
            "gptq_v2" => Ok(Packing::Gptq { zeros_are_low: false }),
            "gptq_p" => Err(
                "GPTQ's checkpoint_format is `gptq_p` (planes of bits), which is not supported; supported are \
                 gptq and gptq_v2"
                    .into(),
            ),
            other => Err(format!(
                "GPTQ's checkpoint_format is `{other}`, which is made for one kernel; supported are gptq and gptq_v2"
            )),
        }
    }

    /// The same of AutoRound, which writes the forms of both.
    pub(super) fn auto_round(quantization: &Value) -> Result<Packing, String> {
        let format = quantization.get("packing_format").and_then(Value::as_str).unwrap_or("missing");
        match format {
            "auto_round:auto_gptq" | "auto_round:gptq" => Ok(Packing::Gptq { zeros_are_low: true }),
            "auto_round" | "auto_round:gptqmodel" => Ok(Packing::Gptq { zeros_are_low: false }),
            "auto_round:auto_awq" | "auto_round:awq" => Ok(Packing::AwqGemm),
            other => Err(format!(
                "AutoRound's packing_format is `{other}`; supported are auto_round, auto_round:auto_gptq, \
                 auto_round:gptqmodel and auto_round:auto_awq"
            )),
        }
    }

    /// The same of AWQ.
    pub(super) fn awq(quantization: &Value) -> Result<Packing, String> {
        let version = quantization.get("version").and_then(Value::as_str).unwrap_or("gemm");
        // Its name in quant_config.json is another. What is no size is all inputs.
        let group = ["group_size", "q_group_size"].iter().find_map(|key| quantization.get(*key)?.as_u64());
        let group = group.and_then(|group| usize::try_from(group).ok()).filter(|group| *group > 0);
        match version.to_lowercase().as_str() {
            "gemm" => Ok(Packing::AwqGemm),
            "gemv" => Ok(Packing::AwqGemv { group }),
            "gemv_fast" => Ok(Packing::AwqGemvFast { group }),
            other => Err(format!("AWQ's version is `{other}`; supported are gemm, gemv and gemv_fast")),
        }
    }
}

/// The tensors of a packed layer, by their last names.
pub(super) const NAMES: [&str; 4] = ["qweight", "qzeros", "scales", "g_idx"];

/// Puts together a layer; `None` if it is not packed.
pub(super) fn weight(layer: &Layer, packing: Packing) -> Option<Result<Weight, Misfit>> {
    let codes = layer.get("qweight")?;
    Some(match packing {
        Packing::Gptq { zeros_are_low } => by_inputs(layer, codes, u32::from(zeros_are_low)),
        Packing::AwqGemm => by_outputs(layer, codes),
        Packing::AwqGemv { group } => gemv(layer, codes, group),
        Packing::AwqGemvFast { group } => gemv_fast(layer, codes, group),
    })
}

/// GPTQ: words `[cols * bits / 32, rows]`, zeros `[n_groups, rows * bits / 32]`.
fn by_inputs(layer: &Layer, codes: &TensorView, zero_offset: u32) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    let (words, width) = layer.matrix("qweight", DType::I32)?;
    let bits = words.saturating_mul(32).checked_div(cols).unwrap_or(0);
    let fits = width == rows && words.saturating_mul(32) == cols * bits;
    if !fits || !matches!(bits, 2 | 3 | 4 | 8) {
        return Err(layer.misfit("qweight", not_bits(codes, layer.shape, "2, 3, 4 and 8", "GPTQ")));
    }
    let (n_groups, n_zeros) = layer.matrix("qzeros", DType::I32)?;
    if n_groups == 0 || n_zeros.saturating_mul(32) != rows * bits {
        let fact = format!("its shape does not fit {rows} outputs of {bits} bits");
        return Err(layer.misfit("qzeros", fact));
    }
    let scales = transposed_scales(layer, n_groups)?;
    let words = layer.words("qzeros")?;
    let zero = |row: usize, group: usize| {
        let of_group = &words[group * n_zeros..(group + 1) * n_zeros];
        u32::from(bits_at(|word| of_group.get(word).copied().unwrap_or(0), row * bits, bits)) + zero_offset
    };
    let zeros = (0..rows).flat_map(|row| (0..n_groups).map(move |group| (row, group)));
    let zeros = zeros.map(|(row, group)| zero(row, group) as f32).collect();
    let groups = match layer.get("g_idx") {
        None => Groups::even(n_groups, cols),
        Some(index) => Groups::given(n_groups, cols, index),
    };
    let groups = groups.map_err(|fact| layer.misfit("g_idx", fact))?;
    let codes = ByInputs { words: codes.data.as_chunks::<4>().0, rows, bits };
    let offsets = Offsets::Zeros(zeros);
    layer.join("scales", Grouped { rows, cols, codes, groups, scales, offsets })
}

/// AWQ's `gemm`: words `[cols, rows / 8]`, zeros `[n_groups, rows / 8]`, both interleaved.
fn by_outputs(layer: &Layer, codes: &TensorView) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    let (words, width) = layer.matrix("qweight", DType::I32)?;
    if words != cols || !rows.is_multiple_of(8) || width != rows / 8 {
        return Err(layer.misfit("qweight", not_bits(codes, layer.shape, "4", "AWQ")));
    }
    let (n_groups, n_zeros) = layer.matrix("qzeros", DType::I32)?;
    if n_groups == 0 || n_zeros != width {
        return Err(layer.misfit("qzeros", format!("its shape does not fit {rows} outputs of 4 bits")));
    }
    let scales = transposed_scales(layer, n_groups)?;
    let words = layer.words("qzeros")?;
    let zero = |row: usize, group: usize| words[group * n_zeros + row / 8] >> awq_shift(row) & 15;
    let zeros = (0..rows).flat_map(|row| (0..n_groups).map(move |group| (row, group)));
    let zeros = zeros.map(|(row, group)| zero(row, group) as f32).collect();
    let groups = Groups::even(n_groups, cols).map_err(|fact| layer.misfit("scales", fact))?;
    let codes = ByOutputs { words: codes.data.as_chunks::<4>().0, width };
    let offsets = Offsets::Zeros(zeros);
    layer.join("scales", Grouped { rows, cols, codes, groups, scales, offsets })
}

/// AWQ's `gemv`: words `[rows, cols / 8]`; of zeros and scales as many as fill whole words, and more.
fn gemv(layer: &Layer, codes: &TensorView, group: Option<usize>) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    if layer.matrix("qweight", DType::I32)? != (rows, cols / 8) || !cols.is_multiple_of(8) {
        return Err(layer.misfit("qweight", not_bits(codes, layer.shape, "4", "AWQ")));
    }
    let n_groups = group.map_or(1, |len| cols.div_ceil(len));
    let (zero_rows, n_zeros) = layer.matrix("qzeros", DType::I32)?;
    let scales = layer.get_or_missing("scales")?;
    if zero_rows != rows
        || n_zeros < n_groups.div_ceil(8)
        || scales.shape != [rows, n_zeros.saturating_mul(8)]
    {
        let fact = format!("zeros and scales {:?} do not fit {rows} outputs", scales.shape);
        return Err(layer.misfit("scales", fact));
    }
    let values = floats(scales).map_err(|fact| layer.misfit("scales", fact))?;
    let scales = values.chunks_exact(8 * n_zeros).flat_map(|row| &row[..n_groups]).copied().collect();
    let words = layer.words("qzeros")?;
    let of_row = |row: &[u32]| (0..n_groups).map(|g| (row[g / 8] >> (4 * (g % 8)) & 15) as f32).collect();
    let zeros = words.chunks_exact(n_zeros).flat_map(|row| -> Vec<f32> { of_row(row) }).collect();
    let groups = Groups::even(n_groups, cols).map_err(|fact| layer.misfit("scales", fact))?;
    let codes = Dense { bytes: &codes.data, row_bytes: cols / 2, bits: 4 };
    let offsets = Offsets::Zeros(zeros);
    layer.join("scales", Grouped { rows, cols, codes, groups, scales, offsets })
}

/// AWQ's `gemv_fast`: half words `[rows / 4, cols]`; scales `[more than n_groups, rows]`, and instead of zeros
/// what is added to a scaled code.
fn gemv_fast(layer: &Layer, codes: &TensorView, group: Option<usize>) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    let fits = rows.is_multiple_of(4) && cols.is_multiple_of(64);
    if layer.matrix("qweight", DType::I16)? != (rows / 4, cols) || !fits {
        return Err(layer.misfit("qweight", not_bits(codes, layer.shape, "4", "AWQ")));
    }
    let n_groups = group.map_or(1, |len| cols.div_ceil(len));
    let values = |name: &'static str| {
        let view = layer.get_or_missing(name)?;
        match view.shape[..] {
            [n, width] if n >= n_groups && width == rows => {
                let values = floats(view).map_err(|fact| layer.misfit(name, fact))?;
                Ok(transposed(&values[..n_groups * rows], [n_groups, rows]))
            }
            _ => Err(layer.misfit(name, format!("its shape {:?} does not fit {rows} outputs", view.shape))),
        }
    };
    let (scales, minima) = (values("scales")?, values("qzeros")?);
    let groups = Groups::even(n_groups, cols).map_err(|fact| layer.misfit("scales", fact))?;
    let codes = Interleaved { words: codes.data.as_chunks::<2>().0, cols };
    let offsets = Offsets::Minima(minima);
    layer.join("scales", Grouped { rows, cols, codes, groups, scales, offsets })
}

fn not_bits(codes: &TensorView, [rows, cols]: [usize; 2], bits: &str, whose: &str) -> String {
    let found = &codes.shape;
    format!(
        "its shape {found:?} does not hold {rows} x {cols} weights in {whose}'s order; supported bits are {bits}"
    )
}

/// Scales `[n_groups, rows]`, row after row.
fn transposed_scales(layer: &Layer, n_groups: usize) -> Result<Vec<f32>, Misfit> {
    let (rows, scales) = (layer.shape[0], layer.get_or_missing("scales")?);
    if scales.shape != [n_groups, rows] {
        let fact = format!("expected shape [{n_groups}, {rows}], found {:?}", scales.shape);
        return Err(layer.misfit("scales", fact));
    }
    let values = floats(scales).map_err(|fact| layer.misfit("scales", fact))?;
    Ok(transposed(&values, [n_groups, rows]))
}

/// `bits` bits from bit `at` of a stream of words on.
#[inline]
fn bits_at(word: impl Fn(usize) -> u32, at: usize, bits: usize) -> u8 {
    let (i, shift) = (at / 32, at % 32);
    let next = if shift + bits > 32 { word(i + 1) } else { 0 };
    let both = u64::from(word(i)) | u64::from(next) << 32;
    (both >> shift) as u8 & ((1u32 << bits) - 1) as u8
}

/// A stream of words down each column.
struct ByInputs<'a> {
    words: &'a [[u8; 4]],
    rows: usize,
    bits: usize,
}

impl Codes for ByInputs<'_> {
    fn bits(&self) -> usize {
        self.bits
    }

    #[inline]
    fn code(&self, row: usize, col: usize) -> u8 {
        bits_at(|i| u32::from_le_bytes(self.words[i * self.rows + row]), col * self.bits, self.bits)
    }
}

/// Where output `row`'s bits are in AWQ's words.
fn awq_shift(row: usize) -> u32 {
    4 * [0, 4, 1, 5, 2, 6, 3, 7][row % 8]
}

/// Eight outputs a word.
struct ByOutputs<'a> {
    words: &'a [[u8; 4]],
    width: usize,
}

impl Codes for ByOutputs<'_> {
    fn bits(&self) -> usize {
        4
    }

    #[inline]
    fn code(&self, row: usize, col: usize) -> u8 {
        (u32::from_le_bytes(self.words[col * self.width + row / 8]) >> awq_shift(row)) as u8 & 15
    }
}

/// Four rows and 64 inputs, four codes a half word.
struct Interleaved<'a> {
    words: &'a [[u8; 2]],
    cols: usize,
}

impl Codes for Interleaved<'_> {
    fn bits(&self) -> usize {
        4
    }

    /// Of 32 inputs, pairs are dealt to four eights; in an eight, the first of each pair come first.
    #[inline]
    fn code(&self, row: usize, col: usize) -> u8 {
        let place = (col / 2 % 4) * 8 + (col % 2) * 4 + (col / 8 % 4);
        let in_tile = (row % 4) * 64 + (col / 32 % 2) * 32 + place;
        let word = self.words[row / 4 * self.cols + col / 64 * 64 + in_tile / 4];
        (u16::from_le_bytes(word) >> (4 * (in_tile % 4))) as u8 & 15
    }
}
