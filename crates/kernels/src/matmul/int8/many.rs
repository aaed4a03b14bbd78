//! Many rows of activations: a panel of codes is unpacked once and multiplied with tile after tile.

#![allow(clippy::needless_range_loop)] // Accumulators are addressed by row and panel, as the formula is.

use std::marker::PhantomData;
use std::ops::Range;

use crate::isa::Kernel;
use crate::matmul::ahead::{Ahead, BlockSource};
use crate::matmul::pack::{FEW_ROWS, Int8Operand, TILE_ROWS, tiles};
use crate::quant::coded::{Coded, Unpacked, bias, scaled, scaled_bias, sum_of};
use crate::simd::{CodeRange, Rows16};

/// Columns unpacked at a time. The codes of 32 rows, their scales and a tile of activations fit in 48 KiB.
pub(super) const K_BLOCK: usize = 512;
/// The most rows of a panel.
const MAX_ROWS: usize = 32;
/// The most scales of a row in `K_BLOCK` columns.
pub(super) const MAX_SUBS: usize = K_BLOCK / 16;

/// Memory for unpacked columns of weight rows: codes `[sixteen rows, quad, row, 4]`, scales and minima
/// `[sixteen rows, sub-block, row]`.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub codes: *mut u8,
    pub scales: *mut f32,
    pub minima: *mut f32,
}

impl Panel {
    /// Floats that codes, scales and minima take the room of.
    pub const LENS: [usize; 3] = [K_BLOCK * MAX_ROWS / 4, MAX_SUBS * MAX_ROWS, MAX_SUBS * MAX_ROWS];

    /// A panel in these buffers, as long as they live.
    ///
    /// # Panics
    /// If they have other lengths than [`Panel::LENS`].
    pub fn new(codes: &mut [f32], scales: &mut [f32], minima: &mut [f32]) -> Panel {
        assert!([codes.len(), scales.len(), minima.len()] == Panel::LENS);
        let codes = codes.as_mut_ptr().cast();
        Panel { codes, scales: scales.as_mut_ptr(), minima: minima.as_mut_ptr() }
    }
}

/// Unpacks columns of the rows of a panel.
pub(super) struct Unpack<T, W> {
    format: PhantomData<T>,
    rows: W,
    len: usize,
    is_signed: bool,
    panel: Panel,
}

impl<T, W> Unpack<T, W> {
    /// With `is_signed`, what codes stand for takes their place: signed bytes.
    ///
    /// # Safety
    /// The rows have `len` columns, at most [`K_BLOCK`].
    pub unsafe fn new(rows: W, len: usize, is_signed: bool, panel: Panel) -> Self {
        Unpack { format: PhantomData, rows, len, is_signed, panel }
    }
}

impl<T: Coded, W: BlockSource> Kernel for Unpack<T, W> {
    type Output = ();
    #[inline(always)]
    fn run<R: Rows16>(self, r: R) {
        let Unpack { rows, len, is_signed, panel, .. } = self;
        let blocks = len / T::LEN;
        for p in 0..R::PANELS {
            let rows = rows.sixteen(p, blocks * T::BYTES);
            for block in 0..blocks {
                // SAFETY: `new` was promised the rows, and a panel has room for so many columns of them.
                unsafe {
                    let sub = p * MAX_SUBS + block * (T::LEN / T::SUB);
                    let mut place = Place::<R, T> {
                        r,
                        format: PhantomData,
                        is_signed,
                        codes: panel.codes.add(16 * (p * K_BLOCK + block * T::LEN)),
                        scales: panel.scales.add(16 * sub),
                        minima: panel.minima.add(16 * sub),
                    };
                    T::unpack(r, rows.block::<R, T>(r, block), &mut place);
                }
            }
        }
    }
}

/// The place of a block in a panel. Whoever makes one vouches that for each row and element there is a byte
/// at `codes`, for each row and sub-block a float at `scales` and, where the format has them, at `minima`.
struct Place<R, T> {
    r: R,
    format: PhantomData<T>,
    is_signed: bool,
    codes: *mut u8,
    scales: *mut f32,
    minima: *mut f32,
}

impl<R: Rows16, T: Coded> Unpacked<R> for Place<R, T> {
    #[inline(always)]
    fn put_codes<const SIXTEENS: usize>(&mut self, i: usize, codes: [[R::Bytes; 4]; SIXTEENS]) {
        assert!(16 * SIXTEENS == T::SUB && i * T::SUB < T::LEN);
        for (t, &codes) in codes.as_flattened().iter().enumerate() {
            let codes = if self.is_signed { signed(self.r, T::CODES, codes) } else { codes };
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

/// What codes stand for, as signed bytes.
#[inline(always)]
fn signed<R: Rows16>(r: R, range: CodeRange, codes: R::Bytes) -> R::Bytes {
    let minus_zero = r.xor(r.and(codes, 0), range.zero.wrapping_neg());
    r.add_bytes(codes, minus_zero)
}

/// Multiplies a panel with the tiles of rows `m` of `x`.
pub(super) struct Multiply<'a, T> {
    format: PhantomData<T>,
    pub x: Int8Operand<'a>,
    pub m: Range<usize>,
    pub columns: Range<usize>,
    pub panel: Panel,
    /// What comes after the panel, of each sixteen rows.
    pub ahead: [Ahead; 2],
    pub sums: *mut f32,
}

impl<'a, T> Multiply<'a, T> {
    /// # Safety
    /// The panel holds the columns. Rows `m` of `x` are whole tiles, and `sums` has sixteen floats for each
    /// of them and each sixteen weight rows; they begin with column 0.
    pub unsafe fn new(
        x: Int8Operand<'a>,
        m: Range<usize>,
        columns: Range<usize>,
        panel: Panel,
        ahead: [Ahead; 2],
        sums: *mut f32,
    ) -> Self {
        Multiply { format: PhantomData, x, m, columns, panel, ahead, sums }
    }
}

impl<T: Coded> Kernel for Multiply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<R: Rows16>(self, r: R) {
        let Multiply { x, m, columns, panel, ahead, sums, .. } = self;
        let largest = if x.m <= FEW_ROWS { FEW_ROWS } else { TILE_ROWS };
        let n_places = tiles(m.len(), largest).count() * columns.len() / T::SUB;
        let mut coming = Coming::new(ahead, R::PANELS, columns.len(), n_places);
        for (first, n) in tiles(m.len(), largest) {
            let at = (m.start + first) * x.k + columns.start * n;
            let tile = Tile {
                n_groups: columns.len() / T::GROUP,
                next: n * x.k,
                x: x.codes[at..].as_ptr(),
                scales: x.scales[at / T::GROUP..].as_ptr(),
                starts: x.starts[at / T::SUB..].as_ptr(),
                panel: &panel,
                sums: sums.wrapping_add(first * 16 * R::PANELS),
                from_zero: columns.start == 0,
            };
            // SAFETY: what `new` was promised.
            unsafe {
                match n {
                    // Only where few rows take this way.
                    FEW_ROWS if R::PLAIN => tile.multiply::<R, T, FEW_ROWS>(r, &mut coming),
                    TILE_ROWS => tile.multiply::<R, T, TILE_ROWS>(r, &mut coming),
                    4 => tile.multiply::<R, T, 4>(r, &mut coming),
                    2 => tile.multiply::<R, T, 2>(r, &mut coming),
                    _ => tile.multiply::<R, T, 1>(r, &mut coming),
                }
            }
        }
    }
}

/// What is prefetched while a panel is multiplied, little by little: the processor can wait for few lines at a time.
pub(super) struct Coming {
    ahead: [Ahead; 2],
    /// Of the panel.
    n_columns: usize,
    /// The stretch that is next, of all of both.
    next: usize,
    end: usize,
    at_once: usize,
}

impl Coming {
    /// Columns of sixteen rows, `n_panels` times, that are to come in so many places.
    pub fn new(ahead: [Ahead; 2], n_panels: usize, n_columns: usize, n_places: usize) -> Coming {
        let end = n_panels * n_columns / Ahead::COLUMNS;
        Coming { ahead, n_columns, next: 0, end, at_once: end.div_ceil(n_places) }
    }

    #[inline(always)]
    pub fn some<R: Rows16, T: Coded>(&mut self, r: R) {
        if self.next < self.end {
            for _ in 0..self.at_once {
                let column = self.next * Ahead::COLUMNS;
                let (p, column) = (column / self.n_columns, column % self.n_columns);
                self.ahead[p.min(1)].prefetch::<R, T>(r, column);
                self.next += 1;
            }
        }
    }
}

/// A tile of activations, the panel, and where the sums go.
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
    ///
    /// # Safety
    /// The panel holds `n_groups` groups of columns, and the tile has `MR` rows of them.
    #[inline(always)]
    unsafe fn multiply<R: Rows16, T: Coded, const MR: usize>(&self, r: R, coming: &mut Coming) {
        // SAFETY: the caller's promise.
        unsafe {
            match (R::PANELS, T::SUB) {
                (1, 16) => self.multiply_panels::<R, T, MR, 1, 4>(r, coming),
                (1, _) => self.multiply_panels::<R, T, MR, 1, 8>(r, coming),
                (_, 16) => self.multiply_panels::<R, T, MR, 2, 4>(r, coming),
                (_, _) => self.multiply_panels::<R, T, MR, 2, 8>(r, coming),
            }
        }
    }

    /// # Safety
    /// As for [`Tile::multiply`], with `NP` panels, and `QUADS` times four codes in a sub-block.
    #[inline(always)]
    unsafe fn multiply_panels<R, T, const MR: usize, const NP: usize, const QUADS: usize>(
        &self,
        r: R,
        coming: &mut Coming,
    ) where
        R: Rows16,
        T: Coded,
    {
        let zero = r.splat_float(0.0);
        let subs = T::GROUP / T::SUB;
        let bias = bias::<R, T>();
        // Where a group is one sub-block its sum is short-lived, and the output's stays in registers;
        // otherwise the group's does, and the output's is in the cache.
        let in_registers = subs == 1;
        let mut sums = [[zero; NP]; MR];
        // SAFETY: the caller's promise.
        unsafe {
            for i in 0..MR {
                for p in 0..NP {
                    let at = self.sums.add(16 * (NP * i + p));
                    if self.from_zero && !in_registers {
                        r.store_floats(at, zero);
                    } else if !self.from_zero && in_registers {
                        sums[i][p] = r.load_floats(at);
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
                        r.prefetch_line(x.cast::<u8>().wrapping_add(self.next + line));
                    }
                    coming.some::<R, T>(r);
                    let dots = r.dot::<MR, NP, QUADS>(T::CODES, codes, x, starts);
                    for p in 0..NP {
                        let at = 16 * (p * MAX_SUBS + sub);
                        let scale = r.load_floats(self.panel.scales.add(at));
                        let scaled_bias = scaled_bias(r, bias, scale);
                        for i in 0..MR {
                            let dot = dots[i][p];
                            group[i][p] = match subs {
                                1 => scaled(r, bias, dot, scale, scaled_bias),
                                _ => r.fma_floats(r.to_floats(dot), scale, group[i][p]),
                            };
                        }
                        if T::MINIMA {
                            let minimum = r.load_floats(self.panel.minima.add(at));
                            for i in 0..MR {
                                let sum = r.splat_float(sum_of::<T>(*starts.add(i)));
                                group[i][p] = r.fma_floats(minimum, sum, group[i][p]);
                            }
                        }
                    }
                }
                for i in 0..MR {
                    let scale = r.splat_float(*self.scales.add(MR * g + i));
                    for p in 0..NP {
                        let at = self.sums.add(16 * (NP * i + p));
                        if in_registers {
                            sums[i][p] = r.fma_floats(group[i][p], scale, sums[i][p]);
                        } else {
                            r.store_floats(at, r.fma_floats(group[i][p], scale, r.load_floats(at)));
                        }
                    }
                }
            }
            if in_registers {
                for i in 0..MR {
                    for p in 0..NP {
                        r.store_floats(self.sums.add(16 * (NP * i + p)), sums[i][p]);
                    }
                }
            }
        }
    }
}
