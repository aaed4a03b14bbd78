//! Matrices of small codes whose inputs lie in groups that share a scale, however a checkpoint stores them.
//!
//! They are put together row after row, in blocks that hold the same codes, scales and offsets, so that
//! products read them as they read any other. Blocks hold scales as halves; a factor for each row makes
//! bfloat16 fit, which has other exponents. Nothing is rounded, but for scales some 2^38 times smaller than the
//! largest of their row.

use std::sync::Mutex;

use puna_formats::{DType, TensorView};
use puna_tensor::{Bytes, ParamId, Weight, quant};

/// Elements of a block.
const BLOCK: usize = 32;

/// Where the codes are.
pub(super) trait Codes: Sync {
    /// How many bits a code has.
    fn bits(&self) -> usize;
    /// The code of a weight, whose row and column are there.
    fn code(&self, row: usize, col: usize) -> u8;
}

/// What is added to a scaled code.
pub(super) enum Offsets {
    /// Nothing to half the largest code plus a half: codes are around zero.
    Middle,
    /// Each group's code of zero, `[rows, n_groups]`, times minus its scale.
    Zeros(Vec<f32>),
    /// Each group's value of code 0.
    Minima(Vec<f32>),
}

/// Which input is in which group.
pub(super) struct Groups {
    n: usize,
    /// The group of each input.
    of: Vec<u32>,
    /// Inputs, group after group.
    order: Vec<u32>,
    in_order: bool,
}

impl Groups {
    /// `n` groups of `cols` inputs, one after the other.
    pub(super) fn even(n: usize, cols: usize) -> Result<Groups, String> {
        let len = cols.div_ceil(n.max(1)).max(1);
        Groups::new(n, (0..cols).map(|col| (col / len) as u32).collect())
    }

    /// The groups that a tensor says (`g_idx`).
    pub(super) fn given(n: usize, cols: usize, index: &TensorView) -> Result<Groups, String> {
        if index.dtype != DType::I32 || index.shape != [cols] {
            return Err(format!("expected {cols} of I32, found {:?} of {}", index.shape, index.dtype));
        }
        Groups::new(n, index.data.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }

    fn new(n: usize, of: Vec<u32>) -> Result<Groups, String> {
        if let Some(group) = of.iter().find(|group| **group as usize >= n) {
            return Err(format!("there is no group {group}; there are {n}"));
        }
        let mut order: Vec<u32> = (0..of.len() as u32).collect();
        order.sort_by_key(|col| of[*col as usize]);
        let group_of = |col: &u32| of[*col as usize];
        let is_whole = |block: &[u32]| block.iter().all(|col| group_of(col) == group_of(&block[0]));
        if !of.len().is_multiple_of(BLOCK) || !order.chunks(BLOCK).all(is_whole) {
            return Err(format!("{n} groups of {} inputs are not whole numbers of {BLOCK}", of.len()));
        }
        let in_order = of.is_sorted();
        Ok(Groups { n, of, order, in_order })
    }
}

/// A layer, whose sizes fit each other.
pub(super) struct Grouped<C> {
    pub rows: usize,
    pub cols: usize,
    pub codes: C,
    pub groups: Groups,
    /// `[rows, n_groups]`, all finite.
    pub scales: Vec<f32>,
    pub offsets: Offsets,
}

impl<C: Codes> Grouped<C> {
    /// The matrix, in the smallest type that holds it. The message is about the scales.
    pub(super) fn join(mut self, id: ParamId) -> Result<Weight, String> {
        let bits = self.codes.bits();
        let middle = (1 << (bits - 1)) as f32;
        if matches!(&self.offsets, Offsets::Zeros(zeros) if zeros.iter().all(|zero| *zero == middle)) {
            self.offsets = Offsets::Middle;
        }
        let as_halves = Halves::of(&self);
        let dtype = match (&self.offsets, bits) {
            (Offsets::Middle, 4) if as_halves.is_none() => DType::Q4_F,
            (Offsets::Middle, 4) => DType::Q4_0,
            (Offsets::Middle, 5..) => DType::Q8_0,
            (Offsets::Zeros(_) | Offsets::Middle, ..=3) => DType::Q3_Z,
            (Offsets::Zeros(_), 4) => DType::Q4_Z,
            (Offsets::Zeros(_), _) => DType::Q8_Z,
            (Offsets::Minima(_), ..=3) => DType::Q3_M,
            (Offsets::Minima(_), 4) => DType::Q4_1,
            (Offsets::Minima(_), 5) => DType::Q5_1,
            (Offsets::Minima(_), 6) => DType::Q6_M,
            (Offsets::Minima(_), _) => DType::Q8_M,
        };
        if as_halves.is_none() && dtype != DType::Q4_F {
            return Err(
                "they are floats with more digits than halves have, which is supported for codes of 4 bits \
                 around zero"
                    .into(),
            );
        }
        let none = || Halves { scales: Vec::new(), seconds: Vec::new(), factors: None };
        let Halves { scales, seconds, factors } = as_halves.unwrap_or_else(none);
        let middle = halves(&[middle])[0];
        let head = |row: usize, group: usize, block: &mut [u8]| {
            let at = row * self.groups.n + group;
            match dtype {
                DType::Q4_F => block[..4].copy_from_slice(&self.scales[at].to_le_bytes()),
                DType::Q4_0 | DType::Q8_0 => block[..2].copy_from_slice(&scales[at]),
                _ => {
                    block[..2].copy_from_slice(&scales[at]);
                    block[2..4].copy_from_slice(seconds.get(at).unwrap_or(&middle));
                }
            }
        };
        let bytes = self.blocks(dtype, head).ok_or("its sizes overflow")?;
        let weight = Weight::stored(id, dtype, self.rows, self.cols, Bytes::new(bytes));
        let weight = weight.and_then(|weight| match factors {
            None => Some(weight),
            Some(factors) => weight.with_row_scales(factors),
        });
        let weight = weight.and_then(|weight| match self.groups.in_order {
            true => Some(weight),
            false => weight.with_columns(self.groups.order),
        });
        weight.ok_or_else(|| "the layer's inputs are not each in one place".into())
    }

    /// All blocks: what `head` writes for a row and a group, and the codes. `None` if their bytes cannot be
    /// counted.
    fn blocks(&self, dtype: DType, head: impl Fn(usize, usize, &mut [u8]) + Sync) -> Option<Vec<u8>> {
        /// Rows done at a time, because neighbouring outputs share what is read.
        const ROWS: usize = 64;
        let (block_bytes, row_bytes) = (dtype.block_bytes(), dtype.bytes_of(self.cols)?);
        let mut bytes = vec![0; row_bytes.checked_mul(self.rows)?];
        let shift = if dtype == DType::Q4_0 { 0 } else { 1 << (self.codes.bits() - 1) };
        let fill = |first: usize, part: &mut [u8]| {
            for (i, cols) in self.groups.order.chunks_exact(BLOCK).enumerate() {
                let group = self.groups.of[cols[0] as usize] as usize;
                for (r, row) in part.chunks_exact_mut(row_bytes).enumerate() {
                    let block = &mut row[i * block_bytes..][..block_bytes];
                    head(first + r, group, block);
                    let mut codes = [0; BLOCK];
                    for (code, col) in codes.iter_mut().zip(cols) {
                        *code = self.codes.code(first + r, *col as usize);
                    }
                    put(dtype, shift, &codes, block);
                }
            }
        };
        let parts = Mutex::new(bytes.chunks_mut((ROWS * row_bytes).max(1)).enumerate());
        let next = || parts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..n_threads.min(self.rows.div_ceil(ROWS)) {
                scope.spawn(|| {
                    while let Some((i, part)) = next() {
                        fill(i * ROWS, part);
                    }
                });
            }
        });
        Some(bytes)
    }
}

/// Writes the codes of a block; `shift` makes those around zero signed.
fn put(dtype: DType, shift: u8, codes: &[u8; BLOCK], block: &mut [u8]) {
    match dtype {
        DType::Q4_0 => quant::put_codes(4, codes, &mut block[2..]),
        DType::Q8_0 => {
            for (q, code) in block[2..].iter_mut().zip(codes) {
                *q = code.wrapping_sub(shift);
            }
        }
        DType::Q5_1 => {
            quant::put_codes(4, codes, &mut block[8..]);
            for (j, code) in codes.iter().enumerate() {
                block[4 + j / 8] |= (code >> 4 & 1) << (j % 8);
            }
        }
        DType::Q3_Z | DType::Q3_M => quant::put_codes(3, codes, &mut block[4..]),
        DType::Q6_M => quant::put_codes(6, codes, &mut block[4..]),
        DType::Q8_Z | DType::Q8_M => quant::put_codes(8, codes, &mut block[4..]),
        _ => quant::put_codes(4, codes, &mut block[4..]),
    }
}

/// Scales and offsets as halves, little-endian.
struct Halves {
    scales: Vec<[u8; 2]>,
    /// Empty where there are none.
    seconds: Vec<[u8; 2]>,
    /// What each row's scales, and minima, are multiplied with, unless all are 1.
    factors: Option<Vec<f32>>,
}

impl Halves {
    /// `None` if they are no halves times a factor of their row.
    fn of<C>(layer: &Grouped<C>) -> Option<Halves> {
        let n = layer.groups.n;
        let (minima, zeros): (&[f32], &[f32]) = match &layer.offsets {
            Offsets::Middle => (&[], &[]),
            Offsets::Zeros(zeros) => (&[], zeros),
            Offsets::Minima(minima) => (minima, &[]),
        };
        let factors = match is_halves(&layer.scales, 0.0) && is_halves(minima, 0.0) {
            true => None,
            false => Some(factors(&layer.scales, minima, n)),
        };
        let scaled = |values: &[f32]| -> Vec<f32> {
            let factor = |i: usize| factors.as_ref().map_or(1.0, |factors| factors[i / n]);
            values.iter().enumerate().map(|(i, x)| x / factor(i)).collect()
        };
        // Below the smallest half, less than this is lost.
        const LOST: f32 = 1.0 / (1u32 << 25) as f32;
        let (scales, minima) = (scaled(&layer.scales), scaled(minima));
        let fits = [&scales[..], &minima, zeros].into_iter().all(|values| is_halves(values, LOST));
        fits.then(|| Halves {
            scales: halves(&scales),
            seconds: halves(if zeros.is_empty() { &minima } else { zeros }),
            factors,
        })
    }
}

/// A factor for each row of `n` scales, and as many minima if there are any: the scale where it is alone, else
/// the power of two that makes the largest as large as halves are.
fn factors(scales: &[f32], minima: &[f32], n: usize) -> Vec<f32> {
    if n == 1 && minima.is_empty() {
        return scales.iter().map(|scale| if *scale == 0.0 { 1.0 } else { *scale }).collect();
    }
    let largest = |values: &[f32]| values.iter().fold(0f32, |max, x| max.max(x.abs()));
    let of_row = |i: usize| {
        let minima = minima.chunks_exact(n).nth(i).unwrap_or(&[]);
        let largest = largest(&scales[i * n..(i + 1) * n]).max(largest(minima));
        let power_of_two = f32::from_bits(largest.to_bits() & 0x7f80_0000);
        if largest.is_normal() { power_of_two / 32768.0 } else { 1.0 }
    };
    (0..scales.len() / n).map(of_row).collect()
}

/// Whether values are halves, but for `lost`.
fn is_halves(values: &[f32], lost: f32) -> bool {
    let mut rounded = vec![0.0; values.len()];
    quant::decode(DType::F16, halves(values).as_flattened(), &mut rounded);
    values.iter().zip(&rounded).all(|(x, rounded)| (x - rounded).abs() <= lost)
}

/// The nearest halves, little-endian.
fn halves(values: &[f32]) -> Vec<[u8; 2]> {
    let mut halves = vec![[0; 2]; values.len()];
    quant::encode(DType::F16, values, halves.as_flattened_mut());
    halves
}

/// The values of a tensor of floats, which are finite.
pub(super) fn floats(view: &TensorView) -> Result<Vec<f32>, String> {
    if !matches!(view.dtype, DType::F32 | DType::F16 | DType::BF16) {
        return Err(format!("expected floats (F32, F16 or BF16), found {}", view.dtype));
    }
    let stored = Weight::stored(ParamId(0), view.dtype, 1, view.n_elements(), view.data.clone());
    let values = stored.map(|stored| stored.to_f32()).unwrap_or_default();
    match values.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(format!("it holds {x}; the file is damaged")),
        None => Ok(values),
    }
}

/// A matrix `[n, m]` as `[m, n]`.
pub(super) fn transposed<T: Copy>(values: &[T], [n, m]: [usize; 2]) -> Vec<T> {
    (0..m).flat_map(|j| (0..n).map(move |i| values[i * m + j])).collect()
}

/// Codes that follow one another in each row, lowest bits first, without gaps between them.
pub(super) struct Dense<'a> {
    pub bytes: &'a [u8],
    pub row_bytes: usize,
    pub bits: usize,
}

impl Codes for Dense<'_> {
    fn bits(&self) -> usize {
        self.bits
    }

    #[inline]
    fn code(&self, row: usize, col: usize) -> u8 {
        let at = col * self.bits;
        let byte = row * self.row_bytes + at / 8;
        let next = self.bytes.get(byte + 1).copied().unwrap_or(0);
        let both = u16::from_le_bytes([self.bytes[byte], next]);
        (both >> (at % 8)) as u8 & ((1u32 << self.bits) - 1) as u8
    }
}
