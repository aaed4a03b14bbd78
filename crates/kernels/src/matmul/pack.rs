//! Activations, packed for the tiles of a matrix product.
//!
//! A product takes [`TILE_ROWS`] rows of activations at a time, and the last ones in tiles of 4, 2 and 1.
//! Where there are no more than [`FEW_ROWS`], tiles have 8, 4, 2 or 1 rows. The elements of a tile lie
//! together, column after column with its rows side by side, so that a product reads one stretch of memory in
//! order. What a row is rounded to does not depend on the tile it is in.

use std::marker::PhantomData;

use crate::DType;
use crate::buffer::Buffer;
use crate::cpu::{Cpu, SharedMut};
use crate::isa::{Isa, Kernel};
use crate::quant::coded::{Coded, bias, start_of};
use crate::quant::{ForCoded, for_coded};
use crate::simd::{Rows16, Wide};

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 6;
/// The same of whole numbers, where the instruction set has tiles of its own.
const AMX_ROWS: usize = 16;
/// The largest number of rows that are multiplied with weights as these are unpacked.
pub(crate) const FEW_ROWS: usize = 8;
/// Activations of a partial sum. From these come the sums over whole sub-blocks of weights, which have a
/// multiple of them.
pub(crate) const SUM_LEN: usize = 16;

/// The tiles of `m` rows: first row and number of rows, which is `largest`, 4, 2 or 1.
pub(crate) fn tiles(m: usize, largest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let n = [largest, 4, 2, 1].into_iter().find(|&n| n <= m - first)?;
        first += n;
        Some((first - n, n))
    })
}

/// The tiles of activations: [`tiles`] of [`TILE_ROWS`], or of [`FEW_ROWS`] where there are no more.
pub(crate) fn all_tiles(m: usize) -> impl Iterator<Item = (usize, usize)> {
    tiles(m, if m <= FEW_ROWS { FEW_ROWS } else { TILE_ROWS })
}

/// Whether the instruction set's own tiles multiply `m` rows of activations with codes of which `sub` share a scale. Where
/// sixteen do, scaling and adding the products would take longer than all of it otherwise.
pub(crate) fn is_for_amx(isa: Isa, m: usize, sub: usize) -> bool {
    isa.has_tiles() && m > FEW_ROWS && sub == 32
}

/// The tiles of whole numbers: [`amx_tiles`] or [`all_tiles`].
fn int8_tiles(is_for_amx: bool, m: usize) -> Vec<(usize, usize)> {
    if is_for_amx { amx_tiles(m).collect() } else { all_tiles(m).collect() }
}

/// Tiles of sixteen rows, the last of as many as are left.
pub(crate) fn amx_tiles(m: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..m).step_by(AMX_ROWS).map(move |first| (first, AMX_ROWS.min(m - first)))
}

/// The rows of whole tiles of floats and of whole numbers: where a part of the rows may begin.
pub(crate) fn tile_rows(isa: Isa) -> usize {
    const { assert!((3 * AMX_ROWS).is_multiple_of(TILE_ROWS)) };
    if isa.has_tiles() { 3 * AMX_ROWS } else { TILE_ROWS }
}

/// Writes `x: [m, k]` to `packed` as tiles `[k, rows of the tile]`, one after the other.
pub(crate) fn pack_f32(cpu: &Cpu, x: &[f32], k: usize, packed: &mut [f32]) {
    assert!(x.len() == packed.len() && x.len().is_multiple_of(k));
    let tiles: Vec<_> = all_tiles(x.len() / k).collect();
    let packed = SharedMut::new(packed);
    cpu.for_rows(tiles.len(), TILE_ROWS * k, |part| {
        for &(first, n) in &tiles[part] {
            let span = first * k..(first + n) * k;
            // SAFETY: tiles do not overlap.
            let out = unsafe { packed.range(span.clone()) };
            if n == 1 {
                out.copy_from_slice(&x[span]);
                continue;
            }
            for (r, row) in x[span].chunks_exact(k).enumerate() {
                for (out, x) in out[r..].iter_mut().step_by(n).zip(row) {
                    *out = *x;
                }
            }
        }
    });
}

/// How activations enter a matrix product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// As f32: exact but for the rounding of sums.
    #[default]
    F32,
    /// Rounded to eight bits, with a scale for every few elements, where the weights are small codes; as f32
    /// elsewhere. Three to five times as fast, with an error like that of weights in Q8_0.
    Int8,
}

impl Activations {
    /// How many activations share a scale in products with a weight type; `None` where they are f32.
    pub fn group(self, dtype: DType) -> Option<usize> {
        match self {
            Activations::F32 => None,
            Activations::Int8 => group_of(dtype),
        }
    }
}

/// The activations that share a scale in products with a weight type, or `None` where it has no codes.
fn group_of(dtype: DType) -> Option<usize> {
    struct Group;
    impl ForCoded for Group {
        type Output = usize;
        fn run<T: Coded>(self) -> usize {
            T::GROUP
        }
    }
    for_coded(dtype, Group).ok()
}

/// The weights that share a scale in a weight type.
///
/// # Panics
/// If it has no codes.
fn sub_of(dtype: DType) -> usize {
    struct Sub;
    impl ForCoded for Sub {
        type Output = usize;
        fn run<T: Coded>(self) -> usize {
            T::SUB
        }
    }
    for_coded(dtype, Sub).unwrap_or_else(|_| panic!("{dtype} has no codes"))
}

/// Writes what dot products with weights of `dtype` start from, `[k / SUB, n]`, given the partial sums of a
/// tile, `[k / SUM_LEN, n]`: see [`start_of`].
fn put_starts(isa: Isa, dtype: DType, n: usize, sums: &[i32], out: &mut [i32]) {
    struct Starts<'a>(Isa, usize, &'a [i32], &'a mut [i32]);
    impl ForCoded for Starts<'_> {
        type Output = ();
        fn run<T: Coded>(self) {
            let Starts(isa, n, sums, out) = self;
            let bias = isa.run(Bias::<T>(PhantomData));
            let per_sub = T::SUB / SUM_LEN;
            for (sub, out) in sums.chunks_exact(per_sub * n).zip(out.chunks_exact_mut(n)) {
                for (r, out) in out.iter_mut().enumerate() {
                    let sum: i32 = sub[r..].iter().step_by(n).sum();
                    *out = start_of::<T>(sum, bias);
                }
            }
        }
    }
    let done = for_coded(dtype, Starts(isa, n, sums, out));
    assert!(done.is_ok(), "{dtype} has no codes");
}

/// The bias of dot products with a format.
struct Bias<T>(PhantomData<T>);

impl<T: Coded> Kernel for Bias<T> {
    type Output = i32;
    #[inline(always)]
    fn run<R: Rows16>(self, _: R) -> i32 {
        bias::<R, T>()
    }
}

/// The activations of a product in each form that one of its weights needs.
pub(crate) struct Operands<'c> {
    isa: Isa,
    m: usize,
    k: usize,
    activations: Activations,
    f32: Option<Buffer<'c, f32>>,
    /// In eight bits: a form for each number of activations that share a scale, and for the instruction set's own tiles.
    int8: Vec<((usize, bool), Quantised<'c>)>,
    starts: Vec<(DType, Buffer<'c, i32>)>,
}

/// Whole-number activations: each group of them is a scale times numbers of at most 127.
///
/// A tile ([`int8_tiles`]) at row f of n rows has its codes `[k / 4, n, 4]` at `f k` (`[k / 32, n, 32]` where the instruction
/// set multiplies such), its scales `[k / group, n]` at `f k / group`, and the sums of [`SUM_LEN`] codes each `[k / SUM_LEN,
/// n]` at `f k / SUM_LEN`.
struct Quantised<'c> {
    codes: Buffer<'c, i8>,
    scales: Buffer<'c, f32>,
    sums: Buffer<'c, i32>,
}

/// The form in which one weight type takes activations.
pub(crate) enum Operand<'a> {
    /// Tiles `[k, rows of the tile]`; empty for the scalar definition, which takes rows as they are.
    F32 { packed: &'a [f32] },
    /// Tiles of whole numbers.
    Int8(Int8Operand<'a>),
}

/// Tiles of whole numbers, as [`Quantised`] has them.
#[derive(Clone, Copy)]
pub(crate) struct Int8Operand<'a> {
    pub m: usize,
    pub k: usize,
    pub codes: &'a [i8],
    pub scales: &'a [f32],
    /// What each tile's sums over a sub-block start from: see [`put_starts`].
    pub starts: &'a [i32],
}

impl<'c> Operands<'c> {
    /// Prepares `x: [m, k]` for weights of these types.
    pub fn new(
        cpu: &'c Cpu,
        x: &[f32],
        k: usize,
        activations: Activations,
        dtypes: impl Iterator<Item = DType>,
    ) -> Operands<'c> {
        let (int8, starts) = (Vec::new(), Vec::new());
        let mut inputs = Operands { isa: cpu.isa, m: x.len() / k, k, activations, f32: None, int8, starts };
        for dtype in dtypes {
            match activations.group(dtype) {
                Some(group) => inputs.add_int8(cpu, x, dtype, group),
                None if inputs.f32.is_some() => (),
                None => {
                    let mut packed = cpu.buffers.take(if cpu.isa.is_scalar() { 0 } else { x.len() });
                    if !packed.is_empty() {
                        pack_f32(cpu, x, k, &mut packed);
                    }
                    inputs.f32 = Some(packed);
                }
            }
        }
        inputs
    }

    fn add_int8(&mut self, cpu: &'c Cpu, x: &[f32], dtype: DType, group: usize) {
        if self.starts.iter().any(|(done, _)| *done == dtype) {
            return;
        }
        let form = (group, is_for_amx(cpu.isa, self.m, sub_of(dtype)));
        let done = self.int8.iter().position(|(done, _)| *done == form);
        let at = done.unwrap_or_else(|| {
            self.int8.push((form, quantise(cpu, x, self.k, form)));
            self.int8.len() - 1
        });
        let mut starts = cpu.buffers.take(x.len() / sub_of(dtype));
        let tiles = int8_tiles(form.1, self.m);
        let (isa, k, sums, sub) = (cpu.isa, self.k, &self.int8[at].1.sums, sub_of(dtype));
        let shared = SharedMut::new(&mut starts);
        cpu.for_rows(tiles.len(), TILE_ROWS * k / SUM_LEN, |part| {
            for &(first, n) in &tiles[part] {
                let span = |per: usize| first * k / per..(first + n) * k / per;
                // SAFETY: tiles do not overlap.
                let starts = unsafe { shared.range(span(sub)) };
                put_starts(isa, dtype, n, &sums[span(SUM_LEN)], starts);
            }
        });
        self.starts.push((dtype, starts));
    }

    /// The input of weights of one of the types.
    pub fn of(&self, dtype: DType) -> Operand<'_> {
        let Some(group) = self.activations.group(dtype) else {
            return Operand::F32 { packed: self.f32.as_ref().expect("prepared") };
        };
        let form = (group, is_for_amx(self.isa, self.m, sub_of(dtype)));
        let (_, quantised) = self.int8.iter().find(|(done, _)| *done == form).expect("prepared");
        let (_, starts) = self.starts.iter().find(|(done, _)| *done == dtype).expect("prepared");
        let Quantised { codes, scales, .. } = quantised;
        Operand::Int8(Int8Operand { m: self.m, k: self.k, codes, scales, starts })
    }
}

/// Rounds `x: [m, k]` to whole numbers, `group` (a multiple of 32) sharing a scale, for the instruction set's own tiles or
/// others.
///
/// The scale is the largest magnitude over 127; codes are the nearest integers, halves away from zero. Where
/// all magnitudes are below 1e-30 the codes are 0; a value that is not finite makes its group's results NaN.
fn quantise<'c>(cpu: &'c Cpu, x: &[f32], k: usize, (group, is_for_amx): (usize, bool)) -> Quantised<'c> {
    assert!(group.is_multiple_of(32) && k.is_multiple_of(group) && x.len().is_multiple_of(k));
    let mut out = Quantised {
        codes: cpu.buffers.take(x.len()),
        scales: cpu.buffers.take(x.len() / group),
        sums: cpu.buffers.take(x.len() / SUM_LEN),
    };
    let (tiles, side_by_side) = (int8_tiles(is_for_amx, x.len() / k), if is_for_amx { 32 } else { 4 });
    let (codes, scales) = (SharedMut::new(&mut out.codes), SharedMut::new(&mut out.scales));
    let sums = SharedMut::new(&mut out.sums);
    cpu.for_rows(tiles.len(), TILE_ROWS * k, |part| {
        for &(first, n) in &tiles[part] {
            let span = |per: usize| first * k / per..(first + n) * k / per;
            // SAFETY: tiles do not overlap.
            let (codes, scales, sums) =
                unsafe { (codes.range(span(1)), scales.range(span(group)), sums.range(span(SUM_LEN))) };
            let tile = QuantiseTile { x: &x[span(1)], n, group, side_by_side, codes, scales, sums };
            cpu.isa.run(tile);
        }
    });
    out
}

/// One tile. Every version gives the same bits.
struct QuantiseTile<'a> {
    x: &'a [f32],
    n: usize,
    group: usize,
    /// Codes of a row that lie together, before those of the next row: 4 or 32.
    side_by_side: usize,
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
}

impl Kernel for QuantiseTile<'_> {
    type Output = ();
    #[inline(always)]
    fn run<W: Wide>(self, w: W) {
        let QuantiseTile { x, n, group, side_by_side, codes, scales, sums } = self;
        let (codes, _) = codes.as_chunks_mut::<4>();
        // Where the fours of a row's 32 codes are.
        let (row, step) = if side_by_side == 32 { (8, 1) } else { (1, n) };
        for (r, x) in x.chunks_exact(x.len() / n).enumerate() {
            for (g, x) in x.chunks_exact(group).enumerate() {
                let (x, _) = x.as_chunks::<32>();
                let mut largest = 0;
                for x in x {
                    // Magnitudes are ordered as their bits are, NaN above all.
                    largest = largest.max(w.max_magnitude(x).to_bits());
                }
                let largest = f32::from_bits(largest);
                // Below, the inverse would be infinite.
                let inverse = if largest < 1e-30 { 0.0 } else { 127.0 / largest };
                scales[g * n + r] = match largest {
                    _ if !largest.is_finite() => f32::NAN,
                    _ if largest < 1e-30 => 0.0,
                    _ => largest / 127.0,
                };
                for (i, x) in x.iter().enumerate() {
                    let first = g * group + 32 * i;
                    let rounded = w.scaled_to_bytes(x, inverse);
                    let own = codes[first / 4 * n + row * r..].iter_mut().step_by(step);
                    for (own, four) in own.zip(rounded.as_chunks::<4>().0) {
                        *own = four.map(|code| code as i8);
                    }
                    let own = sums[first / SUM_LEN * n + r..].iter_mut().step_by(n);
                    for (own, part) in own.zip(rounded.as_chunks::<SUM_LEN>().0) {
                        // Sums of unsigned bytes have an instruction.
                        let above = part.iter().map(|&code| (code ^ 128) as i32).sum::<i32>();
                        *own = above - 128 * SUM_LEN as i32;
                    }
                }
            }
        }
    }
}
