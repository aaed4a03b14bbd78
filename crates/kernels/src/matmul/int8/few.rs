//! Few rows of activations: codes are multiplied as they are unpacked.
//!
//! Writing them to a panel first costs more than that saves, not least because those stores and the loads of
//! weights often have the same place in a page, which the processor takes for a dependence.

#![allow(clippy::needless_range_loop)] // Accumulators are addressed by row, as the formula is.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use crate::isa::{Isa, Kernel};
use crate::matmul::ahead::{Ahead, BlockSource};
use crate::matmul::pack::{FEW_ROWS, Int8Operand, all_tiles};
use crate::quant::coded::{Coded, Unpacked, bias, scaled, scaled_bias, sum_of};
use crate::simd::Rows16;

/// Adds the products of some columns of sixteen weight rows with all rows of `x`, which are few, to `sums`:
/// sixteen for each row. They begin with column 0.
///
/// # Safety
/// The rows have the columns, which begin at a block, and `sums` has room.
pub(super) unsafe fn all_rows<T: Coded, W: BlockSource>(
    isa: Isa,
    rows: W,
    x: &Int8Operand,
    columns: Range<usize>,
    sums: *mut f32,
) {
    for (first, n) in all_tiles(x.m) {
        let at = first * x.k + columns.start * n;
        let tile = Tile {
            rows,
            len: columns.len(),
            from_zero: columns.start == 0,
            // What later tiles read is in the cache already.
            prefetches: first == 0,
            x: x.codes[at..].as_ptr(),
            scales: x.scales[at / T::GROUP..].as_ptr(),
            starts: x.starts[at / T::SUB..].as_ptr(),
            sums: sums.wrapping_add(16 * first),
        };
        match n {
            FEW_ROWS => isa.run_vectors(Few::<T, W, FEW_ROWS>(tile, PhantomData)),
            4 => isa.run_vectors(Few::<T, W, 4>(tile, PhantomData)),
            2 => isa.run_vectors(Few::<T, W, 2>(tile, PhantomData)),
            _ => isa.run_vectors(Few::<T, W, 1>(tile, PhantomData)),
        }
    }
}

/// A tile of activations, the weights, and where the sums go. Whoever makes one vouches for `len` columns of
/// all of them.
struct Tile<W> {
    rows: W,
    len: usize,
    from_zero: bool,
    prefetches: bool,
    x: *const i8,
    scales: *const f32,
    starts: *const i32,
    sums: *mut f32,
}

/// A tile of `MR` rows.
struct Few<T, W, const MR: usize>(Tile<W>, PhantomData<T>);

impl<T: Coded, W: BlockSource, const MR: usize> Kernel for Few<T, W, MR> {
    type Output = ();
    /// In the order and with the roundings of [`Multiply`](super::many::Multiply).
    #[inline(always)]
    fn run<R: Rows16>(self, r: R) {
        let tile = self.0;
        let subs = T::GROUP / T::SUB;
        let bias = bias::<R, T>();
        // SAFETY: the maker's promise; unpacking a block puts each of its dots, scales and, where there are
        // any, minima.
        unsafe {
            let mut sums = [r.splat_float(0.0); MR];
            if !tile.from_zero {
                for i in 0..MR {
                    sums[i] = r.load_floats(tile.sums.add(16 * i));
                }
            }
            for block in 0..tile.len / T::LEN {
                let column = block * T::LEN;
                let starts = tile.starts.add(MR * (column / T::SUB));
                let scales = tile.scales.add(MR * (column / T::GROUP));
                let mut dots = BlockDots::<R, T, MR> {
                    r,
                    format: PhantomData,
                    x: tile.x.add(MR * column),
                    starts,
                    ahead: tile.prefetches.then_some(tile.rows.ahead::<T>()),
                    column,
                    dots: [[MaybeUninit::uninit(); MR]; 16],
                    scales: [MaybeUninit::uninit(); 16],
                    minima: [MaybeUninit::uninit(); 16],
                };
                T::unpack(r, tile.rows.block::<R, T>(r, block), &mut dots);
                for g in 0..T::LEN / T::GROUP {
                    for i in 0..MR {
                        let mut group = r.splat_float(0.0);
                        for sub in g * subs..(g + 1) * subs {
                            let dot = dots.dots[sub][i].assume_init();
                            let scale = dots.scales[sub].assume_init();
                            group = match subs {
                                1 => scaled(r, bias, dot, scale, scaled_bias(r, bias, scale)),
                                _ => r.fma_floats(r.to_floats(dot), scale, group),
                            };
                            if T::MINIMA {
                                let x = r.splat_float(sum_of::<T>(*starts.add(MR * sub + i)));
                                group = r.fma_floats(dots.minima[sub].assume_init(), x, group);
                            }
                        }
                        let scale = r.splat_float(*scales.add(MR * g + i));
                        sums[i] = r.fma_floats(group, scale, sums[i]);
                    }
                }
            }
            for i in 0..MR {
                r.store_floats(tile.sums.add(16 * i), sums[i]);
            }
        }
    }
}

/// A block's dot products with `MR` rows of activations. Whoever makes one vouches for a block of each at
/// `x`, and for what the dot products of its sub-blocks start from at `starts`.
struct BlockDots<R: Rows16, T, const MR: usize> {
    r: R,
    format: PhantomData<T>,
    x: *const i8,
    starts: *const i32,
    ahead: Option<Ahead>,
    /// The first of the block.
    column: usize,
    /// The dot product of each sub-block with each row of activations.
    dots: [[MaybeUninit<R::Ints>; MR]; 16],
    scales: [MaybeUninit<R::Floats>; 16],
    minima: [MaybeUninit<R::Floats>; 16],
}

impl<R: Rows16, T: Coded, const MR: usize> Unpacked<R> for BlockDots<R, T, MR> {
    #[inline(always)]
    fn put_codes<const SIXTEENS: usize>(&mut self, i: usize, codes: [[R::Bytes; 4]; SIXTEENS]) {
        assert!(16 * SIXTEENS == T::SUB && i * T::SUB < T::LEN);
        if let Some(ahead) = self.ahead {
            for column in (i * T::SUB..(i + 1) * T::SUB).step_by(Ahead::COLUMNS) {
                ahead.prefetch::<R, T>(self.r, self.column + column);
            }
        }
        // SAFETY: inside what its maker vouched for.
        let dots: [[R::Ints; 1]; MR] = unsafe {
            let (x, starts) = (self.x.add(MR * i * T::SUB), self.starts.add(MR * i));
            self.r.dot_codes(T::CODES, codes, x, starts)
        };
        for row in 0..MR {
            self.dots[i][row].write(dots[row][0]);
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
