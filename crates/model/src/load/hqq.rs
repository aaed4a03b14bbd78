//! HQQ: the weights in their own order, cut into groups; their codes beside zeros that are no whole numbers, and
//! scales. A byte or word has the codes of several groups, the first in its highest bits.

use puna_formats::TensorView;
use puna_tensor::{DType, Weight};

use super::grouped::{Codes, Grouped, Groups, Offsets, floats};
use super::layer::{Layer, Misfit};

/// The tensors of a layer, by their last names. Of the numbers and texts among them, most are for the program
/// that wrote them.
pub(super) const NAMES: [&str; 23] = [
    "W_q",
    "scale",
    "zero",
    "nbits",
    "group_size",
    "shape",
    "axis",
    "packing",
    "unpack_view_dtype",
    "view_as_float",
    "quant_scale",
    "quant_zero",
    "compute_dtype",
    "offload_meta",
    "encoded_state_dict",
    "stores_quant_config",
    "channel_wise",
    "optimize",
    "round_zero",
    "zero_q",
    "scale_q",
    "meta_zero",
    "meta_scale",
];

/// Puts together a layer; `None` if it is plain.
pub(super) fn weight(layer: &Layer) -> Option<Result<Weight, Misfit>> {
    layer.get("W_q").map(|codes| joined(layer, codes))
}

fn joined(layer: &Layer, codes: &TensorView) -> Result<Weight, Misfit> {
    let [rows, cols] = layer.shape;
    for last in ["quant_scale", "quant_zero", "offload_meta"] {
        if number(layer, last)?.unwrap_or(0) != 0 {
            let fact =
                "HQQ's quantised or offloaded scales and zeros are not supported; supported are plain ones";
            return Err(layer.misfit(last, fact));
        }
    }
    if number(layer, "axis")?.unwrap_or(1) != 1 {
        let fact = "HQQ's groups run along outputs (axis 0), which is not supported; supported is axis 1";
        return Err(layer.misfit("axis", fact));
    }
    let bits = number(layer, "nbits")?.unwrap_or(0) as usize;
    let (scales, zeros) = (layer.get_or_missing("scale")?, layer.get_or_missing("zero")?);
    let n = scales.n_elements();
    let n_groups = n.checked_div(rows).filter(|n_groups| *n_groups > 0 && n_groups * rows == n);
    let Some(n_groups) =
        n_groups.filter(|n_groups| cols.is_multiple_of(*n_groups) && zeros.n_elements() == n)
    else {
        let fact = format!("{n} scales and {} zeros do not fit {rows} x {cols} weights", zeros.n_elements());
        return Err(layer.misfit("scale", fact));
    };
    let (per_unit, unit_bytes) = match bits {
        1 | 2 | 4 | 8 => (8 / bits, 1),
        3 => (10, 4),
        _ => return Err(layer.misfit("nbits", format!("it is {bits}; supported are 1, 2, 3, 4 and 8"))),
    };
    let (step, group_len) = (n.div_ceil(per_unit), cols / n_groups);
    if step.saturating_mul(group_len).saturating_mul(unit_bytes) != codes.data.len() {
        let fact = format!("{} bytes do not hold {rows} x {cols} codes of {bits} bits", codes.data.len());
        return Err(layer.misfit("W_q", fact));
    }
    let values = |last: &str, view: &TensorView| floats(view).map_err(|fact| layer.misfit(last, fact));
    let (scales, zeros) = (values("scale", scales)?, values("zero", zeros)?);
    let groups = Groups::even(n_groups, cols).map_err(|fact| layer.misfit("scale", fact))?;
    let codes = HqqCodes { bytes: &codes.data, bits, per_unit, unit_bytes, step, n_groups, group_len };
    layer.join("scale", Grouped { rows, cols, codes, groups, scales, offsets: Offsets::Zeros(zeros) })
}

/// A small number, stored as a tensor of one.
fn number(layer: &Layer, last: &str) -> Result<Option<u32>, Misfit> {
    let Some(view) = layer.get(last) else { return Ok(None) };
    match (view.dtype, &view.data[..]) {
        (DType::U8 | DType::I8 | DType::Bool, [byte]) => Ok(Some(u32::from(*byte))),
        (DType::I32 | DType::I64, [a, b, c, d, ..]) if view.n_elements() == 1 => {
            Ok(Some(u32::from_le_bytes([*a, *b, *c, *d])))
        }
        _ => Err(layer.misfit(last, format!("expected a number, found {:?} of {}", view.shape, view.dtype))),
    }
}

/// Groups `step` apart share a unit of bytes.
struct HqqCodes<'a> {
    bytes: &'a [u8],
    bits: usize,
    per_unit: usize,
    unit_bytes: usize,
    step: usize,
    n_groups: usize,
    group_len: usize,
}

impl Codes for HqqCodes<'_> {
    fn bits(&self) -> usize {
        self.bits
    }

    #[inline]
    fn code(&self, row: usize, col: usize) -> u8 {
        let group = row * self.n_groups + col / self.group_len;
        let unit = group % self.step * self.group_len + col % self.group_len;
        let shift = (self.per_unit - 1 - group / self.step) * self.bits;
        let byte = self.bytes[unit * self.unit_bytes + shift / 8];
        let next = if self.unit_bytes > 1 && shift / 8 < 3 {
            self.bytes[unit * self.unit_bytes + shift / 8 + 1]
        } else {
            0
        };
        (u16::from_le_bytes([byte, next]) >> (shift % 8)) as u8 & ((1u32 << self.bits) - 1) as u8
    }
}
