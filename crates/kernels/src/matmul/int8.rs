//! y = x Wᵀ with whole-number activations and weights of small codes: eight-bit products, 32-bit sums.
//!
//! A task takes the rows of a panel (sixteen, or two times sixteen), unpacks [`K_BLOCK`] columns of them into the
//! first-level cache (see `quant/coded.rs`), multiplies these with every tile of activations, and goes on with the next
//! columns. Vectors run across weight rows, so an output is one lane. Integer sums are exact; each is multiplied with the
//! scale of its weights, those of a group of activations are added up and multiplied with the group's scale, and groups
//! are added in order: an output's bits do not depend on the tile or panel it is computed in.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::ahead::{Ahead, BlockSource, LONG_ROW, RepackedRows, StoredRows};
use super::matrix::Matrix;
use super::pack::{FEW_ROWS, Int8Operand, TILE_ROWS, all_tiles, tiles};
use super::panel::{PanelRows, bytes_of, put_sums};
use super::tile::RowPtrMut;
use crate::isa::{Isa, Kernel};
use crate::pool::Scratch;
use crate::quant::coded::{Coded, Unpacked};
use crate::quant::{ForCoded, for_coded};
use crate::simd::Rows16;

/// Columns unpacked at a time. The codes of 32 rows, their scales and a tile of activations fit in 48 KiB.
const K_BLOCK: usize = 512;
/// Columns of all panels of a task that are done before the next ones, so that the activations stay in the second-level
/// cache: 512 rows of them are 1 MiB.
pub(crate) const K_CHUNK: usize = 2048;
/// The most rows of a panel.
const MAX_PANEL_ROWS: usize = 32;
/// The most scales of a row in `K_BLOCK` columns.
const MAX_SUBS: usize = K_BLOCK / 16;

/// Rows of weights that are multiplied at a time.
pub(crate) fn panel_rows(isa: Isa) -> usize {
    isa.run(PanelRows)[0]
}

/// Rows `rows` of `weight` times the tiles of `input` from row `m.start` to `m.end`; `m.start` begins a tile.
///
/// # Panics
/// If the input has no complete tiles of these rows.
///
/// # Safety
/// `out` points at output column `rows.start` of output row `m.start`, and is nobody else's. `m` ends with a tile of the
/// input.
pub(crate) unsafe fn product(
    isa: Isa,
    input: Int8Operand,
    m: Range<usize>,
    weight: &Matrix,
    rows: Range<usize>,
    out: RowPtrMut,
    scratch: &mut Scratch,
) {
    struct Product<'a>(
        Isa,
        Int8Operand<'a>,
        Range<usize>,
        Matrix<'a>,
        Range<usize>,
        RowPtrMut,
        &'a mut Scratch,
    );
    impl ForCoded for Product<'_> {
        type Output = ();
        fn run<T: Coded>(self) {
            let Product(isa, input, m, weight, rows, out, scratch) = self;
            let format = PhantomData::<T>;
            isa.run(Task { format, input, m, weight, rows, out, scratch });
        }
    }
    let done = for_coded(weight.dtype(), Product(isa, input, m, *weight, rows, out, scratch));
    assert!(done.is_ok(), "{} has no codes", weight.dtype());
}

struct Task<'a, T> {
    format: PhantomData<T>,
    input: Int8Operand<'a>,
    m: Range<usize>,
    weight: Matrix<'a>,
    rows: Range<usize>,
    out: RowPtrMut,
    scratch: &'a mut Scratch,
}

/// Unpacked columns of the rows of a panel, and where the sums over earlier columns are.
struct Panel {
    codes: *mut u8,
    scales: *mut f32,
    minima: *mut f32,
    /// `[rows of x, panel rows]`
    sums: *mut f32,
}

impl<T: Coded> Kernel for Task<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Rows16>(self, s: S) {
        let Task { input, m, weight, rows, out, scratch, .. } = self;
        // A few rows of activations need no more than one panel at a time, and less ahead of it.
        let few = input.m <= FEW_ROWS;
        let in_registers = S::HOLDS_CODES && few;
        let panels = if few { 1 } else { S::PANELS };
        let (k, panel_rows) = (input.k, 16 * panels);
        // Tiles begin at whole multiples, and all that they read is there.
        assert!(!few || m == (0..input.m));
        assert!(k == weight.cols() && m.start.is_multiple_of(TILE_ROWS) && m.end * k <= input.codes.len());
        assert!(m.end * k <= input.scales.len() * T::GROUP && m.end * k <= input.starts.len() * T::SUB);
        let row_bytes = weight.row_bytes();
        let all = &weight.bytes()[rows.start * row_bytes..rows.end * row_bytes];
        let goes_on = scratch.goes_on(all);
        let part_bytes = T::BYTES * (K_BLOCK / T::LEN);
        let [codes, scales, minima, sums, last_rows] = scratch.buffers([
            K_BLOCK * MAX_PANEL_ROWS / 4,
            MAX_SUBS * MAX_PANEL_ROWS,
            MAX_SUBS * MAX_PANEL_ROWS,
            m.len() * rows.len().next_multiple_of(panel_rows),
            (part_bytes * panel_rows).div_ceil(4),
        ]);
        if weight.repacked().is_none() && !goes_on && row_bytes < LONG_ROW {
            // Nobody asked for the first panel yet.
            for line in (0..panel_rows.min(rows.len()) * row_bytes).step_by(64) {
                s.prefetch_line(all.as_ptr().wrapping_add(line));
            }
        }
        let chunk_len = if few { k } else { K_CHUNK };
        let blocks = |chunk: usize| (chunk..k.min(chunk + chunk_len)).step_by(K_BLOCK);
        for chunk in (0..k).step_by(chunk_len) {
            let panels = rows.clone().step_by(panel_rows).zip(sums.chunks_exact_mut(m.len() * panel_rows));
            for (first, sums, start) in panels.flat_map(|(first, sums)| {
                let sums = sums.as_mut_ptr();
                blocks(chunk).map(move |start| (first, sums, start))
            }) {
                let panel = Panel {
                    codes: codes.as_mut_ptr().cast(),
                    scales: scales.as_mut_ptr(),
                    minima: minima.as_mut_ptr(),
                    sums,
                };
                let len = K_BLOCK.min(k - start);
                let bytes = T::BYTES * (len / T::LEN);
                let before = T::BYTES * (start / T::LEN);
                if let Some(repacked) = weight.repacked() {
                    let panels = &repacked[first * row_bytes..(first + panel_rows) * row_bytes];
                    assert!(first.is_multiple_of(16) && before + bytes <= row_bytes);
                    let rows = RepackedRows { start: panels[16 * before..].as_ptr(), stride: 16 * row_bytes };
                    // SAFETY: so many bytes of each sixteen rows are readable, and begin at a block; below.
                    unsafe { read::<S, T>(s, rows, &input, in_registers, start, len, &panel) };
                } else {
                    let (at, stored) = (first * row_bytes + before, weight.bytes());
                    let n_rows = panel_rows.min(rows.end - first);
                    // As far into the next panel as this part is in its own, were the panels read from end to end.
                    let next = (first + panel_rows) * row_bytes + panel_rows * before;
                    let next = stored.as_ptr().wrapping_add(next);
                    let rows = if n_rows == panel_rows {
                        // The last row's part is inside, and so are those of the rows before it.
                        assert!(at + (panel_rows - 1) * row_bytes + bytes <= stored.len());
                        StoredRows { start: stored[at..].as_ptr(), stride: row_bytes, next }
                    } else {
                        let copy = bytes_of(last_rows);
                        copy.fill(0);
                        for r in 0..n_rows {
                            let at = at + r * row_bytes;
                            copy[r * bytes..(r + 1) * bytes].copy_from_slice(&stored[at..at + bytes]);
                        }
                        StoredRows { start: copy.as_ptr(), stride: bytes, next }
                    };
                    // SAFETY: `panel_rows` rows of `bytes` bytes, `stride` apart, are readable; the panel has room for
                    // `K_BLOCK` columns and `m.len()` rows of sums; the input's tiles are complete by its making.
                    unsafe { read::<S, T>(s, rows, &input, in_registers, start, len, &panel) };
                }
                if !in_registers {
                    // SAFETY: the columns were just read; the input's tiles are complete by its making.
                    unsafe { multiply::<S, T>(s, &input, m.clone(), start, len, &panel) };
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { put_sums(s, sums, m.len(), panel_rows, rows.len(), out) };
    }
}

/// Unpacks columns `start .. start + len`, or multiplies them at once with all rows of the input if `in_registers`.
///
/// # Safety
/// The panel's rows have so many columns, and the panel has room for them or for the sums. The input is complete, and has
/// [`FEW_ROWS`] at most if `in_registers`.
#[inline(always)]
unsafe fn read<S: Rows16, T: Coded>(
    s: S,
    rows: impl BlockSource<S>,
    input: &Int8Operand,
    in_registers: bool,
    start: usize,
    len: usize,
    panel: &Panel,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match S::HOLDS_CODES && in_registers {
            true => few_rows::<S, T>(s, rows, input, start, len, panel.sums),
            false => unpack::<S, T>(s, rows, len, panel),
        }
    }
}

/// # Safety
/// `len` columns of a panel's rows are readable and have room in `panel`.
#[inline(always)]
unsafe fn unpack<S: Rows16, T: Coded>(s: S, rows: impl BlockSource<S>, len: usize, panel: &Panel) {
    let (block_len, block_bytes) = (T::LEN, T::BYTES);
    let blocks = len / block_len;
    for p in 0..S::PANELS {
        let rows = rows.sixteen(p, blocks * block_bytes);
        for block in 0..blocks {
            for sub in 0..block_len / T::SUB {
                rows.ahead::<T>(block).prefetch::<S, T>(s, sub);
            }
            // SAFETY: the caller's promise.
            unsafe {
                let sub = p * MAX_SUBS + block * (block_len / T::SUB);
                let mut unit = Unit::<S, T> {
                    r: s,
                    format: PhantomData,
                    codes: panel.codes.add(16 * (p * K_BLOCK + block * block_len)),
                    scales: panel.scales.add(16 * sub),
                    minima: panel.minima.add(16 * sub),
                };
                T::unpack(s, rows.block::<T>(s, block), &mut unit);
            }
        }
    }
}

/// The place of a block in a panel. Whoever makes one vouches that for each row and element there is a byte at `codes`, for
/// each row and sub-block a float at `scales` and, where the format has them, at `minima`.
struct Unit<R, T> {
    r: R,
    format: PhantomData<T>,
    codes: *mut u8,
    scales: *mut f32,
    minima: *mut f32,
}

impl<R: Rows16, T: Coded> Unpacked<R> for Unit<R, T> {
    #[inline(always)]
    fn put_codes<const SIXTEENS: usize>(&mut self, i: usize, codes: [[R::Bytes; 4]; SIXTEENS]) {
        assert!(16 * SIXTEENS == T::SUB && i * T::SUB < T::LEN);
        for (t, &codes) in codes.as_flattened().iter().enumerate() {
            // SAFETY: inside the place that its maker vouched for.
            unsafe { self.r.store_bytes(self.codes.add(64 * (4 * SIXTEENS * i + t)), codes) }
        }
    }

    #[inline(always)]
    fn put_scale(&mut self, i: usize, scale: R::Floats) {
        assert!(i * T::SUB < T::LEN);
        // SAFETY: as above.
        unsafe { self.r.store_floats(self.scales.add(16 * i), scale) }
    }

    #[inline(always)]
    fn put_minimum(&mut self, i: usize, minimum: R::Floats) {
        assert!(T::MINIMA && i * T::SUB < T::LEN);
        // SAFETY: as above.
        unsafe { self.r.store_floats(self.minima.add(16 * i), minimum) }
    }
}

/// The product of all rows of the input, where they are few: codes are multiplied as they are unpacked. Writing them to a
/// panel first costs more than that saves, not least because those stores and the loads of weights often have the same
/// place in a page, which the processor takes for a dependence.
///
/// # Safety
/// As [`unpack`] and [`multiply`], of all rows, which are no more than [`FEW_ROWS`].
#[inline(always)]
unsafe fn few_rows<S: Rows16, T: Coded>(
    s: S,
    rows: impl BlockSource<S>,
    input: &Int8Operand,
    start: usize,
    len: usize,
    sums: *mut f32,
) {
    for (first, n) in all_tiles(input.m) {
        let at = first * input.k + start * n;
        let few = Few {
            rows,
            len,
            from_zero: start == 0,
            // Those of later tiles are in the cache already.
            ahead: first == 0,
            x: input.codes[at..].as_ptr(),
            scales: input.scales[at / T::GROUP..].as_ptr(),
            starts: input.starts[at / T::SUB..].as_ptr(),
            sums: sums.wrapping_add(16 * first),
        };
        // SAFETY: the caller's promise.
        unsafe {
            match n {
                FEW_ROWS => few.product::<S, T, FEW_ROWS>(s),
                4 => few.product::<S, T, 4>(s),
                2 => few.product::<S, T, 2>(s),
                _ => few.product::<S, T, 1>(s),
            }
        }
    }
}

/// A tile of few rows of activations, the weights, and where the sums go.
struct Few<W> {
    rows: W,
    len: usize,
    from_zero: bool,
    ahead: bool,
    x: *const i8,
    scales: *const f32,
    starts: *const i32,
    sums: *mut f32,
}

impl<W> Few<W> {
    /// Products in the order and with the roundings of [`Tile::product`].
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // As there.
    unsafe fn product<S: Rows16, T: Coded, const MR: usize>(&self, s: S)
    where
        W: BlockSource<S>,
    {
        let block_len = T::LEN;
        let subs = T::GROUP / T::SUB;
        // SAFETY: the caller's promise; unpacking a block puts each of its dots, scales and, where there are any, minima.
        unsafe {
            let mut sums = [s.splat_float(0.0); MR];
            if !self.from_zero {
                for r in 0..MR {
                    sums[r] = s.load_floats(self.sums.add(16 * r));
                }
            }
            for block in 0..self.len / block_len {
                let column = block * block_len;
                let starts = self.starts.add(MR * (column / T::SUB));
                let scales = self.scales.add(MR * (column / T::GROUP));
                let mut unit = Products::<S, T, MR> {
                    r: s,
                    format: PhantomData,
                    x: self.x.add(MR * column),
                    starts,
                    ahead: self.ahead.then_some(self.rows.ahead::<T>(block)),
                    dots: [[MaybeUninit::uninit(); MR]; 16],
                    scales: [MaybeUninit::uninit(); 16],
                    minima: [MaybeUninit::uninit(); 16],
                };
                T::unpack(s, self.rows.block::<T>(s, block), &mut unit);
                for g in 0..block_len / T::GROUP {
                    for r in 0..MR {
                        let mut group = s.splat_float(0.0);
                        for sub in g * subs..(g + 1) * subs {
                            let dot = s.to_floats(unit.dots[sub][r].assume_init());
                            let scale = unit.scales[sub].assume_init();
                            group = match subs {
                                1 => s.mul_floats(dot, scale),
                                _ => s.fma_floats(dot, scale, group),
                            };
                            if T::MINIMA {
                                let x = s.splat_float(f32::from_bits(*starts.add(MR * sub + r) as u32));
                                group = s.fma_floats(unit.minima[sub].assume_init(), x, group);
                            }
                        }
                        let scale = s.splat_float(*scales.add(MR * g + r));
                        sums[r] = s.fma_floats(group, scale, sums[r]);
                    }
                }
            }
            for r in 0..MR {
                s.store_floats(self.sums.add(16 * r), sums[r]);
            }
        }
    }
}

/// A block's products with `MR` rows of activations. Whoever makes one vouches for a block of each at `x`, and for what its
/// sub-blocks start from at `starts`.
struct Products<R: Rows16, T, const MR: usize> {
    r: R,
    format: PhantomData<T>,
    x: *const i8,
    starts: *const i32,
    ahead: Option<Ahead>,
    /// Of each sub-block with each row of activations.
    dots: [[MaybeUninit<R::Ints>; MR]; 16],
    scales: [MaybeUninit<R::Floats>; 16],
    minima: [MaybeUninit<R::Floats>; 16],
}

impl<R: Rows16, T: Coded, const MR: usize> Unpacked<R> for Products<R, T, MR> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    fn put_codes<const SIXTEENS: usize>(&mut self, i: usize, codes: [[R::Bytes; 4]; SIXTEENS]) {
        assert!(16 * SIXTEENS == T::SUB && i * T::SUB < T::LEN);
        if let Some(ahead) = self.ahead {
            ahead.prefetch::<R, T>(self.r, i);
        }
        // SAFETY: inside what its maker vouched for.
        let dots: [[R::Ints; 1]; MR] = unsafe {
            let (x, starts) = (self.x.add(MR * i * T::SUB), self.starts.add(MR * i));
            self.r.dot_codes(T::CODES, codes, x, starts)
        };
        for r in 0..MR {
            self.dots[i][r].write(dots[r][0]);
        }
    }

    #[inline(always)]
    fn put_scale(&mut self, i: usize, scale: R::Floats) {
        self.scales[i].write(scale);
    }

    #[inline(always)]
    fn put_minimum(&mut self, i: usize, minimum: R::Floats) {
        self.minima[i].write(minimum);
    }
}

/// # Safety
/// The panel holds `len` columns, and sums of rows `m` if `start` is not 0. The input is complete.
#[inline(always)]
unsafe fn multiply<S: Rows16, T: Coded>(
    s: S,
    input: &Int8Operand,
    m: Range<usize>,
    start: usize,
    len: usize,
    panel: &Panel,
) {
    let k = input.k;
    let n_groups = len / T::GROUP;
    let largest = if input.m <= FEW_ROWS { FEW_ROWS } else { TILE_ROWS };
    for (first, n) in tiles(m.len(), largest) {
        let row = m.start + first;
        let tile = Tile {
            n_groups,
            next: n * k,
            x: input.codes[row * k + start * n..].as_ptr(),
            scales: input.scales[(row * k + start * n) / T::GROUP..].as_ptr(),
            starts: input.starts[(row * k + start * n) / T::SUB..].as_ptr(),
            panel,
            sums: panel.sums.wrapping_add(first * 16 * S::PANELS),
            from_zero: start == 0,
        };
        // SAFETY: the caller's promise.
        unsafe {
            match n {
                FEW_ROWS if !S::HOLDS_CODES => tile.run_on::<S, T, FEW_ROWS>(s),
                TILE_ROWS => tile.run_on::<S, T, TILE_ROWS>(s),
                4 => tile.run_on::<S, T, 4>(s),
                2 => tile.run_on::<S, T, 2>(s),
                _ => tile.run_on::<S, T, 1>(s),
            }
        }
    }
}

/// A tile of activations and where its sums go.
struct Tile<'a> {
    n_groups: usize,
    /// Bytes from a tile's activations to the next one's.
    next: usize,
    x: *const i8,
    scales: *const f32,
    starts: *const i32,
    panel: &'a Panel,
    sums: *mut f32,
    from_zero: bool,
}

impl Tile<'_> {
    /// The number of panels and of codes to a sub-block are constants that generics cannot compute.
    #[inline(always)]
    unsafe fn run_on<S: Rows16, T: Coded, const MR: usize>(&self, s: S) {
        // SAFETY: the caller's promise.
        unsafe {
            match (S::PANELS, T::SUB) {
                (1, 16) => self.product::<S, T, MR, 1, 4>(s),
                (1, _) => self.product::<S, T, MR, 1, 8>(s),
                (_, 16) => self.product::<S, T, MR, 2, 4>(s),
                (_, _) => self.product::<S, T, MR, 2, 8>(s),
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Accumulators are addressed by row and panel, as the formula is.
    unsafe fn product<S: Rows16, T: Coded, const MR: usize, const NP: usize, const QUADS: usize>(
        &self,
        s: S,
    ) {
        let zero = s.splat_float(0.0);
        let subs = T::GROUP / T::SUB;
        // Where a group is one sub-block its sum is short-lived, and the output's stays in registers; otherwise the group's
        // does, and the output's is in the cache.
        let in_registers = subs == 1;
        let mut sums = [[zero; NP]; MR];
        // SAFETY: the caller's promise.
        unsafe {
            for r in 0..MR {
                for p in 0..NP {
                    let at = self.sums.add(16 * (NP * r + p));
                    if self.from_zero && !in_registers {
                        s.store_floats(at, zero);
                    } else if !self.from_zero && in_registers {
                        sums[r][p] = s.load_floats(at);
                    }
                }
            }
            for g in 0..self.n_groups {
                let mut group = [[zero; NP]; MR];
                for sub in g * subs..(g + 1) * subs {
                    let mut codes = [std::ptr::null(); NP];
                    for p in 0..NP {
                        codes[p] = self.panel.codes.add(16 * p * K_BLOCK + 64 * QUADS * sub).cast_const();
                    }
                    let starts = self.starts.add(MR * sub);
                    let x = self.x.add(4 * MR * QUADS * sub);
                    for line in (0..4 * MR * QUADS).step_by(64) {
                        s.prefetch_line(x.cast::<u8>().wrapping_add(self.next + line));
                    }
                    let dots = s.dot::<MR, NP, QUADS>(T::CODES, codes, x, starts);
                    for p in 0..NP {
                        let at = 16 * (p * MAX_SUBS + sub);
                        let scale = s.load_floats(self.panel.scales.add(at));
                        for r in 0..MR {
                            let dot = s.to_floats(dots[r][p]);
                            group[r][p] = match subs {
                                1 => s.mul_floats(dot, scale),
                                _ => s.fma_floats(dot, scale, group[r][p]),
                            };
                        }
                        if T::MINIMA {
                            let minimum = s.load_floats(self.panel.minima.add(at));
                            for r in 0..MR {
                                let sum = s.splat_float(f32::from_bits(*starts.add(r) as u32));
                                group[r][p] = s.fma_floats(minimum, sum, group[r][p]);
                            }
                        }
                    }
                }
                for r in 0..MR {
                    let scale = s.splat_float(*self.scales.add(MR * g + r));
                    for p in 0..NP {
                        let at = self.sums.add(16 * (NP * r + p));
                        if in_registers {
                            sums[r][p] = s.fma_floats(group[r][p], scale, sums[r][p]);
                        } else {
                            s.store_floats(at, s.fma_floats(group[r][p], scale, s.load_floats(at)));
                        }
                    }
                }
            }
            if in_registers {
                for r in 0..MR {
                    for p in 0..NP {
                        s.store_floats(self.sums.add(16 * (NP * r + p)), sums[r][p]);
                    }
                }
            }
        }
    }
}
