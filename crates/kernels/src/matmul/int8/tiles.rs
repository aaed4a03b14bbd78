//! Many rows of activations where the processor multiplies tiles of bytes ([`Tiles`]): sixteen rows of them with twice
//! sixteen weight rows and a sub-block's columns at a time. Products of some sub-blocks come to the cache, and are scaled
//! and added from there in the order and with the roundings of [`Multiply`].

use std::mem::MaybeUninit;

use super::many::{Coming, K_BLOCK, MAX_SUBS, Multiply, Panel};
use crate::isa::Kernel;
use crate::matmul::pack::amx_tiles;
use crate::quant::coded::{Coded, sum_of};
use crate::simd::Rows16;
use crate::simd::amx::{COLUMNS, DOTS, Tiles};

/// Sixteens of weight rows in a panel.
const PANELS: usize = 2;
/// Sub-blocks whose products are in the cache at a time.
const AT_ONCE: usize = 4;

/// The same product of a panel of signed bytes, where activations are packed for tiles.
pub(super) struct InTiles<'a, T>(pub Multiply<'a, T>);

impl<T: Coded> Kernel for InTiles<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<R: Rows16>(self, r: R) {
        let Multiply { x, m, columns, panel, ahead, sums, .. } = self.0;
        assert!(R::PANELS == PANELS && T::SUB == COLUMNS);
        let n_subs = columns.len() / T::SUB;
        let mut coming = Coming::new(ahead, PANELS, columns.len(), amx_tiles(m.len()).count() * n_subs);
        let mut dots = Dots([const { MaybeUninit::uninit() }; AT_ONCE * PANELS * DOTS]);
        let mut groups = Groups([const { MaybeUninit::uninit() }; PANELS * DOTS]);
        let mut tiles: Option<(usize, Tiles)> = None;
        for (first, n) in amx_tiles(m.len()) {
            if tiles.as_ref().is_some_and(|(rows, _)| *rows != n) {
                tiles = None; // There is one set of them.
            }
            let (_, tiles) = tiles.get_or_insert_with(|| (n, Tiles::new(n)));
            let at = (m.start + first) * x.k + columns.start * n;
            let tile = Tile {
                n,
                x: x.codes[at..].as_ptr(),
                scales: x.scales[at / T::GROUP..].as_ptr(),
                starts: x.starts[at / T::SUB..].as_ptr(),
                panel: &panel,
                sums: sums.wrapping_add(first * 16 * PANELS),
                from_zero: columns.start == 0,
                dots: dots.0.as_mut_ptr().cast(),
                groups: groups.0.as_mut_ptr().cast(),
            };
            let mut sub = 0;
            while sub < n_subs {
                // SAFETY: what `new` was promised; there is room for the products of so many sub-blocks.
                sub += unsafe {
                    match n_subs - sub {
                        AT_ONCE.. => tile.multiply::<R, T, AT_ONCE>(r, tiles, sub, &mut coming),
                        _ => tile.multiply::<R, T, 1>(r, tiles, sub, &mut coming),
                    }
                };
            }
        }
    }
}

/// Products of some sub-blocks: `[AT_ONCE, PANELS, row, 16]`.
#[repr(align(64))]
struct Dots([MaybeUninit<i32>; AT_ONCE * PANELS * DOTS]);

/// Sums of groups that are not over: `[PANELS, row, 16]`.
#[repr(align(64))]
struct Groups([MaybeUninit<f32>; PANELS * DOTS]);

/// A tile of activations, the panel, and where the sums go.
struct Tile<'a> {
    /// Rows of activations.
    n: usize,
    x: *const i8,
    scales: *const f32,
    starts: *const i32,
    panel: &'a Panel,
    sums: *mut f32,
    from_zero: bool,
    dots: *mut i32,
    groups: *mut f32,
}

impl Tile<'_> {
    /// Adds the products of `SUBS` sub-blocks from `first` on, after those before them. Gives their number back.
    ///
    /// # Safety
    /// The panel holds them, the tile has `n` rows of them, and `tiles` are for these.
    #[inline(always)]
    unsafe fn multiply<R: Rows16, T: Coded, const SUBS: usize>(
        &self,
        r: R,
        tiles: &Tiles,
        first: usize,
        coming: &mut Coming,
    ) -> usize {
        let (zero, n) = (r.splat_float(0.0), self.n);
        let per_group = T::GROUP / T::SUB;
        let (begins, ends) = (first.is_multiple_of(per_group), (first + SUBS).is_multiple_of(per_group));
        // SAFETY: the caller's promise.
        unsafe {
            for s in 0..SUBS {
                let column = (first + s) * COLUMNS;
                let x = self.x.add(column * n);
                let codes = [0, 1].map(|p| self.panel.codes.add(16 * (p * K_BLOCK + column)).cast_const());
                coming.some::<R, T>(r);
                tiles.dot(x, codes, self.dots.add(s * PANELS * DOTS));
            }
            for p in 0..PANELS {
                let (mut scales, mut minima) = ([zero; SUBS], [zero; SUBS]);
                for s in 0..SUBS {
                    let at = 16 * (p * MAX_SUBS + first + s);
                    scales[s] = r.load_floats(self.panel.scales.add(at));
                    if T::MINIMA {
                        minima[s] = r.load_floats(self.panel.minima.add(at));
                    }
                }
                for i in 0..n {
                    let dots = self.dots.add(p * DOTS + 16 * i);
                    let partial = self.groups.add(p * DOTS + 16 * i);
                    let to = self.sums.add(16 * (PANELS * i + p));
                    let mut group = if begins { zero } else { r.load_floats(partial) };
                    let mut sum = match ends || per_group < SUBS {
                        true if !(self.from_zero && first < per_group) => r.load_floats(to),
                        _ => zero,
                    };
                    for s in 0..SUBS {
                        let dot = r.load_bytes(dots.add(s * PANELS * DOTS).cast());
                        let dot = r.to_floats(r.ints(dot));
                        group = match per_group {
                            1 => r.mul_floats(dot, scales[s]),
                            _ => r.fma_floats(dot, scales[s], group),
                        };
                        if T::MINIMA {
                            let x = r.splat_float(sum_of::<T>(*self.starts.add(n * (first + s) + i)));
                            group = r.fma_floats(minima[s], x, group);
                        }
                        if (first + s + 1).is_multiple_of(per_group) {
                            let scale = *self.scales.add(n * ((first + s) / per_group) + i);
                            sum = r.fma_floats(group, r.splat_float(scale), sum);
                            group = zero;
                        }
                    }
                    if ends || per_group < SUBS {
                        r.store_floats(to, sum);
                    }
                    if !ends {
                        r.store_floats(partial, group);
                    }
                }
            }
        }
        SUBS
    }
}
